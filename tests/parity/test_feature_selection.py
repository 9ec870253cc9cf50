"""Forward, backward and recursive selection against scikit-learn's, step by step, and the scores on the way."""
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from parity_ledger import compare
from sklearn import feature_selection as theirs
from sklearn import linear_model, tree
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from sklearn.model_selection import KFold, cross_val_score
from sklearn.preprocessing import scale

from levels.level1_classical import metrics_scores
from levels.level1_classical import sklearn_api as faces
from levels.level1_classical.classification.logistic import logistic, proba
from levels.level1_classical.ensembles.tree import decision_tree_regressor
from levels.level1_classical.feature_selection import recursive_elimination, sequential_selection
from levels.level1_classical.model_selection import splits
from levels.level1_classical.regression.linear import ols
from levels.level1_classical.regression.ridge import ridge
from levels.level1_classical.unsupervised.pca import pca

KEY = jax.random.key(0)
X, y = load_diabetes(return_X_y=True)
X = scale(X)
CANCER, SICK = load_breast_cancer(return_X_y=True)
CANCER = scale(CANCER[:, 10:16])
WINE, VINE = load_wine(return_X_y=True)
WINE = scale(WINE[:, :8])
FOLDS = splits('kfold', X, n_splits=4)
log_loss = lambda state, X, y, weight: -metrics_scores.log_loss(jnp.asarray(y, jnp.int32), proba(state, X),
                                                                weight=weight)
MODELS = {'ols': (ols(), linear_model.LinearRegression(), X, y, 'r2'),
          'ridge': (ridge(alpha=50.0), linear_model.Ridge(50.0, solver='svd'), X, y, 'r2'),
          'logistic': (logistic()._replace(score=log_loss), linear_model.LogisticRegression(tol=1e-10), CANCER, SICK,
                       'neg_log_loss')}


@pytest.mark.parametrize(('name', 'direction'), [('ols', 'forward'), ('ridge', 'backward'), ('logistic', 'forward')])
def test_one_feature_at_a_time(name, direction):
    model, peer, x, target, scoring = MODELS[name]
    d = x.shape[1]
    steps = 4 if direction == 'forward' else d - 2
    ask = functools.partial(sequential_selection, n_features=4 if direction == 'forward' else 2, direction=direction)
    with jax.enable_x64(True):
        found = jax.device_get(jax.jit(lambda x, t: ask(KEY, model, x, t, splits('kfold', x, n_splits=4)))(x, target))
    assert len(found.order) == steps == len(set(found.order.tolist()))
    inside = np.full(d, direction == 'backward')
    for i, j in enumerate(found.order):
        inside[j] = direction == 'forward'
        compare('sequential_selection', 'SequentialFeatureSelector', f'scores, {name}, {direction}', found.scores[i],
                cross_val_score(peer, x[:, inside], target, scoring=scoring, cv=KFold(4)).mean(), 1e-6)
    best = theirs.SequentialFeatureSelector(peer, n_features_to_select=int(inside.sum()), direction=direction,
                                            scoring=scoring, cv=KFold(4)).fit(x, target)
    assert np.array_equal(found.selected, inside) and np.array_equal(inside, best.get_support())


