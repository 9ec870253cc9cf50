"""Patches of photographs and CIFAR-10: what `load` gives, what is refused, and that train and test share no pixel."""
import io

import numpy as np
import pytest

from common import cifar10, datasets, photos
from common.data_files import content_sha256
from common.errors import DataError
from tests.common.tfds_fixture import png
from tools import prepare_data


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))


def colours(train=60, test=30, seed=0):
    """Random images under the names of the .npz; every class is in both splits."""
    words, columns = np.random.Philox(key=seed), {}
    for split, n in (('train', train), ('test', test)):
        raw = words.random_raw(n * 384).view(np.uint8).reshape(n, 32, 32, 3)
        columns |= {f'x_{split}': raw, f'y_{split}': np.arange(n) % 10}
    return columns


def prepared(folder, columns):
    """What TFDS leaves in `<folder>/cifar10/3.0.2`, images given as PNG, so that it needs no TensorFlow."""
    import tensorflow_datasets as tfds

    class Cifar10(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        """Images given in `columns`."""
        VERSION = tfds.core.Version('3.0.2')

        def _info(self):
            return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict({
                'id': tfds.features.Text(), 'image': tfds.features.Image(shape=(32, 32, 3)),
                'label': tfds.features.ClassLabel(num_classes=10)}))

        def _split_generators(self, dl_manager):
            return {split: self._generate_examples(split) for split in ('train', 'test')}

        def _generate_examples(self, split):
            for i, (image, label) in enumerate(zip(columns[f'x_{split}'], columns[f'y_{split}'])):
                yield i, {'id': f'{split}_{i:05d}', 'image': png(image), 'label': int(label)}

    builder = Cifar10(data_dir=str(folder), file_format='array_record')
    builder.download_and_prepare()
    return builder


def refused(call, *parts):
    with pytest.raises(DataError) as caught:
        call()
    line = str(caught.value)
    assert line.isprintable() and line.count('; fix: ') == 1
    for part in parts:
        assert str(part) in line, (part, line)


