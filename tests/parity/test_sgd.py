"""Gradient descent against closed forms, and stochastic against scikit-learn's, step by step and at the end."""
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from parity_ledger import compare
from sklearn import linear_model
from sklearn.datasets import load_diabetes, load_iris
from sklearn.preprocessing import scale

from levels.level1_classical import sklearn_api as faces
from levels.level1_classical.classification.logistic import proba
from levels.level1_classical.regression.descent import CLASSIFICATION, REGRESSION
from levels.level1_classical.regression.sgd import sgd_classifier, sgd_regressor

KEY = jax.random.key(0)
X, y = load_diabetes(return_X_y=True)
X, y = scale(X)[:200, :5], scale(y)[:200] * 2 + 1
IRIS, SPECIES = scale(load_iris().data), load_iris().target
THEIRS = {'squared': 'squared_error', 'log': 'log_loss'}
GD = {'batch_size': None, 'schedule': 'constant', 'tol': 0.0, 'patience': 10**6}
run = lambda model, *data: jax.device_get(jax.jit(model.fit)(KEY, *data))


def test_gradient_descent_reaches_the_closed_form():
    for bits, gate in ((32, 1e-5), (64, 1e-10)):
        with jax.enable_x64(bits == 64):
            x, t = jnp.asarray(X, f'float{bits}'), jnp.asarray(y, f'float{bits}')
            for alpha, peer in ((0.0, linear_model.LinearRegression()), (0.1, linear_model.Ridge(0.1 * len(X)))):
                peer.fit(X, y)
                state = run(sgd_regressor(**GD, alpha=alpha, rate=0.5, max_iter=1000), x, t)
                compare('sgd_regressor', type(peer).__name__, f'all rows, coef, alpha {alpha}, f{bits}', state.coef,
                        peer.coef_, gate, relative=True)
                compare('sgd_regressor', type(peer).__name__, f'all rows, intercept, alpha {alpha}, f{bits}',
                        state.intercept, peer.intercept_, gate)


def test_gradient_descent_with_absolute_penalties():
    """Shrinking after each step is a proximal gradient: what it ends at is the lasso, zeros included."""
    for penalty, ratio in (('l1', 1.0), ('elastic', 0.5)):
        peer = linear_model.ElasticNet(alpha=0.3, l1_ratio=ratio, tol=1e-12).fit(X, y)
        state = run(sgd_regressor(**GD, penalty=penalty, alpha=0.3, l1_ratio=0.5, rate=0.3, max_iter=500), X, y)
        compare('sgd_regressor', 'ElasticNet', f'all rows, {penalty}', state.coef, peer.coef_, 1e-5)
        assert ((state.coef == 0) == (peer.coef_ == 0)).all() and (state.coef == 0).any()


def test_gradient_descent_on_the_logistic_loss():
    peer = linear_model.LogisticRegression(C=1 / (0.05 * len(IRIS)), tol=1e-10).fit(IRIS, SPECIES > 0)
    state = run(sgd_classifier(**GD, loss='log', alpha=0.05, rate=1.0, max_iter=2000), IRIS, SPECIES > 0)
    compare('sgd_classifier', 'LogisticRegression', 'all rows, coef', state.coef.T, peer.coef_, 1e-4)
    compare('sgd_classifier', 'LogisticRegression', 'all rows, probabilities', proba(state, IRIS),
            peer.predict_proba(IRIS), 1e-4)


@pytest.mark.parametrize('loss', [*REGRESSION, *CLASSIFICATION])
def test_steps_are_scikit_learns(loss):
    """Passes over rows in their order: not the end alone is compared, but the way there.

    With an average one pass where there are three classes: in the next, scikit-learn 1.9 takes the average intercepts
    for the last ones.
    """
    regression = loss in REGRESSION
    schedule = ('invscaling', 'constant', 'optimal', 'adaptive')[list(REGRESSION | CLASSIFICATION).index(loss) % 4]
    data, target = (X, y) if regression else (IRIS, SPECIES)
    for average, passes in ((100, 2),) if regression else ((100, 1), (False, 2)):
        common = {'alpha': 1e-2, 'random_state': 0, 'average': average}
        peer = (linear_model.SGDRegressor if regression else linear_model.SGDClassifier)(
            loss=THEIRS.get(loss, loss), learning_rate=schedule, eta0=0.02, power_t=0.3, shuffle=False,
            epsilon=0.3, **common)
        ours = (faces.SGDRegressor if regression else faces.SGDClassifier)(
            loss=loss, schedule=schedule, rate=0.02, power=0.3, **common, **({'epsilon': 0.3} if regression else {}))
        more = () if regression else (np.unique(target),)
        for _ in range(passes):
            ours.partial_fit(data, target, *more)
            peer.partial_fit(data, target, *more)
            for name in ('coef_', 'intercept_'):
                compare(f'sgd_{"regressor" if regression else "classifier"}', type(peer).__name__,
                        f'{passes} passes, {loss}, {schedule}, {name}', getattr(ours, name), getattr(peer, name), 1e-9)
    if not regression:
        assert (ours.predict(data) == peer.predict(data)).all()
        compare('sgd_classifier', 'SGDClassifier', f'decision, {loss}', ours.decision_function(data),
                peer.decision_function(data), 1e-8)
    if loss in ('log', 'modified_huber'):
        compare('sgd_classifier', 'SGDClassifier', f'probabilities, {loss}', ours.predict_proba(data),
                peer.predict_proba(data), 1e-8)
    elif not regression:
        assert not hasattr(ours, 'predict_proba')


