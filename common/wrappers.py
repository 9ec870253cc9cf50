"""Task in, task out: what would otherwise be a fork of the loop.

    task = with_ema(with_augment(classifier(model, tx), random_shift), decay=0.999)

Clipping, schedules and weight decay are optax's; freezing parameters is `optim.freeze`, around the optimiser.
"""
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from common import parallel, trees
from common.task import Task

PyTree = Any


class WithEma(NamedTuple):
    inner: PyTree
    ema: PyTree


def with_ema(task: Task, decay: float, *, get: Callable = lambda s: s.params,
             put: Callable = lambda s, params: s._replace(params=params)) -> Task:
    """Keeps the average  e <- decay e + (1 - decay) params,  started at the first parameters; evaluation uses it.

    `get` and `put` say which part of the state is averaged (a GAN's generator, for example).
    Source: Polyak and Juditsky 1992, in its exponential form.  Raises ValueError unless 0 <= decay < 1.
    """
    if not 0 <= decay < 1:
        raise ValueError(f'decay: expected 0 <= decay < 1, found {decay}')

    def init(key, batch):
        inner = task.init(key, batch)
        return WithEma(inner, jax.tree.map(jnp.copy, get(inner)))   # a copy: one buffer can't be donated twice

    def step(key, state, batch):
        inner, metrics = task.step(key, state.inner, batch)
        return WithEma(inner, optax.incremental_update(get(inner), state.ema, 1 - decay)), metrics

    def evaluate(key, state, batch):
        return task.evaluate(key, put(state.inner, state.ema), batch)

    return Task(init, step, task.evaluate and evaluate)


def with_augment(task: Task, fn: Callable[[jax.Array, PyTree], PyTree], *, where: str = 'image') -> Task:
    """Training sees `fn(key, example)` in place of each example of batch[where].

    Each row has its own key, folded from the step and its place in the whole batch: the same pixels after a resume
    and on any number of devices.
    """
    def step(key, state, batch):
        key, aug = jax.random.split(key)
        keys = parallel.rows(lambda n: jax.random.split(aug, n), batch[where].shape[0])
        return task.step(key, state, {**batch, where: jax.vmap(fn)(keys, batch[where])})

    return task._replace(step=step)


def with_mixup(task: Task, alpha: float, n_classes: int, *, image: str = 'image', label: str = 'label') -> Task:
    """Training sees  x = w x_i + (1 - w) x_j  with labels  w y_i + (1 - w) y_j,  w ~ Beta(alpha, alpha) per row.

    j runs through the batch backwards, which is a random partner as batches are shuffled.  Labels become
    probabilities [batch, n_classes].  Source: Zhang et al. 2018, section 2.  Raises ValueError unless alpha > 0.
    """
    if not alpha > 0:
        raise ValueError(f'alpha: expected a positive number, found {alpha}')

    def step(key, state, batch):
        key, mix = jax.random.split(key)
        x = jnp.asarray(batch[image], jnp.float32)
        y = jax.nn.one_hot(batch[label], n_classes)
        w = parallel.rows(lambda n: jax.random.beta(mix, alpha, alpha, (n,)), x.shape[0])
        back = lambda a: parallel.mine(jnp.flip(parallel.gather(a), 0))
        blend = lambda a: (s := w.reshape((-1,) + (1,) * (a.ndim - 1))) * a + (1 - s) * back(a)
        return task.step(key, state, {**batch, image: blend(x), label: blend(y)})

    return task._replace(step=step)


def side_by_side(parts: Mapping[str, Task]) -> Task:
    """Tasks that learn from the same batches in one program; states are by name, metrics are called `metric_name`.

    All of them get the same keys: models whose layers have equal names begin with equal weights and drop alike, so
    that what they are compared for is all that differs.  Evaluates if all of them do.  Raises ValueError for none.
    """
    if not parts:
        raise ValueError('parts: expected one task or more, found none')
    flat = lambda found: {f'{metric}_{name}': v for name, values in found.items() for metric, v in values.items()}
    of_one = lambda name, *args: parts[name].step(*args)

    def init(key, batch):
        return {name: task.init(key, batch) for name, task in parts.items()}

    def step(key, state, batch):
        done = {name: of_one(name, key, state[name], batch) for name in parts}
        return {name: new for name, (new, _) in done.items()}, flat({name: found for name, (_, found) in done.items()})

    def evaluate(key, state, batch):
        return flat({name: task.evaluate(key, state[name], batch) for name, task in parts.items()})

    return Task(init, step, evaluate if all(task.evaluate for task in parts.values()) else None)


