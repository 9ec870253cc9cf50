"""The run folder in one process: what is written, when, and with which bytes."""
import hashlib
import json
import math
import resource
import sys

import numpy as np
import pytest

from common import folder
from common.args import Args
from common.config import TRAINING, build
from common.errors import RunError, RunLocked, StorageError
from common.runs import Run, read_metrics


def args(workdir, **more) -> Args:
    return Args(package='fake', config=build(TRAINING, {}), workdir=str(workdir), **more)


@pytest.fixture
def run(tmp_path):
    with Run(args(tmp_path / 'run')).open() as made:
        yield made


def test_a_fresh_folder(run):
    assert sorted(p.name for p in run.dir.iterdir()) == [
        'checkpoints', 'config.json', 'env.json', 'plots', 'run.lock', 'samples']
    stored = json.loads((run.dir / 'config.json').read_text())
    assert stored['config']['steps'] == 1000 and stored['project'] == 'fake' and stored['flags']['seeds'] == 1
    env = json.loads((run.dir / 'env.json').read_text())
    assert env['argv'] == sys.argv and env['versions']['numpy'] == np.__version__
    run.env(devices=['cpu:0'])
    assert json.loads((run.dir / 'env.json').read_text()) == {**env, 'devices': ['cpu:0']}
    assert run.finished() is None and run.notes == []


def test_rows_are_deterministic_and_strict_json(run):
    run.log(1, 'train', {'b': 0.1, 'a': np.float32(0.1), 'n': np.int64(3), 'seeds': np.array([1.0, math.nan])})
    run.log(np.int32(2), 'eval', {'x': math.inf, 'y': -math.inf, 'none': None}, unit='seed3')
    text = (run.dir / 'metrics.jsonl').read_text()
    assert text == ('{"step": 1, "split": "train", "a": 0.10000000149011612, "b": 0.1, "n": 3, "seeds": [1.0, "NaN"]}\n'
                    '{"step": 2, "split": "eval", "unit": "seed3", "none": null, "x": "Infinity", "y": "-Infinity"}\n')
    first, second = read_metrics(run.dir)
    assert math.isnan(first['seeds'][1]) and second['x'] == math.inf and second['unit'] == 'seed3'
    with pytest.raises(ValueError, match="'step'"):
        run.log(1, 'train', {'step': 2})
    with pytest.raises(TypeError, match='object'):
        run.log(1, 'train', {'x': object()})


def test_every_float_survives_bit_by_bit(run):
    values = np.random.default_rng(0).integers(0, 2**64, 1000, dtype=np.uint64).view(np.float64)
    for i, v in enumerate(values):
        run.log(i, 'train', {'v': v})
    back = np.array([row['v'] for row in read_metrics(run.dir)])
    assert np.array_equal(np.nan_to_num(back), np.nan_to_num(values)) and len(back) == 1000


def test_truncate_drops_the_rows_of_one_unit_and_logging_goes_on(run):
    for step in (1, 2, 3):
        run.log(step, 'train', {'x': step}, unit='seed0')
        run.log(step, 'train', {'x': step}, unit='seed1')
    run.truncate(1, 'seed1')
    run.log(2, 'train', {'x': 22}, unit='seed1')        # into the new file, not into the replaced one
    assert [(r['unit'], r['step'], r['x']) for r in read_metrics(run.dir)] == [
        ('seed0', 1, 1), ('seed1', 1, 1), ('seed0', 2, 2), ('seed0', 3, 3), ('seed1', 2, 22)]
    run.truncate(-1, 'seed0')
    assert {r['unit'] for r in read_metrics(run.dir)} == {'seed1'}
    run.truncate(0)                                     # the unit '' has no rows
    assert len(read_metrics(run.dir)) == 2


def test_timing_is_apart(run):
    run.timing(5, rows_per_s=2.0)
    assert not (run.dir / 'metrics.jsonl').exists()
    row = json.loads((run.dir / 'timing.jsonl').read_text())
    assert row['step'] == 5 and row['rows_per_s'] == 2.0 and row['time'] > 1e9


def test_result_marks_the_end(run):
    run.result({'metrics': {'loss': {'mean': math.nan}}})
    assert run.finished() == {'metrics': {'loss': {'mean': 'NaN'}}}
    (run.dir / 'result.json').write_text('{"metr')
    with pytest.raises(RunError, match=r'result\.json is damaged'):
        run.finished()


def test_a_finished_folder_is_left_alone(tmp_path):
    with Run(args(tmp_path)).open() as run:
        run.result({'metrics': {}})
    before = {p: p.stat().st_mtime_ns for p in tmp_path.iterdir() if p.is_file() and p.name != 'run.lock'}
    with Run(args(tmp_path)).open() as run:
        assert run.finished() == {'metrics': {}}
    assert before == {p: p.stat().st_mtime_ns for p in before}


def test_json_is_replaced_in_one_step(tmp_path, monkeypatch):
    path = tmp_path / 'x.json'
    folder.write_json(path, {'a': 1})

    def fail(*_):
        raise OSError(28, 'No space left on device')

    for name in ('fsync', 'replace'):
        with monkeypatch.context() as m:
            m.setattr(f'os.{name}', fail)
            with pytest.raises(StorageError, match=r'cannot write .*x\.json: No space left'):
                folder.write_json(path, {'a': 2})
        assert folder.read_json(path) == {'a': 1} and [p.name for p in tmp_path.iterdir()] == ['x.json']


