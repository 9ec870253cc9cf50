"""Gradient boosting against xgboost's `hist`: the same bins, the same start, the same curve of the training loss."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xgboost
from parity_ledger import compare
from sklearn import ensemble
from sklearn.datasets import load_diabetes

from levels.level1_classical.ensembles import boosting as ours
from levels.level1_classical.ensembles import histograms

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
# Fewer values than bins in each column: then both cut midway between all of them.
X = np.round(RNG.normal(size=(1000, 5)) * 20).astype('float32')
HOLES = np.where(RNG.random(X.shape) < 0.15, np.float32(np.nan), X)
SIGNAL = np.sin(X[:, 0] / 20) * X[:, 1] / 20 + X[:, 2] / 20
Y = (SIGNAL + 0.3 * RNG.normal(size=1000)).astype('float32')
TWO, THREE = (Y > 0).astype('int32'), np.digitize(Y, [-0.5, 0.5]).astype('int32')
WEIGHT = RNG.uniform(0.5, 2, 1000).astype('float32')
ROUNDS = 15
SMALL = {'n_estimators': ROUNDS, 'max_depth': 4}
LOSSES = {      # name -> (estimator's own arguments, targets, xgboost's, the power that makes its metric ours)
    'squared': ({'loss': 'squared'}, Y, {'objective': 'reg:squarederror'}, 2),
    'quantile': ({'loss': 'quantile', 'quantile': 0.8}, Y,
                 {'objective': 'reg:quantileerror', 'quantile_alpha': 0.8}, 1),
    'logistic': ({'n_classes': 2}, TWO, {'objective': 'binary:logistic'}, 1),
    'softmax': ({'n_classes': 3}, THREE, {'objective': 'multi:softprob', 'num_class': 3}, 1)}


def build(name, **more):
    make = ours.gradient_boosting_classifier if 'n_classes' in LOSSES[name][0] else ours.gradient_boosting_regressor
    return make(**LOSSES[name][0] | SMALL | more)


def peer(name, x, base, weight, **more):
    """(curve of the training loss, margins of x, booster)"""
    _, y, given, power = LOSSES[name]
    data = xgboost.DMatrix(x, y, weight=weight)
    start = np.broadcast_to(np.asarray(base), (len(x), len(base)))
    data.set_base_margin(np.ascontiguousarray(start if len(base) > 1 else start[:, 0]))
    result = {}
    settings = {'tree_method': 'hist', 'max_bin': 256, 'eta': 0.3, 'max_depth': 4, 'nthread': 1} | given | more
    booster = xgboost.train(settings, data, ROUNDS, evals=[(data, 'train')], evals_result=result, verbose_eval=False)
    return np.array(next(iter(result['train'].values()))) ** power, booster.predict(data, output_margin=True), booster


@pytest.mark.parametrize('holes', [False, True], ids=['full', 'missing values'])
@pytest.mark.parametrize('name', LOSSES)
def test_the_curve_of_the_training_loss(name, holes):
    """The issue asks for 2 %.  Weights are real numbers: with equal ones quantiles and their gains are full of ties."""
    x = HOLES if holes else X
    model = build(name)
    state = jax.jit(model.fit)(KEY, x, LOSSES[name][1], WEIGHT)
    curve, margins, _ = peer(name, x, state.base, WEIGHT)
    compare(model_name(name), 'xgboost hist', f'training loss, {name}, {"missing" if holes else "full"}', state.loss,
            curve, 1e-5, relative=True)
    compare(model_name(name), 'xgboost hist', f'margins, {name}, {"missing" if holes else "full"}',
            jnp.squeeze(ours.margins(state, x)), margins, 1e-4, relative=True)
    assert state.loss[-1] < 0.6 * state.loss[0] and state.steps == ROUNDS
    assert jnp.isnan(x).any() == holes == bool(state.missing_left.any())


def model_name(name):
    return 'gradient_boosting_classifier' if 'n_classes' in LOSSES[name][0] else 'gradient_boosting_regressor'


@pytest.mark.parametrize('given', [{'gamma': 5.0}, {'reg_lambda': 30.0}, {'min_child_weight': 60.0}])
def test_penalties(given):
    state = jax.jit(build('squared', **given).fit)(KEY, HOLES, Y, WEIGHT)
    curve, _, booster = peer('squared', HOLES, state.base, WEIGHT, **given)
    compare('gradient_boosting_regressor', 'xgboost hist', f'training loss, {next(iter(given))}', state.loss, curve,
            1e-5, relative=True)
    gains = booster.get_score(importance_type='total_gain')
    theirs = np.array([gains.get(f'f{j}', 0) for j in range(5)])
    compare('gradient_boosting_regressor', 'xgboost total_gain', f'importances, {next(iter(given))}', state.importances,
            theirs / theirs.sum(), 1e-4)


def test_more_values_than_bins():
    """Quantiles differ in detail, so what is compared is the loss reached; scikit-learn's is the second peer."""
    x, y = RNG.normal(size=(4000, 4)).astype('float32'), None
    signal = x[:, 0] * x[:, 1] + x[:, 2]
    y = (signal + 0.3 * RNG.normal(size=4000)).astype('float32')
    state = jax.jit(ours.gradient_boosting_regressor(n_estimators=30, max_depth=5, max_bins=64).fit)(KEY, x, y)
    hist = ensemble.HistGradientBoostingRegressor(
        max_iter=30, learning_rate=0.3, max_depth=5, max_leaf_nodes=None, l2_regularization=1, min_samples_leaf=1,
        max_bins=64, early_stopping=False).fit(x, y)
    booster = xgboost.train({'max_depth': 5, 'max_bin': 64, 'nthread': 1}, xgboost.DMatrix(x, y), 30)
    losses = [np.mean((p - y) ** 2) for p in (hist.predict(x), booster.predict(xgboost.DMatrix(x)))]
    compare('gradient_boosting_regressor', 'HistGradientBoostingRegressor, xgboost (mean)', 'training loss, 64 bins',
            state.loss[-1], np.mean(losses), 0.12, relative=True)