@pytest.mark.parametrize(('name', 'step', 'keep'), [('ols', 1, 1), ('ols', 4, 3), ('logistic', 1, 2), ('trees', 3, 1)])
def test_the_least_one_goes(name, step, keep):
    if name == 'logistic':
        model, peer, x, target = logistic(n_classes=3), linear_model.LogisticRegression(tol=1e-10), WINE, VINE
    elif name == 'trees':       # real numbers beside the targets, so that no two splits are equally good
        model = decision_tree_regressor(max_depth=4, min_samples_leaf=8)
        peer = tree.DecisionTreeRegressor(max_depth=4, min_samples_leaf=8, random_state=0)
        x = np.random.default_rng(0).normal(size=(200, 7)).astype(np.float32)
        target = x @ np.float32([3, 2, 1.5, 1, 0.6, 0.3, 0]) + x[:, 0] * x[:, 1]
    else:
        model, peer, x, target = ols(), linear_model.LinearRegression(), X, y
    train = np.arange(len(x)) % 3 > 0
    best = theirs.RFE(peer, n_features_to_select=keep, step=step).fit(x[train], target[train])
    spoiled = np.where(train[:, None], x, 1e3)      # rows without weight have no say
    with jax.enable_x64(True):
        ask = jax.jit(functools.partial(recursive_elimination, KEY, model, n_features=keep, step=step))
        found = jax.device_get(ask(spoiled, target, weight=train))
        scores = jax.device_get(ask(x, target, weight=train, test=~train).scores)
    compare('recursive_elimination', 'RFE', f'ranks, {name}, step {step}', found.rank, best.ranking_, 0)
    assert found.sizes[0] == x.shape[1] and found.sizes[-1] == keep == (found.rank == 1).sum()
    for size, score in list(zip(found.sizes, scores, strict=True))[::2]:
        kept = theirs.RFE(peer, n_features_to_select=int(size), step=step).fit(x[train], target[train])
        compare('recursive_elimination', 'RFE.score', f'scores of rows left out, {name}, step {step}', score,
                kept.score(x[~train], target[~train]), 1e-6)


def test_how_many_to_keep_by_folds_side_by_side():
    peer = theirs.RFECV(linear_model.Ridge(1.0, solver='svd'), cv=KFold(4)).fit(X, y)
    run = lambda train, test: recursive_elimination(KEY, ridge(), X, y, weight=train, test=test)
    found = jax.jit(jax.vmap(run))(*FOLDS)
    scores = found.scores.mean(0)
    compare('recursive_elimination', 'RFECV', 'mean scores of every size', scores[::-1],
            peer.cv_results_['mean_test_score'], 2e-5)
    assert found.sizes[0, jnp.argmax(scores)] == peer.n_features_


def test_what_was_planted_is_found_and_faces_work_in_scikit_learn_s_selectors():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 12))
    target = x[:, [7, 2, 9]] @ [3.0, -2.0, 1.0] + 0.1 * rng.normal(size=300)
    found = sequential_selection(KEY, ols(), x, target, splits('kfold', x, n_splits=3), n_features=3)
    assert found.order.tolist() == [7, 2, 9] and (np.diff(found.scores) > 0).all()
    assert np.flatnonzero(recursive_elimination(KEY, ols(), x, target, n_features=3).rank == 1).tolist() == [2, 7, 9]
    for selector in (theirs.RFE(faces.OLS(), n_features_to_select=3), theirs.SelectFromModel(faces.Lasso(alpha=0.3)),
                     theirs.SequentialFeatureSelector(faces.Ridge(), n_features_to_select=3, cv=3)):
        assert np.flatnonzero(selector.fit(x, target).get_support()).tolist() == [2, 7, 9]


def test_wrong_arguments_are_one_clear_line():
    calls = (
        (lambda: sequential_selection(KEY, ols(), X, y, FOLDS, n_features=11), 'n_features: expected 1 to 10'),
        (lambda: sequential_selection(KEY, ols(), X, y, FOLDS, n_features=2, direction='up'), 'direction: expected'),
        (lambda: sequential_selection(KEY, ols(), X[:9], y[:9], FOLDS, n_features=2), r'folds: expected masks \[folds'),
        (lambda: sequential_selection(KEY, pca(), X, y, FOLDS, n_features=2), 'model: expected an estimator with a'),
        (lambda: recursive_elimination(KEY, ols(), X, y, n_features=0), 'n_features: expected 1 to 10'),
        (lambda: recursive_elimination(KEY, ols(), X, y, step=0), 'step: expected at least 1'),
        (lambda: recursive_elimination(KEY, ols(), X, y, weight=y[:3]), r'weight: expected \[442\], found shape'))
    from levels.level1_classical.classification.knn import knn_regressor
    calls += ((lambda: recursive_elimination(KEY, knn_regressor(), X, y), 'model: expected one with coef or import'),)
    for call, message in calls:
        with pytest.raises(ValueError, match=message) as error:
            call()
        assert '\n' not in str(error.value)
