"""F1, F3, F11, F12, F20: runs that are killed, stopped or moved, and end with the unbroken run's bits."""
import random
import signal
import time

import pytest

from tests.faults.processes import SMALL, environment, fingerprint, finish, kill_after, start, wait_for_step

FAMILIES = {
    'mlp': (*SMALL, '--config.model=mlp'),
    'lenet, streamed, sync saves, pmap of 2': (*SMALL, '--config.source=stream', '--async_checkpoints=false',
                                               '--strategy=pmap', '--host_devices=2'),
    'two seeds in one program on a mesh of 2': (*SMALL, '--config.model=mlp', '--seeds=2', '--seed_mode=vmap',
                                                '--strategy=mesh', '--host_devices=2'),
}


@pytest.fixture(scope='module', params=FAMILIES)
def family(request, tmp_path_factory):
    """(flags, fingerprint of the unbroken run)."""
    flags, folder = FAMILIES[request.param], tmp_path_factory.mktemp('whole')
    finish(folder, *flags)
    return flags, fingerprint(folder)


def test_f1_killed_at_random_moments_of_training(family, tmp_path):
    flags, whole = family
    rng = random.Random(0)
    for first, last in ((5, 60), (65, 115)):
        process = start(tmp_path, *flags)
        wait_for_step(tmp_path, rng.randrange(first, last, 5))
        time.sleep(rng.uniform(0, 0.1))
        process.kill()
        process.communicate(timeout=60)
    finish(tmp_path, *flags)
    assert fingerprint(tmp_path) == whole


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_f1_over_a_hundred_kills_at_random_moments_of_the_process(family, tmp_path):
    """From start-up to the last plot: imports, compilation, restoring, saving, the end."""
    flags, whole = family
    began = time.time()
    finish(tmp_path / 'warm', *flags)
    seconds, hits, rounds, rng = time.time() - began, 0, 0, random.Random(1)
    while hits < 34:        # in each of three families
        folder = tmp_path / str(rounds)
        for _ in range(5):
            hits += kill_after(start(folder, *flags), rng.uniform(0.1, 1.0) * seconds) == -signal.SIGKILL
        finish(folder, *flags)
        assert fingerprint(folder) == whole, f'round {rounds}'
        rounds += 1


@pytest.mark.parametrize(('signum', 'code'), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_f3_a_signal_saves_and_the_run_resumes_bit_for_bit(tmp_path, signum, code):
    flags = (
        *SMALL,
        '--config.model=mlp',
        '--config.steps=3000',
        '--config.checkpoint_every=3000',
        '--config.eval_every=3000',
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
    assert process.returncode == 143 and time.time() - began < 5      # the device call takes far longer


def test_f11_f12_a_finished_run_is_a_no_op_and_another_config_is_refused(tmp_path):
    flags = (*SMALL, '--config.model=mlp', '--config.steps=20')
    finish(tmp_path, *flags)
    before = fingerprint(tmp_path)
    assert 'is finished: accuracy' in finish(tmp_path, *flags)
    assert fingerprint(tmp_path) == before
    out = finish(tmp_path, *flags, '--config.rate=0.5', code=2)
    assert 'rate: was 0.003, now 0.5' in out and 'Traceback' not in out


JUMPING = """
import time
real, count = time.time, 0
def jumping():      # an hour back, a day ahead, and so on
    global count
    count += 1
    return real() + (-3600, 86400, 0)[count % 3]
time.time = jumping
"""


def test_f20_no_home_no_terminal_another_locale_and_time_zone_and_a_clock_that_jumps(tmp_path):
    flags = (*SMALL, '--config.model=mlp', '--config.steps=20')
    finish(tmp_path / 'a', *flags)
    bare = {k: v for k, v in environment().items() if k not in ('HOME', 'XDG_CACHE_HOME', 'LANG', 'LC_ALL', 'TERM')}
    (tmp_path / 'clock').mkdir()
    (tmp_path / 'clock' / 'sitecustomize.py').write_text(JUMPING)
    out = finish(tmp_path / 'b', *flags, env={**bare, 'LANG': 'C', 'TZ': 'Pacific/Kiritimati',
                                              'PYTHONPATH': str(tmp_path / 'clock')})
    assert fingerprint(tmp_path / 'a') == fingerprint(tmp_path / 'b') and 'Traceback' not in out