@pytest.mark.parametrize('batch_size', [1, 16])
def test_shuffled_runs_end_where_scikit_learns_do(batch_size):
    """The loss, to the gate of oracles.md: 1e-3 of itself."""
    objective = lambda coef, intercept: ((y - X @ coef - intercept) ** 2).mean() / 2 + 0.01 / 2 * (coef**2).sum()
    peer = linear_model.SGDRegressor(alpha=0.01, tol=None, max_iter=100, average=True, random_state=0).fit(X, y)
    state = run(sgd_regressor(alpha=0.01, tol=0.0, patience=500, max_iter=100 if batch_size == 1 else 400, average=True,
                              batch_size=batch_size, rate=0.01 if batch_size == 1 else 0.05), X, y)
    wanted = objective(peer.coef_, peer.intercept_)
    compare('sgd_regressor', 'SGDRegressor', f'objective, batches of {batch_size}',
            objective(state.coef, state.intercept) / wanted, 1.0, 1e-3)


def test_a_run_is_a_function_of_its_key():
    fit = jax.jit(sgd_regressor(max_iter=3).fit)
    a, b, c = (fit(jax.random.key(k), X, y) for k in (0, 0, 1))
    assert all(np.array_equal(u, v) for u, v in zip(jax.tree.leaves(a), jax.tree.leaves(b)))
    assert not np.array_equal(a.coef, c.coef)
    one, two = (faces.SGDRegressor(max_iter=3, random_state=4).fit(X, y).coef_ for _ in range(2))
    assert np.array_equal(one, two)


def test_held_out_rows_are_not_learned_from_and_stop_the_run():
    make = functools.partial(sgd_regressor, early_stopping=True, validation_fraction=0.25, average=False)
    draw = np.asarray(jax.random.uniform(jax.random.fold_in(KEY, 1), (len(X),)))
    held = draw <= np.sort(draw)[49]
    one = run(make(max_iter=1), X, y)
    spoiled = run(make(max_iter=1), X, np.where(held, 1e3, y))
    assert np.array_equal(one.coef, spoiled.coef) and one.loss != spoiled.loss
    assert not np.array_equal(one.coef, run(make(max_iter=1), X, np.where(held, y, 1e3)).coef)
    error = (y[held] - X[held] @ one.coef - one.intercept) ** 2
    compare('sgd_regressor', 'by hand', 'loss of held-out rows', one.loss, error.mean() / 2, 1e-5)
    assert held.sum() == 50
    whole = run(make(tol=1e-3, patience=3), X, y)
    assert whole.converged and 3 < whole.steps < 200


def test_schedules_and_average_do_what_they_are_for():
    objective = lambda s: float(((y - X @ s.coef - s.intercept) ** 2).mean() / 2)
    best = linear_model.LinearRegression().fit(X, y)
    least = ((y - best.predict(X)) ** 2).mean() / 2
    options = {'rate': 0.05, 'alpha': 0.0, 'max_iter': 60}
    excess = {name: objective(run(sgd_regressor(**options, **more), X, y)) - least for name, more in {
        'constant': {'schedule': 'constant', 'tol': 0.0, 'patience': 99},
        'adaptive': {'schedule': 'adaptive', 'tol': 1e-3, 'patience': 3},
        'averaged': {'schedule': 'constant', 'tol': 0.0, 'patience': 99, 'average': 2000}}.items()}
    assert excess['adaptive'] < 0.1 * excess['constant'] and excess['averaged'] < 0.1 * excess['constant']


def test_wrong_arguments_are_one_clear_line():
    for wrong, message in (({'loss': 'hinge'}, 'loss: expected one of squared, huber'),
                           ({'schedule': 'cosine'}, 'schedule: expected one of constant'),
                           ({'schedule': 'optimal', 'alpha': 0.0}, 'alpha: expected above 0'),
                           ({'rate': 0.0}, 'rate: expected above 0'), ({'batch_size': 0}, 'batch_size: expected'),
                           ({'validation_fraction': 1.0}, 'validation_fraction: expected')):
        with pytest.raises(ValueError, match=message):
            sgd_regressor(**wrong)
    with pytest.raises(ValueError, match=r'y: expected \[200\], found shape'):
        sgd_regressor().fit(KEY, X, np.stack([y, y], 1))
    with pytest.raises(ValueError, match='classes: expected all labels in the first call'):
        faces.SGDClassifier().partial_fit(IRIS, SPECIES)
