"""UMAP: maps from a fuzzy graph of neighbours; spectral start, negative sampling, and places for new rows.

Formula: see `umap`; the graph is made in `umap_graph`, the start in `umap_spectral`, the map in `umap_layout`.
Paper: McInnes, Healy, Melville 2018, UMAP: uniform manifold approximation and projection, arXiv:1802.03426.
Shapes: X [rows, features] -> embedding [rows, n_components].

Example:
    from levels.level1_classical.unsupervised.umap import umap
    model = umap(n_neighbors=15, min_dist=0.1)
    state = jax.jit(model.fit)(jax.random.key(0), X)
    model.transform(state, X_new)
"""
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from levels.level1_classical.estimator import Estimator, choice, exact, features, floats, hyper
from levels.level1_classical.neighbours import nearest
from levels.level1_classical.unsupervised.tsne import start as tsne_start
from levels.level1_classical.unsupervised.umap_graph import curve, memberships, smooth, union
from levels.level1_classical.unsupervised.umap_layout import layout, placed
from levels.level1_classical.unsupervised.umap_spectral import eigenmap

INITS = ('spectral', 'pca', 'random')
MANY = 10_000       # rows from which fewer epochs do


class UMAP(NamedTuple):
    """The map, the rows it is of, and the curve of its distances; `steps` are epochs."""

    embedding: Float[Array, 'rows k']
    X: Float[Array, 'rows features']
    a: Float[Array, '']
    b: Float[Array, '']
    steps: Int[Array, '']


def fuzzy_set(X: Float[Array, 'rows features'], n_neighbors: int, *, local_connectivity=1.0, mix=1.0):
    """(neighbours [rows, n_neighbors - 1], weights of the edges either way, whether j lists i as well)."""
    found = nearest(X, X, n_neighbors - 1, exclude_self=True)
    r, s = smooth(jnp.concatenate([jnp.zeros_like(X[:, :1]), found.distances], 1), local_connectivity)
    return found.indices, *union(found.indices, memberships(found.distances, r, s), mix)


def start(key, X, neighbours, s, mutual, k: int, init):
    """The first map, from 0 to 10 in each direction."""
    if not isinstance(init, str):
        Y = init
    elif init == 'random':
        Y = jax.random.uniform(key, (len(X), k), X.dtype)
    elif init == 'pca':
        Y = tsne_start(key, X, k, 'pca')
    else:
        Y = eigenmap(key, neighbours, jnp.where(mutual, s / 2, s), k)
        # pieces of a graph may lie on one another
        Y = Y / jnp.max(jnp.abs(Y)) + 1e-5 * jax.random.normal(key, Y.shape, Y.dtype)
    low, high = jnp.min(Y, 0)[None], jnp.max(Y, 0)[None]
    return 10 * (Y - low) / jnp.where(high > low, high - low, 1)