def test_a_row_that_the_disk_refuses_is_a_clear_error_and_leaves_no_half_line(run):
    run.log(1, 'train', {'x': 1})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = (run.dir / 'metrics.jsonl').stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, hard))
    try:
        with pytest.raises(StorageError, match=r'cannot write .*metrics\.jsonl'):
            run.log(2, 'train', {'x': 2})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (run.dir / 'metrics.jsonl').stat().st_size == size
    run.log(2, 'train', {'x': 2})
    assert [r['step'] for r in read_metrics(run.dir)] == [1, 2]


def test_two_in_one_process_refuse_too_and_release_frees(tmp_path):
    with Run(args(tmp_path)).open(), pytest.raises(RunLocked, match='in use by pid'):
        Run(args(tmp_path)).open()
    assert (tmp_path / 'run.lock').read_bytes() == b''
    with Run(args(tmp_path)).open() as run:
        assert run.notes == []


def test_a_refused_open_frees_the_folder(tmp_path):
    with Run(args(tmp_path)).open():
        pass
    with pytest.raises(RunError, match='--seeds: was 1, now 2'):
        Run(args(tmp_path, seeds=2)).open()
    with Run(args(tmp_path)).open():
        pass


@pytest.mark.parametrize('flag, value, refused', [
    ('seeds', 2, True), ('reduction', 'ordered', True), ('on_nan', 'skip', True), ('loss_spike', 5.0, True),
    ('strategy', 'mesh', False), ('host_devices', 4, False), ('keep', 9, False), ('async_checkpoints', False, False),
    ('compile_cache', 'off', False), ('malloc_tuning', False, False), ('micro_batches', 4, False),
    ('seed_mode', 'turn', False), ('mesh', (('data', 2),), False), ('data_dir', 'x', False)])
def test_which_flags_belong_to_the_run(tmp_path, flag, value, refused):
    with Run(args(tmp_path)).open():
        pass
    if refused:
        with pytest.raises(RunError, match=f'--{flag}: was .*, now {value}'):
            Run(args(tmp_path, **{flag: value})).open()
    else:
        Run(args(tmp_path, **{flag: value})).open().close()


def test_flags_that_matter_only_with_others(tmp_path):
    with Run(args(tmp_path, seeds=2, reduction='ordered')).open():
        pass
    with pytest.raises(RunError, match='--micro_batches: was 8, now 4\n  --seed_mode: was auto, now turn'):
        Run(args(tmp_path, seeds=2, reduction='ordered', micro_batches=4, seed_mode='turn')).open()


def test_other_processes_of_a_run_compare_but_do_not_write(tmp_path):
    with Run(args(tmp_path / 'a', process_id=1)).open() as run:
        run.log(1, 'train', {})
        run.timing(1)
        run.result({})
        run.env(a=1)
        run.truncate(0)
    assert not (tmp_path / 'a').exists()
    with Run(args(tmp_path / 'a')).open():
        Run(args(tmp_path / 'a', process_id=1)).open().close()      # no lock either
        with pytest.raises(RunError, match='--seeds'):
            Run(args(tmp_path / 'a', process_id=1, seeds=2)).open()


def test_a_folder_without_its_config_is_not_resumed(tmp_path):
    for name in ('metrics.jsonl', 'checkpoints/00001'):
        at = tmp_path / name.replace('/', '-')
        (at / name).parent.mkdir(parents=True)
        (at / name).write_text('{}')
        with pytest.raises(RunError, match=r'has (metrics.jsonl|00001) but no config\.json'):
            Run(args(at)).open()


@pytest.mark.parametrize('text', [
    '', '{', '[]', '{"config": 1}', '{"config": {}, "flags": 3, "project": 1}', '[' * 100000])
def test_a_damaged_config_is_refused(tmp_path, text):
    (tmp_path / 'config.json').write_text(text)
    with pytest.raises(RunError, match='damaged'):
        Run(args(tmp_path)).open()


def test_the_bytes_do_not_depend_on_breaks(tmp_path):
    def digest(at):
        return hashlib.sha256((at / 'metrics.jsonl').read_bytes()).hexdigest()

    with Run(args(tmp_path / 'a')).open() as run:
        for step in range(1, 9):
            run.log(step, 'train', {'loss': 1 / step})
    with Run(args(tmp_path / 'b')).open() as run:
        for step in range(1, 6):
            run.log(step, 'train', {'loss': 1 / step})
    with Run(args(tmp_path / 'b')).open() as run:
        run.truncate(3)
        for step in range(4, 9):
            run.log(step, 'train', {'loss': 1 / step})
    assert digest(tmp_path / 'a') == digest(tmp_path / 'b')


def test_a_lock_file_that_vanished_before_it_was_locked_is_no_lock(tmp_path, monkeypatch):
    flock, seen = folder.fcntl.flock, []

    def late(fd, how):
        if not seen:
            (tmp_path / 'run.lock').unlink()        # someone cleans up between our open and our lock
        seen.append(fd)
        flock(fd, how)

    monkeypatch.setattr(folder.fcntl, 'flock', late)
    with Run(args(tmp_path)).open(), pytest.raises(RunLocked):
        Run(args(tmp_path)).open()
    assert len(seen) == 3


def test_a_file_system_without_locks_is_refused(tmp_path, monkeypatch):
    def flock(fd, how):
        raise OSError(38, 'Function not implemented')

    monkeypatch.setattr(folder.fcntl, 'flock', flock)
    with pytest.raises(RunError, match='Function not implemented'):
        Run(args(tmp_path)).open()
