"""Reads what `torch.save` wrote, without torch and without unpickling: a file can hold data for us, and no code.

Such a file is a zip archive: data.pkl says which tensors there are, in pickle's opcodes, and data/<key> holds the bytes
of each storage. `pickletools` takes the opcodes apart; here they are carried out on plain containers, tensors and
nothing else. Any other name that the file wants imported ends it with one line, and so does a size that does not fit.
Arrays are views of what was read, so that a small file cannot ask for much memory. Files of before torch 1.6 (2020)
are no zip archives and are refused: `torch.save(torch.load(path, weights_only=True), path)` makes them new.

    state = torch_files.state_dict('resnet18.pth')      # {'conv1.weight': array [64, 3, 7, 7], ...}
"""
import collections
import math
import pickletools
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

DTYPES = {'Float': np.float32, 'Double': np.float64, 'Half': np.float16, 'BFloat16': ml_dtypes.bfloat16,
          'Long': np.int64, 'Int': np.int32, 'Short': np.int16, 'Char': np.int8, 'Byte': np.uint8, 'Bool': np.bool_}
MOST = 64 * 2**20       # bytes of opcodes; those of a ResNet-152 are 0.1 MB


class _Global(NamedTuple):
    name: str


class _Storage(NamedTuple):
    data: np.ndarray        # 1-D


