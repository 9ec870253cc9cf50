"""Every face in a Pipeline behind a ColumnTransformer, in GridSearchCV, cloned, copied, and what its repr says.

That a pickle can be read again is among the checks of `check_estimator`.
"""
import copy
import pickle
import warnings

import jax
import numpy as np
import pytest
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.compose import ColumnTransformer
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_rand_score
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler

from levels.catalogue import load, members
from levels.level1_classical import sklearn_api as faces
from levels.level1_classical.sklearn_api import all_estimators

RNG = np.random.default_rng(0)
LABELS = np.arange(48) % 3
X = np.abs(RNG.normal(size=(48, 4)) + 4 * np.eye(4)[LABELS])       # three groups; >= 0, as counts are
Y = X @ [1.0, -2.0, 0.5, 0.0] + 0.1 * RNG.normal(size=48)
NAMES = np.array(['low', 'middle', 'high'])[LABELS]
SMALL = {       # what makes it cheap, and a parameter with two values to choose from
    'AgglomerativeClustering': ({'n_clusters': 3}, 'linkage', ['ward', 'single']),
    'BernoulliNB': ({}, 'binarize', [0.3, 1.0]), 'ComplementNB': ({}, 'alpha', [0.5, 2.0]),
    'DecisionTreeClassifier': ({'max_depth': 2}, 'ccp_alpha', [0.0, 0.1]),
    'DecisionTreeRegressor': ({'max_depth': 2}, 'min_impurity_decrease', [0.0, 0.1]),
    'ElasticNet': ({}, 'alpha', [0.01, 1.0]), 'GaussianNB': ({}, 'var_smoothing', [1e-9, 0.1]),
    'GradientBoostingClassifier': ({'n_estimators': 3, 'max_depth': 2}, 'learning_rate', [0.1, 0.5]),
    'GradientBoostingRegressor': ({'n_estimators': 3, 'max_depth': 2}, 'reg_lambda', [0.0, 5.0]),
    'IncrementalPCA': ({'batch_size': 16}, 'n_components', [1, 2]),
    'KMeans': ({'random_state': 0}, 'n_clusters', [2, 3]),
    'KNeighborsClassifier': ({}, 'n_neighbors', [1, 3]),
    'KNeighborsRegressor': ({}, 'weights', ['uniform', 'distance']), 'Lasso': ({}, 'alpha', [0.01, 1.0]),
    'LinearSVC': ({}, 'C', [0.1, 10.0]), 'LogisticRegression': ({}, 'C', [0.1, 10.0]),
    'MeanShift': ({}, 'bandwidth', [0.8, 2.0]),
    'MiniBatchKMeans': ({'random_state': 0, 'max_iter': 5, 'batch_size': 16}, 'n_clusters', [2, 3]),
    'MultinomialNB': ({}, 'alpha', [0.5, 2.0]), 'OLS': ({}, 'solver', ['qr', 'svd']),
    'PCA': ({}, 'n_components', [1, 2]),
    'RandomForestClassifier': ({'n_estimators': 4, 'max_depth': 2, 'random_state': 0}, 'min_samples_leaf', [1, 5]),
    'RandomForestRegressor': ({'n_estimators': 4, 'max_depth': 2, 'random_state': 0}, 'min_samples_leaf', [1, 5]),
    'Ridge': ({}, 'alpha', [0.1, 10.0]), 'SGDClassifier': ({'max_iter': 3, 'random_state': 0}, 'alpha', [1e-3, 0.1]),
    'SGDRegressor': ({'max_iter': 3, 'random_state': 0}, 'alpha', [1e-3, 0.1]), 'SVC': ({}, 'C', [0.1, 10.0]),
    'SVR': ({}, 'epsilon', [0.1, 0.5]),
    'SpectralClustering': ({'n_clusters': 3, 'random_state': 0, 'n_init': 2}, 'gamma', [0.5, 1.0]),
    'TSNE': ({'perplexity': 5.0, 'max_iter': 4, 'early_iter': 2, 'random_state': 0}, 'learning_rate', [10.0, 50.0]),
    'UMAP': ({'n_neighbors': 5, 'n_epochs': 2, 'random_state': 0}, 'min_dist', [0.1, 0.5]),
}


