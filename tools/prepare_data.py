"""Put a data set where projects look for it: `python -m tools.prepare_data --name=mnist --data_dir=/data`.

Sets that TFDS has are downloaded and written as array_record, which needs TensorFlow (extra `[prepare]`); embedded
ones are only read once, which fills the cache. Prints the set's record as JSON and exits 0, or one line on stderr and
exits 2.
"""

import json
import sys
from pathlib import Path

from absl import app, flags

from common import datasets, tfds_files
from common.data_files import fault
from common.errors import DataError

TFDS_NAMES = {'mnist': 'mnist:3.0.1', 'cifar10': 'cifar10:3.0.2', 'tiny_shakespeare': 'tiny_shakespeare:1.0.0',
              'cats_vs_dogs': 'cats_vs_dogs:4.0.1', 'pneumoniamnist': 'pneumonia_mnist:1.0.0'}

NAME = flags.DEFINE_string('name', None, 'Data set, as in common.datasets.')
DATA_DIR = flags.DEFINE_string('data_dir', None, "Folder that data sets live in; the same as projects' --data_dir.")


def prepare(name: str, data_dir: str | None) -> datasets.Dataset:
    """Prepare the set `name` under `data_dir` unless it can be loaded already, and load it.

    Raises `DataError` for an unknown name, a folder left out, a set that TFDS does not have, TensorFlow missing, a
    failed download, or a set that is there but damaged (it is not overwritten).
    """
    entry = datasets.DATASETS.get(name)
    if entry is None or entry.package:
        return datasets.load(name)
    if not data_dir:
        raise fault(f'{name}: no folder given', f'python -m tools.prepare_data --name={name} --data_dir=FOLDER')
    try:
        entry.find(name, Path(data_dir))
    except DataError:
        if name not in TFDS_NAMES:      # a file that is put there by hand, which the error says how to do
            raise
        tfds_files.prepare(TFDS_NAMES[name], data_dir)
    return datasets.load(name, data_dir=data_dir)


def main(argv: list[str]) -> None:
    try:
        print(json.dumps(prepare(NAME.value, DATA_DIR.value).describe(), indent=2))
    except DataError as error:
        print(error, file=sys.stderr)
        sys.exit(2)


if __name__ == '__main__':
    app.run(main)
