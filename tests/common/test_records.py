"""Random access: every constructor gives the same rows as plain indexing, from several threads, and says no clearly."""
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from common import records
from common.errors import DataError
from tests.common.tfds_fixture import made_up, tfds_builder, write_tfds

N = 150
COLUMNS = made_up(train=N)
IMAGE, LABEL = COLUMNS['x_train'][..., None], COLUMNS['y_train'].astype(np.int64)


def decode(record: bytes) -> dict:
    values = np.frombuffer(record, np.uint8)
    return {'image': values[:784].reshape(28, 28, 1), 'label': np.int64(values[784])}


def write_array_record(path, low: int, high: int) -> None:
    from array_record.python.array_record_module import ArrayRecordWriter
    writer = ArrayRecordWriter(str(path), 'group_size:1')
    for i in range(low, high):
        writer.write(IMAGE[i].tobytes() + bytes([LABEL[i]]))
    writer.close()


class Batched:
    """A sequence that can only be read many at a time, and keeps the requests."""
    def __init__(self):
        self.asked = []

    def __len__(self):
        return N

    def __getitems__(self, indices):
        self.asked.append(indices)
        return [{'image': IMAGE[i], 'label': LABEL[i]} for i in indices]


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp('records')
    for k in range(3):
        write_array_record(folder / f'part-{k}.array_record', 50 * k, 50 * k + 50)
    np.save(folder / 'image.npy', IMAGE)
    write_tfds(folder, COLUMNS)
    return folder


def make(kind: str, folder, workers: int = 1) -> records.Records:
    rows = [{'image': i, 'label': l} for i, l in zip(IMAGE, LABEL)]
    if kind == 'arrays':
        return records.from_arrays({'image': IMAGE, 'label': LABEL})
    if kind == 'memmap':
        return records.from_arrays({'image': np.load(folder / 'image.npy', mmap_mode='r'), 'label': LABEL})
    if kind == 'list':
        return records.from_sequence(rows, workers=workers)
    if kind == 'tuples':
        pairs = list(zip(IMAGE, LABEL))
        return records.from_sequence(pairs, transform=lambda p: {'image': p[0], 'label': p[1]}, workers=workers)
    if kind == 'getitems':
        return records.from_sequence(Batched(), workers=workers)
    if kind == 'array_record glob':
        return records.from_array_record(folder / 'part-*.array_record', decode, workers=workers)
    paths = [folder / f'part-{k}.array_record' for k in range(3)]
    return records.from_array_record(paths, decode, workers=workers)


KINDS = ['arrays', 'memmap', 'list', 'tuples', 'getitems', 'array_record glob', 'array_record list']
THREADED = KINDS[2:]


def check(rec: records.Records, indices: np.ndarray) -> None:
    batch = rec.read(indices)
    assert batch.keys() == {'image', 'label'}
    assert batch['image'].dtype == np.uint8 and batch['label'].dtype == np.int64
    assert type(batch['image']) is np.ndarray
    np.testing.assert_array_equal(batch['image'], IMAGE[indices])
    np.testing.assert_array_equal(batch['label'], LABEL[indices])


@pytest.mark.parametrize('kind, workers', [(k, 1) for k in KINDS] + [(k, 3) for k in THREADED])
def test_read_is_plain_indexing(kind, workers, folder):
    rec = make(kind, folder, workers)
    assert rec.length == N
    rng = np.random.default_rng(0)
    for indices in ([0], [N - 1], [7, 1, 7], range(N), rng.permutation(N)[:33], rng.integers(0, N, 64)):
        check(rec, np.asarray(indices, np.int64))
    check(rec, np.array([3, 140], np.int32))


@pytest.mark.parametrize('workers', [1, 2])
def test_tfds_holds_the_same_rows(folder, workers):
    """TFDS shuffles when it writes, so rows are matched by content; then reading is plain indexing."""
    rec = records.from_tfds(folder / 'mnist' / '3.0.1', 'train', workers=workers)
    everything = rec.read(np.arange(rec.length))
    assert everything['image'].shape == IMAGE.shape and everything['label'].dtype == np.int64
    assert ({(i.tobytes(), int(l)) for i, l in zip(everything['image'], everything['label'])}
            == {(i.tobytes(), int(l)) for i, l in zip(IMAGE, LABEL)})
    indices = np.random.default_rng(1).integers(0, N, 40)
    for key, value in rec.read(indices).items():
        np.testing.assert_array_equal(value, everything[key][indices])


def test_tfds_slices_transforms_and_builders(folder):
    path = folder / 'mnist' / '3.0.1'
    whole = records.from_tfds(path, 'train')
    part = records.from_tfds(path, 'train[20%:60%]', transform=lambda row: {'y': row['label'] * 10})
    assert part.length == 60
    np.testing.assert_array_equal(part.read(np.arange(60))['y'], whole.read(np.arange(30, 90))['label'] * 10)
    builder = tfds_builder(folder, COLUMNS)
    np.testing.assert_array_equal(records.from_tfds(builder, 'test').read(np.arange(5))['image'],
                                  records.from_tfds(path, 'test').read(np.arange(5))['image'])


