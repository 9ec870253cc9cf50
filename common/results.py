"""What a run found: result.json, and the lines a person reads at the end."""
import time

import jax
import numpy as np
import psutil
from scipy import stats

from common import loop, runtime, trees
from common.experiment import Trained
from common.runs import Run
from common.task import Carry


def interval(values: list[float]) -> dict:
    """Mean over seeds with its 95 % interval by Student's t (null for one seed), and every seed's value."""
    mean, n = float(np.mean(values)), len(values)
    half = float(stats.t.ppf(0.975, n - 1) * np.std(values, ddof=1) / np.sqrt(n)) if n > 1 else None
    return {'mean': mean, 'ci95': [None, None] if half is None else [mean - half, mean + half], 'values': list(values)}


def passed(metrics: dict, expected: dict[str, tuple[float, str]]) -> bool:
    """Whether the mean of each expected metric is on the right side ('>=' or '<=') of its value.

    Raises ValueError when something is expected that was not measured.
    """
    if unknown := sorted(set(expected) - set(metrics)):
        raise ValueError(f'expected: {unknown[0]!r} is not among the metrics {sorted(metrics)}')
    sides = {'>=': lambda a, b: a >= b, '<=': lambda a, b: a <= b}
    return all(sides[op](metrics[name]['mean'], value) for name, (value, op) in expected.items())


def solved(states: list, metrics: dict[str, list[float]], *, compile: float, train: float) -> Trained:
    """What `experiment.train` returns, for a project that solves and takes no steps: one state and one value a seed."""
    key = jax.random.key_data(jax.random.key(0))
    carries = [Carry(np.zeros((), np.int32), key, state) for state in states]
    return Trained(carries, metrics, loop.Seconds(compile, train), 'vmap')


def state_sha256(carries: list[Carry]) -> str:
    """One hash of the final states of all seeds."""
    return trees.sha256([c.state for c in carries])


def finish(run: Run, trained: Trained, *, data: dict, expected: dict | None = None, baseline: dict | None = None,
           **more) -> dict:
    """Writes result.json and prints what the run found; returns the result."""
    metrics = {k: interval(v) for k, v in trained.metrics.items()}
    result = {
        'project': run.args.package.rpartition('.')[2], 'data': data, 'metrics': metrics, 'baseline': baseline or {},
        'expected': {k: list(v) for k, v in (expected or {}).items()}, 'passed': passed(metrics, expected or {}),
        'seeds': [run.config.seed + i for i in range(run.args.seeds)], 'seed_mode': trained.mode,
        'seconds': {'total': time.time() - psutil.Process().create_time(), **trained.seconds._asdict()},
        'state_sha256': state_sha256(trained.carries), 'versions': runtime.environment()['versions'],
        'device': jax.devices()[0].device_kind, 'devices': jax.device_count(), **more}
    run.result(result)
    if run.writes:
        _print(run, result)
    return result


def _print(run: Run, result: dict) -> None:
    n = len(result['seeds'])
    for name, m in result['metrics'].items():
        spread = f' [{m["ci95"][0]:.4f}, {m["ci95"][1]:.4f}] (95 % interval over {n} seeds)' if n > 1 else ''
        print(f'test {name}: {m["mean"]:.4f}{spread}')
    for name, (value, op) in result['expected'].items():
        verdict = 'reached' if passed(result['metrics'], {name: (value, op)}) else 'MISSED'
        print(f'expected {name} {op} {value}: {verdict}')
    for name, value in result['baseline'].items():
        print(f'baseline {name}: {value:.4f}')
    s = result['seconds']
    print(f'{s["total"]:.0f} s in all: {s["train"]:.1f} s training, {s["compile"]:.1f} s compiling')
    print(f'plots: {run.plots}')
