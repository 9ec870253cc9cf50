"""Made-up pictures in the forms of TFDS's cats_vs_dogs and of PneumoniaMNIST."""
import io
from pathlib import Path

import numpy as np

from tests.common.tfds_fixture import png


def pets_builder(folder: Path, count: int):
    """A TFDS builder named cats_vs_dogs, version 4.0.1: JPEGs of many shapes, cats reddish and dogs bluish.

    `count` of them differ, half of each kind; one is there twice.
    """
    import tensorflow_datasets as tfds
    from PIL import Image

    def jpeg(i: int) -> io.BytesIO:
        rng = np.random.RandomState(i)
        height, width = rng.randint(30, 140, 2)
        pixels = rng.randint(0, 120, (height, width, 3))
        pixels[..., 0 if i % 2 == 0 else 2] += 120
        stream = io.BytesIO()
        Image.fromarray(pixels.astype(np.uint8)).save(stream, 'JPEG')
        stream.seek(0)
        return stream

    class CatsVsDogs(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        """Noise of two colours."""
        VERSION = tfds.core.Version('4.0.1')

        def _info(self):
            return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict({
                'image': tfds.features.Image(), 'image/filename': tfds.features.Text(),
                'label': tfds.features.ClassLabel(names=['cat', 'dog'])}))

        def _split_generators(self, dl_manager):
            return {'train': self._generate_examples()}

        def _generate_examples(self):
            for rows, i in zip(range(count, -1, -1), [*range(count), 0]):
                kind = ('cat', 'dog')[i % 2]
                name = f'PetImages/{kind.title()}/{i}.jpg'
                yield name if rows else f'{name}, again', {'image': jpeg(i), 'image/filename': name, 'label': kind}

    return CatsVsDogs(data_dir=str(folder), file_format='array_record')


def chests(train: int = 24, val: int = 12, test: int = 16) -> dict[str, np.ndarray]:
    """Random pictures under the names of pneumoniamnist.npz; the sick have a bright half."""
    rng = np.random.RandomState(0)
    columns = {}
    for part, n in (('train', train), ('val', val), ('test', test)):
        labels = (np.arange(n) % 3 > 0).astype(np.uint8)
        images = rng.randint(0, 128, (n, 28, 28))
        images[:, :14] += 100 * labels[:, None, None]
        columns |= {f'{part}_images': images.astype(np.uint8), f'{part}_labels': labels[:, None]}
    return columns


def chests_builder(folder: Path, columns: dict[str, np.ndarray]):
    """A TFDS builder named pneumonia_mnist, version 1.0.0, of those columns."""
    import tensorflow_datasets as tfds

    class PneumoniaMnist(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        """Pictures given in `columns`."""
        VERSION = tfds.core.Version('1.0.0')

        def _info(self):
            return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict({
                'image': tfds.features.Image(shape=(28, 28, 1)),
                'label': tfds.features.ClassLabel(names=['Normal', 'Pneumonia'])}))

        def _split_generators(self, dl_manager):
            return {part: self._generate_examples(part) for part in ('train', 'val', 'test')}

        def _generate_examples(self, part):
            for i, (image, label) in enumerate(zip(columns[f'{part}_images'], columns[f'{part}_labels'][:, 0])):
                yield i, {'image': png(image), 'label': int(label)}

    return PneumoniaMnist(data_dir=str(folder), file_format='array_record')