def test_edges_are_midpoints_or_weighted_quantiles():
    few = np.array([[3.0], [1.0], [np.nan], [1.0], [9.0], [5.0]], 'float32')
    edges = histograms.quantile_edges(few, jnp.array([1.0, 1, 1, 1, 0, 1]), 6)
    assert np.array_equal(edges[0, :2], [2, 4]) and np.isinf(edges[0, 2:]).all()       # 9 has no weight
    codes = histograms.digitise(jnp.asarray(few), edges)
    assert codes.dtype == jnp.uint8 and list(codes[0]) == [1, 0, 6, 0, 2, 2]
    many = jnp.asarray(RNG.normal(size=(3000, 1)), jnp.float32)
    weight = jnp.asarray(RNG.uniform(0, 2, 3000), jnp.float32)
    mass = np.bincount(np.asarray(histograms.digitise(many, histograms.quantile_edges(many, weight, 50)))[0],
                       np.asarray(weight), 51)
    assert mass[50] == 0 and (abs(mass[:50] - mass.sum() / 50) < 2.1).all()         # a row or so in each
    heavy = jnp.where(jnp.arange(3000)[:, None] < 1500, 0.0, many)                  # half of all in one value
    edges = histograms.quantile_edges(heavy, jnp.ones(3000), 50)
    assert (histograms.digitise(heavy, edges)[0][:1500] == histograms.digitise(heavy, edges)[0][0]).all()
    x = jnp.asarray([2.0, -1.0, 0.0, -0.0, jnp.inf, -3.5])
    assert np.array_equal(histograms.ascending(x), np.sort(x))
    many = jnp.zeros((40_000, 1)).at[7].set(1.0)        # of rows that are sampled only those with weight count
    assert histograms.quantile_edges(many, jnp.zeros(40_000).at[:8].set(1), 4)[0, 0] == 0.5


def test_rounds_stop_early_at_the_best_one():
    noise = (SIGNAL + 2 * RNG.normal(size=1000)).astype('float32')
    many = {'n_estimators': 60, 'validation_fraction': 0.3}
    state = jax.jit(ours.gradient_boosting_regressor(early_stopping_rounds=5, **many).fit)(KEY, X, noise)
    steps = int(state.steps)
    assert state.converged and 1 <= steps < 50 and int(jnp.argmin(state.held_out[:steps + 5])) == steps - 1
    assert (state.feature[steps:] == -1).all() and (state.held_out[steps + 5:] == 0).all()
    kept = jax.random.uniform(jax.random.split(KEY)[1], (1000,)) >= 0.3
    error = (ours.margins(state, X)[:, 0] - noise) ** 2
    assert jnp.mean(error[~kept]) == pytest.approx(float(state.held_out[steps - 1]), rel=1e-4)
    assert jnp.mean(error[kept]) == pytest.approx(float(state.loss[steps - 1]), rel=1e-4)
    never = jax.jit(ours.gradient_boosting_regressor(early_stopping_rounds=60, **many).fit)(KEY, X, noise)
    assert not never.converged and never.held_out[-1] > 1.1 * never.held_out.min()     # it would have been worth it


def test_random_shares_of_rows_and_columns():
    run = jax.jit(lambda key, rows, columns: ours.gradient_boosting_regressor(
        n_estimators=10, max_depth=3, subsample=rows, colsample_bytree=columns).fit(key, X, Y))
    some, again, other = run(KEY, 0.5, 0.4), run(KEY, 0.5, 0.4), run(jax.random.key(1), 0.5, 0.4)
    assert all(np.array_equal(a, b) for a, b in zip(some, again)) and not np.array_equal(some.value, other.value)
    used = lambda s: [len(set(np.asarray(t[t >= 0]))) for t in s.feature[:, 0]]
    assert max(used(some)) <= 2 and max(used(run(KEY, 1.0, 1.0))) > 2
    assert np.array_equal(run(KEY, 1.0, 1.0).value, run(jax.random.key(1), 1.0, 1.0).value)
    assert run(KEY, 0.5, 1.0).loss[-1] < 2 * run(KEY, 1.0, 1.0).loss[-1]


def test_a_quantile_is_where_it_should_be():
    x, y = load_diabetes(return_X_y=True)
    for q in (0.1, 0.9):
        state = jax.jit(ours.gradient_boosting_regressor(loss='quantile', quantile=q, **SMALL).fit)(KEY, x, y)
        assert abs(np.mean(y <= np.asarray(ours.margins(state, x))[:, 0]) - q) < 0.1


@pytest.mark.parametrize(('given', 'message'), [
    ({'loss': 'absolute'}, 'loss: expected one of squared, quantile'), ({'subsample': 0.0}, 'subsample: expected'),
    ({'max_depth': None}, 'max_depth: expected a whole number'), ({'learning_rate': 0.0}, 'learning_rate: expected'),
    ({'gamma': -1.0}, 'gamma: expected at least 0'), ({'max_bins': 1}, 'max_bins: expected at least 2'),
    ({'early_stopping_rounds': 0}, 'early_stopping_rounds: expected at least 1')])
def test_wrong_arguments(given, message):
    with pytest.raises(ValueError, match=message):
        ours.gradient_boosting_regressor(**given)
