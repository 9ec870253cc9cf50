"""Sets of small labelled images, from an .npz or from what TFDS prepared as array_record: MNIST, CIFAR-10.

Both give {'image': uint8 [n, height, width, channels], 'label': int32 [n]} in the order of
`data_files.canonical_order`, so one set of images is one set of arrays. (The order of the original files is lost in
TFDS's copy, hence none of them keeps it.)
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from common.data_files import Arrays, Splits, canonical_order, fault

COLUMNS = ('x_train', 'y_train', 'x_test', 'y_test')


class Kind(NamedTuple):
    """A set's name and version in TFDS (`<name>.npz` is its other container), and what its images are."""

    name: str
    version: str
    shape: tuple[int, int, int]
    classes: int = 10

    @property
    def wanted(self) -> str:
        """The images of an .npz, in words; a single channel may be left out."""
        return f'uint8 [n, {", ".join(map(str, self.shape[:2] if self.shape[2] == 1 else self.shape))}]'


def prepare_command(kind: Kind, data_dir: Path) -> str:
    """The command that makes TFDS prepare the set in `data_dir`."""
    return f'python -m tools.prepare_data --name={kind.name} --data_dir="{data_dir}"'


def find(kind: Kind, data_dir: Path) -> list[Path]:
    """`<data_dir>/<name>.npz` or, if there is none, the shards in `<data_dir>/<name>/<version>`; else `DataError`."""
    packed, prepared = data_dir / f'{kind.name}.npz', data_dir / kind.name / kind.version
    files = [packed] if packed.exists() else sorted(f for f in prepared.glob(f'{kind.name}-*-of-*') if f.is_file())
    if not files:
        formats = f'{packed} (arrays {" ".join(COLUMNS)}) nor {prepared} (TFDS array_record)'
        raise fault(f'{kind.name}: not found: neither {formats}', prepare_command(kind, data_dir))
    return files


def parse(kind: Kind, name: str, files: list[Path]) -> Splits:
    """(train, test) from the files of `find`. Raises `DataError` for anything unreadable, misshapen or empty."""
    if files[0].suffix == '.npz':
        again = prepare_command(kind, files[0].parent)
        return parse_npz(kind, name, files[0], f'put a good copy there, or move it away and run {again}')
    from common import records  # brings array_record and tfds: only for those who use them
    folder = files[0].parent
    fix = f'move "{folder}" away, then {prepare_command(kind, folder.parent.parent)}'
    wanted = lambda row: {k: row[k] for k in ('image', 'label') if k in row}    # CIFAR-10 has an id too
    splits = []
    for split in ('train', 'test'):
        source = records.from_tfds(folder, split, transform=wanted, fix=fix)
        columns = source.read(np.arange(source.length))
        if missing := {'image', 'label'} - columns.keys():
            raise fault(f'{name}: {folder}, split {split}: no feature {sorted(missing)[0]!r}', fix)
        splits.append(checked(kind, f'{name}: {folder}, split {split}', columns['image'], columns['label'], fix))
    return splits[0], splits[1]


def arrays_of(where: str, path: Path, names: Sequence[str], fix: str) -> Arrays:
    """These arrays of an .npz.  Raises `DataError`, which begins with `where`, if it cannot be read or lacks one."""
    try:
        with np.load(path, allow_pickle=False) as saved:
            found = {k: saved[k] for k in names if k in saved.files}
    except Exception as error:  # numpy, zipfile and zlib raise a dozen kinds for a damaged file
        raise fault(f'{where} cannot be read ({error})', fix) from error
    if missing := [k for k in names if k not in found]:
        raise fault(f'{where} has no array {missing[0]!r}', fix)
    return found


def parse_npz(kind: Kind, name: str, path: Path, fix: str) -> Splits:
    """(train, test) from an .npz of the arrays `COLUMNS`."""
    columns = arrays_of(f'{name}: {path}', path, COLUMNS, fix)
    train, test = (checked(kind, f'{name}: {path}, {s}', columns[f'x_{s}'], columns[f'y_{s}'], fix)
                   for s in ('train', 'test'))
    return train, test


def checked(kind: Kind, where: str, images: np.ndarray, labels: np.ndarray, fix: str) -> Arrays:
    """Checked images in canonical order: {'image': uint8 [n, *kind.shape], 'label': int32 [n]}.

    Takes images uint8 [n, *kind.shape], a single channel with or without its axis, and integer labels [n]; else, or if
    a label is not in 0 to classes - 1 or a class has no rows, raises a `DataError` that starts with `where` and ends
    with `fix`.
    """
    shapes = (kind.shape, kind.shape[:2]) if kind.shape[2] == 1 else (kind.shape,)
    if images.dtype != np.uint8 or images.shape[1:] not in shapes:
        raise fault(f'{where}: images are {images.dtype} {list(images.shape)}, expected {kind.wanted}', fix)
    if labels.dtype.kind not in 'iu' or labels.shape != images.shape[:1]:
        raise fault(f'{where}: labels are {labels.dtype} {list(labels.shape)}, expected integers [{len(images)}]', fix)
    if len(bad := np.flatnonzero((labels < 0) | (labels >= kind.classes))):
        raise fault(f'{where}: row {bad[0]} has label {labels[bad[0]]}, expected 0 to {kind.classes - 1}', fix)
    if len(empty := np.setdiff1d(np.arange(kind.classes), labels)):
        raise fault(f'{where}: class {empty[0]} is empty', fix)
    images, labels = images.reshape(-1, *kind.shape), labels.astype(np.int32)
    order = canonical_order(images, labels)
    return {'image': images[order], 'label': labels[order]}