def with_transform(task: Task, fn: Callable[[PyTree], PyTree]) -> Task:
    """Training and evaluation alike see `fn(batch)`: scaling, normalising, casting of what is stored compactly."""
    def evaluate(key, state, batch):
        return task.evaluate(key, state, fn(batch))

    return task._replace(init=lambda key, batch: task.init(key, fn(batch)), evaluate=task.evaluate and evaluate,
                         step=lambda key, state, batch: task.step(key, state, fn(batch)))


class Guard(NamedTuple):
    """State of `with_guard`.  bad_step: the first refused step, or -1; bad_leaf: which array was not finite, by its
    number among the leaves of (metrics, state), or -1 for a loss spike; skipped: how many steps were refused."""
    inner: PyTree
    count: Int[Array, '']
    bad_step: Int[Array, '']
    bad_leaf: Int[Array, '']
    skipped: Int[Array, '']
    level: Float[Array, '']      # running mean of the loss


def with_guard(task: Task, policy: str = 'stop', *, spike: float = 0.0, warmup: int = 20) -> Task:
    """Refuses a step whose metrics or state hold NaN or infinity, or whose loss exceeds `spike` times its mean.

    A refused step leaves the state as it was: the last finite state is never lost, and nothing has to be asked of
    the device at each step.  'skip' goes on with the next batch; 'stop' and 'rollback' refuse every further step,
    until `loop.fit` sees it at its next event; 'rollback' then goes back to the last checkpoint's state and on with
    the batch after the bad one.  `spike` = 0 watches no spikes.  Must be the outermost wrapper.
    """
    if policy not in ('stop', 'skip', 'rollback'):
        raise ValueError(f"policy: expected 'stop', 'skip' or 'rollback', found {policy!r}")

    def init(key, batch):
        none = jnp.asarray(-1, jnp.int32)
        return Guard(
            task.init(key, batch), jnp.zeros((), jnp.int32), none, none, jnp.zeros((), jnp.int32), jnp.zeros(())
        )

    def step(key, state, batch):
        inner, metrics = task.step(key, state.inner, batch)
        flags = [~jnp.all(jnp.isfinite(x)) if jnp.issubdtype(x.dtype, jnp.inexact) else jnp.asarray(False)
                 for x in jax.tree.leaves((metrics, jax.tree.map(trees.raw, inner)))]
        bad = parallel.psum(jnp.stack(flags).astype(jnp.int32)) > 0
        leaf = jnp.where(bad.any(), jnp.argmax(bad), -1).astype(jnp.int32)
        refuse, level = bad.any(), state.level
        if spike and 'loss' in metrics:
            total, weight = parallel.psum(tuple(metrics['loss']))
            loss = total / weight
            refuse |= (state.count >= warmup) & (loss > spike * level)
            rate = jnp.maximum(0.02, 1 / (state.count + 1.0))
            level = jnp.where(refuse, level, level + rate * (loss - level)).astype(jnp.float32)
        if policy != 'skip':
            refuse |= state.bad_step >= 0
        keep = lambda new, old: jnp.where(refuse, old, new)
        first = refuse & (state.bad_step < 0)
        # A refused step reports nothing: its metrics could poison the window's mean.
        metrics = jax.tree.map(lambda x: jnp.where(refuse, jnp.zeros_like(x), x), metrics)
        return Guard(jax.tree.map(keep, inner, state.inner), state.count + 1,
                     jnp.where(first, state.count, state.bad_step), jnp.where(first, leaf, state.bad_leaf),
                     state.skipped + refuse, level), metrics

    def evaluate(key, state, batch):
        return task.evaluate(key, state.inner, batch)

    return Task(init, step, task.evaluate and evaluate, policy)


def blame(state: Guard, metrics: dict) -> str | None:
    """'step 17: params/Dense_0/kernel is not finite' for the first refused step; None when all were accepted.

    `metrics` has the structure of the task's metrics.  With several seeds, the seed that failed first is named.
    """
    host = jax.device_get(state._replace(inner=None))
    bad = host.bad_step.reshape(-1)
    if (bad < 0).all():
        return None
    seed = int(min((s, i) for i, s in enumerate(bad) if s >= 0)[1])
    leaf = int(host.bad_leaf.reshape(-1)[seed])
    names = [*trees.named_leaves({'metrics': metrics}), *trees.named_leaves(state.inner)]
    what = f'{names[leaf]} is not finite' if leaf >= 0 else 'the loss spiked'
    return f'step {int(bad[seed])}{f" of seed {seed}" if bad.size > 1 else ""}: {what}'
