"""Searches beside plain Python: SciPy's Halton points, a queue for ASHA, loops for TPE's densities, sorting for PBT."""

import itertools
import math
from statistics import NormalDist

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.stats
from parity_ledger import compare

from common import tasks
from common.task import advance, start, train_fn
from levels.level2_neural.mlp import MLP
from levels.level2_neural.tuning import asha, contract, parzen, pbt, space, tpe, waves
from levels.level2_neural.tuning.contract import Objective, ranking
from levels.level2_neural.tuning.space import Choice, Integer, LogUniform, Uniform

KEY = jax.random.key(0)
BOX = {'a': Uniform(-1.0, 3.0), 'b': LogUniform(1e-4, 1.0), 'c': Integer(2, 6)}


def searched(search, key=KEY, data=None):
    return jax.jit(train_fn(search.task, search.rounds))(key, data)[0].state


def test_halton_is_scipy_s():
    for n, d in ((1, 1), (100, 3), (1000, 8)):
        theirs = scipy.stats.qmc.Halton(d, scramble=False).random(n)
        compare('halton', 'scipy.stats.qmc.Halton', f'{n} points, d = {d}', waves.halton(n, d), theirs, 1e-14)
    points = np.asarray(waves.halton_search(contract.from_function(lambda k, h, x: h['a']), BOX, trials=64).task.init(
        KEY, None).trials.u, np.float64)
    shift = (points[0] - waves.halton(64, 3)[0]) % 1
    compare('halton_search', 'scipy.stats.qmc.Halton', 'points, moved by one vector', (points - shift + 1e-6) % 1,
            (scipy.stats.qmc.Halton(3, scramble=False).random(64) + 1e-6) % 1, 1e-6)
    rough = scipy.stats.qmc.discrepancy(np.random.default_rng(0).uniform(size=(64, 3)))
    assert scipy.stats.qmc.discrepancy(points) < 0.5 * rough


def test_a_grid_is_numpy_s_product():
    search = waves.grid_search(contract.from_function(lambda k, h, x: h['a']), BOX, levels=4)
    values = space.decode(BOX, search.task.init(KEY, None).trials.u)
    theirs = np.array(list(itertools.product(np.linspace(-1, 3, 4), np.geomspace(1e-4, 1, 4), range(2, 7))))
    compare('grid_search', 'itertools.product of numpy.linspace', 'points', np.stack(list(values.values()), 1), theirs,
            1e-6)


def test_random_points_are_uniform():
    search = waves.random_search(contract.from_function(lambda k, h, x: h['a']), BOX, trials=4000)
    values = space.decode(BOX, search.task.init(KEY, None).trials.u)
    for name, law in (('a', scipy.stats.uniform(-1, 4)), ('b', scipy.stats.loguniform(1e-4, 1))):
        law_p = scipy.stats.kstest(np.asarray(values[name]), law.cdf).pvalue
        assert law_p > 1e-3, (name, law_p)
    counts = np.unique(np.asarray(values['c']), return_counts=True)
    assert counts[0].tolist() == [2, 3, 4, 5, 6] and scipy.stats.chisquare(counts[1]).pvalue > 1e-3
    empirical = np.quantile(np.asarray(values['a']), np.linspace(0.05, 0.95, 19))
    compare('random_search', 'numpy.linspace', 'quantiles of 4000 points', empirical,
            -1 + 4 * np.linspace(0.05, 0.95, 19), 0.1)


def test_space_round_trip():
    u = jax.random.uniform(KEY, (50, 3))
    values = space.decode(BOX, u)
    back = space.decode(BOX, space.encode(BOX, values))
    assert all(np.allclose(values[k], back[k], rtol=1e-4, atol=1e-6) for k in BOX)
    ends = space.decode(BOX, jnp.array([[0.0] * 3, [1.0] * 3]))
    assert np.allclose(np.stack(list(ends.values()), 1), [[-1, 1e-4, 2], [3, 1, 6]], rtol=1e-5)
    middle = space.encode(BOX, {'a': 1.0, 'b': 0.01, 'c': 4.0})
    up = space.decode(BOX, space.moved(BOX, middle, jnp.ones(3, bool), 1.2))
    down = space.decode(BOX, space.moved(BOX, middle, jnp.zeros(3, bool), 2.0))
    assert np.allclose([up[k] for k in BOX], [1.2, 0.012, 5], rtol=1e-4)
    assert np.allclose([down[k] for k in BOX], [0.5, 0.005, 3], rtol=1e-4)


