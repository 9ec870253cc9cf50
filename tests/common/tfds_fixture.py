"""Made-up digits, and the two containers that `mnist` is read from: .npz, and what TFDS writes as array_record."""
import io
from pathlib import Path

import numpy as np


def made_up(train: int = 60, test: int = 30, seed: int = 0) -> dict[str, np.ndarray]:
    """Random digits under the names of mnist.npz; every class is in both splits."""
    words = np.random.Philox(key=seed)
    columns = {}
    for split, n in (('train', train), ('test', test)):
        raw = words.random_raw(n * 98).view(np.uint8).reshape(n, 28, 28)
        columns |= {f'x_{split}': raw, f'y_{split}': (np.arange(n) % 10).astype(np.uint8)}
    return columns


def png(image: np.ndarray) -> bytes:
    from PIL import Image
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, 'PNG')
    return stream.getvalue()


def write_npz(folder: Path, columns: dict[str, np.ndarray]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / 'mnist.npz', **columns)
    return folder / 'mnist.npz'


def tfds_builder(folder: Path, columns: dict[str, np.ndarray], file_format: str = 'array_record', encode=png):
    """A TFDS builder named mnist, version 3.0.1, with TFDS's own features; images go in encoded, so no TensorFlow."""
    import tensorflow_datasets as tfds

    class Mnist(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        """Digits given in `columns`."""
        VERSION = tfds.core.Version('3.0.1')

        def _info(self):
            return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict({
                'image': tfds.features.Image(shape=(28, 28, 1)), 'label': tfds.features.ClassLabel(num_classes=10)}))

        def _split_generators(self, dl_manager):
            return {split: self._generate_examples(split) for split in ('train', 'test')}

        def _generate_examples(self, split):
            for i, (image, label) in enumerate(zip(columns[f'x_{split}'], columns[f'y_{split}'])):
                yield i, {'image': encode(image), 'label': int(label)}

    return Mnist(data_dir=str(folder), file_format=file_format)


def write_tfds(folder: Path, columns: dict[str, np.ndarray], **options) -> Path:
    """What TFDS leaves in `<folder>/mnist/3.0.1`."""
    builder = tfds_builder(folder, columns, **options)
    builder.download_and_prepare()
    return Path(builder.data_path)
