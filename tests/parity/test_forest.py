"""Random forests against scikit-learn's: accuracy, out-of-bag score, importances; what a key decides."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from parity_ledger import compare
from sklearn import ensemble
from sklearn import tree as theirs
from sklearn.base import BaseEstimator
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.inspection import permutation_importance as their_permutation_importance

from levels.level1_classical.ensembles import forest as ours
from levels.level1_classical.ensembles.nodes import walk
from levels.level1_classical.ensembles.permutation import permutation_importance
from levels.level1_classical.regression.ridge import ridge

KEY = jax.random.key(0)
CANCER, ILL = load_breast_cancer(return_X_y=True)
DIABETES, PROGRESS = load_diabetes(return_X_y=True)
GIVEN = {'n_estimators': 40, 'max_depth': 8}


def halves(x, y, seed=0):
    order = np.random.default_rng(seed).permutation(len(x))
    a, b = order[:len(x) // 2], order[len(x) // 2:]
    return x[a].astype('float32'), y[a], x[b].astype('float32'), y[b]


def test_one_tree_on_all_rows_and_features_is_scikit_learn_s_tree():
    """Without draws a forest is a histogram tree; with all midpoints as edges its leaves hold the exact tree's rows."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 4)).astype('float32')
    y = (x[:, 0] * x[:, 1] + x[:, 2]).astype('float32')
    labels = (y > 0).astype('int32')
    given = {'max_depth': 4, 'min_samples_leaf': 5}
    alone = {'n_estimators': 1, 'max_features': None, 'bootstrap': False} | given
    model = ours.random_forest_regressor(**alone)
    state = jax.jit(model.fit)(KEY, x, y)
    peer = theirs.DecisionTreeRegressor(**given, random_state=0).fit(x, y)
    compare('random_forest_regressor', 'DecisionTreeRegressor', 'one tree without draws', model.predict(state, x),
            peer.predict(x), 1e-5)
    compare('random_forest_regressor', 'DecisionTreeRegressor', 'importances of one tree', state.importances,
            peer.feature_importances_, 1e-5)
    assert jnp.isnan(state.oob_score)
    for criterion in ('gini', 'entropy'):
        model = ours.random_forest_classifier(criterion=criterion, **alone)
        state = jax.jit(model.fit)(KEY, x, labels)
        peer = theirs.DecisionTreeClassifier(criterion=criterion, **given, random_state=0).fit(x, labels)
        # counts of classes tie here and there, and scikit-learn breaks ties at random: a few rows may differ
        p, q = np.asarray(model.proba(state, x)), peer.predict_proba(x)
        assert np.mean(np.abs(p - q).max(1) > 1e-5) < 0.05


def accuracies(x, y, seeds, **given):
    """Mean accuracies on test rows, ours and scikit-learn's, over halves and seeds."""
    model = ours.random_forest_classifier(n_classes=int(y.max()) + 1, **given)
    score = jax.jit(lambda key, x, y, new, target: model.score(model.fit(key, x, y), new, target))
    found = []
    for seed in range(seeds):
        parts = halves(x, y, seed)
        peer = ensemble.RandomForestClassifier(random_state=seed, **given).fit(*parts[:2])
        found.append((float(score(jax.random.key(seed), *parts)), peer.score(*parts[2:])))
    return np.mean(found, 0)


def test_accuracy_is_scikit_learn_s():
    mine, peer = accuracies(CANCER, ILL, 3, **GIVEN)
    compare('random_forest_classifier', 'RandomForestClassifier', 'accuracy, cancer, 3 seeds', mine, peer, 0.015)
    assert peer > 0.93


@pytest.mark.slow
@pytest.mark.parametrize('depth', [10, None])
def test_accuracy_over_ten_seeds(depth):
    given = {'n_estimators': 100, 'max_depth': depth}
    for name, data in (('cancer', (CANCER, ILL)), ('digits', load_digits(return_X_y=True))):
        mine, peer = accuracies(*data, 10, **given)
        compare('random_forest_classifier', 'RandomForestClassifier', f'accuracy, {name}, depth {depth}, 10 seeds',
                mine, peer, 0.01)


def test_regression_and_its_out_of_bag_score():
    x, y, new, target = halves(DIABETES, PROGRESS)
    model = ours.random_forest_regressor(**GIVEN, min_samples_leaf=3)
    fit = jax.jit(model.fit)
    found = []
    for seed in range(3):
        state = fit(jax.random.key(seed), x, y)
        peer = ensemble.RandomForestRegressor(random_state=seed, oob_score=True, min_samples_leaf=3, **GIVEN).fit(x, y)
        found.append([(float(model.score(state, new, target)), peer.score(new, target)),
                      (float(state.oob_score), peer.oob_score_)])
    (mine, peer), (oob, peer_oob) = np.mean(found, 0)
    compare('random_forest_regressor', 'RandomForestRegressor', 'R2, diabetes, 3 seeds', mine, peer, 0.05)
    compare('random_forest_regressor', 'RandomForestRegressor', 'out-of-bag R2, diabetes, 3 seeds', oob, peer_oob, 0.08)


