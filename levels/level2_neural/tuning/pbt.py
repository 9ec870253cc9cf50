"""Population-based training: hyperparameters change while networks train."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, Key

from common.task import Task
from levels.level2_neural.tuning import contract
from levels.level2_neural.tuning.contract import Objective, Trials, Tuner
from levels.level2_neural.tuning.space import Space, moved

PyTree = Any


class Population(NamedTuple):
    """State: the population (`trials` has its present points and scores), trained states, how many rounds are done, and
    from whom each member took its state at the last exchange (its own number: from nobody)."""

    trials: Trials
    states: PyTree
    round: Int[Array, '']
    parent: Int[Array, ' P']


def exchange(key: Key[Array, ''], score: Array, share: float) -> Int[Array, ' P']:
    """Truncation selection: each of the worst members takes a random one of as many best; the others take themselves.

    As many as `share` of them, rounded down.  Ties stand in the order of their numbers.
    """
    members = len(score)
    some = int(share * members)
    order = jnp.argsort(score, stable=True)
    rank = jnp.argsort(order, stable=True)
    taken = order[jax.random.randint(key, (members,), 0, max(some, 1))]
    return jnp.where(rank >= members - some, taken, jnp.arange(members))


def pbt(objective: Objective, space: Space, *, population: int, steps: int, rounds: int, share: float = 0.25,
        factor: float = 1.2, resample: float = 0.25) -> Tuner:
    """All train side by side; again and again the worst copy weights and values of the best, and change the values.

    Formula: after each `steps` steps but the last, the worst floor(share P) take the state and the values of random
        ones of the best floor(share P); then each value is drawn anew with probability `resample`, else multiplied by
        `factor` or 1 / factor, with equal odds (a choice: the next or the last of its values).
    Paper: Jaderberg et al. 2017, Population based training of neural networks, sections 3 and 4.1.
    Shapes: a Tuner of `population` members, rounds x steps steps each; budget = population x steps x rounds. A row of
        the table is a member: its values are the last ones, and led to its score along with those before.
    Errors: ValueError for an empty space or dimension, a number below 1, a share outside 0..1/2, resample outside 0..1,
        a factor of 1 or less.
    Example:
        from common.task import train_fn
        from levels.level2_neural.tuning.contract import ranking, spent
        from levels.level2_neural.tuning.space import Uniform
        more = lambda state, h, data, steps: state + steps * (1.0 - jnp.abs(h['rate'] - 0.7))
        objective = Objective(lambda key, h, data: jnp.zeros(()), more, lambda state, h, data: -state)
        search = pbt(objective, {'rate': Uniform(0.0, 1.0)}, population=8, steps=5, rounds=10)
        carry, _ = jax.jit(train_fn(search.task, search.rounds))(jax.random.key(0))
        assert abs(ranking(search, carry.state).values['rate'][0] - 0.7) < 0.1 and spent(carry.state) == 400
    """
    contract.checked(space, population=population, steps=steps, rounds=rounds)
    if not (0 <= share <= 0.5 and 0 <= resample <= 1 and factor > 1):
        raise ValueError('share, resample, factor: expected 0..1/2, 0..1 and more than 1; '
                         f'found {share}, {resample} and {factor}')
    everyone, dims = jnp.arange(population), len(space)

    def init(key, data):
        points_key, run_key = jax.random.split(key)
        table = contract.empty(population, dims)._replace(u=jax.random.uniform(points_key, (population, dims)))
        begin, _ = contract.lanes(objective, space, table.u, data)
        return Population(table, begin(contract.keys_of(run_key, everyone)), jnp.zeros((), jnp.int32), everyone)

    def step(key, state: Population, data):
        on = state.round < rounds       # after its last round a search stands still
        _, run = contract.lanes(objective, space, state.trials.u, data)
        states, score = run(state.states, jnp.where(on, steps, 0))
        table = Trials(state.trials.u, score, state.trials.steps + jnp.where(on, steps, 0), jnp.ones(population, bool))
        keys = jax.random.split(key, 4)
        parent = jnp.where(state.round + 1 < rounds, exchange(keys[0], score, share), everyone)
        copied = (parent != everyone)[:, None]
        near = moved(space, table.u[parent], jax.random.bernoulli(keys[1], shape=(population, dims)), factor)
        anew = jax.random.bernoulli(keys[2], resample, (population, dims))
        u = jnp.where(anew, jax.random.uniform(keys[3], (population, dims)), near)
        moved_table = table._replace(u=jnp.where(copied, u, table.u), score=score[parent])
        states = jax.tree.map(lambda x: x[parent], states)
        parent = jnp.where(on, parent, state.parent)
        return Population(moved_table, states, state.round + on, parent), contract.report(table, state.trials)

    return Tuner(Task(init, step), rounds, dict(space), population * steps * rounds)
