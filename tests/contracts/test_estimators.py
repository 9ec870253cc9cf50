"""The laws of every estimator in the catalogue.  A new one must add its case here, or the count fails."""
from collections.abc import Callable
from itertools import pairwise
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from levels.catalogue import load, members

N, D = 24, 3
KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
X = RNG.normal(size=(N, D)).astype(np.float32)
Y = (X @ np.float32([2, -1, 0.5]) + 3 + 0.3 * RNG.normal(size=N)).astype(np.float32)
BLOBS = (X / 4 + np.float32([[0, 0, 0], [4, 0, 0], [0, 4, 0]])[np.arange(N) % 3]).astype(np.float32)
WEIGHT = (np.arange(N) % 3).astype(np.float32)      # 0, 1 and 2


class Case(NamedTuple):
    """How a member is built for the laws, and what is known of it."""

    fixed: dict[str, Any]
    continuous: dict[str, tuple[float, float]]      # hyperparameters and two values of each, for vmap
    data: np.ndarray = X
    objective: Callable | None = None               # (state, X, y) -> what its iterations make smaller
    steps: str = ''                                 # name of the limit of its iterations
    solver: dict[str, Any] = MappingProxyType({})                     # how to get the iterative form
    hard: np.ndarray | None = None                  # data on which its iterations take a while, if `data` does not
    random_rows: bool = False                       # draws rows, so that repeated rows are equal in distribution only


def squares(state, x, y):
    return jnp.sum((y - x @ state.coef - state.intercept[None]) ** 2)


def penalised(l1, l2):
    def objective(state, x, y):
        return squares(state, x, y) / (2 * len(y)) + l1 * abs(state.coef).sum() + l2 / 2 * (state.coef**2).sum()
    return objective


def inertia(state, x, y):
    return jnp.sum(jnp.min(jnp.sum((x[:, None] - state.centers[None]) ** 2, -1), 1))


# Columns much alike, the best one second: the first sweeps give its share to the others and are slow to take it back.
ALIKE = X @ np.float32([[0.9, 0.9, 0.9], [0.1, -0.4, -0.4], [0.2, 0.2, 0.7]])
START = BLOBS[:3] + np.float32(0.8)
POOR = X[:3]        # X has no clusters, so that from here the search takes a while
CASES = {
    'ols': Case({}, {'rcond': (1e-6, 0.95)}),
    'ridge': Case({}, {'alpha': (0.1, 10.0)}, steps='max_iter', solver={'solver': 'cg', 'tol': 1e-5},
                  objective=lambda s, x, y: squares(s, x, y) + (s.coef**2).sum()),
    'lasso': Case({'alpha': 0.1}, {'alpha': (0.05, 0.5)}, objective=penalised(0.1, 0.0), steps='max_iter',
                  hard=ALIKE),
    'elastic_net': Case({'alpha': 0.1}, {'alpha': (0.05, 0.5), 'l1_ratio': (0.2, 0.9)},
                        objective=penalised(0.095, 0.005), steps='max_iter', solver={'l1_ratio': 0.95}, hard=ALIKE),
    'kmeans': Case({'n_clusters': 3, 'init': POOR}, {'tol': (0.0, 1e-2)}, X, inertia, 'max_iter'),
    'minibatch_kmeans': Case({'n_clusters': 3, 'init': START, 'batch_size': 8, 'max_iter': 5},
                             {'tol': (0.0, 1e-2)}, BLOBS, random_rows=True),
}


def build(row, **more):
    case = CASES[row.name]
    return load(row)(**case.fixed | more), case


def close(a, b, tol=2e-5):
    for u, v in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert u.shape == v.shape and u.dtype == v.dtype
        if u.dtype.kind == 'f':
            scale = max(1.0, float(jnp.max(jnp.abs(v), initial=0)))
            assert float(jnp.max(jnp.abs(u - v), initial=0)) <= tol * scale, (u, v)


def without_counts(state):
    """States but for the number of steps, in which rounding may make a difference of one."""
    return {k: v for k, v in state._asdict().items() if k not in ('steps', 'gap')}


def jit_changes_nothing(row):
    model, case = build(row)
    a, b = model.fit(KEY, case.data, Y, WEIGHT), jax.jit(model.fit)(KEY, case.data, Y, WEIGHT)
    close(without_counts(a), without_counts(b))
    close(model.predict(a, case.data), jax.jit(model.predict)(b, case.data))


def equal_shapes_do_not_trace_again(row):
    model, case = build(row)
    traces = []

    def fit(*args):
        traces.append(1)
        return model.fit(*args)

    run = jax.jit(fit)
    run(KEY, case.data, Y, WEIGHT)
    run(jax.random.key(1), case.data + 1, 2 * Y, WEIGHT + 1)
    assert len(traces) == 1


def vmap_over_keys_and_datasets(row):
    model, case = build(row)
    keys, xs, ys = jax.random.split(KEY, 3), jnp.stack([case.data * s for s in (1, 2, 3)]), jnp.stack([Y, Y + 1, 2 * Y])
    many = jax.jit(jax.vmap(model.fit))(keys, xs, ys)
    for i in range(3):
        one = model.fit(keys[i], xs[i], ys[i])
        close(without_counts(jax.tree.map(lambda v, i=i: v[i], many)), without_counts(one), 1e-4)


