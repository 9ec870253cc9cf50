"""The registry of data sets: what `load` gives, that containers do not matter, and that the split never moves."""
import hashlib
import json
import struct
import subprocess
import sys
import time

import numpy as np
import pytest

from common import datasets, tfds_files
from common.data_files import canonical_order, content_sha256
from common.errors import DataError
from tests.common.tfds_fixture import made_up, tfds_builder, write_npz, write_tfds
from tools import prepare_data

# SHA-256 of MNIST's four original files, decompressed
IDX = {'x_train': 'ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db',
       'y_train': '65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5',
       'x_test': '0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7',
       'y_test': 'ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2'}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    return tmp_path / 'cache' / 'ai-roadmap'


def assert_same(a: datasets.Dataset, b: datasets.Dataset) -> None:
    for mine, other in ((a.train, b.train), (a.test, b.test)):
        assert mine.keys() == other.keys()
        for key in mine:
            assert (mine[key].dtype, mine[key].shape) == (other[key].dtype, other[key].shape)
            np.testing.assert_array_equal(mine[key], other[key])


def test_mnist_5k_is_what_its_entry_says():
    ds = datasets.load('mnist_5k')
    entry = datasets.DATASETS['mnist_5k']
    for split, n in ((ds.train, 4_000), (ds.test, 1_000)):
        assert split['image'].dtype == np.uint8 and split['image'].shape == (n, 28, 28, 1)
        assert split['label'].dtype == np.int32 and split['label'].shape == (n,)
        np.testing.assert_array_equal(np.bincount(split['label']), [n // 10] * 10)
        assert split['image'].max() == 255 and 25 < split['image'].mean() < 45
        runs = 1 + np.sum(np.diff(split['label']) != 0)
        assert runs > 0.85 * n, 'rows are sorted by class'
    assert (ds.checksum, ds.info['content_sha256']) == (entry.checksum, entry.content) and ds.info['verified']
    assert entry.counts == (4_000, 1_000) and ds.train.keys() == entry.columns.keys()


def test_mnist_5k_test_rows_are_not_in_train():
    ds = datasets.load('mnist_5k')
    train, test = ({image.tobytes() for image in split['image']} for split in (ds.train, ds.test))
    assert len(train) == 4_000 and len(test) == 1_000 and not train & test


def test_nearest_class_mean_reads_the_digits():
    """Images and labels belong together: the mean digit of each class classifies 0.8 of the test set, not 0.1."""
    ds = datasets.load('mnist_5k')
    x, xt = (s['image'].reshape(len(s['image']), -1).astype(np.float32) for s in (ds.train, ds.test))
    means = np.stack([x[ds.train['label'] == c].mean(0) for c in range(10)])
    guess = np.argmin(((xt[:, None] - means) ** 2).sum(-1), axis=1)
    assert 0.75 < np.mean(guess == ds.test['label']) < 0.9


def test_second_load_comes_from_the_cache_and_is_the_same(own_cache, monkeypatch):
    first = datasets.load('mnist_5k')
    assert [p.name for p in own_cache.iterdir()] == [f'mnist_5k-{first.checksum[:16]}.npz']

    def parse(name, files):
        raise AssertionError('parsed again')

    monkeypatch.setitem(datasets.DATASETS, 'mnist_5k', datasets.DATASETS['mnist_5k']._replace(parse=parse))
    assert_same(first, datasets.load('mnist_5k'))


def test_mnist_5k_digits_are_mnist_training_digits(shared_file):
    with np.load(shared_file('mnist.npz'), allow_pickle=False) as full:
        known = {x.tobytes(): y for x, y in zip(full['x_train'], full['y_train'])}
    ds = datasets.load('mnist_5k')
    for split in (ds.train, ds.test):
        assert all(known[x.tobytes()] == y for x, y in zip(split['image'], split['label']))


def test_full_mnist_is_the_canonical_one(shared_file):
    path = shared_file('mnist.npz')
    ds = datasets.load('mnist', data_dir=path.parent)
    entry = datasets.DATASETS['mnist']
    assert (len(ds.train['label']), len(ds.test['label'])) == entry.counts == (60_000, 10_000)
    assert ds.train['image'].shape == (60_000, 28, 28, 1)
    assert ds.info['verified'] and ds.checksum == entry.checksum
    with np.load(path, allow_pickle=False) as full:     # and what is called canonical is MNIST as it was published
        for key, expected in IDX.items():
            header = struct.pack(f'>I{full[key].ndim}I', 0x0800 + full[key].ndim, *full[key].shape)
            assert hashlib.sha256(header + full[key].tobytes()).hexdigest() == expected, key


def test_npz_and_array_record_give_the_same_bits(tmp_path):
    columns = made_up()
    write_npz(tmp_path / 'a', columns)
    write_tfds(tmp_path / 'b', columns)
    a, b = (datasets.load('mnist', data_dir=tmp_path / d) for d in 'ab')
    assert_same(a, b)
    assert a.info['content_sha256'] == b.info['content_sha256'] and a.checksum != b.checksum
    assert a.train['image'].shape == (60, 28, 28, 1) and a.test['image'].shape == (30, 28, 28, 1)
    assert a.info['verified'] is False and b.info['verified'] is False

    order = canonical_order(columns['x_train'], columns['y_train'].astype(np.int32))    # pixels went to their labels
    np.testing.assert_array_equal(a.train['image'][..., 0], columns['x_train'][order])
    np.testing.assert_array_equal(b.train['label'], columns['y_train'][order])


def test_the_order_of_a_file_does_not_matter_but_its_values_do(tmp_path):
    columns = made_up()
    write_npz(tmp_path / 'a', columns)
    write_npz(tmp_path / 'b', {k: v[::-1] for k, v in columns.items()})
    changed = columns['x_test'].copy()
    changed[7, 3, 3] ^= 1
    write_npz(tmp_path / 'c', columns | {'x_test': changed})
    a, b, c = (datasets.load('mnist', data_dir=tmp_path / d) for d in 'abc')
    assert_same(a, b)
    assert a.info['content_sha256'] == b.info['content_sha256'] != c.info['content_sha256']


def test_npz_wins_over_array_record_and_tfds_data_dir_is_the_default(tmp_path, monkeypatch):
    write_npz(tmp_path, made_up(seed=1))
    write_tfds(tmp_path, made_up(seed=2))
    assert datasets.load('mnist', data_dir=tmp_path).info['files'] == [str(tmp_path / 'mnist.npz')]
    monkeypatch.setenv('TFDS_DATA_DIR', str(tmp_path))
    assert datasets.load('mnist').info['files'] == [str(tmp_path / 'mnist.npz')]


def test_describe_is_json_without_paths(tmp_path):
    write_npz(tmp_path, made_up())
    for ds in (datasets.load('mnist', data_dir=tmp_path), datasets.load('mnist_5k'),
               datasets.from_arrays('mine', {'x': np.ones(3)}, {'x': np.ones(2)}, source='here')):
        record = json.loads(json.dumps(ds.describe()))
        assert list(record) == ['name', 'source', 'licence', 'train', 'test', 'checksum', 'content_sha256', 'verified']
        assert (record['train'], record['test']) == tuple(len(next(iter(s.values()))) for s in (ds.train, ds.test))
        assert '/' not in ''.join(str(v) for v in record.values()) and len(record['checksum']) == 64


def test_entries_are_complete():
    for name, entry in datasets.DATASETS.items():
        assert entry.source and entry.licence and entry.columns, name
        if name in ('transactions', 'cats_vs_dogs'):    # one's own; not had here: no content is the canonical one
            assert not (any(entry.counts) or entry.checksum or entry.content)
            continue
        assert all(entry.counts), name
        if name == 'cifar10':           # nobody here has had all of it
            assert not (entry.checksum or entry.content)
            continue
        assert len(entry.checksum) == len(entry.content) == 64, name
    assert datasets.names() == sorted(datasets.DATASETS)


def test_from_arrays_keeps_what_it_is_given():
    train, test = {'x': np.arange(6.).reshape(3, 2), 'y': [1, 0, 1]}, {'x': np.ones((1, 2)), 'y': [0]}
    ds = datasets.from_arrays('mine', train, test, source='our lab', licence='CC0')
    np.testing.assert_array_equal(ds.train['x'], train['x'])
    assert (ds.source, ds.licence, ds.info['verified']) == ('our lab', 'CC0', None)
    assert ds.checksum == content_sha256(ds.train, ds.test)
    assert ds.checksum != datasets.from_arrays('mine', test, train, source='our lab').checksum


@pytest.mark.parametrize('train, test, says', [
    ({}, {}, 'train has columns of lengths {}'),
    ({'x': np.ones((0, 2))}, {'x': np.ones((1, 2))}, "train has columns of lengths {'x': 0}"),
    ({'x': np.float32(1)}, {'x': np.ones(1)}, "train has columns of lengths {'x': 0}"),
    ({'x': np.ones(2)}, {'x': np.ones(2), 'y': np.ones(3)}, "test has columns of lengths {'x': 2, 'y': 3}"),
    ({'x': np.ones(2)}, {'y': np.ones(2)}, "test has rows of {'y': 'float64 []'}"),
    ({'x': np.ones((2, 3))}, {'x': np.ones((2, 4))}, "train has rows of {'x': 'float64 [3]'}"),
    ({'x': np.ones(2)}, {'x': np.ones(2, np.float32)}, "test has rows of {'x': 'float32 []'}"),
    ({'x': np.array([{}, None])}, {'x': np.array([{}, None])}, "train column 'x' holds Python objects"),
])
def test_from_arrays_refuses(train, test, says):
    with pytest.raises(DataError) as caught:
        datasets.from_arrays('mine', train, test, source='here')
    assert says in str(caught.value) and '; fix: ' in str(caught.value)


def test_from_arrays_does_not_take_a_name_of_the_table():
    with pytest.raises(DataError, match='mnist: this name belongs to'):
        datasets.from_arrays('mnist', {'x': np.ones(2)}, {'x': np.ones(2)}, source='here')


def test_content_sha256_sees_names_dtypes_shapes_and_splits():
    a = np.arange(4, dtype=np.int32)
    variants = [({'x': a}, {'x': a}), ({'y': a}, {'y': a}), ({'x': a.view(np.float32)}, {'x': a}),
                ({'x': a.reshape(2, 2)}, {'x': a}), ({'x': a}, {}), ({}, {'x': a}), ({'x': a[::-1]}, {'x': a})]
    assert len({content_sha256(*v) for v in variants}) == len(variants)


def test_import_is_light():
    """No jax and no tensorflow_datasets until somebody needs them; 0.3 s beside numpy is allowed, best of three."""
    code = ('import sys, numpy, time; t = time.process_time(); '
            'import common.datasets, common.records, common.tfds_files; print(time.process_time() - t, '
            '[m for m in ("jax", "tensorflow_datasets", "array_record", "mlxtend") if m in sys.modules])')
    command = [sys.executable, '-c', code]
    outputs = [subprocess.check_output(command, text=True).split(' ', 1) for _ in range(3)]
    assert outputs[0][1].strip() == '[]'
    assert min(float(o[0]) for o in outputs) < 0.3


def test_cached_load_is_quick():
    datasets.load('mnist_5k')
    seconds = []
    for _ in range(3):
        start = time.process_time()
        datasets.load('mnist_5k')
        seconds.append(time.process_time() - start)
    assert min(seconds) < 0.2


def test_prepare_writes_array_record_that_load_reads(tmp_path, monkeypatch):
    """All of `prepare` but TFDS's download and its TensorFlow: a builder of the same form stands in for TFDS's own."""
    import tensorflow_datasets as tfds
    columns, asked = made_up(), []

    def builder(name, *, data_dir, file_format):
        asked.append((name, file_format))
        return tfds_builder(data_dir, columns, file_format=file_format)

    monkeypatch.setattr(tfds, 'builder', builder)
    monkeypatch.setattr(tfds_files.importlib.util, 'find_spec', lambda name: object())
    ds = prepare_data.prepare('mnist', str(tmp_path))
    assert asked == [('mnist:3.0.1', 'array_record')]
    assert sorted(p.name for p in (tmp_path / 'mnist' / '3.0.1').iterdir()) == [
        'dataset_info.json', 'features.json', 'mnist-test.array_record-00000-of-00001',
        'mnist-train.array_record-00000-of-00001']
    write_npz(tmp_path / 'npz', columns)
    assert_same(ds, datasets.load('mnist', data_dir=tmp_path / 'npz'))
    assert_same(ds, prepare_data.prepare('mnist', str(tmp_path)))
    assert len(asked) == 1, 'prepared again what was there'


def test_prepare_of_an_embedded_set_only_loads_it():
    assert prepare_data.prepare('mnist_5k', None).describe() == datasets.load('mnist_5k').describe()


def test_tfds_knows_the_sets_that_prepare_asks_for(tmp_path):
    """The names are TFDS's, and its features are those that the fixture imitates."""
    import tensorflow_datasets as tfds
    by_hand = {'california_housing', 'titanic_891', 'sms_spam', 'transactions', 'cifar10_subset'}     # put by hand
    for name in by_hand:
        with pytest.raises(DataError, match='not found: .*; fix: put .* at '):
            prepare_data.prepare(name, str(tmp_path))
    assert set(prepare_data.TFDS_NAMES) | by_hand == {n for n, e in datasets.DATASETS.items() if not e.package}
    real = tfds.builder(prepare_data.TFDS_NAMES['mnist'], data_dir=str(tmp_path), file_format='array_record').info
    ours = tfds_builder(tmp_path, made_up()).info
    assert (real.name, str(real.version)) == (ours.name, str(ours.version)) == ('mnist', '3.0.1')
    assert repr(real.features) == repr(ours.features)
