"""The laws of every estimator in the catalogue.  A new one must add its case here, or the count fails."""
from itertools import pairwise

import estimator_cases_clusters
import estimator_cases_linear
import estimator_cases_maps
import estimator_cases_neighbours
import estimator_cases_neural
import estimator_cases_probabilistic
import estimator_cases_trees
import estimator_cases_unsupervised
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from estimator_case import KEY, WEIGHT, N

from levels.catalogue import load, members

CASES = estimator_cases_linear.CASES | estimator_cases_clusters.CASES | estimator_cases_unsupervised.CASES
CASES |= estimator_cases_maps.CASES
CASES |= estimator_cases_trees.CASES
CASES |= estimator_cases_neighbours.CASES
CASES |= estimator_cases_probabilistic.CASES
CASES |= estimator_cases_neural.CASES


def build(row, **more):
    case = CASES[row.name]
    return load(row)(**case.fixed | more), case


def close(a, b, tol=2e-5):
    for u, v in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert u.shape == v.shape and u.dtype == v.dtype
        if u.dtype.kind == 'f':
            scale = max(1.0, float(jnp.max(jnp.abs(v), initial=0)))
            assert float(jnp.max(jnp.abs(u - v), initial=0)) <= tol * scale, (u, v)


def kept(state, case):
    """States but for the number of steps, in which rounding may make a difference of one."""
    return {k: v for k, v in state._asdict().items() if k not in ('steps', 'gap', *case.loose)}


def y_and_weight(case):
    return case.y, WEIGHT if case.weights else None


def other(y):
    """Other targets: numbers are doubled, classes trade places."""
    return y if y is None else 2 * y if y.dtype.kind == 'f' else y[::-1]


def methods(model):
    """Those that take (state, X) and give something for each row."""
    return [m for m in (model.predict, model.transform, model.proba, model.decision) if m is not None]


def jit_changes_nothing(row):
    model, case = build(row)
    y, weight = y_and_weight(case)
    a, b = model.fit(KEY, case.data, y, weight), jax.jit(model.fit)(KEY, case.data, y, weight)
    close(kept(a, case), kept(b, case))
    for method in methods(model):
        close(method(a, case.data), jax.jit(method)(b, case.data))


def equal_shapes_do_not_trace_again(row):
    model, case = build(row)
    y, weight = y_and_weight(case)
    traces = []

    def fit(*args):
        traces.append(1)
        return model.fit(*args)

    run = jax.jit(fit)
    run(KEY, case.data, y, weight)
    run(jax.random.key(1), case.data + 1, other(y), None if weight is None else weight + 1)
    assert len(traces) == 1


def vmap_over_keys_and_datasets(row):
    model, case = build(row)
    keys, xs = jax.random.split(KEY, 3), jnp.stack([case.data * s for s in (1, 2, 3)])
    ys = None if case.y is None else jnp.stack([case.y, other(case.y), case.y[::-1]])
    many = jax.jit(jax.vmap(model.fit, (0, 0, None if ys is None else 0)))(keys, xs, ys)
    for i in range(3):
        one = model.fit(keys[i], xs[i], None if ys is None else ys[i])
        close(kept(jax.tree.map(lambda v, i=i: v[i], many), case), kept(one, case), 1e-4)


def vmap_over_hyperparameters(row):
    case = CASES[row.name]
    for name, values in case.continuous.items():
        make = lambda v, name=name: load(row)(**{**case.fixed, name: v}).fit(KEY, case.data, case.y)
        many = jax.jit(jax.vmap(make))(jnp.asarray(values, jnp.float32))
        for i, value in enumerate(values):
            close(kept(jax.tree.map(lambda v, i=i: v[i], many), case), kept(make(value), case), 1e-4)
        if name != 'tol':
            assert any((v[0] != v[1]).any() for v in jax.tree.leaves(many)), f'{name} changes nothing'


def integer_weights_are_repeated_rows(row):
    model, case = build(row)
    if not case.weights:
        with pytest.raises(ValueError, match='weight: expected None'):
            model.fit(KEY, case.data, case.y, WEIGHT)
        return
    twice = np.repeat(np.arange(N), WEIGHT.astype(int))
    y, y_twice = (None, None) if case.y is None else (case.y, case.y[twice])
    if case.random_rows:        # the means over many keys agree; a row of weight 0 has no part in any
        fits = jax.jit(jax.vmap(model.fit, (0, None, None, None)))
        keys = jax.random.split(KEY, 400)
        a, b = fits(keys, case.data, y, WEIGHT), fits(keys, case.data[twice], y_twice, np.ones(len(twice), np.float32))
        spoiled = case.data + np.float32(1e3) * (WEIGHT == 0)[:, None]
        c = fits(keys, spoiled, y, WEIGHT)
        for at in (a, c):
            assert jnp.abs(case.summary(model, at) - case.summary(model, b)).max() < 0.02
        return
    a, b = model.fit(KEY, case.data, y, WEIGHT), model.fit(KEY, case.data[twice], y_twice)
    plain = model.fit(KEY, case.data, y)
    if case.summary is not None:        # the state has a part for each row: what it says of new rows is compared
        a, b, plain = (case.summary(model, s) for s in (a, b, plain))
    else:
        a, b, plain = (kept(s, case) for s in (a, b, plain))
    close(a, b, 1e-4)
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(plain), strict=True)
    moved = [jnp.abs(u - v).max() for u, v in pairs if u.dtype.kind == 'f']
    assert max(moved) > 1e-3, 'weights change nothing'


