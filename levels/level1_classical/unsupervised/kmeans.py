"""k-means: greedy k-means++, Lloyd's iterations, restarts by vmap; and mini-batches.

Formula: minimise over centres sum_i w_i min_c ||x_i - c||^2 (the inertia).
Paper: Lloyd 1982, Least squares quantization in PCM, IEEE Trans. Inf. Theory 28; Arthur, Vassilvitskii 2007, k-means++,
    SODA; mini-batches: Sculley 2010, Web-scale k-means clustering, WWW.
Shapes: X [rows, features] -> centers [k, features], labels [rows].

Example:
    from levels.level1_classical.unsupervised.kmeans import kmeans
    model = kmeans(n_clusters=3, n_init=10)
    state = model.fit(jax.random.key(0), X)
    labels = model.predict(state, X)
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from common.scatter import scatter
from common.task import Task, solve, train_fn
from levels.level1_classical.estimator import (
    Estimator,
    choice,
    concrete,
    exact,
    features,
    floats,
    holds,
    hyper,
    in_parts,
    rows,
)
from levels.level1_classical.estimator import weighted_mean as mean_of
from levels.level1_classical.unsupervised.kmeans_starts import INITS, draw, starts

CELLS = 1 << 18         # products held at once on a CPU


class KMeans(NamedTuple):
    """The centres found, their inertia on the training rows, and how the search ended."""

    centers: Float[Array, 'k features']
    inertia: Float[Array, '']
    steps: Int[Array, '']
    converged: Bool[Array, '']


class Lloyd(NamedTuple):
    """Where Lloyd's iterations stand: labels are those that `centers` was averaged from."""

    centers: Float[Array, 'k features']
    labels: Int[Array, ' rows']


def nearest(X, centers):
    """(label, squared distance) of each row.  X and centers should lie about zero: the products would round."""
    label, least = closest(X, centers)
    return label, jnp.maximum(least + jnp.sum(X**2, 1), 0)


