"""Animals: silhouettes of ten kinds inside animal-shape-mnist, and TFDS's photographs of cats and dogs.

Both give {'image': uint8 [n, height, width, channels], 'label': int32 [n]} in the order of
`data_files.canonical_order`; of each kind the first four fifths are train, the rest test. No picture is there twice.
"""

import gzip
import pickletools
import zlib
from pathlib import Path

import numpy as np

from common.data_files import Arrays, Splits, canonical_order, fault, in_package, reinstall

PACKAGE = 'animal-shape-mnist==0.39'
NAMES = ('bear', 'bird', 'cat', 'cow', 'dog', 'elephant', 'giraffe', 'horse', 'sheep', 'zebra')
PETS = ('cat', 'dog')
SIDE = 64       # what photographs are scaled to


def find_shapes(name: str, data_dir: Path) -> list[Path]:
    """The two files in the package, pictures and labels; `data_dir` plays no part."""
    return [in_package(name, PACKAGE, f'animal_shape_mnist/data/Animal Shape/animal_{part}_version_3.gz')
            for part in ('data', 'label')]


def parse_shapes(name: str, files: list[Path]) -> Splits:
    """(train, test); pixels are 0 outside the animal.  Raises `DataError` for a file that is not as it was."""
    where, fix = f'{name}: {files[0]}', reinstall(PACKAGE)
    images, labels = (numbers(f'{name}: {path}', path, kind, fix) for path, kind in zip(files, (np.uint8, '<i8')))
    if len(images) != 784 * len(labels) or not np.isin(labels, np.arange(len(NAMES))).all():
        raise fault(f'{where}: {len(images)} pixels and {len(labels)} labels, expected 784 for each of 0 to 9', fix)
    images, labels = images.reshape(-1, 28, 28, 1), labels.astype(np.int32)
    first = np.unique(images.reshape(len(images), -1), axis=0, return_index=True)[1]
    return parts(where, images[first], labels[first], len(NAMES), fix)


def numbers(where: str, path: Path, dtype: str | type, fix: str) -> np.ndarray:
    """The values of the one array in a gzipped pickle, [n].

    Its bytes are the operand of one opcode, so nothing has to be unpickled.
    """
    try:
        opcodes = list(pickletools.genops(gzip.decompress(path.read_bytes())))
        operands = [value for _, value, _ in opcodes if isinstance(value, bytes) and len(value) > 99]
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise fault(f'{where}: unreadable file ({error})', fix) from error
    if len(operands) != 1 or len(operands[0]) % np.dtype(dtype).itemsize:
        raise fault(f'{where}: {len(operands)} arrays, expected one of {np.dtype(dtype)}', fix)
    return np.frombuffer(operands[0], dtype)


def find_photographs(name: str, data_dir: Path) -> list[Path]:
    """The shards in `<data_dir>/cats_vs_dogs/4.0.1`; else `DataError`."""
    folder = data_dir / 'cats_vs_dogs' / '4.0.1'
    files = sorted(f for f in folder.glob('cats_vs_dogs-*-of-*') if f.is_file())
    if not files:
        raise fault(f'{name}: not found: {folder} (TFDS array_record)', prepare_command(data_dir))
    return files


def prepare_command(data_dir: Path) -> str:
    """The command that makes TFDS prepare the photographs in `data_dir`."""
    return f'python -m tools.prepare_data --name=cats_vs_dogs --data_dir="{data_dir}"'


def parse_photographs(name: str, files: list[Path]) -> Splits:
    """(train, test) of the photographs, each scaled to 64 x 64 whatever its shape was.

    TFDS has no test set of them, so a fifth of each kind is one. Raises `DataError` for anything unreadable.
    """
    from common import records  # brings array_record and tfds: only for those who use them
    folder = files[0].parent
    where, fix = f'{name}: {folder}', f'move "{folder}" away, then {prepare_command(folder.parent.parent)}'
    source = records.from_tfds(folder, 'train', transform=_small, fix=fix)
    rows = np.arange(source.length)
    pieces = [source.read(piece) for piece in np.array_split(rows, max(1, len(rows) // 500))]
    images, labels = (np.concatenate([p[k] for p in pieces]) for k in ('image', 'label'))
    if len(bad := np.flatnonzero((labels < 0) | (labels >= len(PETS)))):
        raise fault(f'{where}: row {bad[0]} has label {labels[bad[0]]}, expected 0 or 1', fix)
    first = np.unique(images.reshape(len(images), -1), axis=0, return_index=True)[1]
    return parts(where, images[first], labels[first].astype(np.int32), len(PETS), fix)


def _small(row) -> Arrays:
    """One photograph of any size as uint8 [64, 64, 3]; pixels are averaged where it shrinks."""
    from PIL import Image
    image = Image.fromarray(row['image'])
    return {'image': np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BILINEAR)), 'label': row['label']}


def parts(where: str, images: np.ndarray, labels: np.ndarray, kinds: int, fix: str) -> Splits:
    """Of each kind four fifths and one fifth, both in canonical order.  `DataError` if a kind is missing."""
    order = canonical_order(images, labels)
    images, labels = images[order], labels[order]
    test = np.zeros(len(labels), bool)
    for kind in range(kinds):
        rows = np.flatnonzero(labels == kind)
        if len(rows) < 5:
            raise fault(f'{where}: {len(rows)} pictures of kind {kind}, expected 5 or more', fix)
        test[rows[len(rows) * 4 // 5:]] = True
    train, held = ({'image': images[rows], 'label': labels[rows]} for rows in (~test, test))
    return train, held
