"""The same script as two processes: trains, dies with a clear line, resumes, and agrees when to stop."""
import json
import signal
import socket

import pytest

from tests.faults.processes import SMALL, fingerprint, finish, start, wait_for_step

FLAGS = (*SMALL, '--config.model=mlp', '--strategy=mesh', '--config.steps=400', '--config.log_every=20',
         '--config.checkpoint_every=40', '--config.eval_every=200')


def both(folder, *flags):
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        port = s.getsockname()[1]
    return [start(folder, *FLAGS, *flags, f'--distributed=127.0.0.1:{port}', '--num_processes=2', f'--process_id={i}')
            for i in (0, 1)]


def outputs(processes):
    return [(p.communicate(timeout=120)[0], p.returncode) for p in processes]


@pytest.fixture(scope='module')
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp('two')
    for text, code in outputs(both(folder)):
        assert code == 0, text[-3000:]
    return folder


def test_two_processes_train_what_one_does(whole, tmp_path):
    finish(tmp_path, *FLAGS, '--host_devices=2')
    a, b = (json.loads((f / 'result.json').read_text())['metrics']['loss']['mean'] for f in (whole, tmp_path))
    assert abs(a - b) < 1e-4


@pytest.mark.parametrize('victim', [0, 1])
def test_one_is_killed_the_other_says_so_and_both_resume(whole, tmp_path, victim):
    processes = both(tmp_path)
    wait_for_step(tmp_path, 100)
    processes[victim].kill()
    text, code = outputs(processes)[1 - victim]
    assert code == 7 and f'error: process {1 - victim} of 2 lost another one' in text, (code, text[-3000:])
    assert 'start all of them again with the same commands' in text and 'Traceback' not in text
    for text, code in outputs(both(tmp_path)):
        assert code == 0, text[-3000:]
    assert fingerprint(tmp_path) == fingerprint(whole)


def test_sigterm_to_one_stops_both_at_the_same_saved_step(whole, tmp_path):
    processes = both(tmp_path)
    wait_for_step(tmp_path, 100)
    processes[1].send_signal(signal.SIGTERM)
    for text, code in outputs(processes):
        assert code == 143 and 'saved; the same command resumes' in text, (code, text[-3000:])
    for text, code in outputs(both(tmp_path)):
        assert code == 0, text[-3000:]
    assert fingerprint(tmp_path) == fingerprint(whole)
