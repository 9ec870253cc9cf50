"""A project as its users run it, caught where it calls `loop.fit` (or `spread.compile`, if it solves): its own task
with guard, its own source, strategy and steps per call.  Nothing is built a second time here, so a project is measured
from the day it is there.
"""
import contextlib
import inspect
import os
import tempfile
import time
from collections.abc import Callable, Iterator

import jax
import numpy as np

from common import args as args_lib
from common import experiment, launch, loop, program, spread
from common.errors import UsageError
from tools.bench import flops, workloads

WARM, LEAST, MOST = 1, 3, 200      # calls that are not counted; calls at least and at most


class Caught(Exception):
    """The run has been measured, and need not go on."""


def command(name: str, strategy: str, folder: str, data_dir: str = '', *, devices: int = 0) -> list[str]:
    """What the project is started with: `folder` holds its run and the cold cache; `devices` are virtual ones, for
    pmap and mesh on a CPU.  JAX must not have been asked for devices before: it would keep to the one it found."""
    devices = 0 if strategy == 'jit' else devices
    more = [f'--data_dir={data_dir}'] if data_dir else []
    return ['--config=full', f'--workdir={os.path.join(folder, "run")}', f'--strategy={strategy}',
            f'--compile_cache={os.path.join(folder, "cache")}', f'--host_devices={devices}',
            *more, *workloads.ARGV.get(name, [])]


@contextlib.contextmanager
def caught(fit: Callable, solve: Callable) -> Iterator[dict]:
    """Within, what a project gives to `loop.fit` and `spread.compile` goes to these; yields {'units': of a row}."""
    seen, real = {'units': {}}, (loop.fit, spread.compile, experiment.train)

    def train(*args, **kwargs):
        seen['units'] = kwargs.get('units') or {}
        return real[2](*args, **kwargs)

    loop.fit, spread.compile, experiment.train = fit, solve, train
    try:
        yield seen
    finally:
        loop.fit, spread.compile, experiment.train = real


def run(name: str, argv: list[str], fit: Callable, solve: Callable) -> dict[str, int]:
    """Runs a project until `fit` or `solve` raises Caught.  The units that it says a row of its batches holds."""
    skip = workloads.SOLVER.get(name, 0)

    def wanted(*args):
        nonlocal skip
        skip -= 1
        if skip < 0:
            solve(*args)

    with caught(fit, wanted) as seen:
        try:
            launch.run_project(f'projects.{name}', argv)
        except Caught:
            return seen['units']
    raise UsageError(f'{name}: ended without a call of loop.fit or spread.compile')


def innermost(compiled):
    """The compiled program behind what a strategy gives: pmap's is wrapped, to be handed its device numbers."""
    return compiled if hasattr(compiled, 'cost_analysis') else inspect.getclosurevars(compiled).nonlocals['compiled']


def cost(compiled) -> dict:
    """FLOPs and bytes as XLA counts them (a scan's body once), and memory of the program: all of one device."""
    one = innermost(compiled)
    found, memory = one.cost_analysis() or {}, one.memory_analysis()
    parts = ('argument_size_in_bytes', 'output_size_in_bytes', 'temp_size_in_bytes')
    peak = sum(getattr(memory, p) for p in parts) - memory.alias_size_in_bytes if memory else None
    return {'flops': found.get('flops'), 'bytes': found.get('bytes accessed'), 'peak_bytes': peak}


def timed_compile(compile: Callable, seen: dict) -> Callable:
    """compile(...), twice: from nothing, and with what the first left in the cache.  Both include tracing."""
    def both(*args):
        for key in ('cold', 'warm'):
            jax.clear_caches()
            began = time.perf_counter()
            out = compile(*args)
            seen[key] = time.perf_counter() - began
        seen['cost'] = cost(out)
        return out
    return both


def enough(took: list[float], until: list[float], budget: float) -> bool:
    """Whether there are calls enough; the clock starts when those that are not counted are over."""
    if len(took) == WARM:
        until.append(time.perf_counter() + budget)
    return len(took) >= WARM + MOST or (len(took) >= WARM + LEAST and time.perf_counter() > until[0])


