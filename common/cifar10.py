"""CIFAR-10 from its containers (an .npz, what TFDS prepared as array_record), and a subset of it as an .npz."""

import functools
from pathlib import Path

from common import labelled
from common.data_files import Splits, fault

KIND = labelled.Kind('cifar10', '3.0.2', (32, 32, 3))
NAMES = ('airplane', 'automobile', 'bird', 'cat', 'deer', 'dog', 'frog', 'horse', 'ship', 'truck')
COLUMNS = {'image': 'uint8 [32, 32, 3]: red, green, blue', 'label': f'int32: {", ".join(NAMES)}'}
parse = functools.partial(labelled.parse, KIND)


def find(name: str, data_dir: Path) -> list[Path]:
    """`<data_dir>/cifar10.npz` or, if there is none, the shards in `<data_dir>/cifar10/3.0.2`; else `DataError`."""
    return labelled.find(KIND, data_dir)


def find_subset(name: str, data_dir: Path) -> list[Path]:
    """`<data_dir>/cifar10_subset.npz`; else `DataError`."""
    path = data_dir / 'cifar10_subset.npz'
    if not path.is_file():
        raise fault(f'{name}: not found: {path}', f'{_subset_fix(path)}, or pass its folder as --data_dir')
    return [path]


def parse_subset(name: str, files: list[Path]) -> Splits:
    """(train, test) of the subset. Raises `DataError` for anything unreadable, misshapen or empty."""
    return labelled.parse_npz(KIND, name, files[0], _subset_fix(files[0]))


def _subset_fix(path: Path) -> str:
    return f'put images of CIFAR-10 (arrays {" ".join(labelled.COLUMNS)}) at {path}'
