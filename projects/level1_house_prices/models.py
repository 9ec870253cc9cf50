"""The models, each with its preprocessing inside; the same as scikit-learn pipelines; and how one is kept in a file.

A model is fitted with a fold's weights (0 for rows that it must not see), its means, scales and fillings as well: what
is tested can not leak into what is learned.
"""
import functools
from pathlib import Path

import jax
import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from levels.level1_classical import sklearn_api, study
from levels.level1_classical.estimator import Estimator
from levels.level1_classical.preprocessing import chain, clipper, imputer, polynomial, scaler
from levels.level1_classical.regression.lasso import lasso
from levels.level1_classical.regression.linear import ols
from levels.level1_classical.regression.ridge import ridge

NAMES = ('ols', 'ridge', 'lasso')
SHARE = 0.005       # of each column, at either end, that is brought back to the rest


def grid(name: str, count: int) -> dict[str, np.ndarray]:
    """The penalties that are tried.  Least squares has none."""
    ranges = {'ridge': (-2, 4), 'lasso': (-2.5, 1)}
    return {'alpha': np.logspace(*ranges[name], count)} if name in ranges else {}


def recipe(name: str, count: int, degree: int, tol: float) -> study.Recipe:
    """A model with the penalties that are tried."""
    return study.Recipe(maker(name, degree, tol), grid(name, count))


@functools.lru_cache
def maker(name: str, degree: int, tol: float):
    """The factory alpha -> Estimator of a model; the same object for the same arguments, so that it compiles once."""
    products = [polynomial(degree=degree), scaler()] if name != 'ols' else []
    before = [imputer(), clipper(share=SHARE), scaler(), *products]
    last = {'ols': lambda alpha: ols(), 'ridge': lambda alpha: ridge(alpha=alpha, solver='eigh'),
            'lasso': lambda alpha: lasso(alpha=alpha, tol=tol)}[name]

    def make(alpha=1.0) -> Estimator:
        return chain(*before, last(alpha))

    return make


class Clipper(TransformerMixin, BaseEstimator):
    """`clipper` for scikit-learn, which has none."""

    def __init__(self, share=0.0):
        self.share = share

    def fit(self, X, y=None):
        self.range_ = np.quantile(X, [self.share, 1 - self.share], axis=0, method='inverted_cdf')
        return self

    def transform(self, X):
        return np.clip(X, *self.range_)


def pipeline(name: str, degree: int, tol: float):
    """The same model as a scikit-learn pipeline around the face of its estimator: (Pipeline, name of its penalty)."""
    face = {'ols': sklearn_api.OLS(), 'ridge': sklearn_api.Ridge(solver='eigh'), 'lasso': sklearn_api.Lasso(tol=tol)}
    more = [PolynomialFeatures(degree, include_bias=False), StandardScaler()] if name != 'ols' else []
    steps = make_pipeline(SimpleImputer(), Clipper(SHARE), StandardScaler(), *more, face[name])
    return steps, f'{steps.steps[-1][0]}__alpha'


def load(path: Path):
    """(predict, about) of a saved model; predict takes X [rows, features].  DataError if it is no such model."""
    make = lambda about: recipe(about['model'], 1, about['degree'], about['tol']).make(**about['best'])
    model, state, about = study.load(path, make)
    return jax.jit(functools.partial(model.predict, state)), about
