"""The laws of every search for hyperparameters.  A new one must add its case here, or the count fails.

Every case tunes descent on (w - 1)^2 / 2: the rate, and where it pulls to. The best trial has rate 1 and target 1.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common import data, loop, trees
from common.checkpoint import Checkpoints
from common.task import train_fn
from common.wrappers import with_guard
from levels.catalogue import load, members
from levels.level2_neural.tuning import contract
from levels.level2_neural.tuning.contract import Objective, ranking, spent
from levels.level2_neural.tuning.space import Choice, LogUniform, Uniform, decode

KEY = jax.random.key(0)
SPACE = {'rate': LogUniform(1e-3, 1.0), 'target': Uniform(-1.0, 3.0), 'sign': Choice((-1.0, 1.0))}


def _more(w, h, pull, steps):
    return jax.lax.fori_loop(0, steps, lambda _, w: w - h['rate'] * (w - h['sign'] * h['target'] * pull), w)


DESCENT = Objective(lambda key, h, pull: 0.1 * jax.random.normal(key), _more, lambda w, h, pull: (w - pull) ** 2)
WILD = DESCENT._replace(      # a third of the trials end in infinity or NaN
    advance=lambda w, h, pull, steps: _more(w, h, pull, steps) / jnp.where(h['target'] > 1.7, 0.0, 1.0))
DATA = jnp.ones(())


class Case(NamedTuple):
    build: Callable             # factory, objective, workers -> Tuner
    reaches: float              # the best score is below, for any of the seeds tried
    workers: bool = True        # whether the same trials are run for any number of workers
    straight: bool = True       # whether a trial's score is that of training it alone for its steps


CASES = {
    'grid_search': Case(lambda f, o, w: f(o, SPACE, levels=5, steps=20, workers=w), 1e-3),
    'random_search': Case(lambda f, o, w: f(o, SPACE, trials=50, steps=20, workers=w), 0.05),
    'halton_search': Case(lambda f, o, w: f(o, SPACE, trials=50, steps=20, workers=w), 0.05),
    'asha': Case(lambda f, o, w: f(o, SPACE, budget=500, rung_steps=2, workers=w), 0.05, workers=False),
    'pbt': Case(lambda f, o, w: f(o, SPACE, population=2 * w, steps=5, rounds=10), 0.05, workers=False, straight=False),
    'tpe': Case(lambda f, o, w: f(o, SPACE, trials=50, steps=20, workers=w), 0.05, workers=False),
}


def build(row, objective=DESCENT, workers=6):
    return CASES[row.name].build(load(row), objective, workers)


def run(search, key=KEY, **kwargs):
    return loop.fit(search.task, data.constant(DATA), steps=kwargs.pop('steps', search.rounds), key=key, **kwargs).carry


@functools.cache
def whole(row):
    """(search, the Carry at its end, steps paid at each of its rounds and of two more): what most laws look at."""
    search, paid = build(row), []
    carry = run(search, steps=search.rounds + 2, log_every=1, log=lambda step, values, _: paid.append(values['steps']))
    return search, trees.to_host(carry), paid


def finds_what_is_best(row):
    """Three seeds, in one program."""
    search = build(row)
    states = jax.jit(jax.vmap(train_fn(search.task, search.rounds), (0, None)))(jax.random.split(KEY, 3), DATA)[0].state
    for seed in range(3):
        table = ranking(search, jax.tree.map(lambda x, i=seed: x[i], states))
        assert table.score[0] < CASES[row.name].reaches, (seed, table.score[0])
        assert (np.diff(table.score) >= 0).all() and len(table.score) > 5
        assert set(table.values) == set(SPACE) and set(np.unique(table.values['sign'])) <= {-1.0, 1.0}


def spends_the_budget_and_no_step_more(row):
    """Exactly, at its last round and not before, though workers do not divide it; and nothing after that."""
    search, carry, paid = whole(row)
    assert spent(carry.state) == search.budget == sum(paid) and len(paid) == search.rounds + 2
    assert paid[search.rounds - 1] > 0 and paid[search.rounds:] == [0, 0]


def goes_on_where_it_was_killed(row, folder):
    """Bit for bit, from a checkpoint in the middle of the search."""
    search, carry, _ = whole(row)
    half = max(1, search.rounds // 2)
    run(search, steps=half, checkpoints=Checkpoints(folder), checkpoint_every=half)
    again = run(search, steps=search.rounds + 2, checkpoints=Checkpoints(folder), checkpoint_every=search.rounds + 2)
    assert trees.sha256(trees.to_host(again.state)) == trees.sha256(carry.state)


def ranks_alike_however_it_runs(row):
    """By its seed alone: beside another seed in one program, and, where trials are fixed, with other workers."""
    search, carry, _ = whole(row)
    first = ranking(search, carry.state)
    seeds = jnp.stack([KEY, jax.random.key(1)])
    source = data.for_seeds([data.constant(DATA)] * 2)
    many = trees.to_host(loop.fit(search.task, source, steps=search.rounds, key=seeds).carry).state
    beside, other = (ranking(search, jax.tree.map(lambda x, i=i: x[i], many)) for i in range(2))
    assert np.array_equal(first.trial, beside.trial) and np.allclose(first.score, beside.score, rtol=1e-4, atol=1e-7)
    assert row.name == 'grid_search' or not np.array_equal(first.values['rate'], other.values['rate'])
    if CASES[row.name].workers:
        wide = build(row, workers=16)
        table = ranking(wide, run(wide).state)
        assert np.array_equal(table.trial, first.trial) and np.allclose(table.score, first.score, rtol=1e-5)


def trials_that_diverge_are_last(row):
    """NaN and infinity neither win, nor spread, nor stop a guarded run."""
    search = build(row, WILD)
    search = search._replace(task=with_guard(search.task, 'stop'))
    carry = run(search)
    table = ranking(search, carry.state.inner)
    lost = table.values['target'] > 1.7
    assert int(carry.state.bad_step) == -1 and (table.score[:3] < contract.WORST).all()
    assert (table.score[lost] == contract.WORST).all() and (lost.any() or row.name == 'pbt')
    assert (table.score[~lost] < contract.WORST).all() or row.name == 'pbt'


def a_trial_is_what_it_would_be_alone(row):
    """Trained in one go for its steps, from the key of its number: pauses and neighbours change nothing."""
    search, carry, _ = whole(row)
    if not CASES[row.name].straight:
        return
    trials, table = carry.state.trials, ranking(search, carry.state)

    @jax.jit
    def alone(trial, u, steps):
        hyper = decode(search.space, u)
        state = DESCENT.start(jax.random.fold_in(carry.state.key, trial), hyper, DATA)
        return DESCENT.score(DESCENT.advance(state, hyper, DATA, steps), hyper, DATA)

    for t in table.trial[:: max(1, len(table.trial) // 8)]:
        score = alone(t, trials.u[t], trials.steps[t])
        assert abs(score - trials.score[t]) < 1e-5 * max(1, abs(score)), t


LAWS = (finds_what_is_best, spends_the_budget_and_no_step_more, goes_on_where_it_was_killed,
        ranks_alike_however_it_runs, trials_that_diverge_are_last, a_trial_is_what_it_would_be_alone)
PAIRS = [(row, law) for row in members(kind='tuner') for law in LAWS]
RAN = set()


@pytest.mark.parametrize(('row', 'law'), [pytest.param(r, law, id=f'{r.name}-{law.__name__}') for r, law in PAIRS])
def test_law(row, law, tmp_path):
    law(row, tmp_path) if law is goes_on_where_it_was_killed else law(row)
    RAN.add((row.name, law.__name__))


def test_every_pair_ran(request):
    """Must stand last.  Where a selection (-k) left some out, those that were selected must have run."""
    assert {row.name for row in members(kind='tuner')} == set(CASES)
    assert len(PAIRS) == len(CASES) * len(LAWS) == 36
    selected = [i for i in request.session.items if i.module is request.module and i.originalname == 'test_law']
    assert len(RAN) == len(selected)
