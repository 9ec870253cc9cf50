"""The models, each with its preprocessing inside; the same as scikit-learn pipelines; and how one is kept in a file.

A model is fitted with a fold's weights (0 for rows that it must not see), its means, scales and fillings as well: what
is tested can not leak into what is learned.
"""
import functools
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from levels.level1_classical import sklearn_api, study
from levels.level1_classical.classification.knn import knn_regressor
from levels.level1_classical.classification.svc import svr
from levels.level1_classical.ensembles.boosting import gradient_boosting_regressor
from levels.level1_classical.ensembles.forest import random_forest_regressor
from levels.level1_classical.ensembles.tree import decision_tree_regressor
from levels.level1_classical.estimator import Estimator
from levels.level1_classical.preprocessing import chain, clipper, imputer, polynomial, scaler, thinned
from levels.level1_classical.regression.lasso import elastic_net, lasso
from levels.level1_classical.regression.linear import ols
from levels.level1_classical.regression.ridge import ridge
from levels.level1_classical.regression.sgd import sgd_regressor

LINEAR = ('ridge', 'lasso', 'elastic', 'sgd')       # they see products of features
SHARE = 0.005       # of each column, at either end, that is brought back to the rest
NEIGHBOURS = (3, 6, 12, 24)
PENALTIES = {'ridge': (-2, 4), 'lasso': (-2.5, 1), 'elastic': (-2.5, 1)}        # powers of ten
GRIDS = {
    'ols': {},                      # least squares has nothing to choose
    'sgd': {'alpha': np.array([1e-4, 1e-2, 1e-1])},
    'knn': {'n_neighbors': np.array(NEIGHBOURS, float)},
    'svr': {'C': np.array([3.0, 30.0]), 'gamma': np.array([0.03, 0.1])},
    'tree': {'min_samples_leaf': np.array([3.0, 8.0, 20.0])},
    'forest': {'min_samples_leaf': np.array([1.0, 3.0])},
    'boosting': {'learning_rate': np.array([0.05, 0.1]), 'reg_lambda': np.array([1.0, 10.0])},
}


class Sizes(NamedTuple):
    """What of a config the models know."""

    degree: int = 2
    tol: float = 1e-4
    trees: int = 100
    rounds: int = 200
    rows: int = 3000


def grid(name: str, count: int) -> dict[str, np.ndarray]:
    """The hyperparameters that are tried, `count` of a penalty."""
    return {'alpha': np.logspace(*PENALTIES[name], count)} if name in PENALTIES else GRIDS[name]


def recipe(name: str, count: int, sizes: Sizes) -> study.Recipe:
    """A model with the hyperparameters that are tried."""
    return study.Recipe(maker(name, sizes), grid(name, count), name in ('knn', 'svr', 'tree', 'forest', 'boosting'))


@functools.lru_cache
def maker(name: str, sizes: Sizes):
    """The factory (hyperparameters) -> Estimator; the same object for the same arguments, so that it compiles once."""
    s = sizes
    before = [imputer(), clipper(share=SHARE), scaler()]
    before += [polynomial(degree=s.degree), scaler()] if name in LINEAR else []
    last = {
        'ols': ols, 'ridge': functools.partial(ridge, solver='eigh'), 'lasso': functools.partial(lasso, tol=s.tol),
        'elastic': functools.partial(elastic_net, tol=s.tol),
        'sgd': functools.partial(sgd_regressor, batch_size=16, max_iter=100, schedule='constant', average=20_000,
                                 tol=0.0),      # the mean of the steps after the first 20,000 rows
        'knn': lambda n_neighbors: study.one_of(
            jnp.searchsorted(jnp.array(NEIGHBOURS, float), n_neighbors),
            [knn_regressor(n_neighbors=k, weights='distance') for k in NEIGHBOURS]),
        'svr': lambda **point: thinned(svr(epsilon=1.0, tol=1e-2, **point), rows=s.rows),
        'tree': functools.partial(decision_tree_regressor, max_depth=10),
        'forest': functools.partial(random_forest_regressor, n_estimators=s.trees, max_depth=10, max_bins=64,
                                    max_features=4),
        'boosting': functools.partial(gradient_boosting_regressor, n_estimators=s.rounds, max_depth=4, max_bins=64,
                                      subsample=0.8),
    }[name]
    if name == 'boosting':          # takes values as they are, and missing ones too
        return last

    def make(**point) -> Estimator:
        return chain(*before, last(**point))

    return make


@functools.lru_cache
def predict_of(name: str, sizes: Sizes):
    """(point, state, X) -> prices, compiled."""
    return jax.jit(lambda point, state, X: maker(name, sizes)(**point).predict(state, X))


class Clipper(TransformerMixin, BaseEstimator):
    """`clipper` for scikit-learn, which has none."""

    def __init__(self, share=0.0):
        self.share = share

    def fit(self, X, y=None):
        self.range_ = np.quantile(X, [self.share, 1 - self.share], axis=0, method='inverted_cdf')
        return self

    def transform(self, X):
        return np.clip(X, *self.range_)


FACES = {'ols': sklearn_api.OLS, 'ridge': functools.partial(sklearn_api.Ridge, solver='eigh'),
         'lasso': sklearn_api.Lasso, 'elastic': sklearn_api.ElasticNet}


def pipeline(name: str, sizes: Sizes):
    """The same model as a scikit-learn pipeline around the face of its estimator: (Pipeline, name of its penalty)."""
    face = FACES[name](**({'tol': sizes.tol} if name in ('lasso', 'elastic') else {}))
    more = [PolynomialFeatures(sizes.degree, include_bias=False), StandardScaler()] if name in LINEAR else []
    steps = make_pipeline(SimpleImputer(), Clipper(SHARE), StandardScaler(), *more, face)
    return steps, f'{steps.steps[-1][0]}__alpha'


def load(path: Path):
    """(predict, about) of a saved model; predict takes X [rows, features].  DataError if it is no such model."""
    _, state, about = study.load(path, lambda about: maker(about['model'], Sizes(**about['sizes']))(**about['best']))
    return functools.partial(predict_of(about['model'], Sizes(**about['sizes'])), about['best'], state), about