def one_step(task, source, key) -> tuple:
    """(one step of a task as `loop.fit` runs it, its arguments, of the state shapes alone)"""
    host = source.host(0, slice(None))
    state = jax.eval_shape(program.make_start(task, source), key, source.resident, host)
    args = (state, source.resident, jax.tree.map(lambda x: np.asarray(x)[None], host))
    return program.make_call(task, source, 1), args


def stand_ins(seen: dict, budget: float) -> tuple[Callable, Callable]:
    """For `loop.fit` and `spread.compile`: they time every device call for `budget` seconds and raise Caught."""
    real_fit, real_compile = loop.fit, spread.compile
    took, until = [], []

    def fit(task, source, *, strategy, steps_per_call, key, **_):
        seen.update(steps_per_call=steps_per_call, per_step=max(source.rows, 1), devices=strategy.devices, took=took,
                    data=source.resident, program=one_step(task, source, key))

        def log(step, values, seconds):
            took.append(seconds / steps_per_call)
            if enough(took, until, budget):
                raise Caught

        spied = strategy._replace(compile=timed_compile(strategy.compile, seen))
        real_fit(task, source, steps=steps_per_call * (WARM + MOST + 1), key=key, strategy=spied,
                 steps_per_call=steps_per_call, log_every=steps_per_call, log=log)

    def solve(strategy, fn, shared, split):
        problems = len(jax.tree.leaves(split)[0])
        seen.update(steps_per_call=1, per_step=problems, devices=strategy.devices, took=took, unit='problems',
                    data=(shared, split), program=(fn, (shared, split)))
        spied = strategy._replace(compile=timed_compile(strategy.compile, seen))
        run = real_compile(spied, fn, shared, split)
        while not enough(took, until, budget):
            began = time.perf_counter()
            run(shared, split)
            took.append(time.perf_counter() - began)
        raise Caught

    return fit, solve


def measure(request: dict) -> dict:
    """The row of one project and strategy: see docs/benchmarks.md."""
    name, strategy, seen = request['project'], request['strategy'], {'unit': 'rows'}
    with tempfile.TemporaryDirectory() as folder:
        argv = command(name, strategy, folder, request['data_dir'], devices=request['devices'])
        units = run(name, argv, *stand_ins(seen, 1.0 if request['quick'] else 4.0))
        if strategy != 'jit' and seen['devices'] < request['devices']:
            raise RuntimeError(f'{strategy}: expected {request["devices"]} devices, found {seen["devices"]}')
        config = args_lib.parse(f'projects.{name}', argv).config
    unit, count = next(iter(units.items()), (seen['unit'], 1))
    took = seen['took'][WARM:]
    p10, p50, p90 = (float(x) for x in np.percentile(took, [10, 50, 90]))
    return {'name': name, 'strategy': strategy, 'devices': seen['devices'], 'steps_per_call': seen['steps_per_call'],
            'unit': unit, 'units_per_step': seen['per_step'] * count, 'units_per_s': seen['per_step'] * count / p50,
            'compile_s': {'cold': seen['cold'], 'warm': seen['warm']},
            'step_s': {'p10': p10, 'p50': p50, 'p90': p90, 'calls': len(took)},
            'flops': {'analytic': flops.of(name, config, seen['data'], seen['program']), 'xla': seen['cost']['flops']},
            'bytes': seen['cost']['bytes'], 'peak_bytes': seen['cost']['peak_bytes']}


def lowered(name: str, folder: str) -> tuple:
    """One step of a project under jit, for shapes alone: nothing is compiled, nothing runs.

    (jitted function, its arguments as shapes, bytes of its data), for `.lower(*args)` or `jax.make_jaxpr`.
    """
    found = []

    def fit(task, source, *, key, **_):
        call, args = one_step(task, source, key)
        found.append((jax.jit(call, donate_argnums=0), args, source.resident))
        raise Caught

    def solve(strategy, fn, shared, split):
        found.append((jax.jit(fn), (shared, split), shared))
        raise Caught

    keep = os.environ.get('JAX_COMPILATION_CACHE_DIR') or 'off'
    argv = [a for a in command(name, 'jit', folder) if not a.startswith('--compile_cache')]
    run(name, [*argv, f'--compile_cache={keep}', '--nomalloc_tuning'], fit, solve)
    jitted, args, data = found[0]
    size = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(data) if not jax.dtypes.issubdtype(
        x.dtype, jax.dtypes.prng_key))
    return jitted, jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), args), size
