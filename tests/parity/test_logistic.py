"""Logistic regression against scikit-learn's, at the gates of oracles.md."""
import functools
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from parity_ledger import compare
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.linear_model import LogisticRegression

from levels.level1_classical import sklearn_api
from levels.level1_classical.classification.logistic import logistic, proba

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
scaled = lambda v: (v - v.mean(0)) / v.std(0) + 3      # far enough from zero that a solver must centre
DATA = {}
for name, load in (('two classes', load_breast_cancer), ('three classes', load_iris)):
    features, labels = load(return_X_y=True)
    DATA[name] = scaled(features[:, :10]), labels
W = RNG.integers(0, 3, 1000).astype(float)
COEF = {32: 1e-4, 64: 1e-6}
PROBA = {32: 1e-5, 64: 1e-7}


@functools.cache
def program(bits, **options):
    return jax.jit(logistic(**options, tol=1e-7 if bits == 32 else 1e-10).fit)


def check(bits, theirs, X, y, weight=None, name='', **options):
    with jax.enable_x64(bits == 64):
        x = jnp.asarray(X, f'float{bits}')
        state = program(bits, **options)(KEY, x, y, None if weight is None else jnp.asarray(weight, x.dtype))
        p = proba(state, x)
    assert state.converged and state.coef.dtype == f'float{bits}'
    name = f'{name}, f{bits}'
    compare('logistic', 'LogisticRegression', f'coef, {name}', state.coef.T, theirs.coef_, COEF[bits])
    compare('logistic', 'LogisticRegression', f'probabilities, {name}', p, theirs.predict_proba(X), PROBA[bits])
    return jax.device_get(state)


@pytest.mark.parametrize('data', list(DATA))
def test_squared_penalty(data):
    X, y = DATA[data]
    w = W[:len(y)]
    options = {'C': 0.5, 'n_classes': int(y.max() + 1)}
    peer = LogisticRegression(C=0.5, tol=1e-10, max_iter=10_000, solver='newton-cg', class_weight='balanced').fit(X, y)
    weighted = LogisticRegression(C=0.5, tol=1e-10, max_iter=10_000, solver='newton-cg').fit(X, y, w)
    check(32, peer, X, y, name=f'l2, {data}, newton, balanced', class_weight='balanced', **options)
    check(64, weighted, X, y, w, name=f'l2, {data}, newton, weights', **options)
    check(64, peer, X, y, name=f'l2, {data}, lbfgs, balanced', class_weight='balanced', solver='lbfgs', **options)


@pytest.mark.parametrize(('data', 'penalty', 'ratio'), [('two classes', 'l1', 1.0), ('three classes', 'elastic', 0.4)])
def test_absolute_penalties(data, penalty, ratio):
    X, y = DATA[data]
    peer = LogisticRegression(C=0.5, l1_ratio=ratio, tol=1e-12, max_iter=1_000_000, solver='saga').fit(X - 3, y)
    peer.intercept_ = peer.intercept_ - peer.coef_.sum(1) * 3
    options = {'penalty': penalty, 'C': 0.5, 'l1_ratio': ratio, 'n_classes': int(y.max() + 1)}
    for bits, solver in ((32, 'newton'), (64, 'newton'), (64, 'fista')):
        state = check(bits, peer, X, y, name=f'{penalty}, {data}, {solver}', solver=solver, max_iter=20_000, **options)
        assert ((state.coef.T != 0) == (peer.coef_ != 0)).all(), 'the support differs'
    assert (peer.coef_ == 0).any()


def test_no_penalty_and_no_intercept():
    X, y = DATA['two classes']
    X = X[:, :2]
    for intercept in (True, False):
        peer = LogisticRegression(C=np.inf, tol=1e-10, solver='newton-cholesky', fit_intercept=intercept).fit(X, y)
        check(64, peer, X, y, name=f'no penalty, intercept {intercept}', penalty='none', fit_intercept=intercept)


def test_many_rows_begin_on_a_part_of_them():
    X = RNG.normal(size=(4003, 6)).astype(np.float32) * np.float32([1, 10, 0.1, 1, 1, 1]) + 5
    X[:, 5] = 0.99 * X[:, 4] + 0.01 * X[:, 5]
    y = ((X - 5) @ [1, 0.1, 5, 1, -1, 0.5] + RNG.logistic(size=len(X)) > 0).astype(int)
    peer = LogisticRegression(tol=1e-10, solver='newton-cholesky').fit(X.astype(float), y)
    state = check(64, peer, X.astype(float), y, name='4,003 rows, sketched')
    plain = check(64, peer, X.astype(float), y, name='4,003 rows, lbfgs', solver='lbfgs')
    assert state.steps < 0.7 * plain.steps


def test_separable_data_are_noticed():
    X = np.float32([[-3], [-1], [0.5], [2]])
    clear, mixed = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1])
    with pytest.warns(RuntimeWarning, match='a plane separates the classes'):
        assert logistic(penalty='none', solver='lbfgs').fit(KEY, X, clear).separable
    on_the_plane = np.float32([[-1], [0], [0], [1]])
    with pytest.warns(RuntimeWarning, match='a plane separates the classes'):
        logistic(penalty='none').fit(KEY, on_the_plane, np.array([0, 0, 1, 1]))
    with pytest.warns(RuntimeWarning, match='a plane separates the classes'):
        sklearn_api.LogisticRegression(penalty='none').fit(X, clear)
    corners = np.float32([[0, 0], [0, 1], [5, 0], [5, 1], [0, 5], [1, 5]])
    with pytest.warns(RuntimeWarning, match='a plane separates the classes'):       # of three classes
        assert logistic(penalty='none', n_classes=3).fit(KEY, corners, np.arange(6) // 2).separable
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        assert not logistic(penalty='none', n_classes=3).fit(KEY, corners, np.arange(6) % 3).separable
        assert not logistic(penalty='none').fit(KEY, X, mixed).separable
        assert logistic(penalty='l2').fit(KEY, X, clear).separable          # said, but there is a solution
        assert jax.jit(logistic(penalty='none').fit)(KEY, X, clear).separable
    with pytest.raises(ValueError, match='solver: expected auto, newton or fista for penalty l1'):
        logistic(penalty='l1', solver='lbfgs')
    with pytest.raises(ValueError, match=r'class_weight: expected None, balanced or \[2\]'):
        logistic(class_weight=[1.0, 2.0, 3.0]).fit(KEY, X, clear)


def test_the_face_is_the_function():
    X, y = DATA['three classes']
    names = np.array(['setosa', 'versicolor', 'virginica'])[y]
    face = sklearn_api.LogisticRegression(C=0.5, class_weight={'setosa': 2.0}, tol=1e-10).fit(X, names)
    peer = LogisticRegression(C=0.5, class_weight={'setosa': 2.0}, tol=1e-10, solver='newton-cg').fit(X, names)
    compare('LogisticRegression', 'LogisticRegression', 'coef', face.coef_, peer.coef_, 1e-7)
    compare('LogisticRegression', 'LogisticRegression', 'intercept', face.intercept_, peer.intercept_, 1e-6)
    assert (face.predict(X) == peer.predict(X)).all() and face.score(X, names) == peer.score(X, names)
