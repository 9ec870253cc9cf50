"""Reads TensorFlow's checkpoints, and the variables of its SavedModels, without TensorFlow and without running a graph.

Both are a "tensor bundle": PREFIX.index is a sorted table (LevelDB's format) from keys to small protocol buffers, each
saying which type and shape a tensor has and where its bytes lie in PREFIX.data-00000-of-00001. The table and every
tensor have a CRC-32C, which is checked (0.1 s for a megabyte: it is plain Python). Arrays are views of what was read.

    tensors = tensor_bundle.read('folder/ckpt')                     # {'dense_0/kernel': array [8, 5], ...}
    tensors = tensor_bundle.read('saved_model/variables/variables')
"""

import math
import struct
from collections.abc import Iterator
from pathlib import Path

import ml_dtypes
import numpy as np

MAGIC = 0xDB4775248B80FB57
DTYPES = {1: np.float32, 2: np.float64, 3: np.int32, 4: np.uint8, 5: np.int16, 6: np.int8, 9: np.int64, 10: np.bool_,
          14: ml_dtypes.bfloat16, 17: np.uint16, 19: np.float16, 22: np.uint32, 23: np.uint64}
STRING = 7
SUFFIX = '/.ATTRIBUTES/VARIABLE_VALUE'      # of the key of a tf.Variable, behind the path of attributes to it


def read(prefix: str | Path) -> dict[str, np.ndarray]:
    """{path of attributes: array (read-only)} of all variables of a checkpoint; strings are left out.

    Raises ValueError for files that are missing, damaged, compressed, or hold a tensor in slices.
    """
    try:
        entries = dict(_table(Path(f'{prefix}.index').read_bytes()))
        header = _fields(entries.pop(b''))
        if header.get(2, [0]) != [0]:
            raise ValueError('found numbers that are not little-endian')
        count = header.get(1, [1])[0]
        found, shards = {}, {}
        for key, value in entries.items():
            entry = _fields(value)
            if (number := entry.get(1, [0])[0]) == STRING:
                continue            # the graph of objects, which names no more than the keys do
            shard = entry.get(3, [0])[0]
            if shard not in shards:
                shards[shard] = Path(f'{prefix}.data-{shard:05d}-of-{count:05d}').read_bytes()
            name = key.decode().removesuffix(SUFFIX)
            found[name] = _tensor(name, number, entry, shards[shard])
        return found
    except OSError as error:
        raise ValueError(f'{prefix}: cannot be read ({error})') from error
    except (LookupError, TypeError, AttributeError, UnicodeDecodeError, struct.error, ValueError) as error:
        raise ValueError(f'{prefix}: expected a checkpoint as TensorFlow writes it; {error}') from error


def _tensor(name: str, number: int, entry: dict[int, list], data: bytes) -> np.ndarray:
    if number not in DTYPES or 7 in entry:
        raise ValueError(f'found {name} in slices' if 7 in entry else f'found {name} of the type number {number}')
    dims = [_fields(d) for shape in entry.get(2, []) for d in _fields(shape).get(2, [])]
    shape, dtype = tuple(d.get(1, [0])[0] for d in dims), np.dtype(DTYPES[number])
    at, size = entry.get(4, [0])[0], entry.get(5, [0])[0]
    if size != math.prod(shape) * dtype.itemsize or at + size > len(data):
        raise ValueError(f'found {min(size, len(data) - at)} bytes of {name} instead of those of {dtype} {shape}')
    if _masked(data[at:at + size]) != entry[6][0]:
        raise ValueError(f'found {name} with a wrong checksum')
    return np.frombuffer(data, dtype, math.prod(shape), at).reshape(shape) if size else np.empty(shape, dtype)


def _table(file: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of a sorted table: the footer points to a block that points to the blocks of entries."""
    if len(file) < 48 or struct.unpack('<Q', file[-8:])[0] != MAGIC:
        raise ValueError('found no table in its index')
    _, at = _pair(file, len(file) - 48)         # of the meta block, which is empty
    for _, handle in _block(file, *_pair(file, at)[0]):
        yield from _block(file, *_pair(handle, 0)[0])


def _block(file: bytes, at: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """Entries of one block.  A key is the first `shared` bytes of the key before it and some of its own."""
    block = file[at:at + size + 5]              # one byte of compression and the checksum follow it
    if len(block) != size + 5 or size < 4 or _masked(block[:-4]) != struct.unpack('<I', block[-4:])[0]:
        raise ValueError('found a block with a wrong checksum in its index')
    if block[size]:
        raise ValueError('found a compressed index')
    end = size - 4 - 4 * struct.unpack('<I', block[size - 4:size])[0]       # where the table of restarts begins
    here, key = 0, b''
    while here < end:
        shared, here = _varint(block, here)
        own, here = _varint(block, here)
        length, here = _varint(block, here)
        key = key[:shared] + block[here:here + own]
        here += own
        yield key, block[here:here + length]
        here += length


def _pair(data: bytes, at: int) -> tuple[tuple[int, int], int]:
    """Two numbers, and where they end."""
    first, at = _varint(data, at)
    second, at = _varint(data, at)
    return (first, second), at


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of seven bits a byte, the lowest first, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        value |= (data[at] & 127) << shift
        at += 1
        if data[at - 1] < 128:
            return value, at
    raise ValueError('found a number that does not end')


def _fields(message: bytes) -> dict[int, list]:
    """{number of the field: its values} of a protocol buffer."""
    fields: dict[int, list] = {}
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        kind = tag & 7
        if kind == 0:
            value, at = _varint(message, at)
        elif kind in (1, 5):
            width = 8 if kind == 1 else 4
            value, at = int.from_bytes(message[at:at + width], 'little'), at + width
        elif kind == 2:
            size, at = _varint(message, at)
            value, at = message[at:at + size], at + size
        else:
            raise ValueError(f'found a field of the kind {kind}')
        fields.setdefault(tag >> 3, []).append(value)
    return fields


def _crc_table() -> list[int]:
    """CRC-32C (Castagnoli) of each single byte; 0x82F63B78 is its polynomial, lowest bit first."""
    table = list(range(256))
    for _ in range(8):
        table = [(c >> 1) ^ (0x82F63B78 if c & 1 else 0) for c in table]
    return table


_CRC = _crc_table()


def _masked(data: bytes) -> int:
    """The CRC-32C of data as these files have it: turned by 15 bits, and a constant added."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = (crc >> 8) ^ _CRC[(crc ^ byte) & 255]
    crc ^= 0xFFFFFFFF
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF
