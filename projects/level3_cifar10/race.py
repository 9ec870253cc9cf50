"""Networks that may each train for the same CPU seconds, and what they know then."""
import time

import jax
import numpy as np

from common import data, datasets, experiment, folder, loop, trees
from common.checkpoint import Checkpoints
from common.errors import UsageError
from common.evaluate import evaluator
from common.runs import Run
from common.wrappers import with_guard
from projects.level3_cifar10 import models
from projects.level3_cifar10.watch import Watch

TRIAL = 12          # calls that are timed to learn how long a step takes
LOOKS = 8           # evaluations on the way


def compete(run: Run, dataset: datasets.Dataset, watch: Watch, pixels: tuple) -> experiment.Trained:
    """Trains each network of the race for each seed. How many steps fit into its seconds is measured first, and kept in
    race.json: a run that resumes takes the same, and its rate is that of a whole cycle."""
    c, args = run.config, run.args
    if jax.process_count() > 1:
        raise UsageError('--config.race: expected one process (CPU seconds are those of one), found '
                         f'{jax.process_count()}')
    seeds = [c.seed + i for i in range(args.seeds)]
    carries, metrics, took = [], {}, []
    for name in c.racers:
        steps = _steps(run, name, dataset.train, pixels)
        fits = [_fit(run, name, seed, steps, dataset, watch, pixels) for seed in seeds]
        carries += [carry for carry, _ in fits]
        took += [seconds for _, seconds in fits]
        metrics[f'accuracy_{name}'] = [watch.curve(name, seed)[-1][2] for seed in seeds]
        print(f'{models.NETWORKS[name].title}: {steps} steps, test accuracy {np.mean(metrics[f"accuracy_{name}"]):.4f}',
              flush=True)
    return experiment.Trained(carries, metrics, loop.Seconds(*(sum(x) for x in zip(*took))), 'turn')


def _source(c, train: dict, seed: int) -> data.Source:
    return data.resident(train, data.Order(len(train['label']), c.batch_size, seed=seed))


def _steps(run: Run, name: str, train: dict, pixels: tuple) -> int:
    """How many steps of this network fit into the seconds of the race: a whole number of device calls, at least one."""
    c, path = run.config, run.dir / 'race.json'
    known = folder.read_json(path) or {}
    if name not in known:
        ticks = []
        loop.fit(models.build(c, name, TRIAL, *pixels), _source(c, train, c.seed), steps=TRIAL * c.steps_per_call,
                 key=jax.random.key(c.seed), strategy=experiment.strategy(run.args), steps_per_call=c.steps_per_call,
                 hooks=[loop.Hook(c.steps_per_call, lambda *_: ticks.append(time.process_time()))])
        call = (ticks[-1] - ticks[0]) / (len(ticks) - 1)
        known[name] = max(1, int(c.race / max(call, 1e-9))) * c.steps_per_call
        folder.write_json(path, known)
    return known[name]


def _fit(run: Run, name: str, seed: int, steps: int, dataset: datasets.Dataset, watch: Watch, pixels: tuple):
    """(final Carry on the host, seconds) of one network and seed."""
    c, args, unit = run.config, run.args, f'{name}_seed{seed}'
    task = with_guard(models.build(c, name, steps, *pixels), args.on_nan, spike=args.loss_spike)
    score = watch.look(evaluator(task, dataset.test, batch_size=min(1000, len(dataset.test['label']))))
    every = -(-steps // LOOKS // c.steps_per_call) * c.steps_per_call
    checkpoints = Checkpoints(run.checkpoints / unit, keep=args.keep, asynchronous=args.async_checkpoints,
                              on_error=args.on_save_error)
    watch.expect(name, seed)

    def resumed(step: int) -> None:
        run.truncate(step, unit)
        watch.go(step)

    def look(step: int, carry) -> None:
        run.log(step, 'test', score(carry), unit)
        run.sync()

    fitted = loop.fit(task, _source(c, dataset.train, seed), steps=steps, key=jax.random.key(seed),
                      strategy=experiment.strategy(args), steps_per_call=c.steps_per_call, checkpoints=checkpoints,
                      checkpoint_every=every, hooks=[loop.Hook(every, look)], resumed=resumed,
                      log_every=every, log=lambda step, values, _: run.log(step, 'train', values, unit),
                      restore={'on_corrupt': args.on_corrupt, 'allow_unverified': args.allow_unverified})
    checkpoints.close()
    carry = trees.to_host(fitted.carry)
    return carry._replace(state=carry.state.inner), fitted.seconds
