"""The models, each with its preprocessing inside; the two rules of thumb; and how a model is kept in a file.

A model is fitted with a fold's weights (0 for rows that it must not see), its fillings, means and scales as well: what
is tested can not leak into what is learned.  Boosting takes missing ages as they are, for the others they are filled.
"""
import functools
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from common import passengers
from levels.level1_classical import study
from levels.level1_classical.classification.knn import knn_classifier
from levels.level1_classical.classification.logistic import logistic
from levels.level1_classical.classification.naive_bayes import bernoulli_nb
from levels.level1_classical.classification.svc import svc
from levels.level1_classical.ensembles.boosting import gradient_boosting_classifier
from levels.level1_classical.ensembles.forest import random_forest_classifier
from levels.level1_classical.ensembles.tree import decision_tree_classifier
from levels.level1_classical.estimator import Estimator
from levels.level1_classical.preprocessing import chain, imputer, polynomial, scaler

NEIGHBOURS = (5, 10, 20, 40, 80)
ABOVE = 0.1         # standard deviations; a filled gap is the mean but for its rounding, and must not count as above
MALE = passengers.ALL.index('male')
GRIDS = {
    'logistic': {'C': np.logspace(-3, 1, 9)},
    'bayes': {'alpha': np.logspace(-1, 2.5, 8)},
    'knn': {'n_neighbors': np.array(NEIGHBOURS, float)},
    'svm': {'C': np.array([0.3, 3.0]), 'gamma': np.array([0.03, 0.1])},
    'tree': {'ccp_alpha': np.array([0, 0.001, 0.002, 0.003, 0.005, 0.01])},
    'forest': {'min_samples_leaf': np.array([2.0, 5.0, 10.0])},
    'boosting': {'learning_rate': np.array([0.02, 0.05, 0.1]), 'reg_lambda': np.array([1.0, 10.0])},
}


class Share(NamedTuple):
    """Of each sex, how much of it survived."""

    survived: Float[Array, ' 2']


def make(name: str, trees: int, rounds: int, **point) -> Estimator:
    """The model at a point of its grid."""
    filled = lambda *steps: chain(imputer(), *steps)
    if name == 'logistic':      # products let class count for more among women than among men
        return filled(scaler(), polynomial(), scaler(), logistic(**point))
    if name == 'bayes':         # nearly all columns are yes or no; of the others whether they are above their means
        return filled(scaler(), bernoulli_nb(binarize=ABOVE, **point))
    if name == 'knn':
        which = jnp.searchsorted(jnp.array(NEIGHBOURS, float), point['n_neighbors'])
        return filled(scaler(), study.one_of(which, [knn_classifier(n_neighbors=k) for k in NEIGHBOURS]))
    if name == 'svm':
        return filled(scaler(), svc(probability=True, **point))
    if name == 'tree':
        return filled(decision_tree_classifier(max_depth=6, min_samples_leaf=8, **point))
    if name == 'forest':
        return filled(random_forest_classifier(n_estimators=trees, max_depth=7, max_bins=64, **point))
    return gradient_boosting_classifier(n_estimators=rounds, max_depth=3, max_bins=64, **point)


@functools.lru_cache
def recipe(name: str, trees: int, rounds: int) -> study.Recipe:
    """A model with the points that are tried; the same object for the same arguments, so that it compiles once."""
    in_turn = name not in ('logistic', 'bayes')
    return study.Recipe(functools.partial(make, name, trees, rounds), GRIDS[name], in_turn)


@functools.lru_cache
def proba_of(name: str, trees: int, rounds: int):
    """(point, state, X) -> chances, compiled."""
    return jax.jit(lambda point, state, X: make(name, trees, rounds, **point).proba(state, X))


def majority() -> Estimator:
    """Everybody has the chance of all: what knows nothing of a passenger."""
    mean = lambda X, y, w: jnp.full(2, jnp.sum(w * y) / jnp.sum(w))
    return _rule(mean)


def women_survive() -> Estimator:
    """Women have the chance of women, men that of men: the rule of thumb that models must beat."""
    def mean(X, y, w):
        own = w[:, None] * (X[:, MALE, None] == jnp.arange(2)[None])
        return y @ own / jnp.maximum(jnp.sum(own, 0), 1e-9)
    return _rule(mean)


def _rule(mean) -> Estimator:
    chance = lambda state, X: state.survived[X[:, MALE].astype(int)]
    return Estimator(lambda key, X, y, weight: Share(mean(X, y, weight)),
                     proba=lambda state, X: jnp.stack([1 - chance(state, X), chance(state, X)], 1))


RULES = {'majority': majority(), 'women': women_survive()}


@functools.cache
def _ruled(name: str):
    rule = RULES[name]
    return jax.jit(jax.vmap(lambda X, y, w: rule.proba(rule.fit(None, X, y, w), X), (None, None, 0)))


def out_of_fold(name: str, X, y, folds: study.Folds) -> Float[np.ndarray, 'rows 2']:
    """What a rule says of each row when it has learned from the folds without it."""
    said = np.asarray(_ruled(name)(X, jnp.asarray(y, jnp.float32), folds.outer.train.astype(np.float32)))
    return said[folds.outer.test.argmax(0), np.arange(len(X))]


def load(path: Path):
    """(proba, about) of a saved model; proba takes X [rows, features].  DataError if it is no such model."""
    sizes = lambda about: (about['model'], about['trees'], about['rounds'])
    _, state, about = study.load(path, lambda about: recipe(*sizes(about)).make(**about['best']))
    return functools.partial(proba_of(*sizes(about)), about['best'], state), about
