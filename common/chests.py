"""PneumoniaMNIST, radiographs of children's chests, from its two containers: .npz, and what TFDS prepared.

Both give {'image': uint8 [n, 28, 28, 1], 'label': int32 [n], 'validation': int32 [n]}, each part in the order of
`data_files.canonical_order`. The published validation rows stand in train, behind the others, and say so. The files
do not say which pictures are of one patient; the published parts are kept.
"""

from pathlib import Path

import numpy as np

from common import labelled
from common.data_files import Arrays, Splits, fault

KIND = labelled.Kind('pneumonia_mnist', '1.0.0', (28, 28, 1), classes=2)
PARTS = ('train', 'val', 'test')
COLUMNS = {'image': 'uint8 [28, 28, 1]: grey, bright where few rays went through', 'label': 'int32: 1 is pneumonia',
           'validation': 'int32: 1 for the published validation rows'}


def find(name: str, data_dir: Path) -> list[Path]:
    """`<data_dir>/pneumoniamnist.npz`, or the shards in `<data_dir>/pneumonia_mnist/1.0.0`; else `DataError`."""
    packed, prepared = data_dir / 'pneumoniamnist.npz', data_dir / KIND.name / KIND.version
    files = [packed] if packed.exists() else sorted(f for f in prepared.glob(f'{KIND.name}-*-of-*') if f.is_file())
    if not files:
        formats = f'{packed} (as MedMNIST packs it) nor {prepared} (TFDS array_record)'
        raise fault(f'{name}: not found: neither {formats}', prepare_command(data_dir))
    return files


def prepare_command(data_dir: Path) -> str:
    """The command that makes TFDS prepare the set in `data_dir`."""
    return f'python -m tools.prepare_data --name=pneumoniamnist --data_dir="{data_dir}"'


def parse(name: str, files: list[Path]) -> Splits:
    """(train with validation, test).  Raises `DataError` for anything unreadable, misshapen or empty."""
    folder = files[0].parent
    if files[0].suffix == '.npz':
        where, fix = f'{name}: {files[0]}', f'put a good copy there, or move it away and run {prepare_command(folder)}'
        raw = _packed(where, files[0], fix)
    else:
        from common import records  # brings array_record and tfds: only for those who use them
        where, fix = f'{name}: {folder}', f'move "{folder}" away, then {prepare_command(folder.parent.parent)}'
        raw = {}
        for part in PARTS:
            source = records.from_tfds(folder, part, fix=fix)
            columns = source.read(np.arange(source.length))
            raw[part] = columns['image'], columns['label']
    train, val, test = (_part(f'{where}, {part}', *raw[part], int(part == 'val'), fix) for part in PARTS)
    return {k: np.concatenate([train[k], val[k]]) for k in train}, test


def _packed(where: str, path: Path, fix: str) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    wanted = [f'{part}_{kind}' for part in PARTS for kind in ('images', 'labels')]
    found = labelled.arrays_of(where, path, wanted, fix)
    return {part: (found[f'{part}_images'], found[f'{part}_labels'].reshape(-1)) for part in PARTS}


def _part(where: str, images: np.ndarray, labels: np.ndarray, validation: int, fix: str) -> Arrays:
    rows = labelled.checked(KIND, where, images, labels, fix)
    return rows | {'validation': np.full(len(labels), validation, np.int32)}