@pytest.mark.parametrize('kind, workers', [(k, 1) for k in KINDS] + [('array_record list', 2)])
def test_many_threads_may_read(kind, workers, folder):
    rec = make(kind, folder, workers)
    orders = [np.random.default_rng(k).permutation(N)[:40] for k in range(24)]
    with ThreadPoolExecutor(8) as pool:
        for batch, order in zip(pool.map(rec.read, orders), orders):
            np.testing.assert_array_equal(batch['image'], IMAGE[order])
            np.testing.assert_array_equal(batch['label'], LABEL[order])


def test_workers_read_at_the_same_time():
    meeting = threading.Barrier(2, timeout=20)

    class Slow:
        def __len__(self):
            return 4

        def __getitem__(self, i):
            if i in (0, 2):     # the first rows of the two halves wait for each other
                meeting.wait()
            return {'x': i}

    batch = records.from_sequence(Slow(), workers=2).read(np.arange(4))
    np.testing.assert_array_equal(batch['x'], np.arange(4))


def test_getitems_is_asked_once_per_batch_with_plain_ints():
    source = Batched()
    records.from_sequence(source).read(np.array([5, 2], np.int64))
    assert source.asked == [[5, 2]] and type(source.asked[0][0]) is int


def test_a_batch_is_a_copy():
    array = np.zeros((4, 2))
    rec = records.from_arrays({'x': array})
    rec.read(np.arange(4))['x'][:] = 1
    assert not array.any()


def test_the_columns_of_a_batch_do_not_follow_the_dict_they_came_from():
    arrays = {'x': np.zeros(3)}
    rec = records.from_arrays(arrays)
    arrays['y'] = np.zeros(5)
    assert rec.read(np.array([0])).keys() == {'x'}


@pytest.mark.parametrize('kind', ['arrays', 'list', 'array_record list'])
@pytest.mark.parametrize('indices, says', [
    ([], 'integers .B. with B >= 1'), (range(0), 'integers .B. with B >= 1'),
    ([[0, 1]], 'integers .B.'), (3, 'integers .B.'), ([0.0], 'integers .B.'),
    ([True, False], 'integers .B.'), ([0, N], f'0 to {N}, rows from 0 to {N - 1}'), ([-1, 0], '-1 to 0, rows')])
def test_bad_indices_raise(kind, indices, says, folder):
    with pytest.raises(IndexError, match=says):
        make(kind, folder).read(np.array(indices, np.int64) if indices == range(0) else np.array(indices))


def test_unequal_columns_and_no_rows_raise():
    for arrays in ({'x': np.ones(3), 'y': np.ones(4)}, {}, {'x': np.ones((0, 2))}):
        with pytest.raises(ValueError, match='columns have lengths'):
            records.from_arrays(arrays)
    with pytest.raises(DataError, match='list of 0 rows: no rows; fix: '):
        records.from_sequence([])


@pytest.mark.parametrize('rows', [
    [{'x': np.ones(2)}, {'x': np.ones(3)}], [{'x': np.ones(2)}, {'x': np.ones(2, np.float32)}],
    [{'x': 1}, {'y': 1}], [{'x': 1}, {'x': 1, 'y': 2}], [{'x': 1, 'y': 2}, {'x': 1}]])
def test_rows_that_do_not_stack_raise(rows):
    with pytest.raises(ValueError, match=r"rows of a batch differ in '[xy]'"):
        records.from_sequence(rows).read(np.arange(2))


@pytest.mark.parametrize('workers', [1, 2])
def test_an_unreadable_row_is_named(workers):
    class Broken:
        def __len__(self):
            return 9

        def __getitem__(self, i):
            if i == 6:
                raise OSError('bad\nsector')
            return {'x': i}

    rec = records.from_sequence(Broken(), workers=workers)
    with pytest.raises(DataError) as caught:
        rec.read(np.array([1, 2, 6, 3]))
    assert str(caught.value) == 'Broken of 9 rows: row 6 cannot be read (OSError: bad sector); fix: check that row'
    np.testing.assert_array_equal(rec.read(np.array([1, 2]))['x'], [1, 2])


def test_a_record_that_cannot_be_decoded_is_named(folder):
    path = folder / 'part-0.array_record'
    rec = records.from_array_record(path, lambda raw: {'x': np.frombuffer(raw, np.uint8).reshape(28, 28)})
    with pytest.raises(DataError) as caught:
        rec.read(np.array([4, 9]))
    assert str(caught.value).startswith(f'{path}: row 4 cannot be read (ValueError: cannot reshape array of size 785')


def test_a_name_with_brackets_is_a_file_before_it_is_a_pattern(tmp_path):
    write_array_record(tmp_path / 'x[1].array_record', 0, 5)
    assert records.from_array_record(tmp_path / 'x[1].array_record', decode).length == 5


def test_stream_takes_records():
    """What `common.data` builds on: a step's batch is `read` of the step's indices."""
    from common import data
    rec = records.from_arrays({'label': LABEL})
    source = data.stream(rec, data.Order(N, 10, seed=3))
    np.testing.assert_array_equal(source(4)['label'], LABEL[data.Order(N, 10, seed=3)(4)])