class Queue:
    """ASHA as the paper's algorithm 2 is written: lists, one worker after the other."""

    def __init__(self, eta, rungs, trials):
        self.eta, self.trials, self.begun = eta, trials, 0
        self.rungs = [{} for _ in range(rungs)]         # trial -> score
        self.sent = [set() for _ in range(rungs)]

    def job(self):
        """(trial, rung) for a worker that asks."""
        for k in reversed(range(len(self.rungs) - 1)):
            best = sorted(self.rungs[k], key=lambda t: (self.rungs[k][t], t))[: len(self.rungs[k]) // self.eta]
            if may := [t for t in best if t not in self.sent[k]]:
                self.sent[k].add(may[0])
                return may[0], k + 1
        if self.begun < self.trials:
            self.begun += 1
            return self.begun - 1, 0
        return None



CURVES = Objective(lambda key, h, data: jnp.zeros((), jnp.int32), lambda s, h, data, steps: s + steps,
                   lambda s, h, data: jnp.round(10 * (h['x'] + jnp.cos(9 * h['x'] + s / 4) / jnp.sqrt(s))) / 10)


@pytest.mark.parametrize(('eta', 'rungs', 'workers', 'trials', 'budget'),
                         [(3, 3, 4, 60, 120), (2, 5, 3, 12, 200), (4, 2, 5, 40, 66)])
def test_asha_gives_the_jobs_of_a_queue(eta, rungs, workers, trials, budget):
    search = asha.asha(CURVES, {'x': Uniform(0.0, 1.0)}, budget=budget, rung_steps=1, rungs=rungs, eta=eta,
                       workers=workers, trials=trials)
    state = searched(search)
    x = np.asarray(state.trials.u)[:, 0]
    queue, work, steps, paid = Queue(eta, rungs, trials), [None] * workers, np.zeros(trials, int), 0
    for _ in range(search.rounds):
        for w in range(workers):
            if work[w] is None and (job := queue.job()):
                work[w] = [*job, eta ** job[1] - steps[job[0]]]
        for w in range(workers):
            if work[w] and paid < budget:
                trial, rung, left = work[w]
                steps[trial], paid = steps[trial] + 1, paid + 1
                work[w][2] = left - 1
                if left == 1:
                    score = float(jnp.round(10 * (x[trial] + jnp.cos(9 * x[trial] + steps[trial] / 4)
                                                  / jnp.sqrt(steps[trial]))) / 10)
                    queue.rungs[rung][trial], work[w] = score, None
    table = np.full((trials, rungs), contract.WORST)
    for k, rung in enumerate(queue.rungs):
        for trial, score in rung.items():
            table[trial, k] = score
    assert np.array_equal(state.jobs.has, table < contract.WORST)
    compare('asha', 'a queue in Python', f'steps of each trial, eta {eta}', state.trials.steps, steps, 0.0)
    known = lambda scores: np.where(state.jobs.has, scores, 0)
    compare('asha', 'a queue in Python', f'scores at the rungs, eta {eta}', known(state.jobs.rungs), known(table), 1e-6)
    assert int(state.trials.steps.sum()) == paid and len(queue.rungs[-1]) > 0


def densities(points, x):
    """The mixture of `parzen.py` in loops and float64: log density at x."""
    points = sorted(points)
    n = len(points)
    parts = [(0.5, 1.0)]
    for i, p in enumerate(points):
        left = points[i - 1] if i else 0.0
        right = points[i + 1] if i + 1 < n else 1.0
        parts.append((p, min(max(p - left, right - p, 1 / min(100, n + 1)), 1.0)))
    total = 0.0
    for centre, width in parts:
        law = NormalDist(centre, width)
        total += law.pdf(x) / (law.cdf(1) - law.cdf(0)) / (n + 1)
    return math.log(total)


@pytest.mark.parametrize('n', [0, 1, 7, 30])
def test_tpe_s_densities(n):
    rng = np.random.default_rng(n)
    u, seen, x = rng.uniform(size=40), np.zeros(40, bool), rng.uniform(size=25)
    seen[rng.permutation(40)[:n]] = True
    u[:2] = u[2]                                                 # ties
    mix = parzen.mixture(jnp.asarray(u, jnp.float32), jnp.asarray(seen))
    ours = parzen.log_density(mix, jnp.asarray(x, jnp.float32))
    theirs = np.array([densities(u[seen], v) for v in x])
    compare('tpe', 'loops in Python', f'log density of {n} points', ours, theirs, 1e-4)
    mass = np.exp(np.asarray(parzen.log_density(mix, jnp.linspace(0, 1, 4001)), np.float64))
    assert abs(np.trapezoid(mass, dx=1 / 4000) - 1) < 2e-3
    draws = np.asarray(parzen.draw(KEY, mix, 4000))
    grid = np.linspace(0, 1, 2001)
    cdf = np.cumsum(np.exp(np.asarray(parzen.log_density(mix, jnp.asarray(grid)), np.float64))) / 2000
    assert scipy.stats.kstest(draws, lambda v: np.interp(v, grid, cdf / cdf[-1])).pvalue > 1e-3
    share = parzen.shares(jnp.asarray((u * 3).astype(int)), jnp.asarray(seen), 3)
    counts = np.bincount((u[seen] * 3).astype(int), minlength=3)
    compare('tpe', 'numpy.bincount', f'probabilities of a choice, {n} points', share, (counts + 1 / 3) / (n + 1), 1e-6)


def test_tpe_proposes_by_the_ratio_of_good_to_bad():
    """The split, and log l - log g of every candidate, by loops; a trial takes the candidate of the largest."""
    rng = np.random.default_rng(0)
    box = {'a': Uniform(0.0, 1.0), 'c': Choice((1.0, 2.0, 3.0))}
    u, score, done = rng.uniform(size=(20, 2)), np.round(rng.uniform(size=20), 1), np.arange(20) < 17
    table = contract.Trials(jnp.asarray(u, jnp.float32), jnp.asarray(score, jnp.float32), jnp.zeros(20, jnp.int32),
                            jnp.asarray(done))
    x, gain = (np.asarray(v) for v in tpe.propose(KEY, box, table, gamma=0.2, candidates=24))
    order = sorted(np.flatnonzero(done), key=lambda t: (score[t], t))
    good, bad = order[:4], order[4:]                             # ceil(0.2 * 17) = 4
    split = tpe.split(table, 0.2)
    assert set(np.flatnonzero(split[0])) == set(good) and set(np.flatnonzero(split[1])) == set(bad)
    expected = []
    for point in x:
        parts = [densities(u[rows, 0], point[0]) + math.log((sum(int(3 * v) == int(3 * point[1]) for v in u[rows, 1])
                 + 1 / 3) / (len(rows) + 1)) for rows in (good, bad)]
        expected.append(parts[0] - parts[1])
    compare('tpe', 'loops in Python', 'log l - log g of 24 candidates', gain, np.array(expected), 1e-4)


def test_pbt_exchanges_as_sorting_says():
    score = jnp.asarray([5.0, 1.0, 9.0, 2.0, 9.0, 3.0, 0.5, 7.0])
    parents = np.stack([np.asarray(pbt.exchange(jax.random.key(i), score, 0.25)) for i in range(40)])
    order = sorted(range(8), key=lambda i: (float(score[i]), i))
    for member in range(8):
        expected = set(order[:2]) if member in order[-2:] else {member}
        assert set(parents[:, member].tolist()) == expected
    compare('pbt', 'sorting in Python', 'who stays', parents[:, sorted(order[:6])].astype(float),
            np.broadcast_to(np.array(sorted(order[:6]), float), (40, 6)), 0.0)


def test_pbt_copies_states_and_moves_values():
    """Round by round: members that were copied have their parent's state, others kept theirs and their values."""
    more = lambda s, h, data, steps: s + steps * h['rate']
    objective = Objective(lambda key, h, data: jnp.zeros(()), more, lambda s, h, data: -s)
    search = pbt.pbt(objective, {'rate': Uniform(0.1, 1.0)}, population=8, steps=2, rounds=6, resample=0.0)
    carry, copies = start(search.task, KEY, None), 0
    step = jax.jit(lambda carry: advance(search.task, carry, None)[0])
    for i in range(6):
        old, carry = carry.state, step(carry)
        new, rate = carry.state, np.asarray(space.decode(search.space, old.trials.u)['rate'])
        trained, parent = np.asarray(old.states) + 2 * rate, np.asarray(new.parent)
        assert np.allclose(new.states, trained[parent], rtol=1e-6)
        ratio = np.asarray(space.decode(search.space, new.trials.u)['rate']) / rate[parent]
        moved = parent != np.arange(8)
        edge = np.isclose(np.asarray(new.trials.u)[:, 0], 0) | np.isclose(np.asarray(new.trials.u)[:, 0], 1)
        near = np.isclose(ratio, 1.2, rtol=1e-4) | np.isclose(ratio, 1 / 1.2, rtol=1e-4) | edge
        assert np.allclose(ratio[~moved], 1) and near[moved].all()
        copies += moved.sum()
        assert moved.sum() == (2 if i < 5 else 0), 'the last round is for measuring only'
    assert copies == 10


def test_a_network_is_tuned_as_a_task():
    """from_task: every trial of a wave is the run that `train_fn` would do with its values, and the rate matters."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(64, 4)).astype(np.float32)
    y = np.sin(x[:, 0]) + x[:, 1]
    data = {'train': {'x': x[:48], 'y': y[:48]}, 'valid': {'x': x[48:], 'y': y[48:]}}
    make = lambda h: tasks.regressor(MLP((8,), 1, kind='regression', activation='tanh'), optax.adam(h['rate']))
    box = {'rate': LogUniform(1e-5, 1e-1)}
    search = waves.grid_search(contract.from_task(make), box, levels=5, steps=60, workers=2)
    state = searched(search, data=data)
    table = ranking(search, state)
    for i in (0, 3):
        t = int(table.trial[i])
        task = make({'rate': table.values['rate'][i]})
        carry = jax.jit(train_fn(task, 60))(jax.random.fold_in(state.key, t), data['train'])[0]
        alone = float(task.evaluate(KEY, carry.state, data['valid'])['loss'].value)
        assert abs(alone - table.score[i]) < 1e-4 * alone
    assert table.score[0] < 0.3 * table.score[-1] and 1e-3 < table.values['rate'][0] < 0.2


@pytest.mark.parametrize(('call', 'message'), [
    (lambda f: waves.grid_search(f, {}, levels=2), 'space: expected one dimension'),
    (lambda f: waves.random_search(f, {'a': Uniform(1.0, 1.0)}, trials=2), r"space\['a'\]: expected low < high"),
    (lambda f: waves.random_search(f, {'a': LogUniform(0.0, 1.0)}, trials=2), r"space\['a'\]: expected low < high"),
    (lambda f: waves.halton_search(f, {'a': Choice(())}, trials=2), r"space\['a'\]: expected low < high"),
    (lambda f: waves.halton_search(f, BOX, trials=0), 'trials: expected a whole number'),
    (lambda f: waves.halton(0, 1), 'n, d: expected 1 or more'),
    (lambda f: asha.asha(f, BOX, budget=10, rung_steps=3), 'eta, budget: expected'),
    (lambda f: asha.asha(f, BOX, budget=9, rung_steps=3, eta=1), 'eta, budget: expected'),
    (lambda f: pbt.pbt(f, BOX, population=4, steps=1, rounds=1, share=0.7), 'share, resample, factor: expected'),
    (lambda f: tpe.tpe(f, BOX, trials=4, gamma=1.0), 'gamma: expected'),
])
def test_bad_input_is_one_line(call, message):
    with pytest.raises(ValueError, match=f'^{message}'):
        call(contract.from_function(lambda key, h, data: h['a']))