def closest(X, centers):
    """(label, squared distance less the row's own square) of each row.

    Least value, then first place of it: `jnp.argmin` is an order of magnitude slower on CPUs. There some rows go at a
    time, as many as keep the products in a cache.
    """
    k = len(centers)
    square, number = jnp.sum(centers**2, 1)[:, None], jnp.arange(k, dtype=jnp.int32)[:, None]

    def some(x):
        part = square - 2 * (centers @ x.T)
        least = jnp.min(part, 0)
        return jnp.min(jnp.where(part == least[None], number, k - 1), 0), least

    return in_parts(some, X, max(256, CELLS // k))


def sums_by(labels, values, k: int):
    """values [rows, d] added up by label [k, d]: rows are scattered on a CPU, elsewhere it is a product of matrices
    (whose order, unlike that of atomic additions, is always the same)."""
    scatter = lambda l, v: jnp.zeros((k, v.shape[1]), v.dtype).at[l].add(v)
    product = lambda l, v: jax.nn.one_hot(l, k, dtype=v.dtype).T @ v
    return jax.lax.platform_dependent(labels, values, cpu=scatter, default=product)


def fill_empty(labels, distance, weight, k: int):
    """Labels in which each empty cluster has the row that is farthest from its own centre (the next farthest, ...)."""
    empty = sums_by(labels, weight[:, None], k)[:, 0] == 0
    far, which = jax.lax.top_k(jnp.where(weight > 0, distance, -1), min(k, len(labels)))
    place = jnp.cumsum(empty) - 1                       # the how-maniest empty cluster this is
    takes = empty & (place < len(far)) & (far[jnp.clip(place, 0, len(far) - 1)] > 0)
    row = jnp.where(takes, which[jnp.clip(place, 0, len(far) - 1)], len(labels))
    return scatter(labels, row, jnp.arange(k, dtype=labels.dtype))


def weighed(X, weight):
    """[X, 1] times the weights: what is added up by label."""
    return weight[:, None] * jnp.concatenate([X, jnp.ones_like(X[:, :1])], 1)


def lloyd(k: int, start) -> Task:
    """Lloyd's iterations as a Task whose batch is (X, weight, `weighed` of them)."""
    def step(key, state, batch):
        X, weight, both = batch
        labels, least = closest(X, state.centers)
        sums = sums_by(labels, both, k)

        def filled():
            new = fill_empty(labels, least + jnp.sum(X**2, 1), weight, k)
            return new, sums_by(new, both, k)

        # the common case, no cluster empty, does not pay for sorting
        labels, sums = jax.lax.cond((sums[:, -1] == 0).any(), filled, lambda: (labels, sums))
        total = sums[:, -1:]
        centers = jnp.where(total > 0, sums[:, :-1] / jnp.where(total > 0, total, 1), state.centers)
        return Lloyd(centers, labels), {}

    return Task(lambda key, batch: Lloyd(start, jnp.full(len(batch[0]), -1, jnp.int32)), step)


@exact
def predict(state, X: Float[Array, 'rows features']) -> Int[Array, ' rows']:
    """The number of the nearest centre.  Shapes: [rows, features] -> [rows].  Errors: ValueError as `features`."""
    middle = jnp.mean(state.centers, 0)[None]
    return nearest(_like(state, X) - middle, state.centers - middle)[0]


def transform(state, X: Float[Array, 'rows features']) -> Float[Array, 'rows k']:
    """Distances to the centres.  Shapes: [rows, features] -> [rows, k].  Errors: ValueError as `features`."""
    X = _like(state, X)
    return jax.vmap(lambda c: jnp.sqrt(jnp.sum((X - c[None]) ** 2, 1)), out_axes=1)(state.centers)


def score(state, X: Float[Array, 'rows features'], y=None, weight=None) -> Float[Array, '']:
    """Minus the inertia of these rows.  Errors: ValueError as `rows`."""
    X, _, weight = rows(X, None, weight, need_y=False)
    return -jnp.sum(weight * jnp.sum((X - state.centers[predict(state, X)]) ** 2, 1))


def _like(state, X):
    X = features(X)
    if X.shape[1] != state.centers.shape[1]:
        raise ValueError(f'X: expected {state.centers.shape[1]} features as in fit, found {X.shape[1]}')
    return X.astype(state.centers.dtype)


def _checked(X, weight, k, init):
    X, _, weight = rows(X, None, weight, need_y=False)
    if k > len(X) or (concrete(weight) and holds(lambda: jnp.sum(weight > 0) < k)):
        raise ValueError(f'n_clusters: expected at most as many as rows of weight above 0, found {k}')
    if not isinstance(init, str):
        init = floats(init).astype(X.dtype)
        if init.shape != (k, X.shape[1]):
            raise ValueError(f'init: expected centers [{k}, {X.shape[1]}], found shape {init.shape}')
    return X, weight, init


def kmeans(*, n_clusters: int = 8, init: Any = 'k-means++', n_init: int = 1, max_iter: int = 300,
           tol=1e-4) -> Estimator:
    """k-means by Lloyd's iterations from `n_init` starts that run side by side; the best one is kept.

    Formula: labels = nearest centre, centre = weighted mean of its rows, until the labels stay or the centres move (sum
        of squares) by at most tol times the mean variance of the columns. A cluster that runs empty takes the row
        farthest from its centre.
    Paper: Lloyd 1982, Least squares quantization in PCM; Arthur, Vassilvitskii 2007, k-means++: the advantages of
        careful seeding (greedy variant of their section 7).
    Shapes: fit X [rows, features], weight [rows] -> KMeans(centers [k, features], inertia [], steps [], converged []);
        predict -> labels [rows]; transform -> distances [rows, k]; score -> minus the inertia [].
    init: 'k-means++', 'random' (rows), or centers [k, features] (then there is one start).
    Cost: time rows x features x k for each step of each start; memory a copy of X, and rows x k for each start.
    Errors: ValueError for bad shapes or values (`estimator.rows`), more clusters than rows, an unknown init.
    Example:
        X = jnp.array([[0.0, 0.0], [0.0, 1.0], [9.0, 9.0], [9.0, 8.0]])
        model = kmeans(n_clusters=2, n_init=3)
        state = model.fit(jax.random.key(0), X)
        assert state.converged and state.inertia == 1.0
        model.predict(state, X)                              # [0, 0, 1, 1] or [1, 1, 0, 0]
    """
    hyper('n_clusters', n_clusters, 1)
    hyper('n_init', n_init, 1)
    hyper('max_iter', max_iter, 1)
    hyper('tol', tol, 0)
    if isinstance(init, str):
        choice('init', init, INITS)

    @exact
    def fit(key, X, y=None, weight=None) -> KMeans:
        X, weight, begin = _checked(X, weight, n_clusters, init)
        middle = mean_of(X, weight)[None]
        X = X - middle
        begin = begin if isinstance(begin, str) else begin - middle
        goal = tol * jnp.mean(mean_of(X**2, weight))
        both = weighed(X, weight)

        def run(start):
            def done(old, new):
                stay = ((old.labels == new.labels) | (weight == 0)).all()
                return stay | (jnp.sum((old.centers - new.centers) ** 2) <= goal)

            found = solve(lloyd(n_clusters, start), key, (X, weight, both), max_steps=max_iter,
                          done=done)
            centers = found.state.centers
            inertia = jnp.sum(weight * jnp.sum((X - centers[nearest(X, centers)[0]]) ** 2, 1))
            return KMeans(centers + middle, inertia, found.steps, found.converged)

        begins = starts(key, X, weight, n_clusters, begin, n_init)
        if len(begins) == 1:        # under vmap both sides of a `cond` are worked out
            return run(begins[0])
        runs = jax.vmap(run)(begins)
        return jax.tree.map(lambda x: x[jnp.argmin(runs.inertia)], runs)

    return Estimator(fit, predict, transform=transform, score=score)


class Batches(NamedTuple):
    """Where mini-batch k-means stands: `counts` is the weight that each centre has seen."""

    centers: Float[Array, 'k features']
    counts: Float[Array, ' k']
    moved: Float[Array, '']


def absorb(state: Batches, X, weight) -> Batches:
    """The centres with one batch added: each is the mean of all that it has been given so far."""
    k = len(state.centers)
    labels, _ = nearest(X, state.centers)
    both = sums_by(labels, weighed(X, weight), k)
    counts = state.counts + both[:, -1]
    centers = (state.centers * state.counts[:, None] + both[:, :-1]) / jnp.where(counts > 0, counts, 1)[:, None]
    centers = jnp.where(counts[:, None] > 0, centers, state.centers)
    return Batches(centers, counts, jnp.sum((centers - state.centers) ** 2))


def minibatch_kmeans(*, n_clusters: int = 8, init: Any = 'k-means++', batch_size: int = 1024, max_iter: int = 100,
                     tol=1e-4) -> Estimator:
    """k-means that sees a random batch at a time: nearly as good, at a fraction of the work on many rows.

    Formula: of each batch, c <- (c n_c + sum of its rows) / (n_c + their number), n_c the rows that c has seen. Batches
        are drawn with replacement, in proportion to the weights.
    Paper: Sculley 2010, Web-scale k-means clustering, WWW 2010, algorithm 1.
    Shapes: fit X [rows, features], weight [rows] -> KMeans(centers [k, features], inertia [], steps [], converged []);
        predict, transform, score as in `kmeans`. It takes max_iter steps; converged says whether the last one moved the
        centres by at most tol times the mean variance of the columns.
    Cost: time batch_size x features x k for each step, and rows x features x k once for the start and the inertia;
        memory a copy of X, and rows x k once.
    Errors: ValueError for bad shapes or values (`estimator.rows`), more clusters than rows, an unknown init.
    Example:
        X = jnp.repeat(jnp.array([[0.0, 0.0], [9.0, 9.0]]), 50, axis=0)
        model = minibatch_kmeans(n_clusters=2, batch_size=20, max_iter=20)
        state = model.fit(jax.random.key(0), X)
        assert jnp.allclose(jnp.sort(state.centers[:, 0]), jnp.array([0.0, 9.0]), atol=1e-5)
        state.inertia                                        # 0.0
    """
    for name, value in (('n_clusters', n_clusters), ('batch_size', batch_size), ('max_iter', max_iter)):
        hyper(name, value, 1)
    hyper('tol', tol, 0)
    if isinstance(init, str):
        choice('init', init, INITS)

    @exact
    def fit(key, X, y=None, weight=None) -> KMeans:
        X, weight, begin = _checked(X, weight, n_clusters, init)
        middle = mean_of(X, weight)[None]
        X = X - middle

        def first(key, data):
            start = starts(key, *data, n_clusters, begin if isinstance(begin, str) else begin - middle, 1)[0]
            return Batches(start, jnp.zeros(n_clusters, X.dtype), jnp.asarray(jnp.inf, X.dtype))

        def step(key, state, data):
            X, weight = data
            batch = X[draw(key, weight, (batch_size,))]
            return absorb(state, batch, jnp.ones(batch_size, X.dtype)), {}

        carry, _ = train_fn(Task(first, step), max_iter)(key, (X, weight))
        centers = carry.state.centers
        inertia = jnp.sum(weight * jnp.sum((X - centers[nearest(X, centers)[0]]) ** 2, 1))
        still = carry.state.moved <= tol * jnp.mean(mean_of(X**2, weight))
        return KMeans(centers + middle, inertia, carry.step, still)

    return Estimator(fit, predict, transform=transform, score=score)