def test_importances_and_out_of_bag_score_of_classes():
    x, y = CANCER.astype('float32'), ILL
    mine = [jax.jit(ours.random_forest_classifier(**GIVEN).fit)(jax.random.key(s), x, y) for s in range(3)]
    peers = [ensemble.RandomForestClassifier(random_state=s, oob_score=True, **GIVEN).fit(x, y) for s in range(3)]
    compare('random_forest_classifier', 'RandomForestClassifier', 'out-of-bag accuracy, cancer',
            np.mean([s.oob_score for s in mine]), np.mean([p.oob_score_ for p in peers]), 0.015)
    compare('random_forest_classifier', 'RandomForestClassifier', 'importances, cancer',
            np.mean([s.importances for s in mine], 0), np.mean([p.feature_importances_ for p in peers], 0), 0.06)
    ranks = [np.argsort(np.argsort(np.mean(v, 0))) for v in
             ([s.importances for s in mine], [p.feature_importances_ for p in peers])]
    assert np.corrcoef(*ranks)[0, 1] > 0.85


def test_probabilities_are_averaged_and_a_key_decides_everything():
    x, y = CANCER.astype('float32'), ILL
    model = ours.random_forest_classifier(n_estimators=7, max_depth=3)
    fit = jax.jit(model.fit)
    a, b, c = fit(KEY, x, y), fit(KEY, x, y), fit(jax.random.key(1), x, y)
    assert all(np.array_equal(u, v) for u, v in zip(a, b)) and not np.array_equal(a.threshold, c.threshold)
    each = np.stack([a.value[t][walk(a.feature[t], a.threshold[t], a.left[t], jnp.asarray(x))] for t in range(7)])
    assert np.abs(each.mean(0) - model.proba(a, x)).max() < 1e-6 and np.abs(each.sum(2) - 1).max() < 1e-6
    assert len({tuple(t) for t in np.asarray(a.feature)}) == 7


def test_a_node_looks_at_as_many_features_as_it_is_told():
    drawn = np.asarray(ours.some_features(KEY, 9, 4, 6000))
    assert drawn.shape == (4, 6000) and (np.sort(drawn, 0)[1:] > np.sort(drawn, 0)[:-1]).all()
    share = np.bincount(drawn.ravel(), minlength=9) / 6000
    assert np.abs(share - 4 / 9).max() < 5 * np.sqrt(4 / 9 * 5 / 9 / 6000)
    assert [ours.how_many(m, 50) for m in ('sqrt', 'log2', 8, 80, None)] == [7, 5, 8, 50, 50]


class Fitted(BaseEstimator):
    """A fitted model as scikit-learn's function wants it."""

    def __init__(self, model, state):
        self.model, self.state = model, state

    def fit(self, X, y):
        return self

    def score(self, X, y):
        return float(self.model.score(self.state, X, y))


def test_permutation_importance():
    x, y = DIABETES[:150].astype('float32'), PROGRESS[:150].astype('float32')
    model = ridge(alpha=0.1)
    state = model.fit(KEY, x, y)
    drops = np.asarray(jax.jit(lambda x, y, key: permutation_importance(model, state, x, y, key=key, n_repeats=60))(
        x, y, jax.random.key(3)))
    peer = their_permutation_importance(Fitted(model, state), x, y, n_repeats=60, random_state=0).importances
    noise = np.hypot(drops.std(1), peer.std(1)) / np.sqrt(60)
    assert (np.abs(drops.mean(1) - peer.mean(1)) < 4 * noise).all() and drops.shape == (10, 60)
    compare('permutation_importance', 'sklearn.inspection.permutation_importance', 'mean drops, 60 repeats',
            drops.mean(1), peer.mean(1), 0.1, relative=True)
    # shuffles that are known: the same numbers
    key = jax.random.split(jax.random.key(3), 600)[0]
    shuffled = x.copy()
    shuffled[:, 0] = x[np.asarray(jax.random.permutation(key, 150)), 0]
    assert drops[0, 0] == pytest.approx(float(model.score(state, x, y) - model.score(state, shuffled, y)), abs=1e-6)
    with pytest.raises(ValueError, match='model: expected an estimator with a score, found none'):
        permutation_importance(model._replace(score=None), state, x, y, key=KEY)


@pytest.mark.parametrize(('given', 'message'), [
    ({'n_estimators': 0}, 'n_estimators: expected at least'), ({'max_features': 'half'}, 'max_features: expected one'),
    ({'max_features': 0}, 'max_features: expected at least 1'), ({'max_depth': 0}, 'max_depth: expected at least 1'),
    ({'criterion': 'mse'}, 'criterion: expected one of gini'), ({'min_samples_leaf': 0}, 'min_samples_leaf: expected')])
def test_wrong_arguments(given, message):
    with pytest.raises(ValueError, match=message):
        ours.random_forest_classifier(**given)
