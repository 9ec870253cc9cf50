"""The same work by us and by a peer, in turns: A B A B.

Each side is a process of its own that waits while the other runs.  Once with all cores, for the ratio of wall times;
once with one thread on each side, pinned to one core, for CPU seconds, which mean something on a busy machine too.
"""
import contextlib
import json
import os
import select
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator

from common.errors import UsageError
from tools.bench import machine
from tools.bench.forms import Pair, Quality
from tools.bench.workloads import ROOT

ONE = {'XLA_FLAGS': '--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1',
       **{f'{lib}_NUM_THREADS': '1' for lib in ('OMP', 'OPENBLAS', 'MKL', 'NUMEXPR')}}

PATIENCE = 300      # seconds without an answer


class Failed(Exception):
    """A worker ended before it should have."""


class Worker:
    """A process of `worker.py` and what it says."""

    def __init__(self, request: dict, env: dict[str, str]):
        self.noise = tempfile.TemporaryFile('w+')      # noqa: SIM115
        self.process = subprocess.Popen([sys.executable, '-m', 'tools.bench.worker', json.dumps(request)], cwd=ROOT,
                                        env={**os.environ, **env}, text=True, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=self.noise)

    def read(self, key: str):
        """The value of the next message, which must have that key.  Failed, or UsageError for what a person can fix."""
        if not select.select([self.process.stdout], [], [], PATIENCE)[0]:
            self.process.kill()
            raise Failed(f'no answer for {PATIENCE} s')
        line = self.process.stdout.readline()
        message = json.loads(line) if line else {}
        if 'error' in message:
            raise (UsageError if self.process.wait() == 2 else Failed)(message['error'])
        if key in ('turn', 'end'):
            return message
        if key not in message:
            self.noise.seek(0)
            last = self.noise.read().strip().splitlines()[-1:]
            raise Failed(f'a worker ended without {key}: {"".join(last)}')
        return message[key]

    def ring(self) -> None:
        self.process.stdin.write('go\n')
        self.process.stdin.flush()

    def turn(self) -> dict[str, float]:
        """Rings, and waits for what one repeat took."""
        self.ring()
        found = self.read('turn')
        if 'wall' not in found:
            raise Failed(f'a worker ended without a repeat: {found}')
        return found

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.noise.close()


@contextlib.contextmanager
def worker(request: dict, env: dict[str, str]) -> Iterator[Worker]:
    made = Worker(request, env)
    try:
        yield made
    finally:
        made.close()


def ask(request: dict, key: str, env: dict[str, str]):
    """The one message of a worker that takes no turns."""
    with worker(request, env) as w:
        return w.read(key)


