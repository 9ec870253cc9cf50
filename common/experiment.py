"""From a run's flags to trained states: strategy, seeds, events, checkpoints.  What every project's `main` shares.

    trained = experiment.train(run, task, source_for=lambda seed: ..., evaluate=evaluate, vmap_helps=True)
    results.finish(run, trained, data=dataset.describe(), expected={...}, baseline={...})
"""
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec as P

from common import data, loop, strategies, trees
from common.checkpoint import Checkpoints
from common.errors import UsageError
from common.evaluate import evaluator
from common.progress import Progress
from common.runs import Run
from common.sharding import Rules
from common.task import Carry, Task
from common.wrappers import with_guard

PyTree = Any


class Trained(NamedTuple):
    """What `train` returns: a host Carry (of the task that was given) and final metrics for each seed, and seconds."""
    carries: list[Carry]
    metrics: dict[str, list[float]]
    seconds: loop.Seconds
    mode: str


def strategy(args, rules: Rules = ()) -> strategies.Strategy:
    """The strategy that --strategy, --mesh, --sharding and --reduction ask for.  Raises UsageError.

    rules: those of the project, after the command line's (the first that is found holds)
    """
    micro = args.micro_batches if args.reduction == 'ordered' else 0
    rules = [*((pattern, where if where == 'fsdp' else P(*where)) for pattern, where in args.sharding), *rules]
    if args.strategy == 'mesh':
        return strategies.mesh(dict(args.mesh) or None, rules, micro=micro)
    if jax.process_count() > 1:
        raise UsageError(f'--strategy={args.strategy} runs on one process; several need --strategy=mesh')
    return {'jit': strategies.jit, 'pmap': strategies.pmap}[args.strategy](rules, micro=micro)


def seed_mode(args, vmap_helps: bool) -> str:
    """How --seeds=N run: 'one', 'vmap' (one program), 'turn' (one after another) or 'devices' (one on each device)."""
    if args.seeds == 1:
        return 'one'
    if args.seed_mode != 'auto':
        return args.seed_mode
    return 'vmap' if vmap_helps else 'turn'


def train(
    run: Run,
    task: Task,
    source_for: Callable[[int], data.Source],
    *,
    evaluate: dict[str, np.ndarray] | Callable[[Carry], dict] | None = None,
    eval_batch: int = 1000,
    vmap_helps: bool = False,
    hooks: Sequence[loop.Hook] = (),
    started: Callable[[int], None] | None = None,
    units: dict[str, int] | None = None,
    rules: Rules = (),
) -> Trained:
    """Trains `task` for each seed of the run, resuming what is there, with logs, evaluations and checkpoints.

    source_for(seed): the data of that seed's run
    evaluate: arrays of the test set, or Carry of `task` -> its metrics (arrays [seeds] where the Carry has seeds)
    started(step): called when all is compiled and training begins, or goes back to a checkpoint, at that step
    rules: how the state of one seed is split over devices where it must be (environments); see sharding.py
    """
    args, config = run.args, run.config
    guarded = with_guard(task, args.on_nan, spike=args.loss_spike)
    bare = lambda carry: carry._replace(state=carry.state.inner)
    if callable(evaluate):
        score = lambda carry: evaluate(bare(carry))
    else:
        size = min(eval_batch, len(next(iter(evaluate.values())))) if evaluate else 0
        score = evaluator(guarded, evaluate, batch_size=size) if evaluate else None
    seeds = [config.seed + i for i in range(args.seeds)]
    mode = seed_mode(args, vmap_helps)
    run.env(devices=[d.device_kind for d in jax.devices()], processes=jax.process_count(), seed_mode=mode)
    more = {'hooks': [h._replace(fn=lambda step, carry, fn=h.fn: fn(step, bare(carry))) for h in hooks],
            'units': units or {}, 'started': started}
    if mode in ('one', 'turn'):
        parts = [_fit(run, guarded, [seed], source_for, score, strategy(args, rules),
                      f'seed{seed}' if mode == 'turn' else '', **more) for seed in seeds]
    else:
        behind = [(pattern, where if where == 'fsdp' else P(None, *where)) for pattern, where in rules]
        where = strategies.seed_per_device(len(seeds)) if mode == 'devices' else strategy(args, behind)
        parts = [_fit(run, guarded, seeds, source_for, score, where, '', **more)]
    carries = [bare(c) for fitted, _ in parts for c in _split(fitted.carry)]
    names = parts[0][1].keys()
    values = {k: [float(v) for _, m in parts for v in np.atleast_1d(m[k])] for k in names}
    seconds = loop.Seconds(*(sum(x) for x in zip(*(fitted.seconds for fitted, _ in parts))))
    return Trained(carries, values, seconds, mode)


def _fit(run: Run, task: Task, seeds: list[int], source_for, score, where, unit: str, *, hooks, units, started):
    """(Fitted, final metrics) of one program: one seed, or all of them with a leading axis."""
    args, c = run.args, run.config
    keys = [jax.random.key(seed) for seed in seeds]
    sources = [source_for(seed) for seed in seeds]
    source = data.for_seeds(sources) if len(seeds) > 1 else sources[0]
    last: dict[str, Any] = {}
    checkpoints = Checkpoints(run.checkpoints / unit, keep=args.keep, asynchronous=args.async_checkpoints,
                              on_error=args.on_save_error)
    with Progress(c.steps, unit, enabled=run.writes) as progress:
        since = 0

        def resumed(step: int) -> None:
            nonlocal since
            since = progress.start = step
            run.truncate(step, unit)
            if 0 < step < c.steps:
                progress.say(f'{unit + ": " if unit else ""}resumed at step {step}')
            if started:
                started(step)

        def log(step: int, values: dict, seconds: float) -> None:
            nonlocal since
            rate = (step - since) * max(source.rows, 1) * len(seeds) / max(seconds, 1e-9)
            since = step
            run.log(step, 'train', values, unit)
            rates = {f'{name}_per_s': rate * count for name, count in units.items()}
            run.timing(step, unit=unit, train_seconds=seconds, rows_per_s=rate, **rates)
            progress.update(step, {**values, **{f'test {k}': v for k, v in last.items() if k != 'loss'}},
                            rate if source.rows else None)

        def look(step: int, carry: Carry) -> None:
            last.update(score(carry))
            run.log(step, 'test', last, unit)
            run.sync()

        fitted = loop.fit(
            task, source, steps=c.steps, key=jnp.stack(keys) if len(seeds) > 1 else keys[0], strategy=where,
            steps_per_call=c.steps_per_call, log_every=c.log_every, log=log, checkpoints=checkpoints,
            checkpoint_every=c.checkpoint_every, hooks=[*([loop.Hook(c.eval_every, look)] if score else []), *hooks],
            restore={'on_corrupt': args.on_corrupt, 'allow_unverified': args.allow_unverified}, resumed=resumed)
        checkpoints.close()
    return fitted, last or (score(fitted.carry) if score else {})


def _split(carry: Carry) -> list[Carry]:
    """A Carry of N seeds -> N host Carries; one seed -> a list of one."""
    host = trees.to_host(carry) if jax.process_count() == 1 else jax.tree.map(_everywhere, carry)
    if carry.key.ndim == 0:
        return [host]
    return [Carry(host.step, host.key[i], jax.tree.map(lambda x, i=i: x[i], host.state)) for i in range(len(host.key))]


def _everywhere(x) -> np.ndarray:
    """The whole of a global array on this host, whichever processes hold its parts."""
    from jax.experimental import multihost_utils
    return np.asarray(multihost_utils.process_allgather(trees.raw(x), tiled=True))
