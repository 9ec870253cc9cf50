"""Real runs as real processes, for tests that kill them."""
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROJECT = 'projects.level2_mnist.main'
SMALL = (
    '--config=smoke',
    '--config.baseline_rows=0',
    '--config.steps=120',
    '--config.log_every=5',
    '--config.eval_every=30',
    '--config.checkpoint_every=10',
    '--config.batch_size=32',
)


def environment(**more) -> dict:
    env = {k: v for k, v in os.environ.items() if k not in ('XLA_FLAGS', 'JAX_PLATFORMS')}
    return {**env, 'JAX_PLATFORMS': os.environ.get('AI_ROADMAP_TEST_PLATFORM', 'cpu'), **more}


def start(workdir, *flags, module=PROJECT, env=None, **kwargs) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, '-m', module, f'--workdir={workdir}', *flags], cwd=ROOT, text=True,
                            env=env or environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **kwargs)


def finish(workdir, *flags, code=0, timeout=300, **kwargs) -> str:
    """Runs to the end and returns what was printed."""
    process = start(workdir, *flags, **kwargs)
    out, _ = process.communicate(timeout=timeout)
    assert process.returncode == code, f'exit code {process.returncode}, expected {code}:\n{out[-3000:]}'
    return out


def result(workdir) -> dict:
    """What the run left in result.json."""
    return json.loads((Path(workdir) / 'result.json').read_text())


def fingerprint(workdir) -> tuple[str, str]:
    """(hash of the final state, hash of the metrics file)."""
    metrics = (Path(workdir) / 'metrics.jsonl').read_bytes()
    return result(workdir)['state_sha256'], hashlib.sha256(metrics).hexdigest()


def kill_after(process: subprocess.Popen, seconds: float, signum=signal.SIGKILL) -> int:
    """Sends the signal after so many seconds (or not, if the run is over by then) and returns the exit code."""
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signum)
    process.communicate(timeout=60)
    return process.returncode


def wait_for_step(workdir, step: int, timeout: float = 120) -> None:
    """Until metrics.jsonl has a training row of that step or a later one."""
    end = time.time() + timeout
    path = Path(workdir) / 'metrics.jsonl'
    while time.time() < end:
        if path.exists():
            rows = [json.loads(line) for line in path.read_text().splitlines() if line.endswith('}')]
            if any(r['step'] >= step for r in rows):
                return
        time.sleep(0.01)
    raise AssertionError(f'{path}: no row of step {step} within {timeout} s')
