"""Searches that decide on all trials beforehand: grid, random, Halton.  Trials run in waves of `workers`."""

import itertools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from common.task import Task
from levels.level2_neural.tuning import contract
from levels.level2_neural.tuning.contract import Objective, Trials, Tuner
from levels.level2_neural.tuning.space import Space

PyTree = Any


class Waves(NamedTuple):
    """State: the table, all of its points known; how many trials have begun; the key that trials' keys come from."""

    trials: Trials
    begun: Int[Array, '']
    key: Key[Array, '']


def in_waves(objective: Objective, space: Space, trials: int, steps: int, workers: int, first: Callable,
             propose: Callable | None = None) -> Tuner:
    """The Task that runs `workers` trials at each step.

    first(key) -> points [trials, d].  propose(key, state, numbers [workers]) -> points [workers, d] of the trials of
    those numbers; by default the first ones.
    """
    def init(key, data):
        del data
        points_key, run_key = jax.random.split(key)
        table = contract.empty(trials, len(space))._replace(u=first(points_key).astype(jnp.float32))
        return Waves(table, jnp.zeros((), jnp.int32), run_key)

    def step(key, state: Waves, data):
        number = state.begun + jnp.arange(workers)
        real, at = number < trials, jnp.minimum(number, trials - 1)
        u = propose(key, state, at) if propose else state.trials.u[at]
        begin, run = contract.lanes(objective, space, u, data)
        _, score = run(begin(contract.keys_of(state.key, at)), jnp.where(real, steps, 0))
        rows = Trials(u, score, jnp.full(workers, steps, jnp.int32), jnp.ones(workers, bool))
        table = contract.put(state.trials, at, rows, real)
        begun = jnp.minimum(state.begun + workers, trials)
        return Waves(table, begun, state.key), contract.report(table, state.trials)

    return Tuner(Task(init, step), -(-trials // workers), dict(space), trials * steps)


def grid_search(objective: Objective, space: Space, *, levels: int, steps: int = 1, workers: int = 8) -> Tuner:
    """Every combination of `levels` values of each dimension (of all values of a choice), the last one fastest.

    Formula: level i of n of a continuous dimension lies at (i - 1) / (n - 1) of its (logarithmic) range.
    Paper: Fisher 1935, The design of experiments (factorial designs).
    Shapes: a Tuner of prod(levels) trials, each of `steps` steps; budget = trials x steps.
    Errors: ValueError for an empty space or dimension, or a number below 1.
    Example:
        from common.task import train_fn
        from levels.level2_neural.tuning.contract import from_function, ranking
        from levels.level2_neural.tuning.space import Uniform
        objective = from_function(lambda key, h, data: (h['x'] - 1.0) ** 2)
        search = grid_search(objective, {'x': Uniform(0.0, 4.0)}, levels=5)
        carry, _ = jax.jit(train_fn(search.task, search.rounds))(jax.random.key(0))
        assert ranking(search, carry.state).values['x'][0] == 1.0 and search.budget == 5
    """
    contract.checked(space, levels=levels, steps=steps, workers=workers)
    points = np.array(list(itertools.product(*(side.levels(levels) for side in space.values()))), np.float32)
    return in_waves(objective, space, len(points), steps, workers, lambda key: jnp.asarray(points))


def random_search(objective: Objective, space: Space, *, trials: int, steps: int = 1, workers: int = 8) -> Tuner:
    """Independent points, uniform over the (logarithmic) box.

    Formula: u_i ~ U(0, 1)^d; the same points and trials for any number of workers.
    Paper: Bergstra, Bengio 2012, Random search for hyper-parameter optimization.
    Shapes: a Tuner of `trials` trials, each of `steps` steps; budget = trials x steps.
    Errors: ValueError for an empty space or dimension, or a number below 1.
    Example:
        from common.task import train_fn
        from levels.level2_neural.tuning.contract import from_function, ranking, spent
        from levels.level2_neural.tuning.space import LogUniform
        objective = from_function(lambda key, h, data: (h['x'] - 1.0) ** 2)
        search = random_search(objective, {'x': LogUniform(0.1, 10.0)}, trials=100)
        carry, _ = jax.jit(train_fn(search.task, search.rounds))(jax.random.key(0))
        assert abs(ranking(search, carry.state).values['x'][0] - 1) < 0.2 and spent(carry.state) == search.budget
    """
    contract.checked(space, trials=trials, steps=steps, workers=workers)
    first = lambda key: jax.random.uniform(key, (trials, len(space)))
    return in_waves(objective, space, trials, steps, workers, first)


def halton(n: int, d: int) -> Float[np.ndarray, 'n d']:
    """The first n points of Halton's sequence in d dimensions, float64, beginning with 0.

    Formula: coordinate j of point i is the radical inverse of i in the j-th prime base p: with i = sum_k a_k p^k it is
        sum_k a_k p^-(k+1).
    Paper: Halton 1960, On the efficiency of certain quasi-random sequences of points.
    Shapes: [n, d] in [0, 1).
    Errors: ValueError for numbers below 1.
    Example:
        points = halton(4, 2)
        points[:, 0]            # 0, 1/2, 1/4, 3/4
        points[:, 1]            # 0, 1/3, 2/3, 1/9
        assert points.shape == (4, 2) and points[3, 1] == 1 / 9
    """
    if n < 1 or d < 1:
        raise ValueError(f'n, d: expected 1 or more; found {n} and {d}')
    primes = (p for p in itertools.count(2) if all(p % q for q in range(2, math.isqrt(p) + 1)))
    columns = []
    for base in itertools.islice(primes, d):
        left, value, digit = np.arange(n), np.zeros(n), 1 / base
        while left.any():
            value += digit * (left % base)
            left, digit = left // base, digit / base
        columns.append(value)
    return np.stack(columns, 1)


def halton_search(objective: Objective, space: Space, *, trials: int, steps: int = 1, workers: int = 8) -> Tuner:
    """Halton's sequence, moved by one random vector for each seed: more even than random points, d up to about 10.

    Formula: u_i = (halton_i + s) mod 1, s ~ U(0, 1)^d (Cranley, Patterson 1976).
    Paper: Halton 1960, On the efficiency of certain quasi-random sequences of points.
    Shapes: a Tuner of `trials` trials, each of `steps` steps; budget = trials x steps.
    Errors: ValueError for an empty space or dimension, or a number below 1.
    Example:
        from common.task import train_fn
        from levels.level2_neural.tuning.contract import from_function, ranking
        from levels.level2_neural.tuning.space import Uniform
        objective = from_function(lambda key, h, data: (h['x'] - 1.0) ** 2)
        search = halton_search(objective, {'x': Uniform(0.0, 4.0)}, trials=64)
        carry, _ = jax.jit(train_fn(search.task, search.rounds))(jax.random.key(0))
        assert abs(ranking(search, carry.state).values['x'][0] - 1) < 4 / 64
    """
    contract.checked(space, trials=trials, steps=steps, workers=workers)
    points = halton(trials, len(space))
    first = lambda key: (jnp.asarray(points, jnp.float32) + jax.random.uniform(key, (1, len(space)))) % 1.0
    return in_waves(objective, space, trials, steps, workers, first)
