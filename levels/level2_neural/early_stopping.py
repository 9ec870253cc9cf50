"""Early stopping that gives back the best parameters, as a wrapper of a task: so it is checkpointed, resumed and
vmapped over seeds like everything else, and each seed stops by itself.

    task = with_early_stopping(tasks.classifier(model, tx), every=50, patience=5)
    fitted = loop.fit(task, with_validation(data.resident(train, order), valid), steps=2000, key=key)
    state = fitted.carry.state
    state.best.params, state.best_step, state.stopped
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from common.data import Source
from common.task import Task

PyTree = Any
FIELD = 'validation'
_NONE = float(np.finfo(np.float32).max)      # finite: a guarded task (`wrappers.with_guard`) takes no infinity


class Stopping(NamedTuple):
    """State of `with_early_stopping`: `inner` goes on learning, `best` is what is kept (and what is evaluated)."""

    inner: PyTree
    best: PyTree
    best_value: Float[Array, '']        # the metric of `best`
    best_step: Int[Array, '']           # steps that `best` had taken
    steps: Int[Array, '']               # steps taken: they stand still once stopped
    bad: Int[Array, '']                 # evaluations since the best one
    stopped: Bool[Array, '']


def with_validation(source: Source, arrays: dict[str, Array]) -> Source:
    """The same batches, each with the whole validation set beside its rows, as batch['validation'].

    The set stays on the device (with the resident data), on every replica.
    """
    return source._replace(
        resident={'train': source.resident, FIELD: arrays},
        batch=lambda resident, host: {**source.batch(resident['train'], host), FIELD: resident[FIELD]})


def with_early_stopping(task: Task, *, every: int, patience: int, metric: str = 'loss', better: str = 'lower',
                        min_delta: float = 0.0) -> Task:
    """Evaluates on batch['validation'] after every so many steps, and keeps the best state; after `patience`
    evaluations in a row without a new best, no step changes anything any more.

    Formula: a value is a new best where it is below the best by more than min_delta ('lower'), or above ('higher');
        NaN never is. Prechelt 1998, Early stopping - but when?, is about such rules.
    every, patience: 1 or more.  metric: one of `task.evaluate`.
    Evaluation and `best` are of the best state.  Stopped steps are still computed by `loop.fit`, which knows no end but
    `steps`; `task.solve(..., done=stopped)` ends with the stop.  Steps where it is not due cost no evaluation, except
    for several seeds in one program, where vmap computes both sides of the choice.
    Raises ValueError for numbers out of range, a task without evaluate, a batch without 'validation'.
    """
    for name, value in (('every', every), ('patience', patience)):
        if value < 1:
            raise ValueError(f'{name}: expected 1 or more, found {value}')
    if better not in ('lower', 'higher') or not min_delta >= 0:
        raise ValueError("better, min_delta: expected 'lower' or 'higher' and 0 or more, "
                         f'found {better!r} and {min_delta}')
    if task.evaluate is None:
        raise ValueError('task: expected one with an evaluate function, found None')
    sign = 1.0 if better == 'lower' else -1.0

    def parts(batch):
        if FIELD not in batch:
            raise ValueError(f"batch: expected '{FIELD}' in it (see with_validation), found {sorted(batch)}")
        return {k: v for k, v in batch.items() if k != FIELD}, batch[FIELD]

    def init(key, batch):
        inner = task.init(key, parts(batch)[0])
        zero = jnp.zeros((), jnp.int32)
        copy = jax.tree.map(jnp.copy, inner)        # one buffer can't be donated twice
        return Stopping(inner, copy, jnp.asarray(sign * _NONE), zero, zero, zero, jnp.asarray(False))

    def look(key, state: Stopping, valid) -> Stopping:
        value = task.evaluate(key, state.inner, valid)[metric].value.astype(jnp.float32)
        is_best = sign * value < sign * state.best_value - jnp.where(state.best_step == 0, 0, min_delta)
        keep = lambda new, old: jax.tree.map(lambda a, b: jnp.where(is_best, a, b), new, old)
        bad = jnp.where(is_best, 0, state.bad + 1)
        return state._replace(best=keep(state.inner, state.best), best_value=keep(value, state.best_value), bad=bad,
                              best_step=keep(state.steps, state.best_step), stopped=bad >= patience)

    def step(key, state: Stopping, batch):
        rows, valid = parts(batch)
        inner, metrics = task.step(key, state.inner, rows)
        new = state._replace(inner=inner, steps=state.steps + 1)
        new = jax.lax.cond((new.steps % every == 0) & ~state.stopped, lambda s: look(key, s, valid), lambda s: s, new)
        held = jax.tree.map(lambda a, b: jnp.where(state.stopped, b, a), new, state)
        return held, metrics

    def evaluate(key, state: Stopping, batch):
        return task.evaluate(key, state.best, batch)

    return Task(init, step, evaluate)


def stopped(old: Stopping, new: Stopping) -> Bool[Array, '']:
    """For `task.solve(task, key, batch, max_steps=..., done=stopped)`."""
    del old
    return new.stopped