def load(path: str | Path) -> Any:
    """What the file holds: dicts, lists, tuples, numbers, strings, and NumPy arrays (read-only) for tensors.

    Raises ValueError for a file that is missing, damaged, of the old format, or holds anything else.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return _Machine(archive).run()
    except OSError as error:
        raise ValueError(f'{path}: cannot be read ({error})') from error
    except zipfile.BadZipFile as error:
        raise ValueError(f'{path}: expected a zip archive as torch.save writes it since 1.6, found none '
                         f'({error})') from error
    except (ArithmeticError, AttributeError, LookupError, TypeError, NotImplementedError, RuntimeError,
            ValueError) as error:
        raise ValueError(f'{path}: expected tensors as torch.save writes them; {error}') from error


def state_dict(path: str | Path) -> dict[str, np.ndarray]:
    """{name: array} of a file that holds a `state_dict`, by itself or as the 'state_dict' or 'model' of a checkpoint.

    Raises ValueError as `load`, and for a file that holds something else.
    """
    found = load(path)
    for key in ('state_dict', 'model'):
        if isinstance(found, dict) and isinstance(found.get(key), dict):
            found = found[key]
    if not isinstance(found, dict) or not found:
        raise ValueError(f'{path}: expected a state_dict, found {type(found).__name__}')
    if other := [name for name, x in found.items() if not isinstance(name, str) or not isinstance(x, np.ndarray)]:
        raise ValueError(f'{path}: expected a tensor under every name, found another thing under {other[0]!r}')
    return dict(found)


class _Machine:
    """Pickle's stack machine, reduced to what tensors in plain containers need."""

    def __init__(self, archive: zipfile.ZipFile):
        entries = {info.filename: info for info in archive.infolist()}
        roots = [name.removesuffix('/data.pkl') for name in entries if name.endswith('/data.pkl')]
        if len(roots) != 1:
            raise ValueError(f'found {len(roots)} entries data.pkl instead of one')
        self.archive, self.root, self.entries = archive, roots[0], entries
        self.storages: dict[str, _Storage] = {}
        self.stack: list = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        if (order := self._read('byteorder', missing=b'little')) != b'little':
            raise ValueError(f'found the byte order {order!r}, which is not little')

    def _read(self, name: str, *, missing: bytes | None = None, most: int | None = None) -> bytes:
        info = self.entries.get(f'{self.root}/{name}')
        if info is None and missing is not None:
            return missing
        if info is None:
            raise ValueError(f'found no entry {name}')
        if info.compress_type != zipfile.ZIP_STORED or (most is not None and info.file_size > most):
            raise ValueError(f'found the entry {name} compressed or too large')
        return self.archive.read(info)      # checks its CRC

    def run(self) -> Any:
        for opcode, value, _ in pickletools.genops(self._read('data.pkl', most=MOST)):
            if opcode.name == 'STOP':
                return self.stack.pop()
            self.do(opcode.name, value)
        raise ValueError('found no end of data.pkl')

    def do(self, name: str, value: Any) -> None:
        push, pop = self.stack.append, self.stack.pop
        match name:
            case 'PROTO' | 'FRAME':
                pass
            case 'MARK':
                self.marks.append(len(self.stack))
            case ('BINUNICODE' | 'SHORT_BINUNICODE' | 'BININT' | 'BININT1' | 'BININT2' | 'LONG1' | 'BINFLOAT'):
                push(value)
            case 'NONE' | 'NEWTRUE' | 'NEWFALSE':
                push({'NONE': None, 'NEWTRUE': True, 'NEWFALSE': False}[name])
            case 'EMPTY_DICT' | 'EMPTY_LIST' | 'EMPTY_TUPLE':
                push({'EMPTY_DICT': dict, 'EMPTY_LIST': list, 'EMPTY_TUPLE': tuple}[name]())
            case 'TUPLE' | 'TUPLE1' | 'TUPLE2' | 'TUPLE3':
                push(tuple(self.above() if name == 'TUPLE' else reversed([pop() for _ in range(int(name[-1]))])))
            case 'SETITEM' | 'SETITEMS':
                pairs = self.above() if name == 'SETITEMS' else [pop(), pop()][::-1]
                _need(self.stack[-1], dict).update(zip(pairs[::2], pairs[1::2], strict=True))
            case 'APPEND' | 'APPENDS':
                items = self.above() if name == 'APPENDS' else [pop()]
                _need(self.stack[-1], list).extend(items)
            case 'BINPUT' | 'LONG_BINPUT':
                self.memo[value] = self.stack[-1]
            case 'MEMOIZE':
                self.memo[len(self.memo)] = self.stack[-1]
            case 'BINGET' | 'LONG_BINGET':
                push(self.memo[value])
            case 'GLOBAL':
                push(_Global(value))
            case 'BINPERSID':
                push(self.storage(*pop()))
            case 'REDUCE':
                args, function = _need(pop(), tuple), _need(pop(), _Global)
                push(self.call(function.name, args))
            case 'BUILD':           # attributes of a container, such as the versions of a state_dict: no weights
                _need(pop(), dict)
                _need(self.stack[-1], dict)
            case _:
                raise ValueError(f'found the opcode {name}')

    def above(self) -> list:
        """What stands above the last mark, taken off the stack."""
        at = self.marks.pop()
        items = self.stack[at:]
        del self.stack[at:]
        return items

    def storage(self, kind: str, dtype: _Global, key: str, _place: str, size: int) -> _Storage:
        where, _, name = _need(dtype, _Global).name.partition(' ')
        scalar = DTYPES.get(name.removesuffix('Storage'))
        if kind != 'storage' or where != 'torch' or not name.endswith('Storage') or scalar is None:
            raise ValueError(f'found a storage of {where}.{name}')
        if key not in self.storages:
            self.storages[key] = _Storage(np.frombuffer(self._read(f'data/{key}'), scalar))
        data = self.storages[key].data
        if data.dtype != scalar or data.size != size:
            raise ValueError(f'found {data.size} numbers in the storage {key} instead of {size}')
        return self.storages[key]

    def call(self, name: str, args: tuple) -> Any:
        match name:
            case 'collections OrderedDict' if not args:
                return collections.OrderedDict()
            case 'torch._utils _rebuild_tensor_v2':
                return _tensor(*args[:4])
            case 'torch._utils _rebuild_parameter':
                return _need(args[0], np.ndarray)
            case 'torch Size':
                return tuple(args[0])
        raise ValueError(f'found {name.replace(" ", ".")}, which is no tensor and no plain container')


def _need(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f'found {type(value).__name__} where {kind.__name__} belongs')
    return value


def _tensor(storage: _Storage, offset: int, shape: tuple, strides: tuple) -> np.ndarray:
    """A view of the storage; ValueError for one that leaves it, or has more numbers than it."""
    data = _need(storage, _Storage).data
    if not all(type(n) is int and n >= 0 for n in (offset, *shape, *strides)) or len(shape) != len(strides):
        raise ValueError(f'found a tensor of shape {shape} and strides {strides}')
    last = offset + sum((n - 1) * s for n, s in zip(shape, strides))
    count = math.prod(shape)
    if count and (last >= data.size or count > data.size):
        raise ValueError(f'found a tensor of shape {shape} in a storage of {data.size}')
    if not count:
        return np.empty(shape, data.dtype)
    return np.lib.stride_tricks.as_strided(data[offset:], shape, [s * data.itemsize for s in strides], writeable=False)
