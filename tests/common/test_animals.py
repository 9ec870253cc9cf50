"""Silhouettes of animals and photographs of pets: nothing twice, labels that fit, and what the parsers refuse."""
import gzip
import io
import pickle

import numpy as np
import pytest

from common import animals, datasets
from common.data_files import content_sha256
from common.errors import DataError
from tests.common.picture_fixture import pets_builder


@pytest.fixture(scope='module')
def shapes():
    return datasets.load('animals')


def rows(split):
    return {image.tobytes() for image in split['image']}


def test_the_silhouettes_are_what_their_entry_says(shapes):
    entry = datasets.DATASETS['animals']
    assert shapes.info['verified'] and (len(shapes.train['label']), len(shapes.test['label'])) == entry.counts
    for split in (shapes.train, shapes.test):
        assert split['image'].dtype == np.uint8 and split['image'].shape[1:] == (28, 28, 1)
        assert split['label'].dtype == np.int32
    train, test = (np.bincount(split['label'], minlength=10) for split in (shapes.train, shapes.test))
    assert (train == (train + test) * 4 // 5).all() and (train + test).min() > 800 and (train + test).max() == 1000


def test_no_silhouette_is_there_twice(shapes):
    train, test = rows(shapes.train), rows(shapes.test)
    assert len(train) == len(shapes.train['label']) and len(test) == len(shapes.test['label']) and not train & test
    assert len(train) + len(test) == sum(datasets.DATASETS['animals'].counts)


def test_silhouettes_stand_on_nothing_and_fit_their_labels(shapes):
    """The border is empty, the animal is not; and the nearest mean of a class is right more often than chance."""
    image = shapes.train['image'][..., 0].astype(np.float32)
    border = np.concatenate([image[:, 0], image[:, -1], image[:, :, 0], image[:, :, -1]], 1)
    assert np.median(border) == 0 and (image.max((1, 2)) > 100).all()
    flat = lambda split: split['image'].reshape(len(split['image']), -1).astype(np.float32)
    means = np.stack([flat(shapes.train)[shapes.train['label'] == k].mean(0) for k in range(10)])
    guess = ((flat(shapes.test)[:, None] - means) ** 2).sum(-1).argmin(1)
    assert np.mean(guess == shapes.test['label']) > 0.4


def packed(value) -> bytes:
    stream = io.BytesIO()
    pickle.dump(value, stream, protocol=4)
    return gzip.compress(stream.getvalue())


def test_numbers_are_read_without_unpickling(tmp_path):
    """The bytes of an array; and a file that would run something when unpickled runs nothing."""
    path, array = tmp_path / 'x.gz', np.arange(256, dtype=np.uint8)

    class Trap:
        def __reduce__(self):
            return (exec, ('raise SystemExit(3)',))

    path.write_bytes(packed([array, Trap()]))
    np.testing.assert_array_equal(animals.numbers('here', path, np.uint8, 'nothing'), array)
    for bad, says in ((packed([array, array + 1]), '2 arrays, expected one'), (packed([1, 2]), '0 arrays'),
                      (packed(array)[:-20], 'unreadable file'), (b'text', 'unreadable file'),
                      (gzip.compress(b'no pickle'), 'unreadable file')):
        path.write_bytes(bad)
        with pytest.raises(DataError, match=says):
            animals.numbers('here', path, np.uint8, 'nothing')


def test_parts_of_each_kind_and_a_kind_that_is_missing():
    images = np.random.RandomState(0).randint(0, 256, (60, 2, 2, 1)).astype(np.uint8)
    labels = (np.arange(60) % 3).astype(np.int32)
    train, test = animals.parts('here', images, labels, 3, 'nothing')
    assert np.bincount(train['label']).tolist() == [16] * 3 and np.bincount(test['label']).tolist() == [4] * 3
    other = animals.parts('here', images[::-1], labels[::-1], 3, 'nothing')
    assert content_sha256(train, test) == content_sha256(*other), 'the order of the file matters'
    of = {image.tobytes(): label for image, label in zip(images, labels)}
    assert all(of[image.tobytes()] == label for part in (train, test) for image, label in zip(*part.values()))
    with pytest.raises(DataError, match='0 pictures of kind 3, expected 5 or more'):
        animals.parts('here', images, labels, 4, 'nothing')


def test_photographs_from_tfds(tmp_path):
    """JPEGs of many shapes, as TFDS keeps them: each ends as 64 x 64 with its label, two equal ones as one."""
    builder = pets_builder(tmp_path, 40)
    builder.download_and_prepare()
    ds = datasets.load('cats_vs_dogs', data_dir=tmp_path)
    assert ds.train['image'].shape == (32, 64, 64, 3) and ds.test['image'].shape == (8, 64, 64, 3)
    assert ds.train['image'].dtype == np.uint8 and ds.info['verified'] is False
    for part, each in ((ds.train, 16), (ds.test, 4)):
        assert np.bincount(part['label']).tolist() == [each, each]
        tone = part['image'].astype(float).mean((1, 2))
        assert ((tone[:, 0] > tone[:, 2]) == (part['label'] == 0)).all(), 'cats are red in the fixture, dogs blue'
    assert not rows(ds.train) & rows(ds.test)


def test_photographs_that_are_missing(tmp_path):
    with pytest.raises(DataError, match='cats_vs_dogs: not found: .*; fix: python -m tools.prepare_data') as error:
        datasets.load('cats_vs_dogs', data_dir=tmp_path)
    assert '\n' not in str(error.value)


def test_the_fixture_has_tfds_s_own_features(tmp_path):
    import tensorflow_datasets as tfds
    real = tfds.builder('cats_vs_dogs:4.0.1', data_dir=str(tmp_path), file_format='array_record').info
    ours = pets_builder(tmp_path, 40).info
    assert (real.name, str(real.version), repr(real.features)) == (ours.name, str(ours.version), repr(ours.features))