def predict_is_row_equivariant(row):
    model, case = build(row)
    state = model.fit(KEY, case.data, case.y)
    order = np.random.default_rng(1).permutation(N)
    for method in methods(model):
        whole = method(state, case.data)
        close(method(state, case.data[order]), whole[order], 1e-6)
        close(method(state, case.data[5:6]), whole[5:6], 1e-5)


def iterations_descend_and_say_whether_they_converged(row):
    case = CASES[row.name]
    data = case.data if case.hard is None else case.hard
    if case.rounds:     # as many as were asked for, and more of them are better; of random ones on average over keys
        (name, counts), = case.rounds.items()
        keys = jax.random.split(KEY, 32 if case.random_rows else 1)
        means = []
        for count in counts:
            model = build(row, **case.solver, **{name: count})[0]
            states = jax.jit(jax.vmap(model.fit, (0, None, None)))(keys, data, case.y)
            assert not hasattr(states, 'steps') or (states.steps == count).all()
            objective = jax.jit(jax.vmap(lambda s: case.objective(s, data, case.y)))
            means.append(float(objective(states).mean()))
        assert all(b < a * (1 - 1e-3) for a, b in pairwise(means)), means
        return
    run = jax.jit(lambda limit: build(row, **case.solver, **{case.steps: limit})[0].fit(KEY, data, case.y))
    states = [run(limit) for limit in range(1, 7)]
    values = [float(case.objective(state, data, case.y)) for state in states]
    assert all(b <= a * (1 + 1e-6) for a, b in pairwise(values)), values
    assert values[-1] < values[0], 'nothing descends'
    assert not states[0].converged and states[0].steps == 1
    last = run(500)
    assert last.converged and 1 < last.steps < 500


def bad_input_is_one_clear_line(row):
    model, case = build(row)
    y, weight = y_and_weight(case)
    bad = case.data.copy()
    bad[3, 1] = np.inf if case.allow_nan else np.nan
    wrong = [((case.data[0], y, None), r'X: expected \[rows, features\], found shape \(3,\)'),
             ((case.data[:0], y if y is None else y[:0], None), 'X: expected at least one row'),
             ((bad, y, None), 'X: expected finite')]
    if case.weights:
        wrong += [((case.data, y, weight[:-1]), r'weight: expected \[24\], found shape \(23,\)'),
                  ((case.data, y, -weight), 'weight: expected finite numbers >= 0'),
                  ((case.data, y, 0 * weight), 'weight: expected finite numbers >= 0 that are not all zero')]
    if y is not None:
        wrong += [((case.data, None, None), 'y: expected'), ((case.data, y[:-1], None), r'y: expected \[24\]'),
                  ((case.data, y * np.float32(np.nan), None), 'y: expected finite')]
        if y.dtype.kind == 'i':
            wrong += [((case.data, odd, None), 'y: expected classes 0 to') for odd in (y - 1, y + 0.5)]
    for args, message in wrong:
        with pytest.raises(ValueError, match=message) as error:
            model.fit(KEY, *args)
        assert '\n' not in str(error.value)
    state = model.fit(KEY, case.data, y)
    for method in methods(model):
        with pytest.raises(ValueError, match='X: expected 3 features as in fit, found 2'):
            method(state, case.data[:, :2])


LAWS = (jit_changes_nothing, equal_shapes_do_not_trace_again, vmap_over_keys_and_datasets, vmap_over_hyperparameters,
        integer_weights_are_repeated_rows, predict_is_row_equivariant,
        iterations_descend_and_say_whether_they_converged, bad_input_is_one_clear_line)
# In these a case may say in words why it has nothing that could be asserted; such a pair is none.
REASONS = {vmap_over_hyperparameters: lambda case: case.discrete,
           iterations_descend_and_say_whether_they_converged: lambda case: case.direct}
PAIRS = [(row, law) for row in members(kind='estimator') for law in LAWS
         if row.name in CASES and not REASONS.get(law, lambda case: '')(CASES[row.name])]
RAN = set()


@pytest.mark.parametrize(('row', 'law'), [pytest.param(r, law, id=f'{r.name}-{law.__name__}') for r, law in PAIRS])
def test_law(row, law):
    law(row)
    RAN.add((row.name, law.__name__))


@pytest.mark.parametrize('name', CASES)
def test_a_pair_is_left_out_for_a_reason_alone(name):
    """Every case has something for every law to assert, or says in a sentence why not, and never both."""
    case = CASES[name]
    assert [bool(case.steps), bool(case.rounds), bool(case.direct)].count(True) == 1
    assert bool(case.objective) == bool(case.steps or case.rounds)
    assert bool(case.continuous) != bool(case.discrete)
    assert all(not why or len(why.split()) >= 4 for why in (case.direct, case.discrete))


def test_every_pair_ran(request):
    """Must stand last.  Where a selection (-k) left some out, those that were selected must have run."""
    assert {row.name for row in members(kind='estimator')} == set(CASES)
    assert len(PAIRS) == len(CASES) * len(LAWS) - 14 - 5 == 237
    selected = [i for i in request.session.items if i.module is request.module and i.originalname == 'test_law']
    assert len(RAN) == len(selected)
