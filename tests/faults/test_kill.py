"""F1, F3, F11, F12, F20: runs that are killed, stopped or moved, and end with the unbroken run's bits."""
import random
import signal
import time

import pytest

from tests.faults.processes import SMALL, environment, fingerprint, finish, kill_after, start, wait_for_step

FAMILIES = {
    'mlp': (*SMALL, '--config.model=mlp'),
    'lenet, streamed, sync saves': (*SMALL, '--config.source=stream', '--async_checkpoints=false'),
    'two seeds in one program on a mesh of 2': (*SMALL, '--config.model=mlp', '--seeds=2', '--seed_mode=vmap',
                                                '--strategy=mesh', '--host_devices=2'),
}


@pytest.fixture(scope='module', params=FAMILIES)
def family(request, tmp_path_factory):
    """(flags, fingerprint of the unbroken run, seconds it took), with a warm compilation cache."""
    flags, folder = FAMILIES[request.param], tmp_path_factory.mktemp('whole')
    finish(folder / 'warm', *flags)
    began = time.time()
    finish(folder / 'whole', *flags)
    seconds = time.time() - began
    assert fingerprint(folder / 'whole') == fingerprint(folder / 'warm')
    return flags, fingerprint(folder / 'whole'), seconds


def killed_and_resumed(folder, flags, rng, seconds, kills):
    """Kills the run at random moments, then lets it finish; returns how many kills hit a living run."""
    hit = 0
    for _ in range(kills):
        hit += kill_after(start(folder, *flags), rng.uniform(0.3, 1.0) * seconds) == -signal.SIGKILL
    finish(folder, *flags)
    return hit


def test_f1_killed_at_random_moments(family, tmp_path):
    flags, whole, seconds = family
    assert killed_and_resumed(tmp_path, flags, random.Random(0), seconds, 2) >= 1
    assert fingerprint(tmp_path) == whole


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_f1_fifty_kills_at_random_moments(family, tmp_path):
    flags, whole, seconds = family
    hits = rounds = 0
    rng = random.Random(1)
    while hits < 50:
        folder = tmp_path / str(rounds)
        hits += killed_and_resumed(folder, flags, rng, seconds, 4)
        assert fingerprint(folder) == whole, f'round {rounds}'
        rounds += 1


@pytest.mark.parametrize(('signum', 'code'), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_f3_a_signal_saves_and_the_run_resumes_bit_for_bit(tmp_path, signum, code):
    flags = (
        *SMALL,
        '--config.model=mlp',
        '--config.steps=20000',
        '--config.checkpoint_every=20000',
        '--config.eval_every=20000',
    )
    process = start(tmp_path / 'a', *flags)
    wait_for_step(tmp_path / 'a', 15)
    process.send_signal(signum)
    began = time.time()
    out, _ = process.communicate(timeout=60)
    assert process.returncode == code and time.time() - began < 10, out[-2000:]
    assert 'saved; the same command resumes' in out and 'Traceback' not in out
    assert 'resumed at step' in finish(tmp_path / 'a', *flags)
    finish(tmp_path / 'b', *flags)
    assert fingerprint(tmp_path / 'a') == fingerprint(tmp_path / 'b')


def test_f3_a_second_signal_ends_the_run_at_once(tmp_path):
    process = start(
        tmp_path,
        *SMALL,
        '--config.steps=200000',
        '--config.steps_per_call=20000',
        '--config.log_every=20000',
        '--config.eval_every=20000',
        '--config.checkpoint_every=20000',
        '--config.model=mlp',
    )
    time.sleep(8)       # inside a device call of many seconds
    process.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    began = time.time()
    process.communicate(timeout=30)
    assert process.returncode == 143 and time.time() - began < 2


def test_f11_f12_a_finished_run_is_a_no_op_and_another_config_is_refused(tmp_path):
    flags = (*SMALL, '--config.model=mlp', '--config.steps=20')
    finish(tmp_path, *flags)
    before = fingerprint(tmp_path)
    assert 'is finished: accuracy' in finish(tmp_path, *flags)
    assert fingerprint(tmp_path) == before
    out = finish(tmp_path, *flags, '--config.rate=0.5', code=2)
    assert 'rate: was 0.003, now 0.5' in out and 'Traceback' not in out


def test_f20_no_home_no_terminal_another_locale_and_time_zone(tmp_path):
    flags = (*SMALL, '--config.model=mlp', '--config.steps=20')
    finish(tmp_path / 'a', *flags)
    bare = {k: v for k, v in environment().items() if k not in ('HOME', 'XDG_CACHE_HOME', 'LANG', 'LC_ALL', 'TERM')}
    finish(tmp_path / 'b', *flags, env={**bare, 'LANG': 'C', 'TZ': 'Pacific/Kiritimati'})
    assert fingerprint(tmp_path / 'a') == fingerprint(tmp_path / 'b')
