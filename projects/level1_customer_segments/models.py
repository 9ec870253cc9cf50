"""The ways to make segments, each an estimator whose logarithms and scales are fitted within; how one is kept.

A segmentation is fitted with a fold's weights (0 for customers that it must not see). What is quadratic in customers
(ward, spectral clustering, mean shift) sees a random part of them. Everyone else belongs to the nearest centre, and
segments are numbered from the one that spends most later to the one that spends least.
"""
import functools
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from levels.level1_classical import study
from levels.level1_classical.estimator import Estimator, features, rows
from levels.level1_classical.preprocessing import chain, scaler
from levels.level1_classical.regression.linear import ols
from levels.level1_classical.unsupervised.hierarchical import agglomerative
from levels.level1_classical.unsupervised.kmeans import kmeans, nearest, sums_by
from levels.level1_classical.unsupervised.mean_shift import estimate_bandwidth, mean_shift
from levels.level1_classical.unsupervised.spectral import spectral_clustering

NAMES = ('kmeans', 'ward', 'spectral', 'mean_shift')
BASELINES = ('random', 'rule')
SCORES = 5          # the rule gives 1 to 5 points for each of recency, frequency, money
MODES = 12          # most segments that mean shift may find; the densest are kept
NEAR = 0.15         # share of the customers within mean shift's bandwidth


class Segments(NamedTuple):
    """Centres of scaled logarithms; `value` is the mean target of a segment's customers."""

    mean: Float[Array, ' features']
    std: Float[Array, ' features']
    centers: Float[Array, 'k features']
    alive: Bool[Array, ' k']
    value: Float[Array, ' k']


class Rule(NamedTuple):
    """Edges of the points for each column, and of the segments on the sum of the points."""

    edges: Float[Array, 'features cuts']
    cuts: Float[Array, ' parts']
    value: Float[Array, ' k']


def logs() -> Estimator:
    """log(1 + x) of each column: nothing is learned."""
    return Estimator(lambda key, X, y=None, weight=None: (), transform=lambda state, X: jnp.log1p(features(X)))


def drawn(key, weight, size: int):
    """Different rows that have weight, at random."""
    race = jnp.where(weight > 0, jax.random.uniform(key, weight.shape), -1)
    return jax.lax.top_k(race, size)[1]


def means(Z, labels, k: int):
    """(centres [k, features], whether a cluster has rows [k])."""
    both = sums_by(labels, jnp.concatenate([Z, jnp.ones_like(Z[:, :1])], 1), k)
    return both[:, :-1] / jnp.maximum(both[:, -1:], 1), both[:, -1] > 0


def by_kmeans(key, Z, weight, k: int, small: int):
    return kmeans(n_clusters=k, n_init=5).fit(key, Z, weight=weight).centers, jnp.ones(k, bool)


def by_ward(key, Z, weight, k: int, small: int):
    part = Z[drawn(key, weight, small)]
    return means(part, agglomerative(n_clusters=k).fit(key, part).labels, k)


def by_spectral(key, Z, weight, k: int, small: int):
    part = Z[drawn(key, weight, small)]
    model = spectral_clustering(n_clusters=k, n_init=5)
    return means(part, model.fit(key, part).labels, k)


def by_mean_shift(key, Z, weight, k: int, small: int):
    part = Z[drawn(key, weight, small)]
    found = mean_shift(bandwidth=estimate_bandwidth(part, quantile=NEAR)).fit(key, part)
    return found.centers[:MODES], jnp.arange(MODES) < found.n_modes


FINDERS = dict(zip(NAMES, (by_kmeans, by_ward, by_spectral, by_mean_shift)))


def value_of(labels, y, weight, k: int):
    """Mean target of each segment; the mean of all where a segment has nobody."""
    both = sums_by(labels, jnp.stack([weight * y, weight], 1), k)
    everyone = jnp.sum(weight * y) / jnp.sum(weight)
    return jnp.where(both[:, 1] > 0, both[:, 0] / jnp.where(both[:, 1] > 0, both[:, 1], 1), everyone)


@functools.lru_cache
def segments(name: str, k: int, small: int) -> Estimator:
    """A way to make k segments (mean shift: as many as there are); predict gives the number of the segment."""
    before = chain(logs(), scaler())

    def predict(state, X):
        Z = (jnp.log1p(features(X)) - state.mean[None]) / state.std[None]
        return nearest(Z, jnp.where(state.alive[:, None], state.centers, 1e6))[0]

    def fit(key, X, y=None, weight=None) -> Segments:
        X, y, weight = rows(X, y, weight)
        scale = before.fit(key, X, weight=weight)[-1]
        Z = (jnp.log1p(X) - scale.mean[None]) / scale.std[None]
        centers, alive = FINDERS[name](key, Z, weight, k, small)
        state = Segments(scale.mean, scale.std, centers, alive, jnp.zeros(len(centers), X.dtype))
        value = jnp.where(alive, value_of(predict(state, X), y, weight, len(centers)), -jnp.inf)
        order = jnp.argsort(-value)
        return state._replace(centers=centers[order], alive=alive[order],
                              value=jnp.where(alive[order], value[order], 0))

    return Estimator(fit, predict)


def quantiles(x, weight, shares):
    """The least values with such shares of the weight at or below them."""
    order = jnp.argsort(x)
    upto = jnp.cumsum(weight[order])
    return x[order[jnp.searchsorted(upto, jnp.asarray(shares) * upto[-1] * (1 - 1e-6))]]


@functools.lru_cache
def rule(k: int) -> Estimator:
    """The marketer's rule: 1 to 5 points by fifths of recency, frequency and money; the sum cut into k parts.

    Ties fall together, so with many customers who bought once some of the points, and of the parts, are never given.
    """
    def points(state, X):
        above = jnp.sum(features(X)[:, :, None] > state.edges[None], 2)
        return jnp.sum(jnp.where(jnp.arange(3)[None] == 0, SCORES - 1 - above, above), 1)   # recent is good

    def predict(state, X):
        return jnp.sum(points(state, X)[:, None] <= state.cuts[None], 1)    # 0 is best, as in `segments`

    def fit(key, X, y=None, weight=None) -> Rule:
        X, y, weight = rows(X, y, weight)
        edges = jnp.stack([quantiles(X[:, j], weight, jnp.arange(1, SCORES) / SCORES) for j in range(3)])
        state = Rule(edges, jnp.zeros(k - 1, X.dtype), jnp.zeros(k, X.dtype))
        cuts = quantiles(points(state, X).astype(X.dtype), weight, jnp.arange(1, k) / k)
        state = state._replace(cuts=cuts)
        return state._replace(value=value_of(predict(state, X), y, weight, k))

    return Estimator(fit, predict)


@functools.lru_cache
def regression() -> Estimator:
    """Least squares on the logarithms: what is given up when customers are put into a few drawers."""
    return chain(logs(), scaler(), ols())


def later(state, model: Estimator, X):
    """What a segmentation says of the target: the mean of the segment."""
    return state.value[model.predict(state, X)]


def load(path: Path):
    """(assign, about) of a saved segmentation; assign takes rows of recency, frequency, money.

    assign(rows) -> numbers of segments, whose names and figures are about['profile'].  DataError if it is none.
    """
    make = lambda about: segments(about['model'], about['k'], about['small'])
    model, state, about = study.load(path, make)
    return jax.jit(functools.partial(model.predict, state)), about
