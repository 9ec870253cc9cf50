"""What is tuned, and what every searcher is: a Task of the common core, whose step is one round of trials.

    objective = from_task(lambda h: tasks.regressor(model, optax.adam(h['rate'])), valid=valid)
    search = asha(objective, space, budget=2000, workers=8, trials=64, rung=10)
    carry = loop.fit(search.task, data.constant(train), steps=search.rounds, key=key, checkpoints=...).carry
    table = ranking(search, carry.state)
    table.values['rate'][0], table.score[0]         # the best trial; lower scores are better

So trials run side by side in one program, a search that was killed goes on where it was, bit for bit, and seeds,
strategies, logs and guards are those of any other run.  `batch` is what the objective calls data: the same at each
round (`data.constant`).
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from common import metrics as M
from common.task import Task, advance, start
from levels.level2_neural.tuning import space as space_lib

PyTree = Any
WORST = float(np.finfo(np.float32).max)      # finite: a guarded task (`wrappers.with_guard`) takes no infinity


class Objective(NamedTuple):
    """One trial as pure functions; `hyper` is a dict of numbers.

    start(key, hyper, data) -> state
    advance(state, hyper, data, steps) -> state after so many steps more (a traced number); going on from a state must
        do what one longer call would have done
    score(state, hyper, data) -> a number, lower is better; NaN counts as the worst there is
    """

    start: Callable[[Array, Mapping[str, Array], PyTree], PyTree]
    advance: Callable[[PyTree, Mapping[str, Array], PyTree, Array], PyTree]
    score: Callable[[PyTree, Mapping[str, Array], PyTree], Array]


def from_task(make: Callable[[Mapping[str, Array]], Task], *, batch: Callable[[PyTree, Array], PyTree] | None = None,
              valid: Callable[[PyTree], PyTree] = lambda data: data['valid'], metric: str = 'loss') -> Objective:
    """A Task per trial: make(hyper) -> Task, whose rate, decay, rates of dropout... may be traced.

    batch(data, step) -> the batch of a step; by default data['train'], whole.  valid(data) -> what is scored on.
    metric: which of `evaluate`, lower being better.
    """
    batch = batch or (lambda data, step: data['train'])

    def more(carry, hyper, data, steps):
        one = lambda _, carry: advance(make(hyper), carry, batch(data, carry.step))[0]
        return jax.lax.fori_loop(0, steps, one, carry)

    def score(carry, hyper, data):
        return make(hyper).evaluate(carry.key, carry.state, valid(data))[metric].value

    begin = lambda key, hyper, data: start(make(hyper), key, batch(data, jnp.zeros((), jnp.int32)))
    return Objective(begin, more, score)


def from_function(fn: Callable[[Array, Mapping[str, Array], PyTree], Array]) -> Objective:
    """fn(key, hyper, data) -> score at once, for what does not train step by step: a step is one evaluation."""
    def begin(key, hyper, data):
        return key, jnp.asarray(WORST)

    def more(state, hyper, data, steps):
        return state[0], jnp.where(steps > 0, fn(state[0], hyper, data), state[1]).astype(jnp.float32)
    return Objective(begin, more, lambda state, hyper, data: state[1])


class Trials(NamedTuple):
    """The table of trials, [T] in the order in which they began.

    score: WORST where there is none yet, and for a trial that ended in NaN or infinity.  done: whether it was scored.
    steps: what each trial was charged.  Their sum never exceeds the budget.
    """

    u: Float[Array, 'T d']
    score: Float[Array, ' T']
    steps: Int[Array, ' T']
    done: Bool[Array, ' T']


class Tuner(NamedTuple):
    """task: a step is a round of trials; its state has a field `trials`, and `states` where trials are kept to go on.
    rounds: how many use up the budget.  budget: the steps that all trials together may take."""

    task: Task
    rounds: int
    space: space_lib.Space
    budget: int


class Table(NamedTuple):
    """Trials that have a score, best first; ties in the order of their beginning.  On the host."""

    trial: Int[np.ndarray, ' n']
    values: dict[str, np.ndarray]
    score: Float[np.ndarray, ' n']
    steps: Int[np.ndarray, ' n']


def ranking(tuner: Tuner, state: PyTree) -> Table:
    """What a search found; `state` is that of its task."""
    trials = jax.tree.map(np.asarray, jax.device_get(state.trials))
    order = np.argsort(trials.score, kind='stable')
    order = order[trials.done[order]]
    values = {k: np.asarray(v) for k, v in space_lib.decode(tuner.space, trials.u[order]).items()}
    return Table(order, values, trials.score[order], trials.steps[order])


def spent(state: PyTree) -> int:
    """Steps that all trials together have taken."""
    return int(np.asarray(jax.device_get(state.trials.steps)).sum())


# What searchers share.

def empty(n: int, d: int) -> Trials:
    """A table without trials."""
    return Trials(jnp.full((n, d), 0.5), jnp.full(n, WORST), jnp.zeros(n, jnp.int32), jnp.zeros(n, bool))


def checked(space: space_lib.Space, **numbers: int) -> None:
    """ValueError for a space without an inside, or for a number below 1."""
    space_lib.check(space)
    for name, value in numbers.items():
        if value != int(value) or value < 1:
            raise ValueError(f'{name}: expected a whole number of 1 or more; found {value}')


def lanes(objective: Objective, space: space_lib.Space, u: Float[Array, 'W d'], data: PyTree):
    """(start, run) of W trials side by side: start(keys) -> states, run(states, steps [W]) -> (states, scores).

    A trial that ends in NaN or infinity keeps the state that it had before, and scores WORST.
    """
    hyper = space_lib.decode(space, u)
    begin = lambda keys: jax.vmap(objective.start, (0, 0, None))(keys, hyper, data)

    def run(states, steps):
        steps = jnp.broadcast_to(jnp.asarray(steps, jnp.int32), u.shape[:1])
        new = jax.vmap(objective.advance, (0, 0, None, 0))(states, hyper, data, steps)
        fine = jax.vmap(_finite)(new)
        new = where(fine, new, states)
        found = jax.vmap(objective.score, (0, 0, None))(new, hyper, data).astype(jnp.float32)
        return new, jnp.where(fine & jnp.isfinite(found), found, WORST)
    return begin, run


def _finite(tree: PyTree) -> Bool[Array, '']:
    leaves = [x for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.inexact)]
    return jnp.stack([jnp.isfinite(x).all() for x in leaves]).all() if leaves else jnp.asarray(True)


def where(which: Bool[Array, ' n'], new: PyTree, old: PyTree) -> PyTree:
    """Rows of `new` where True, of `old` elsewhere."""
    return jax.tree.map(lambda a, b: jnp.where(which.reshape((-1,) + (1,) * (a.ndim - 1)), a, b), new, old)


def keys_of(key: Array, trials: Int[Array, ' W']) -> Array:
    """The key of each trial, by its number: the same wherever and whenever it runs."""
    return jax.vmap(jax.random.fold_in, (None, 0))(key, trials)


def put(table: PyTree, at: Int[Array, ' W'], rows: PyTree, real: Bool[Array, ' W']) -> PyTree:
    """The table [T, ...] with rows [W, ...] at places `at`, of which the `real` ones are all different.

    Written as a gather: each row of the table asks which lane, if any, holds it.
    """
    size = len(jax.tree.leaves(table)[0])
    hit = (at[None] == jnp.arange(size)[:, None]) & real[None]      # [T, W]
    lane = jnp.argmax(hit, 1)
    return where(hit.any(1), jax.tree.map(lambda new: new[lane], rows), table)


def report(trials: Trials, before: Trials) -> dict[str, M.Mean]:
    """Metrics of a round: the best score so far, and the steps that the round took."""
    best = trials.score.min()
    known = best < WORST
    taken = (trials.steps - before.steps).sum()
    return {'best': M.Mean(jnp.where(known, best, 0.0), known.astype(jnp.float32)),
            'steps': M.Mean(taken.astype(jnp.float32), jnp.ones(()))}