def vmap_over_hyperparameters(row):
    case = CASES[row.name]
    for name, values in case.continuous.items():
        make = lambda v, name=name: load(row)(**{**case.fixed, name: v}).fit(KEY, case.data, Y)
        many = jax.jit(jax.vmap(make))(jnp.asarray(values, jnp.float32))
        for i, value in enumerate(values):
            close(without_counts(jax.tree.map(lambda v, i=i: v[i], many)), without_counts(make(value)), 1e-4)
        if name != 'tol':
            assert any((v[0] != v[1]).any() for v in jax.tree.leaves(many)), f'{name} changes nothing'


def integer_weights_are_repeated_rows(row):
    model, case = build(row)
    twice = np.repeat(np.arange(N), WEIGHT.astype(int))
    a, b = model.fit(KEY, case.data, Y, WEIGHT), model.fit(KEY, case.data[twice], Y[twice])
    plain = model.fit(KEY, case.data, Y)
    if case.random_rows:        # the means over many keys agree; a row of weight 0 has no part in any
        fits = jax.jit(jax.vmap(model.fit, (0, None, None, None)))
        keys = jax.random.split(KEY, 400)
        a, b = fits(keys, case.data, Y, WEIGHT), fits(keys, case.data[twice], Y[twice], np.ones(len(twice), np.float32))
        assert jnp.abs(a.centers.mean(0) - b.centers.mean(0)).max() < 0.02
        spoiled = case.data + np.float32(1e3) * (WEIGHT == 0)[:, None]
        assert jnp.abs(model.fit(KEY, spoiled, Y, WEIGHT).centers).max() < 10
        return
    close(without_counts(a), without_counts(b), 1e-4)
    moved = [jnp.abs(u - v).max() for u, v in zip(jax.tree.leaves(without_counts(a)), jax.tree.leaves(
        without_counts(plain))) if u.dtype.kind == 'f']
    assert max(moved) > 1e-3, 'weights change nothing'


def predict_is_row_equivariant(row):
    model, case = build(row)
    state = model.fit(KEY, case.data, Y)
    order = np.random.default_rng(1).permutation(N)
    for method in (m for m in (model.predict, model.transform) if m is not None):
        whole = method(state, case.data)
        close(method(state, case.data[order]), whole[order], 1e-6)
        close(method(state, case.data[5:6]), whole[5:6], 1e-5)


def iterations_descend_and_say_whether_they_converged(row):
    case = CASES[row.name]
    if not case.steps:          # a direct solver has no iterations; random batches need not descend
        return
    data = case.data if case.hard is None else case.hard
    run = jax.jit(lambda limit: build(row, **case.solver, **{case.steps: limit})[0].fit(KEY, data, Y))
    states = [run(limit) for limit in range(1, 7)]
    values = [float(case.objective(state, data, Y)) for state in states]
    assert all(b <= a * (1 + 1e-6) for a, b in pairwise(values)), values
    assert values[-1] < values[0], 'nothing descends'
    assert not states[0].converged and states[0].steps == 1
    last = run(500)
    assert last.converged and 1 < last.steps < 500


def bad_input_is_one_clear_line(row):
    model, case = build(row)
    bad = case.data.copy()
    bad[3, 1] = np.nan
    needs_y = hasattr(model.fit(KEY, case.data, Y), 'coef')
    wrong = [((case.data[0], Y, None), r'X: expected \[rows, features\], found shape \(3,\)'),
             ((case.data[:0], Y[:0], None), 'X: expected at least one row'), ((bad, Y, None), 'X: expected finite'),
             ((case.data, Y, WEIGHT[:-1]), r'weight: expected \[24\], found shape \(23,\)'),
             ((case.data, Y, -WEIGHT), 'weight: expected finite numbers >= 0'),
             ((case.data, Y, 0 * WEIGHT), 'weight: expected finite numbers >= 0 that are not all zero')]
    if needs_y:
        wrong += [((case.data, None, None), 'y: expected'), ((case.data, Y[:-1], None), r'y: expected \[24\]'),
                  ((case.data, Y * np.nan, None), 'y: expected finite')]
    for args, message in wrong:
        with pytest.raises(ValueError, match=message) as error:
            model.fit(KEY, *args)
        assert '\n' not in str(error.value)
    state = model.fit(KEY, case.data, Y)
    with pytest.raises(ValueError, match='X: expected 3 features as in fit, found 2'):
        model.predict(state, case.data[:, :2])


LAWS = (jit_changes_nothing, equal_shapes_do_not_trace_again, vmap_over_keys_and_datasets, vmap_over_hyperparameters,
        integer_weights_are_repeated_rows, predict_is_row_equivariant,
        iterations_descend_and_say_whether_they_converged, bad_input_is_one_clear_line)
PAIRS = [(row, law) for row in members(kind='estimator') for law in LAWS if row.name in CASES]
RAN = set()


@pytest.mark.parametrize(('row', 'law'), [pytest.param(r, law, id=f'{r.name}-{law.__name__}') for r, law in PAIRS])
def test_law(row, law):
    law(row)
    RAN.add((row.name, law.__name__))


def test_every_pair_ran(request):
    """Must stand last.  Where a selection (-k) left some out, those that were selected must have run."""
    assert {row.name for row in members(kind='estimator')} == set(CASES)
    assert len(PAIRS) == len(CASES) * len(LAWS) == 48
    selected = [i for i in request.session.items if i.module is request.module and i.originalname == 'test_law']
    assert len(RAN) == len(selected)