def umap(*, n_neighbors: int = 15, n_components: int = 2, min_dist=0.1, spread=1.0, n_epochs: int | None = None,
         learning_rate=1.0, init: Any = 'spectral', local_connectivity=1.0, set_op_mix_ratio=1.0,
         repulsion_strength=1.0, negative_sample_rate: int = 5) -> Estimator:
    """UMAP: a map in which the edges of a graph of neighbours are short, and drawn rows are kept apart.

    Formula: weights s = w + w' - w w' of edges, w_ij = exp(-max(0, d_ij - r_i) / s_i) summing to log2 n_neighbors; the
        map lowers the cross-entropy of s and 1 / (1 + a d^(2b)) by gradients of edges, in proportion to s, and of
        negative_sample_rate drawn rows for each. (a, b) fit the curve that min_dist and spread describe.
    Paper: McInnes, Healy, Melville 2018, UMAP: uniform manifold approximation and projection, arXiv:1802.03426.
    Shapes: fit X [rows, features] -> UMAP(embedding [rows, n_components], X, a [], b [], steps []); transform
        [rows, n_components]: a new row is placed among its neighbours and moved by the same forces for a third of the
        epochs, whatever other rows come with it; a row of the training data has its place already.
    n_neighbors counts the row itself; at most all rows. n_epochs: None is 500, from 10,000 rows on 200. There is no
        test of convergence: the rate falls to 0 over the epochs.
    Cost: time neighbours, rows^2 x features in chunks, then rows x n_neighbors x negative_sample_rate for each epoch.
        Memory: rows x n_neighbors, and 150 numbers for each row in the spectral start.
    Errors: ValueError for bad shapes or values (`estimator.features`), fewer than two rows, weights, an unknown init.
    Example:
        X = jnp.concatenate([jnp.eye(8), 9 + jnp.eye(8)])
        model = umap(n_neighbors=5, n_epochs=50)
        state = model.fit(jax.random.key(0), X)
        centre = state.embedding.reshape(2, 8, 2).mean(1)
        assert jnp.linalg.norm(centre[0] - centre[1]) > 2 * state.embedding[:8].std(0).max()       # two groups
        assert jnp.allclose(model.transform(state, X), state.embedding)
    """
    for name, value, low in (('n_neighbors', n_neighbors, 2), ('n_components', n_components, 1),
                             ('n_epochs', 1 if n_epochs is None else n_epochs, 1), ('min_dist', min_dist, 0),
                             ('local_connectivity', local_connectivity, 0),
                             ('negative_sample_rate', negative_sample_rate, 0),
                             ('repulsion_strength', repulsion_strength, 0)):
        hyper(name, value, low)
    hyper('spread', spread, 0, open_low=True)
    hyper('learning_rate', learning_rate, 0, open_low=True)
    hyper('set_op_mix_ratio', set_op_mix_ratio, 0, 1)
    if isinstance(init, str):
        choice('init', init, INITS)
    forces = {'negatives': negative_sample_rate, 'repulsion': repulsion_strength}

    def epochs(rows: int) -> int:
        return n_epochs if n_epochs is not None else 500 if rows < MANY else 200

    @exact
    def fit(key, X, y=None, weight=None) -> UMAP:
        X = features(X)
        if weight is not None:
            raise ValueError('weight: expected None, as the rows of a map have no weights')
        n = len(X)
        if n < 2:
            raise ValueError(f'X: expected at least 2 rows, found {n}')
        begin = init
        if not isinstance(init, str):
            begin = floats(init).astype(X.dtype)
            if begin.shape != (n, n_components):
                raise ValueError(f'init: expected a map [{n}, {n_components}], found shape {begin.shape}')
        start_key, key = jax.random.split(key)
        graph = fuzzy_set(X, min(n_neighbors, n), local_connectivity=local_connectivity, mix=set_op_mix_ratio)
        a, b = curve(spread, min_dist).astype(X.dtype)
        Y = start(start_key, X, *graph, n_components, begin)
        Y = layout(key, Y, *graph, a, b, epochs=epochs(n), learning_rate=learning_rate, **forces)
        return UMAP(Y.astype(X.dtype), X, a, b, jnp.asarray(epochs(n), jnp.int32))

    @exact
    def transform(state, X: Float[Array, 'rows features']) -> Float[Array, 'rows k']:
        X, d = features(X), state.X.shape[1]
        if X.shape[1] != d:
            raise ValueError(f'X: expected {d} features as in fit, found {X.shape[1]}')
        n = len(state.X)
        distances, neighbours = nearest(state.X, X.astype(state.X.dtype), min(n_neighbors, n))
        w = memberships(distances, *smooth(distances, jnp.maximum(local_connectivity - 1, 0)))
        total = jnp.sum(w, 1, keepdims=True)
        begin = jnp.sum((w / total)[..., None] * state.embedding[neighbours], 1)
        Y = placed(jax.random.key(0), begin, state.embedding, neighbours, w, state.a, state.b,
                   epochs=max(1, epochs(n) // 3), learning_rate=learning_rate / 4, **forces)
        return jnp.where(distances[:, :1] == 0, state.embedding[neighbours[:, 0]], Y)

    return Estimator(fit, transform=transform)
