"""F3, F10, F11, F12, F18, F20, F37: two runs in one folder, finished and changed runs, paths, odd hosts, torn rows."""
import hashlib
import json
import os
import signal
import socket
import tempfile
import time
from pathlib import Path

import pytest

from common import folder
from common.args import Args
from common.config import TRAINING, build
from common.errors import RunError
from common.runs import Run, read_metrics
from tests import fixtures
from tests.fixtures import launch, start, wait_for

SMOKE = '--config=smoke'


def digest(workdir: Path) -> str:
    return hashlib.sha256((workdir / 'metrics.jsonl').read_bytes()).hexdigest()


def rows_in(workdir: Path) -> int:
    path = workdir / 'metrics.jsonl'
    return path.read_bytes().count(b'\n') if path.exists() else 0


def args(workdir, **more) -> Args:
    return Args(package='fake', config=build(TRAINING, {}), workdir=str(workdir), **more)


@pytest.fixture(scope='module')
def unbroken(tmp_path_factory):
    at = tmp_path_factory.mktemp('unbroken')
    assert launch(f'--workdir={at}', SMOKE).code == 0
    return digest(at)


# ---- F10: two runs in one folder


def test_a_second_run_refuses_within_a_second_and_the_first_does_not_notice(tmp_path, unbroken):
    first = start(f'--workdir={tmp_path}', SMOKE, '--config.pause=0.1')
    wait_for(lambda: rows_in(tmp_path) > 1, 'the first run')
    owner = json.loads((tmp_path / 'run.lock').read_text())
    second = launch(f'--workdir={tmp_path}', SMOKE)
    assert second.code == 2 and second.err.count('\n') == 1 and second.seconds < 1
    for words in (f'pid {first.pid}', f'on {socket.gethostname()}', f'since {owner["started"]}', 'fake_project'):
        assert words in second.err
    assert json.loads((tmp_path / 'run.lock').read_text()) == owner
    assert first.wait(30) == 0 and digest(tmp_path) == unbroken


@pytest.mark.parametrize('mode', ['normal', 'fork'])
def test_the_lock_of_a_killed_run_is_taken_over(tmp_path, unbroken, mode):
    first = start(f'--workdir={tmp_path}', SMOKE, '--config.pause=0.05', f'--config.mode={mode}')
    wait_for(lambda: rows_in(tmp_path) > 7, 'rows')
    first.send_signal(signal.SIGKILL)
    first.wait(10)
    again = launch(f'--workdir={tmp_path}', SMOKE)
    assert again.code == 0, again.err
    assert f'taking over from a run that was killed: pid {first.pid} on' in again.err
    assert digest(tmp_path) == unbroken and (tmp_path / 'run.lock').read_bytes() == b''
    steps = [r['step'] for r in read_metrics(tmp_path)]
    assert steps == list(range(2, 41, 2))                   # 0 lost, 0 twice


def test_of_many_at_once_one_gets_in(tmp_path):
    runs = [start(f'--workdir={tmp_path}', SMOKE, '--config.pause=0.1') for _ in range(4)]
    codes = sorted(p.wait(30) for p in runs)
    assert codes == [0, 2, 2, 2]


def test_a_lock_file_that_lies_or_is_garbage_is_only_text(tmp_path):
    for text in ('{"pid": 1, "host": "other"}', 'garbage', '[]', '\x00' * 99, ''):
        (tmp_path / 'run.lock').write_text(text)
        with Run(args(tmp_path)).open() as run:
            assert len(run.notes) == text.startswith('{')


# ---- F3: signals