def test_photo_patches_are_what_their_entry_says():
    ds, entry = datasets.load('photo_patches'), datasets.DATASETS['photo_patches']
    for split, n in ((ds.train, 10_000), (ds.test, 2_000)):
        assert split['image'].dtype == np.uint8 and split['image'].shape == (n, 32, 32, 3)
        np.testing.assert_array_equal(np.bincount(split['label']), [n // 10] * 10)
        assert np.ptp(split['image'], axis=(1, 2, 3)).min() >= photos.CONTRAST
        assert 1 + np.sum(np.diff(split['label']) != 0) > 0.85 * n, 'rows are sorted by class'
    assert ds.info['verified'] and ds.checksum == entry.checksum and entry.counts == (10_000, 2_000)
    train, test = ({image.tobytes() for image in split['image']} for split in (ds.train, ds.test))
    assert len(train) == 10_000 and len(test) == 2_000 and not train & test


def test_blocks_for_testing_have_no_pixel_in_train():
    """Of a picture whose every pixel is told apart by its number."""
    numbers = np.arange(200 * 330)
    pixels = np.stack([numbers // 2**16, numbers // 2**8 % 2**8, numbers % 2**8], -1).astype(np.uint8)
    train, test = photos.patches(pixels.reshape(200, 330, 3), seed=1, train=300, test=60)
    back = lambda part: part.astype(np.int64) @ np.array([2**16, 2**8, 1])
    seen, held = back(train), back(test)
    assert seen.shape == (300, 32, 32) and held.shape == (60, 32, 32) and not np.intersect1d(seen, held).size
    for part in (seen, held):           # each within one block of 64 x 64
        rows, columns = part // 330, part % 330
        for at in (rows, columns):
            assert (at.min((1, 2)) // 64 == at.max((1, 2)) // 64).all() and np.ptp(at, axis=(1, 2)).max() == 31
    again = photos.patches(pixels.reshape(200, 330, 3), seed=1, train=300, test=60)
    np.testing.assert_array_equal(train, again[0])


def test_a_picture_that_is_too_small_or_of_one_tone_is_refused():
    plain = np.zeros((128, 320, 3), np.uint8)
    with pytest.raises(ValueError, match=r'expected 5 patches of 32 x 32 pixels in 8 blocks, found 0'):
        photos.patches(plain, seed=0, train=5, test=1)
    with pytest.raises(ValueError, match='in 0 blocks, found 0'):
        photos.patches(np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8), seed=0, train=5, test=1)


def test_a_damaged_photograph_is_refused(tmp_path, monkeypatch):
    good = photos.find('photo_patches', tmp_path)
    assert [path.name for path in good][:2] == ['astronaut.png', 'chelsea.png'] and len(good) == len(photos.NAMES) == 10
    bad = tmp_path / 'astronaut.png'
    bad.write_bytes(good[0].read_bytes()[:5000])
    refused(lambda: photos.parse('photo_patches', [bad, *good[1:]]), f'{bad} cannot be read (', 'scikit-image==0.26.0')
    small = io.BytesIO(png(np.zeros((8, 8, 3), np.uint8)))
    bad.write_bytes(small.getvalue())
    refused(lambda: photos.parse('photo_patches', [bad]), f'{bad}: expected 1000 patches')
    monkeypatch.setattr(photos, 'find', None)
    entry = datasets.DATASETS['photo_patches']._replace(find=lambda *_: [bad, *good[1:]])
    monkeypatch.setitem(datasets.DATASETS, 'photo_patches', entry)
    refused(lambda: datasets.load('photo_patches'), 'has SHA-256')


def test_npz_and_array_record_of_cifar10_give_the_same_bits(tmp_path):
    columns = colours()
    (tmp_path / 'a').mkdir()
    np.savez(tmp_path / 'a/cifar10.npz', **columns)
    prepared(tmp_path / 'b', columns)
    a, b = (datasets.load('cifar10', data_dir=tmp_path / d) for d in 'ab')
    for mine, other in ((a.train, b.train), (a.test, b.test)):
        assert mine.keys() == other.keys() == {'image', 'label'}
        for key in mine:
            assert mine[key].dtype == other[key].dtype
            np.testing.assert_array_equal(mine[key], other[key])
    assert a.info['content_sha256'] == b.info['content_sha256'] == content_sha256(a.train, a.test)
    assert a.train['image'].shape == (60, 32, 32, 3) and a.train['label'].dtype == np.int32
    pairs = {image.tobytes(): label for image, label in zip(columns['x_train'], columns['y_train'])}
    assert all(pairs[image.tobytes()] == label for image, label in zip(a.train['image'], a.train['label']))


def test_tfds_calls_it_so(tmp_path):
    import tensorflow_datasets as tfds
    real = tfds.builder(prepare_data.TFDS_NAMES['cifar10'], data_dir=str(tmp_path), file_format='array_record').info
    ours = prepared(tmp_path, colours(10, 10)).info
    assert (real.name, str(real.version)) == (ours.name, str(ours.version)) == ('cifar10', cifar10.KIND.version)
    assert repr(real.features) == repr(ours.features)


def test_wrong_files_of_cifar10_are_refused(tmp_path):
    load = lambda name: lambda: datasets.load(name, data_dir=tmp_path)
    refused(load('cifar10'), f'cifar10: not found: neither {tmp_path}/cifar10.npz', f'nor {tmp_path}/cifar10/3.0.2',
            f'fix: python -m tools.prepare_data --name=cifar10 --data_dir="{tmp_path}"')
    refused(load('cifar10_subset'), f'not found: {tmp_path}/cifar10_subset.npz', 'or pass its folder as --data_dir')
    columns = colours()
    np.savez(tmp_path / 'cifar10_subset.npz', **columns | {'x_test': columns['x_test'][..., :1]})
    refused(load('cifar10_subset'), 'test: images are uint8 [30, 32, 32, 1], expected uint8 [n, 32, 32, 3]')
    np.savez(tmp_path / 'cifar10_subset.npz', **columns | {'y_train': columns['y_train'] % 9})
    refused(load('cifar10_subset'), 'train: class 9 is empty', 'put images of CIFAR-10 (arrays x_train')


def test_the_subset_is_read(shared_file):
    ds = datasets.load('cifar10_subset', data_dir=shared_file('cifar10_subset.npz').parent)
    assert ds.info['verified'] and (len(ds.train['label']), len(ds.test['label'])) == (10_000, 2_000)
    train, test = ({image.tobytes() for image in split['image']} for split in (ds.train, ds.test))
    assert not train & test