def last_core() -> int | None:
    return max(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else None


def our_forms(pair: Pair) -> dict[str, dict]:
    """What our side may be given, as a peer its threads: all cores, one (`--cores=1`), or a device for each."""
    n = machine.cores()
    return {'all cores': {}, **({'one core': {'core': last_core()}} if pair.own_cores and n > 1 else {}),
            **({'a device for each core': {'devices': n}} if pair.own_devices and n > 1 else {})}


def our_form(pair: Pair, data_dir: str, env: dict[str, str]) -> dict:
    """The fastest of them by a short trial: {'form', 'trials', 'given'}."""
    forms, seconds = our_forms(pair), {}
    for name, given in forms.items() if len(forms) > 1 else ():
        with side(pair._replace(repeats=1, seeds=1), 'ours', data_dir, env, single=False, **given) as w:
            w.read('ready')
            w.turn()
            seconds[name] = w.turn()['wall'] / pair.steps
    best = min(seconds, key=seconds.get) if seconds else 'all cores'
    return {'form': best, 'trials': seconds, 'given': forms[best]}


def side(pair: Pair, name: str, data_dir: str, env: dict[str, str], *, single: bool, core: int | None = None,
         devices: int = 1, seed: int = 0):
    """The worker of one side; pinned to a core if one is given."""
    request = {'do': 'side', 'pair': pair.name, 'side': name, 'steps': pair.steps, 'repeats': pair.repeats,
               'seeds': pair.seeds, 'data_dir': data_dir, 'single': single, 'core': core, 'seed': seed}
    more = {'XLA_FLAGS': f'--xla_force_host_platform_device_count={devices}'} if devices > 1 else {}
    return worker(request, {**env, **more})


def in_turn(pair: Pair, sides: list[str], data_dir: str, env: dict, single: bool, given: dict | None = None) -> dict:
    """side -> what it said: wall and cpu seconds per repeat, quality, its configuration."""
    found: dict[str, dict] = {}
    with contextlib.ExitStack() as stack:
        workers = {}
        for name in sides:
            more = {'core': last_core()} if single else (given or {}) if name == 'ours' else {}
            workers[name] = stack.enter_context(side(pair, name, data_dir, env, single=single, **more))
            found[name] = {'ready': workers[name].read('ready'), 'wall_s': [], 'cpu_s': []}
        loads = [machine.load()]
        for i in range(pair.repeats + 1):
            for name, w in workers.items():
                took = w.turn()
                if i:
                    found[name]['wall_s'].append(took['wall'])
                    found[name]['cpu_s'].append(took['cpu'])
            loads.append(machine.load())
        for name, w in workers.items():
            w.ring()
            end = w.read('end')
            if 'quality' not in end:
                raise Failed(f'a worker ended without its quality: {end}')
            found[name] |= end
    return {'sides': found, 'load': [min(loads), max(loads)]}


def judge(quality: Quality, ours: list[float], theirs: list[float]) -> dict:
    """Whether our side is as good, within the margin; several seeds have two standard errors of the difference."""
    a, b = statistics.mean(ours), statistics.mean(theirs)
    error = sum(statistics.variance(x) / len(x) for x in (ours, theirs) if len(x) > 1) ** 0.5
    margin = max(quality.margin, 2 * error)
    worse = b - a if quality.better == 'higher' else a - b
    return {'name': quality.name, 'ours': a, 'theirs': b, 'seeds': len(ours), 'margin': margin,
            'equal': bool(worse <= margin)}


def conclude(pair: Pair, peer, both: dict, single: dict | None, cores: int) -> dict:
    """One row of the JSON, from what the sides said."""
    mine, other = both['sides']['ours'], both['sides'][peer.name]
    ratios = [b / a for a, b in zip(mine['wall_s'], other['wall_s'])]
    busy = machine.too_busy(*both['load'], on=cores)
    row = {'name': pair.name, 'peer': peer.name, 'what': pair.what, 'target': peer.target, 'unit': pair.unit,
           'units_per_repeat': pair.units_per_step * pair.steps, 'steps_per_repeat': pair.steps,
           'repeats': pair.repeats, 'load': both['load'],
           'wall_s': {'ours': mine['wall_s'], 'theirs': other['wall_s']},
           'wall_ratio': None if busy else statistics.median(ratios), 'wall_ratios': None if busy else ratios,
           'refused': f'load {max(both["load"])} on {cores} cores' if busy else None,
           'cpu_s_one_thread': None, 'cpu_ratio_one_thread': None, 'ours': mine['ready'], 'theirs': other['ready'],
           'quality': judge(pair.quality, mine['quality'][pair.quality.name], other['quality'][pair.quality.name])}
    row['peak_rss_bytes'] = {'ours': mine.get('peak_rss_bytes'), 'theirs': other.get('peak_rss_bytes')}
    row |= {'target_one_thread': peer.one, 'met_one_thread': None}
    if single:
        a, b = (single['sides'][name]['cpu_s'] for name in ('ours', peer.name))
        row['cpu_s_one_thread'] = {'ours': a, 'theirs': b}
        row['cpu_ratio_one_thread'] = statistics.median(b) / statistics.median(a)
        if peer.one is not None:
            row['met_one_thread'] = bool(row['cpu_ratio_one_thread'] >= peer.one and row['quality']['equal'])
    row['met'] = None if busy or peer.target is None else bool(
        row['wall_ratio'] >= peer.target and row['quality']['equal'])
    return row


def measure(pair: Pair, data_dir: str, env: dict[str, str], *, cpu: bool = True) -> list[dict]:
    """The rows of a pair, one for each peer; CPU seconds of one thread say nothing of a GPU, and are left out there."""
    sides = ['ours', *(p.name for p in pair.peers)]
    own = our_form(pair, data_dir, env) if cpu else {}
    both = in_turn(pair, sides, data_dir, env, single=False, given=own.get('given'))
    both['sides']['ours']['ready'] |= own
    few = pair._replace(repeats=min(3, pair.repeats), seeds=1)
    single = in_turn(few, sides, data_dir, {**env, **ONE}, single=True) if pair.one_thread and cpu else None
    return [conclude(pair, p, both, single, machine.cores()) for p in pair.peers]