@pytest.mark.parametrize('signum, code', [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_saves_and_the_resumed_run_is_equal(tmp_path, unbroken, signum, code):
    first = start(f'--workdir={tmp_path}', SMOKE, '--config.pause=0.1')
    wait_for(lambda: rows_in(tmp_path) > 2, 'rows')
    first.send_signal(signum)
    _, err = first.communicate(timeout=10)
    assert first.returncode == code and 'Traceback' not in err and 'the same command resumes' in err
    step = json.loads((tmp_path / 'checkpoints' / 'step.json').read_text())['step']
    assert step == read_metrics(tmp_path)[-1]['step'] < 40 and not (tmp_path / 'result.json').exists()
    again = launch(f'--workdir={tmp_path}', SMOKE)
    assert again.code == 0 and 'taking over' not in again.err and digest(tmp_path) == unbroken


def test_a_second_signal_ends_even_a_run_that_sits_in_native_code(tmp_path):
    first = start(f'--workdir={tmp_path}', SMOKE, '--config.mode=stuck')
    wait_for(lambda: rows_in(tmp_path), 'the run')
    time.sleep(0.2)
    first.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    assert first.poll() is None
    sent = time.monotonic()
    first.send_signal(signal.SIGTERM)
    assert first.wait(10) == 143 and time.monotonic() - sent < 3


# ---- F11, F12: finished and changed runs


def test_a_finished_run_is_a_no_op(tmp_path, unbroken):
    assert launch(f'--workdir={tmp_path}', SMOKE).code == 0
    files = {p: p.read_bytes() for p in tmp_path.rglob('*') if p.is_file()}
    again = launch(f'--workdir={tmp_path}', SMOKE)
    assert again.code == 0 and again.out == f'{tmp_path} is finished: loss 0.025\n' and again.seconds < 2
    assert files == {p: p.read_bytes() for p in tmp_path.rglob('*') if p.is_file()}


def test_a_changed_config_is_refused_field_by_field(tmp_path):
    assert launch(f'--workdir={tmp_path}', SMOKE, '--config.mode=nan').code == 3
    before = (tmp_path / 'config.json').read_bytes()
    done = launch(f'--workdir={tmp_path}', SMOKE, '--config.rate=0.5', '--config.sizes=(9,)', '--config.note=hi',
                  '--on_nan=skip', '--strategy=mesh', '--keep=7')
    assert done.code == 2 and done.out == '' and (tmp_path / 'config.json').read_bytes() == before
    assert done.err.splitlines()[1:] == [
        '  --on_nan: was stop, now skip', '  rate: was 0.1, now 0.5', '  sizes: was [8, 8], now [9]',
        '  mode: was nan, now normal (harmless)', '  note: was , now hi (harmless)',
        'Use another --workdir or the old values. Fields that may change: note, mode, pause']


def test_harmless_changes_are_told_and_kept(tmp_path):
    assert launch(f'--workdir={tmp_path}', SMOKE, '--config.mode=nan').code == 3
    done = launch(f'--workdir={tmp_path}', SMOKE, '--config.note=hi')
    assert done.code == 0 and 'note: was , now hi (harmless)' in done.err
    assert json.loads((tmp_path / 'config.json').read_text())['config']['note'] == 'hi'


def test_a_finished_run_with_another_config_is_refused_too(tmp_path):
    assert launch(f'--workdir={tmp_path}', SMOKE).code == 0
    assert launch(f'--workdir={tmp_path}', SMOKE, '--config.seed=1').code == 2


# ---- F18: paths


@pytest.mark.parametrize('name', [
    'läuf 日本 ☃', 'with space', 'a%20b#c?d', "quote'\"", 'x' * 255, '-dash', 'a' * 200 + '/' + 'b' * 200])
def test_usable_paths(tmp_path, name):
    with Run(args(tmp_path / name)).open() as run:
        run.log(1, 'train', {'x': 1})
        assert run.dir == tmp_path / name and run.dir.is_absolute() and len(read_metrics(run.dir)) == 1


def test_relative_and_symlinked(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'real').mkdir()
    (tmp_path / 'link').symlink_to('real')
    with Run(args('link/run')).open() as run:
        monkeypatch.chdir('/')                  # the folder was fixed at the start
        run.log(1, 'train', {})
    assert (tmp_path / 'real/run/metrics.jsonl').exists()


def refused(path) -> str:
    with pytest.raises(RunError) as caught:
        Run(args(path)).open()
    assert str(caught.value).isprintable() and len(str(caught.value)) < 500
    return str(caught.value)


def test_unusable_paths(tmp_path):
    (tmp_path / 'file').write_text('mine')
    (tmp_path / 'gone').symlink_to('nowhere')
    (tmp_path / 'loop').symlink_to('loop')
    assert 'is in the way' in refused(tmp_path / 'file')
    assert 'Not a directory' in refused(tmp_path / 'file/run')
    assert 'is in the way' in refused(tmp_path / 'gone')
    assert 'loop' in refused(tmp_path / 'loop')
    assert 'too long' in refused(tmp_path / ('x' * 256))
    assert 'too long' in refused(str(tmp_path) + '/xxxxxxxxx' * 400)        # there, but no room for checkpoints
    assert 'not valid UTF-8' in refused('\udcff')
    assert 'null' in refused('a\0b')
    assert 'local' in refused('gs://bucket/run')
    assert (tmp_path / 'file').read_text() == 'mine'
    for name in ('checkpoints', 'run.lock', 'config.json'):
        at = tmp_path / f'way-{name}'
        at.mkdir()
        if name == 'checkpoints':
            (at / name).write_text('')
        else:
            (at / name).mkdir()
        assert name in refused(at)


def test_an_unwritable_folder(tmp_path):
    with tempfile.TemporaryDirectory() as open_to_all:
        os.chmod(open_to_all, 0o555)
        read, write = os.pipe()
        if (child := os.fork()) == 0:           # root may write anywhere, so ask as nobody
            try:
                if os.getuid() == 0:
                    os.setgid(65534)
                    os.setuid(65534)
                Run(args(open_to_all)).open()
                os.write(write, b'it was written')
            except RunError as e:
                os.write(write, f'{e.exit_code} {e}'.encode())
            finally:
                os._exit(0)
        os.waitpid(child, 0)
        text = os.read(read, 1000).decode()
        os.chmod(open_to_all, 0o755)
    assert text.startswith('2 --workdir=') and 'cannot write there: Permission denied' in text


def test_a_bad_path_is_one_line_before_anything_runs(tmp_path):
    (tmp_path / 'file').write_text('')
    done = launch(f'--workdir={tmp_path}/file', SMOKE)
    assert done.code == 2 and done.err.count('\n') == 1 and 'is in the way' in done.err and done.seconds < 2


def test_no_owner_is_left_behind_by_a_refusal(tmp_path):
    (tmp_path / 'config.json').write_text('{')
    refused(tmp_path)
    assert (tmp_path / 'run.lock').read_bytes() == b''


# ---- F20: odd hosts


def test_no_home_no_locale_another_zone_and_a_jumping_clock_change_nothing(tmp_path, unbroken, monkeypatch):
    odd = {'LANG': 'C', 'LC_ALL': 'C', 'HOME': None, 'XDG_CACHE_HOME': None, 'TZ': 'Pacific/Kiritimati', 'TERM': None}
    ascii_only = {'PYTHONUTF8': '0', 'PYTHONCOERCECLOCALE': '0'}
    for name, more in (('läuf', {}), ('run', ascii_only), ('ö', {'PYTHONIOENCODING': 'ascii:strict'})):
        for words in ('', 'is finished'):
            done = launch(f'--workdir={tmp_path}/{name}', SMOKE, '--config.note=ä☃', **odd, **more)
            assert done.code == 0 and words in done.out and digest(tmp_path / name) == unbroken, done
    monkeypatch.setattr('time.time', lambda: -1e9)
    with Run(args(tmp_path / 'clock')).open() as run:
        run.timing(1)


# ---- F37: torn rows


def test_a_line_torn_at_any_byte_is_left_out_and_cut_on_resume(tmp_path):
    with Run(args(tmp_path)).open() as run:
        for step in (1, 2, 3):
            run.log(step, 'train', {'loss': 1 / step})
    path = tmp_path / 'metrics.jsonl'
    whole = path.read_bytes()
    two = whole[:whole.rindex(b'{')]
    for end in range(len(two), len(whole)):
        path.write_bytes(whole[:end])
        complete = end == len(whole) - 1                    # only the newline is missing: the row is there
        assert [r['step'] for r in read_metrics(path)] == [1, 2, 3][:2 + complete]
        with Run(args(tmp_path)).open() as run:
            run.truncate(3)
            assert path.read_bytes() == (whole if complete else two)
            if not complete:
                run.log(3, 'train', {'loss': 1 / 3})
        assert path.read_bytes() == whole


def test_a_torn_line_never_joins_the_next_even_without_truncate(tmp_path):
    with Run(args(tmp_path)).open() as run:
        run.log(1, 'train', {'x': 1})
    with (tmp_path / 'metrics.jsonl').open('ab') as f:
        f.write(b'{"step": 2, "spl')
    with Run(args(tmp_path)).open() as run:
        run.log(2, 'train', {'x': 2})
    assert [r['x'] for r in read_metrics(tmp_path)] == [1, 2]


def test_resume_drops_what_the_checkpoint_has_not_seen(tmp_path, unbroken):
    assert launch(f'--workdir={tmp_path}', SMOKE).code == 0
    (tmp_path / 'result.json').unlink()
    folder.write_json(tmp_path / 'checkpoints/step.json', {'step': 20})
    assert launch(f'--workdir={tmp_path}', SMOKE).code == 0
    assert digest(tmp_path) == unbroken


@pytest.mark.parametrize('middle', [b'{"step": 2, "sp', b'', b'[]', b'{"split": "train"}', b'\xff\xfe', b'[' * 99999])
def test_damage_before_the_last_line_is_named_and_not_passed_over(tmp_path, middle):
    path = tmp_path / 'metrics.jsonl'
    path.write_bytes(b'{"step": 1}\n' + middle + b'\n{"step": 3}\n')
    with pytest.raises(RunError, match=r'metrics\.jsonl is damaged in line 2'):
        read_metrics(path)


def test_the_fixture_runs_without_jax():
    assert 'poison' in fixtures.environment()['PYTHONPATH']
