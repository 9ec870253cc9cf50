"""Random access to data, in memory or not: `Records(length, read)`, where `read(indices)` gives a stacked batch.

Data is a function of the step: whoever owns the order (a permutation of seed and epoch) computes indices and reads
them. There is no iterator, hence nothing to save. Every constructor makes `read` thread-safe, so threads may fetch
ahead.

    rec = from_arrays({'image': images, 'label': labels})           # numpy arrays or memmaps, length n each
    rec = from_tfds('/data/mnist/3.0.1', 'train', workers=2)        # what TFDS prepared as array_record
    rec = from_array_record('/data/x-*.array_record', decode)       # decode(bytes) -> {'image': ..., 'label': ...}
    rec = from_sequence(seq)                                        # anything with len() and [i] that gives dicts
    rec.read(np.array([7, 1, 7]))                                   # {'image': uint8 [3, 28, 28, 1], 'label': [3]}

Records/s, MNIST-size records (28x28 uint8 and a label), random batches of 128, one reader, 2 cores of a shared machine:

    arrays 11,000,000   memmap (cached by the system) 16,000,000   sequence of dicts 520,000
    array_record, decode = np.frombuffer: 96,000 (workers=2: 67,000)   TFDS PNG: 15,000 (workers=2: 12,000, 4: 11,000)

So `workers` does not pay for records this small (Python holds its lock); it is meant for slow storage and large images.
"""

import glob
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from common.data_files import fault

Row = Mapping[str, Any]
Batch = dict[str, np.ndarray]
CHECK = 'check the path, and write the files again if they are damaged'


class Records(NamedTuple):
    """`length` rows; `read(indices)` takes integers [B] in 0 to length-1, in any order, and gives arrays [B, ...].

    `read` is thread-safe. It raises IndexError if `indices` is empty, not one-dimensional, not integer or out of range.
    """

    length: int
    read: Callable[[np.ndarray], Batch]


def from_arrays(arrays: Mapping[str, np.ndarray]) -> Records:
    """Rows of arrays or memmaps [n, ...] of one length; a batch is a copy. ValueError on no rows or unequal lengths."""
    lengths = {k: len(v) for k, v in arrays.items()}
    if len(set(lengths.values())) != 1 or 0 in lengths.values():
        raise ValueError(f'columns have lengths {lengths}: they must be equal, and not 0')
    columns = dict(arrays)
    return _records(lengths.popitem()[1], lambda indices: {k: v[indices] for k, v in columns.items()})


def from_sequence(seq: Any, *, transform: Callable[[Any], Row] | None = None, workers: int = 1) -> Records:
    """Rows of anything with `len(seq)` and `seq[i]`, or `seq.__getitems__(list)`, which is used if it is there.

    A row, after `transform(row)` if given, is a mapping of equal-shaped values. With `workers` > 1 that many threads
    read and transform parts of a batch, so `seq` must then allow reading from several threads, as it must if `read`
    is called from several. Raises ValueError at `read` if rows do not stack, `DataError` naming the row if one cannot
    be read.
    """
    return _from_rows(f'{type(seq).__name__} of {len(seq)} rows', seq, transform, workers, 'check that row')


def from_tfds(source: Any, split: str, *, transform: Callable[[Row], Row] | None = None, workers: int = 1,
              fix: str = CHECK) -> Records:
    """Rows of a TFDS split ('train', 'train[:20%]'), read without TensorFlow.

    `source` is the folder of a prepared version (`<data_dir>/mnist/3.0.1`) or a TFDS builder. Labels come as int64.
    Rows hold what the features say; text comes as bytes, which `transform` should turn into numbers. Raises
    `DataError` as `tfds_files.open_split` does and, at `read`, for a row that cannot be read.
    """
    from common import tfds_files
    where, rows = tfds_files.open_split(source, split, fix=fix)
    return _from_rows(where, rows, transform, workers, fix)