def said(pipe):
    """What a fitted pipeline has to say of X: labels, numbers or places."""
    for method in ('predict', 'transform'):
        if hasattr(pipe, method):
            return getattr(pipe, method)(X)
    return getattr(pipe[-1], 'labels_', getattr(pipe[-1], 'embedding_', None))


def score(pipe, X, y=None):
    """For those that have no score of their own."""
    labels = getattr(pipe[-1], 'labels_', None)
    return adjusted_rand_score(LABELS[:len(labels)], labels) if labels is not None else np.abs(said(pipe)).mean()


@pytest.mark.filterwarnings('ignore::sklearn.exceptions.ConvergenceWarning')
@pytest.mark.parametrize('row', members(kind='scikit-learn face'), ids=lambda row: row.name)
def test_face(row):
    cls, (given, name, values) = load(row), SMALL[row.name]
    model = cls(**given)
    other = next(v for v in values if v != getattr(cls(), name))
    assert repr(cls()) == f'{row.name}()' and repr(cls(**{name: other})) == f'{row.name}({name}={other!r})'
    target = NAMES if is_classifier(model) else Y if is_regressor(model) else None
    columns = ColumnTransformer([('small', MinMaxScaler(), [0, 1]), ('plain', 'passthrough', [2, 3])])
    pipe, step = make_pipeline(columns, model), row.name.lower()
    own = hasattr(model, 'score') and not hasattr(model, 'inverse_transform')
    search = GridSearchCV(pipe, {f'{step}__{name}': values}, cv=KFold(3, shuffle=True, random_state=0),
                          error_score='raise', scoring=None if own else score).fit(X, target)
    assert np.isfinite(search.cv_results_['mean_test_score']).all()
    assert search.best_params_[f'{step}__{name}'] in values
    best = search.best_estimator_
    found = said(best)
    assert len(found) == len(X) and (target is None or found.dtype.kind == target.dtype.kind)
    assert row.name.encode() in pickle.dumps(best)      # nothing is unpickled here: a copy goes by the same protocol
    again = copy.deepcopy(best)
    assert np.array_equal(said(again), found) and repr(again) == repr(best)
    assert not any(isinstance(v, jax.Array) for v in jax.tree.leaves(vars(again[-1])))      # of no device
    fresh = clone(best)
    assert not hasattr(fresh[-1], 'state_') and repr(fresh) == repr(best)
    assert np.array_equal(said(fresh.fit(X, target)), found)
    if hasattr(best, 'get_feature_names_out') and hasattr(best[-1], 'transform'):
        assert len(best.get_feature_names_out()) == best.transform(X).shape[1]


def test_all_faces_are_here():
    assert set(SMALL) == {name for name, _ in all_estimators()}


@pytest.mark.parametrize(('name', 'few', 'enough'), [
    ('Lasso', {'alpha': 0.01, 'max_iter': 1}, {'alpha': 0.01}), ('Ridge', {'solver': 'cg', 'max_iter': 1}, {}),
    ('LogisticRegression', {'max_iter': 1}, {}), ('LinearSVC', {'max_iter': 1}, {}), ('SVC', {'max_iter': 2}, {}),
    ('SVR', {'max_iter': 2}, {}), ('SGDRegressor', {'max_iter': 1}, {'max_iter': 1, 'tol': 0.0}),
    ('KMeans', {'max_iter': 1, 'random_state': 0}, {'random_state': 0}),
    ('MeanShift', {'max_iter': 1, 'bandwidth': 2.0}, {'bandwidth': 2.0})])
def test_a_search_that_did_not_converge_is_a_warning(name, few, enough):
    cls = getattr(faces, name)
    target = LABELS if is_classifier(cls()) else Y
    with pytest.warns(ConvergenceWarning, match=rf'{name}: stopped after \d+ steps, before it converged'):
        cls(**few).fit(X, target)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        cls(**enough).fit(X, target)
