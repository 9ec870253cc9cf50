"""PneumoniaMNIST: its parts are the published ones, containers do not matter, and what the parser refuses."""
import numpy as np
import pytest

from common import datasets
from common.errors import DataError
from tests.common.picture_fixture import chests, chests_builder


def test_the_real_set(shared_file):
    path = shared_file('pneumoniamnist.npz')
    ds = datasets.load('pneumoniamnist', data_dir=path.parent)
    entry = datasets.DATASETS['pneumoniamnist']
    held = ds.train['validation'] == 1
    assert ds.info['verified'] and (len(held), len(ds.test['label'])) == entry.counts
    assert ((~held).sum(), held.sum(), len(ds.test['label'])) == (4708, 524, 624)
    with np.load(path) as raw:
        for part, rows in (('train', ~held), ('val', held)):
            assert ds.train['label'][rows].sum() == raw[f'{part}_labels'].sum()
            own = {x.tobytes() + bytes([int(y)]) for x, y in zip(raw[f'{part}_images'], raw[f'{part}_labels'][:, 0])}
            pairs = zip(ds.train['image'][rows], ds.train['label'][rows])
            assert {x.tobytes() + bytes([int(y)]) for x, y in pairs} == own
    assert not ds.test['validation'].any()


def test_npz_and_array_record_give_the_same_bits(tmp_path):
    columns = chests()
    (tmp_path / 'a').mkdir()
    np.savez(tmp_path / 'a/pneumoniamnist.npz', **columns)
    chests_builder(tmp_path / 'b', columns).download_and_prepare()
    a, b = (datasets.load('pneumoniamnist', data_dir=tmp_path / d) for d in 'ab')
    assert a.info['content_sha256'] == b.info['content_sha256'] and not a.info['verified']
    assert a.train['validation'].tolist() == [0] * 24 + [1] * 12 and len(a.test['label']) == 16


@pytest.mark.parametrize(('change', 'says'), [
    ({'val_images': None}, "has no array 'val_images'"),
    ({'test_images': np.zeros((16, 28, 28), np.float32)}, 'test: images are float32'),
    ({'train_labels': np.zeros((23, 1), np.uint8)}, r'train: labels are uint8 \[23\], expected integers \[24\]'),
    ({'train_labels': np.full((24, 1), 2, np.uint8)}, 'train: row 0 has label 2'),
    ({'test_labels': np.zeros((16, 1), np.uint8)}, 'test: class 1 is empty'),
])
def test_what_is_refused(change, says, tmp_path):
    columns = {k: v for k, v in (chests() | change).items() if v is not None}
    np.savez(tmp_path / 'pneumoniamnist.npz', **columns)
    with pytest.raises(DataError, match=says) as error:
        datasets.load('pneumoniamnist', data_dir=tmp_path)
    assert '\n' not in str(error.value) and 'fix: put a good copy there' in str(error.value)


def test_a_torn_file_and_none_at_all(tmp_path):
    with pytest.raises(DataError, match='not found: neither .*pneumoniamnist.npz'):
        datasets.load('pneumoniamnist', data_dir=tmp_path)
    np.savez(tmp_path / 'pneumoniamnist.npz', **chests())
    whole = (tmp_path / 'pneumoniamnist.npz').read_bytes()
    (tmp_path / 'pneumoniamnist.npz').write_bytes(whole[:len(whole) // 2])
    with pytest.raises(DataError, match='cannot be read'):
        datasets.load('pneumoniamnist', data_dir=tmp_path)


def test_the_fixture_has_tfds_s_own_features(tmp_path):
    import tensorflow_datasets as tfds
    real = tfds.builder('pneumonia_mnist:1.0.0', data_dir=str(tmp_path), file_format='array_record').info
    ours = chests_builder(tmp_path, chests()).info
    assert (real.name, str(real.version), repr(real.features)) == (ours.name, str(ours.version), repr(ours.features))