def from_array_record(paths: str | os.PathLike | Sequence[str | os.PathLike], decode: Callable[[bytes], Row], *,
                      workers: int = 1) -> Records:
    """Records of array_record files: a path, a glob pattern (its matches in order of name) or several of them in order.

    `decode(bytes)` gives a row. Raises `DataError` if nothing matches or a file is damaged and, at `read`, for a record
    that cannot be read or decoded.
    """
    from array_record.python.array_record_data_source import ArrayRecordDataSource
    files = []
    for path in [paths] if isinstance(paths, (str, os.PathLike)) else paths:
        found = [os.fspath(path)] if os.path.exists(path) else sorted(glob.glob(os.fspath(path)))
        if not found:
            raise fault(f'not found: {os.fspath(path)}', CHECK)
        files += found
    for file in files:
        count_records(file, fix=CHECK)
    return _from_rows(', '.join(files), ArrayRecordDataSource(files), decode, workers, CHECK)


def count_records(path: str | os.PathLike, *, fix: str = CHECK) -> int:
    """Number of records in an array_record file; `DataError` if it is missing, truncated or not one."""
    from array_record.python.array_record_module import ArrayRecordReader
    try:
        reader = ArrayRecordReader(os.fspath(path), options='readahead_buffer_size:0')
        count = reader.num_records()    # 0 if the file's index is gone, and no error until `close`
        reader.close()
    except RuntimeError as error:
        raise fault(f"{os.fspath(path)} cannot be read ({error or 'truncated'})", fix) from error
    return count


def stack(rows: Sequence[Row]) -> Batch:
    """Rows {name: value [...]} as a batch {name: array [B, ...]}. ValueError if names, shapes or dtypes differ."""
    batch = {}
    for key in rows[0]:
        values = [np.asarray(row[key]) for row in rows if key in row]
        kinds = {(v.shape, v.dtype.str if v.dtype.kind not in 'SU' else v.dtype.kind) for v in values}
        if len(values) != len(rows) or len(kinds) != 1 or any(len(row) != len(rows[0]) for row in rows):
            raise ValueError(f'rows of a batch differ in {key!r}: {sorted(kinds)} in {len(values)} of {len(rows)} rows')
        batch[key] = np.stack(values)
    return batch


def _records(length: int, read: Callable[[np.ndarray], Batch]) -> Records:
    def checked(indices: np.ndarray) -> Batch:
        indices = np.asarray(indices)
        if indices.ndim != 1 or not indices.size or indices.dtype.kind not in 'iu':
            raise IndexError(f'indices must be integers [B] with B >= 1, got {indices.dtype} {list(indices.shape)}')
        if indices.min() < 0 or indices.max() >= length:
            raise IndexError(f'indices go from {indices.min()} to {indices.max()}, rows from 0 to {length - 1}')
        return read(indices)

    return Records(length, checked)


def _from_rows(where: str, source: Any, transform: Callable[[Any], Row] | None, workers: int, fix: str) -> Records:
    if not len(source):
        raise fault(f'{where}: no rows', fix)
    many = getattr(source, '__getitems__', None) or (lambda indices: [source[i] for i in indices])
    pool = ThreadPoolExecutor(workers, thread_name_prefix='records') if workers > 1 else None

    def part(indices: list[int]) -> list[Row]:
        try:
            return [transform(row) if transform else row for row in many(indices)]
        except Exception as error:
            if len(indices) > 1:    # one at a time, to name the row
                return [part([i])[0] for i in indices]
            raise fault(f'{where}: row {indices[0]} cannot be read ({type(error).__name__}: {error})', fix) from error

    def read(indices: np.ndarray) -> Batch:
        if pool is None:
            return stack(part(indices.tolist()))
        parts = pool.map(part, [chunk.tolist() for chunk in np.array_split(indices, workers) if len(chunk)])
        return stack([row for rows in parts for row in rows])

    return _records(len(source), read)
