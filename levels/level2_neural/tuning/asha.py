"""Asynchronous successive halving: most trials stop early, what looks good goes on."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from common.task import Task
from levels.level2_neural.tuning import contract
from levels.level2_neural.tuning.contract import Objective, Trials, Tuner
from levels.level2_neural.tuning.space import Space

PyTree = Any


class Jobs(NamedTuple):
    """Who works on what.  A trial at rung k has trained for rung_steps eta^k steps.

    rungs [T, K]: the score at each rung.  has, promoted [T, K]: whether it was scored there, and sent on from there.
    trial, rung, left [W]: of each worker; left: rounds until its job is done, 0 for one without a job.
    begun: trials that have begun.
    """

    rungs: Float[Array, 'T K']
    has: Bool[Array, 'T K']
    promoted: Bool[Array, 'T K']
    trial: Int[Array, ' W']
    rung: Int[Array, ' W']
    left: Int[Array, ' W']
    begun: Int[Array, '']


class Halving(NamedTuple):
    """State: the table, the trained state of each trial, jobs, and the key that trials' keys come from."""

    trials: Trials
    states: PyTree
    jobs: Jobs
    key: Key[Array, '']


def promotable(scores: Float[Array, 'T K'], has: Bool[Array, 'T K'], promoted: Bool[Array, 'T K'],
               eta: int) -> Bool[Array, 'T K']:
    """Which trials may go on from which rung: the best 1/eta (rounded down) of those scored there, not yet promoted.

    Ties go to the trial that began first.  None goes on from the last rung.
    """
    order = jnp.argsort(jnp.where(has, scores, jnp.inf), axis=0, stable=True)
    rank = jnp.argsort(order, axis=0, stable=True)
    top = has & (rank < has.sum(0, keepdims=True) // eta)
    return (top & ~promoted).at[:, -1].set(False)


def next_job(jobs: Jobs, worker: Int[Array, ''], eta: int) -> Jobs:
    """Gives a worker that has none a job: the best promotable trial of the highest rung, else a new trial, if any."""
    trials, rungs = jobs.rungs.shape
    may = promotable(jobs.rungs, jobs.has, jobs.promoted, eta)
    rung = jnp.max(jnp.where(may.any(0), jnp.arange(rungs), -1))
    at = jnp.maximum(rung, 0)
    best = jnp.argmin(jnp.where(may[:, at], jobs.rungs[:, at], jnp.inf))    # a score is never infinite
    free, up, new = jobs.left[worker] == 0, rung >= 0, jobs.begun < trials
    up, new = free & up, free & ~up & new
    trial = jnp.where(up, best, jnp.where(new, jobs.begun, jobs.trial[worker]))
    left = jnp.where(up, eta ** (at + 1) - eta**at, jnp.where(new, 1, jobs.left[worker]))
    mine = jnp.arange(len(jobs.left)) == worker
    sent = up & (jnp.arange(trials) == best)[:, None] & (jnp.arange(rungs) == at)[None]
    set_ = lambda old, value: jnp.where(mine, value, old).astype(old.dtype)
    return Jobs(jobs.rungs, jobs.has, jobs.promoted | sent, set_(jobs.trial, trial),
                set_(jobs.rung, jnp.where(up, at + 1, jnp.where(new, 0, jobs.rung[worker]))), set_(jobs.left, left),
                jobs.begun + new)


def asha(objective: Objective, space: Space, *, budget: int, rung_steps: int, rungs: int = 4, eta: int = 3,
         workers: int = 8, trials: int | None = None) -> Tuner:
    """Random trials in a race: of those that reach a rung, the best 1 / eta train on for eta times as long.

    Formula: rung k = 0..K-1 is reached after rung_steps eta^k steps. A worker without a job takes the best trial that
        is among the best floor(n_k / eta) of the n_k at rung k and was not sent on from there, k from K - 2 down; where
        there is none, it begins a new random trial. All workers train for rung_steps steps at each round.
    Paper: Li, Jamieson, Rostamizadeh, Gonina, Ben-tzur, Hardt, Recht, Talwalkar 2020, A system for massively parallel
        hyperparameter tuning, algorithm 2.
    Shapes: a Tuner; the states of all `trials` (by default as many as the budget could begin) are kept to go on from.
        The budget is used up to the last rung_steps, unless all trials have gone as far as they may. A score is of the
        highest rung that a trial has reached.
    Errors: ValueError for an empty space or dimension, eta below 2, a number below 1, a budget that is no multiple of
        rung_steps.
    Example:
        from common.task import train_fn
        from levels.level2_neural.tuning.contract import ranking, spent
        from levels.level2_neural.tuning.space import Uniform
        more = lambda state, h, data, steps: state + steps
        objective = Objective(lambda key, h, data: 0, more, lambda state, h, data: h['x'] + 1.0 / state)
        search = asha(objective, {'x': Uniform(0.0, 1.0)}, budget=400, rung_steps=1, workers=4, trials=200)
        carry, _ = jax.jit(train_fn(search.task, search.rounds))(jax.random.key(0))
        assert ranking(search, carry.state).steps[0] == 27 and spent(carry.state) == 400
    """
    contract.checked(space, budget=budget, rung_steps=rung_steps, rungs=rungs, workers=workers, eta=eta)
    if eta < 2 or budget % rung_steps:
        raise ValueError(f'eta, budget: expected eta of 2 or more and a multiple of rung_steps={rung_steps}; '
                         f'found {eta} and {budget}')
    if rung_steps * eta ** (rungs - 1) >= 2**31:
        raise ValueError(f'rungs: expected rung_steps eta^(rungs - 1) below 2^31; found {rungs}')
    parts = budget // rung_steps
    trials = parts if trials is None else trials
    contract.checked(space, trials=trials)

    def init(key, data):
        points_key, run_key = jax.random.split(key)
        table = contract.empty(trials, len(space))._replace(u=jax.random.uniform(points_key, (trials, len(space))))
        begin, _ = contract.lanes(objective, space, table.u[:1], data)
        one = begin(contract.keys_of(run_key, jnp.zeros(1, jnp.int32)))
        states = jax.tree.map(lambda x: jnp.repeat(x, trials, 0), one)      # place holders: overwritten as trials begin
        nothing = jnp.zeros(workers, jnp.int32)
        table_of = lambda value, dtype: jnp.full((trials, rungs), value, dtype)
        jobs = Jobs(table_of(contract.WORST, jnp.float32), table_of(False, bool), table_of(False, bool), nothing,
                    nothing, nothing, jnp.zeros((), jnp.int32))
        return Halving(table, states, jobs, run_key)

    def step(key, state: Halving, data):
        del key
        jobs = jax.lax.fori_loop(0, workers, lambda w, jobs: next_job(jobs, w, eta), state.jobs)
        # Whole parts of the budget go to the first workers that want one.
        can = parts - state.trials.steps.sum() // rung_steps
        wants = jobs.left > 0
        real = wants & (jnp.cumsum(wants) <= can)
        begin, run = contract.lanes(objective, space, state.trials.u[jobs.trial], data)
        fresh = state.trials.steps[jobs.trial] == 0
        kept = jax.tree.map(lambda x: x[jobs.trial], state.states)
        first = contract.where(fresh, begin(contract.keys_of(state.key, jobs.trial)), kept)
        new, score = run(first, jnp.where(real, rung_steps, 0))
        left = jobs.left - real
        scored = real & (left == 0)
        at_rung = jnp.arange(rungs)[None] == jobs.rung[:, None]
        old = jobs.rungs[jobs.trial], jobs.has[jobs.trial]
        marks = jnp.where(at_rung, score[:, None], old[0]), at_rung | old[1]
        rung_scores, has = contract.put((jobs.rungs, jobs.has), jobs.trial, marks, scored)
        rows = Trials(state.trials.u[jobs.trial], jnp.where(scored, score, state.trials.score[jobs.trial]),
                      state.trials.steps[jobs.trial] + rung_steps, state.trials.done[jobs.trial] | scored)
        table = contract.put(state.trials, jobs.trial, rows, real)
        jobs = jobs._replace(rungs=rung_scores, has=has, left=left)
        states = contract.put(state.states, jobs.trial, new, real)
        return Halving(table, states, jobs, state.key), contract.report(table, state.trials)

    # With trials to spare every worker is busy at each round; else at least one is, until nothing is left to do.
    rounds = math.ceil(parts / workers) if trials >= parts else parts
    return Tuner(Task(init, step), rounds, dict(space), budget)
