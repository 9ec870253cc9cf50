"""k nearest neighbours, for classes and for numbers.

Formula: a query's neighbours are the k nearest rows, a row of weight w counting as w rows; they vote, or are averaged,
    with equal say or in proportion to 1 / distance.
Paper: Cover, Hart 1967, Nearest neighbor pattern classification, IEEE Trans. Inf. Theory 13; by distance: Dudani 1976,
    The distance-weighted k-nearest-neighbor rule, IEEE Trans. Syst. Man Cybern. 6.
Shapes: X [rows, features] -> proba [rows, classes]; predict [rows] or [rows, targets].

Example:
    from levels.level1_classical.classification.knn import knn_classifier
    model = knn_classifier(n_neighbors=5, weights='distance', n_classes=3)
    state = model.fit(key, X, y)
    model.proba(state, X)
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from levels.level1_classical.estimator import Estimator, choice, exact, features, hyper, labelled, rows
from levels.level1_classical.metrics import r2
from levels.level1_classical.neighbours import METRICS, nearest

WEIGHTS = ('uniform', 'distance')


class Remembered(NamedTuple):
    """The training rows: y holds classes, or numbers [rows, *targets]."""

    X: Float[Array, 'rows features']
    y: Array
    weight: Float[Array, ' rows']


def _shares(state: Remembered, X, k: int, weights: str, metric: str):
    """(share, row): what part each of its k nearest rows has in the answer to a query; parts sum to 1."""
    X = features(X)
    if X.shape[1] != state.X.shape[1]:
        raise ValueError(f'X: expected {state.X.shape[1]} features as in fit, found {X.shape[1]}')
    distance, row = nearest(state.X, X, k, weight=state.weight, metric=metric)
    copies = jnp.where(jnp.isfinite(distance), state.weight[row], 0)
    share = jnp.clip(k - (jnp.cumsum(copies, 1) - copies), 0, copies)      # the k-th neighbour may be one of its copies
    if weights == 'distance':       # relative to the nearest, as 1 / distance can be too large a number
        least = distance[:, :1]
        share *= jnp.where(least > 0, least / jnp.where(distance > 0, distance, 1), distance == 0)
    return share / jnp.sum(share, 1, keepdims=True), row


def _checked(n_neighbors: int, weights: str, metric: str) -> None:
    hyper('n_neighbors', n_neighbors, 1)
    choice('weights', weights, WEIGHTS)
    choice('metric', metric, METRICS)


def _kept(X, y, weight, k: int) -> Remembered:
    if k > len(X):
        raise ValueError(f'n_neighbors: expected at most {len(X)}, the number of rows, found {k}')
    return Remembered(X, y, weight)


def knn_classifier(*, n_neighbors: int = 5, weights: str = 'uniform', metric: str = 'euclidean',
                   n_classes: int = 2) -> Estimator:
    """The class that most of the nearest rows have; of equal votes the class of lower number.

    Formula: proba_c = sum of v_j [y_j = c] / sum of v_j over the neighbours j, v = 1 (`uniform`) or 1 / distance
        (`distance`; where some are at distance 0, these alone).
    Paper: Cover, Hart 1967, Nearest neighbor pattern classification, IEEE Trans. Inf. Theory 13.
    Shapes: fit X [rows, features], y [rows] of classes 0 ... n_classes - 1, weight [rows] -> the same, remembered;
        predict [rows] int32, proba [rows, n_classes].
    metric: 'euclidean', 'manhattan' or 'cosine'. Neighbours are exact, and equal distances are in order of row number
        (`neighbours.nearest`). At most n_neighbors different rows have a say; where fewer have weight, all of them.
    Cost: time of predict queries x rows x features; memory X and the queries, as distances come in chunks of 2^23.
    Errors: ValueError for bad shapes or values (`estimator.labelled`), fewer rows than n_neighbors, an unknown option.
    Example:
        X, y = jnp.array([[0.0], [1.0], [8.0], [9.0]]), jnp.array([0, 0, 1, 1])
        model = knn_classifier(n_neighbors=3)
        state = model.fit(jax.random.key(0), X, y)
        assert model.predict(state, jnp.array([[2.0]])) == 0
        model.proba(state, jnp.array([[2.0]]))               # [2/3, 1/3]
    """
    _checked(n_neighbors, weights, metric)

    def fit(key, X, y=None, weight=None) -> Remembered:
        return _kept(*labelled(X, y, weight, n_classes=n_classes), n_neighbors)

    @exact
    def proba(state, X) -> Float[Array, 'rows classes']:
        share, row = _shares(state, X, n_neighbors, weights, metric)
        votes = state.y[row][:, :, None] == jnp.arange(n_classes)[None, None]
        return jnp.sum(jnp.where(votes, share[:, :, None], 0), 1)

    def predict(state, X) -> Int[Array, ' rows']:
        return jnp.argmax(proba(state, X), 1).astype(jnp.int32)

    def score(state, X, y=None, weight=None) -> Float[Array, '']:
        X, y, weight = labelled(X, y, weight, n_classes=n_classes)
        return jnp.sum(weight * (predict(state, X) == y)) / jnp.sum(weight)

    return Estimator(fit, predict, proba=proba, score=score)


def knn_regressor(*, n_neighbors: int = 5, weights: str = 'uniform', metric: str = 'euclidean') -> Estimator:
    """The mean of the nearest rows' numbers.

    Formula: sum of v_j y_j / sum of v_j over the neighbours j, v = 1 (`uniform`) or 1 / distance (`distance`; where
        some are at distance 0, these alone).
    Paper: Altman 1992, An introduction to kernel and nearest-neighbor nonparametric regression, Am. Stat. 46.
    Shapes: fit X [rows, features], y [rows, *targets], weight [rows] -> the same, remembered; predict [rows, *targets];
        score -> R2 [].
    metric: as `knn_classifier`.
    Cost: time and memory as `knn_classifier`.
    Errors: ValueError for bad shapes or values (`estimator.rows`), fewer rows than n_neighbors, an unknown option.
    Example:
        X, y = jnp.array([[0.0], [1.0], [8.0]]), jnp.array([1.0, 2.0, 30.0])
        model = knn_regressor(n_neighbors=2)
        state = model.fit(jax.random.key(0), X, y)
        assert model.predict(state, jnp.array([[0.4]])) == 1.5
        knn_regressor(n_neighbors=2, weights='distance').predict(state, X)      # 1, 2, 30: exact hits
    """
    _checked(n_neighbors, weights, metric)

    def fit(key, X, y=None, weight=None) -> Remembered:
        return _kept(*rows(X, y, weight), n_neighbors)

    @exact
    def predict(state, X) -> Float[Array, 'rows *targets']:
        share, row = _shares(state, X, n_neighbors, weights, metric)
        # from the nearest one's value, so that numbers far from zero keep their digits
        y = state.y.reshape(len(state.y), -1)
        base = y[row[:, 0]]
        found = base + jnp.sum(share[:, :, None] * (y[row] - base[:, None]), 1)
        return found.reshape(len(found), *state.y.shape[1:])

    def score(state, X, y=None, weight=None) -> Float[Array, '']:
        X, y, weight = rows(X, y, weight)
        return r2(y, predict(state, X), weight=weight)

    return Estimator(fit, predict, score=score)
