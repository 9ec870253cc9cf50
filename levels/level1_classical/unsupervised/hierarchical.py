"""Hierarchical clustering: single, complete, average and Ward linkage, cuts of the tree, and the dendrogram.

Formula: join the two nearest clusters until one is left; the distance of a cluster to the new one follows from its
    distances to the two that were joined (Lance-Williams).
Paper: Lance, Williams 1967, A general theory of classificatory sorting strategies, Computer Journal 9; Ward 1963,
    Hierarchical grouping to optimize an objective function, JASA 58; chain: Murtagh 1983, A survey of recent advances
    in hierarchical clustering algorithms, Computer Journal 26.
Shapes: X [rows, features] -> merges [rows - 1, 4], as scipy has them: the two clusters, their distance, rows inside.

Example:
    from levels.level1_classical.unsupervised.hierarchical import cut, draw_dendrogram, linkage
    merges = linkage(X, method='ward')
    labels = cut(merges, n_clusters=3)
    draw_dendrogram(figure.subplots(), merges, colors=3)
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from common.scatter import scatter
from levels.level1_classical.estimator import Estimator, choice, concrete, features, floats, holds, hyper

METHODS = ('ward', 'single', 'complete', 'average')
COLORS = ('#1f5fa8', '#d1495b', '#2e933c', '#edae49', '#7a5195', '#00838f')


def distances(X: Float[Array, 'rows features']) -> Float[Array, 'rows rows']:
    """Euclidean, from differences: expanding the square would lose the digits of rows close together."""
    return jax.lax.map(lambda x: jnp.sqrt(jnp.sum((X - x[None]) ** 2, 1)), X, batch_size=64)


def joined(method: str, to_a, to_b, between, a, b, other):
    """Distance of each cluster to the union of two: from its distances to them, theirs, and the numbers of rows."""
    if method == 'single':
        return jnp.minimum(to_a, to_b)
    if method == 'complete':
        return jnp.maximum(to_a, to_b)
    if method == 'average':
        return (a * to_a + b * to_b) / (a + b)
    square = ((a + other) * to_a**2 + (b + other) * to_b**2 - other * between**2) / (a + b + other)
    return jnp.sqrt(jnp.maximum(square, 0))


class Chain(NamedTuple):
    """A cluster lives in the place of one of its rows; `chain` holds places, each the nearest neighbour of the one
    before, the last two being each other's when `mutual`."""

    chain: Int[Array, ' n']
    length: Int[Array, '']
    gap: Float[Array, '']
    mutual: Bool[Array, '']


def search(D, method: str):
    """Nearest-neighbour chain: (pairs of places [n - 1, 2], heights [n - 1]), in the order in which they were found."""
    n = len(D)
    places = jnp.arange(n, dtype=jnp.int32)

    def follow(D, size, s: Chain) -> Chain:
        """The chain made longer by the nearest neighbour of its end, or found to end in a mutual pair."""
        here, before = s.chain[s.length - 1], s.chain[jnp.maximum(s.length - 2, 0)]
        row = jnp.where(size > 0, D[here], jnp.inf)
        gap = jnp.min(row)
        # two plain reductions: argmin is slower on CPUs. Among equals the one before comes first, or chains may circle
        there = jnp.min(jnp.where(row == gap, places, n - 1))
        mutual = (s.length > 1) & (row[before] <= gap)
        chain = scatter(s.chain, jnp.where(mutual, n, s.length), there)
        return Chain(chain, jnp.where(mutual, s.length, s.length + 1), gap, mutual)

    def merge(i, now):
        D, size, low, chain, length, pairs, heights = now
        first = jnp.min(jnp.where(size > 0, places, n))        # where a new chain begins
        chain = chain.at[0].set(jnp.where(length == 0, first, chain[0]))
        begin = Chain(chain, jnp.maximum(length, 1), jnp.zeros((), D.dtype), jnp.asarray(False))
        s = jax.lax.while_loop(lambda s: ~s.mutual, lambda s: follow(D, size, s), begin)
        u, v = s.chain[s.length - 1], s.chain[s.length - 2]
        a, b = jnp.minimum(u, v), jnp.maximum(u, v)
        new = joined(method, D[a], D[b], s.gap, size[a], size[b], size)
        new = jnp.where((size > 0) & (places != b), new, jnp.inf)      # place a is no more: its size will be 0
        # a merge is no lower than those below it, whatever rounding says: sorting must keep the order of the tree
        height = jnp.maximum(s.gap, jnp.maximum(low[a], low[b]))
        return (D.at[b].set(new).at[:, b].set(new), size.at[b].add(size[a]).at[a].set(0), low.at[b].set(height),
                s.chain, s.length - 2, pairs.at[i].set(jnp.stack([a, b])), heights.at[i].set(height))

    zeros = jnp.zeros(n, D.dtype)
    start = (D, zeros + 1, zeros, jnp.zeros(n, jnp.int32), jnp.int32(0), jnp.zeros((n - 1, 2), jnp.int32), zeros[1:])
    return jax.lax.fori_loop(0, n - 1, merge, start)[5:]


def numbered(pairs, heights) -> Float[Array, 'm 4']:
    """The merges by height, clusters named as scipy does: row i is i, the cluster of merge j is n + j."""
    order = jnp.argsort(heights, stable=True)
    n = len(pairs) + 1

    def one(now, merge):
        name, size = now
        (i, (a, b), height) = merge
        row = jnp.stack([jnp.minimum(name[a], name[b]), jnp.maximum(name[a], name[b])]).astype(heights.dtype)
        total = size[a] + size[b]
        out = jnp.concatenate([row, jnp.stack([height, total])])
        return (name.at[b].set(n + i), size.at[b].set(total)), out

    start = jnp.arange(n, dtype=jnp.int32), jnp.ones(n, heights.dtype)
    return jax.lax.scan(one, start, (jnp.arange(n - 1, dtype=jnp.int32), pairs[order], heights[order]))[1]


def linkage(X: Float[Array, 'rows columns'], *, method: str = 'ward', metric: str = 'euclidean') -> Float[Array, 'm 4']:
    """The tree of clusters, by the nearest-neighbour chain: rows^2 time and memory, about as fast as scipy's.

    Formula: d(k, i + j): single min(d_ki, d_kj); complete max; average (n_i d_ki + n_j d_kj) / (n_i + n_j); ward
        sqrt(((n_i + n_k) d_ki^2 + (n_j + n_k) d_kj^2 - n_k d_ij^2) / (n_i + n_j + n_k)).
    Paper: Lance, Williams 1967, A general theory of classificatory sorting strategies; Murtagh 1983, A survey of recent
        advances in hierarchical clustering algorithms.
    Shapes: X [rows, features], or distances [rows, rows] with metric='precomputed' -> merges [rows - 1, 4], sorted by
        height: two clusters (the smaller number first; rows are 0 .. rows - 1, merge i makes rows + i), their
        distance, rows inside. scipy's functions take it as it is; among equal distances scipy may choose otherwise.
    Errors: ValueError for bad shapes or values (`estimator.features`), fewer than two rows, an unknown method or
        metric, distances that are not square, symmetric and zero on the diagonal.
    Example:
        X = jnp.array([[0.0], [1.0], [5.0], [5.5]])
        merges = linkage(X, method='single')
        assert merges[0].tolist() == [2.0, 3.0, 0.5, 2.0]
        merges[2]                                            # [4, 5, 4.0, 4]
    """
    choice('method', method, METHODS)
    choice('metric', metric, ('euclidean', 'precomputed'))
    X = features(X)
    if len(X) < 2:
        raise ValueError(f'X: expected at least two rows, found n_samples = {len(X)}')
    if metric == 'precomputed':
        if X.shape[0] != X.shape[1]:
            raise ValueError(f'X: expected distances [rows, rows], found shape {X.shape}')
        if concrete(X) and not holds(lambda: (X == X.T).all() & (jnp.diagonal(X) == 0).all() & (X >= 0).all()):
            raise ValueError('X: expected distances that are symmetric, at least 0, and 0 on the diagonal')
    D = distances(X) if metric == 'euclidean' else X
    return numbered(*search(jnp.where(jnp.eye(len(D), dtype=bool), jnp.inf, D), method))


_linkage = linkage      # `agglomerative` has a parameter of that name


def _merges(merges) -> Array:
    merges = floats(merges)
    if merges.ndim != 2 or merges.shape[1] != 4 or not len(merges):
        raise ValueError(f'merges: expected [rows - 1, 4] as linkage gives them, found shape {merges.shape}')
    return merges


def cut(merges: Float[Array, 'm 4'], *, n_clusters: Any = None, height: Any = None) -> Int[Array, ' rows']:
    """Labels of the rows when the tree is cut into n_clusters, or at a height; either may be traced.

    Formula: rows are together if a merge among the first rows - n_clusters, or at most as high as `height`, has both.
    Paper: Johnson 1967, Hierarchical clustering schemes, Psychometrika 32.
    Shapes: merges [rows - 1, 4] -> labels [rows], 0, 1, ... Time and memory rows log rows.
    Errors: ValueError for merges that are not [rows - 1, 4], n_clusters below 1 or above rows, both or neither given.
    Example:
        merges = linkage(jnp.array([[0.0], [1.0], [5.0], [5.5]]), method='single')
        labels = cut(merges, n_clusters=2)
        assert labels[0] == labels[1] != labels[2] == labels[3]
        cut(merges, height=0.6)                              # three clusters: only 5 and 5.5 are together
    """
    merges = _merges(merges)
    m = len(merges)
    if (n_clusters is None) == (height is None):
        raise ValueError(f'n_clusters, height: expected one of them, found {n_clusters!r} and {height!r}')
    if height is None:
        hyper('n_clusters', n_clusters, 1, m + 1)
        below = jnp.arange(m) < m + 1 - n_clusters
    else:
        below = merges[:, 2] <= height
    nodes = jnp.arange(2 * m + 1, dtype=jnp.int32)
    made = nodes[m + 1:]
    parent = nodes
    for side in (0, 1):         # a merge that is not made points nowhere
        child = jnp.where(below, merges[:, side].astype(jnp.int32), 2 * m + 1)
        parent = scatter(parent, child, made)
    root = jax.lax.fori_loop(0, max(1, (2 * m).bit_length()), lambda i, p: p[p], parent)
    present = (nodes <= m) | jnp.concatenate([jnp.zeros(m + 1, bool), below])
    number = jnp.cumsum(present & (parent == nodes)) - 1
    return number[root[:m + 1]].astype(jnp.int32)


class Dendrogram(NamedTuple):
    """Where each merge is drawn: four points, up, across and down; and the rows from left to right."""

    x: Float[Array, 'm 4']
    y: Float[Array, 'm 4']
    leaves: Int[Array, ' rows']


def dendrogram(merges: Float[Array, 'm 4']) -> Dendrogram:
    """Coordinates of the tree, as scipy's: row number p from the left stands at 5 + 10 p.

    Formula: a merge stands in the middle of the two it joins, at its height; the first of them is on the left.
    Paper: Sneath, Sokal 1973, Numerical Taxonomy, section 5.
    Shapes: merges [rows - 1, 4] -> Dendrogram(x [rows - 1, 4], y [rows - 1, 4], leaves [rows]), in the order of merges.
    Errors: ValueError for merges that are not [rows - 1, 4].
    Example:
        merges = linkage(jnp.array([[0.0], [5.0], [1.0]]), method='single')
        tree = dendrogram(merges)
        assert tree.leaves.tolist() == [1, 0, 2]
        tree.y[1]                                            # [0, 4, 4, 1]
    """
    merges = _merges(merges)
    m, n = len(merges), len(merges) + 1
    a, b = merges[:, 0].astype(jnp.int32), merges[:, 1].astype(jnp.int32)
    size = jnp.concatenate([jnp.ones(n, jnp.int32), merges[:, 3].astype(jnp.int32)])
    down = lambda i, start: start.at[a[i]].set(start[n + i]).at[b[i]].set(start[n + i] + size[a[i]])
    start = jax.lax.fori_loop(0, m, lambda i, start: down(m - 1 - i, start), jnp.zeros(2 * m + 1, jnp.int32))[:n]
    spots = jnp.concatenate([5 + 10 * start.astype(merges.dtype), jnp.zeros(m, merges.dtype)])
    spots = jax.lax.fori_loop(0, m, lambda i, x: x.at[n + i].set((x[a[i]] + x[b[i]]) / 2), spots)
    tall = jnp.concatenate([jnp.zeros(n, merges.dtype), merges[:, 2]])
    leaves = jnp.zeros(n, jnp.int32).at[start].set(jnp.arange(n, dtype=jnp.int32))
    return Dendrogram(jnp.stack([spots[a], spots[a], spots[b], spots[b]], 1),
                      jnp.stack([tall[a], merges[:, 2], merges[:, 2], tall[b]], 1), leaves)


def draw_dendrogram(axes: Any, merges: Float[Array, 'm 4'], *, colors: int = 1, labels: Sequence[str] | None = None):
    """Draws the tree into axes of Matplotlib's; the `colors` clusters of that cut have a colour each."""
    tree, merges = jax.device_get(dendrogram(merges)), np.asarray(merges)
    n = len(merges) + 1
    owner = np.concatenate([np.asarray(cut(merges, n_clusters=colors)), np.zeros(n - 1, int)])
    for i in range(n - 1):
        owner[n + i] = owner[int(merges[i, 0])]
        color = COLORS[owner[n + i] % len(COLORS)] if i < n - colors else '0.55'
        axes.plot(tree.x[i], tree.y[i], color=color, lw=1.2)
    if colors > 1:      # between the last merge that is made and the first that is not
        axes.axhline(merges[max(n - colors - 1, 0):n - colors + 1, 2].mean(), color='0.3', ls=':', lw=1)
    axes.set(xlim=(0, 10 * n), ylim=(0, 1.05 * merges[-1, 2]), ylabel='distance')
    names = tree.leaves if labels is None else [labels[i] for i in tree.leaves]
    axes.set_xticks(5 + 10 * np.arange(n) if n <= 60 else [], names if n <= 60 else [], rotation=90, fontsize=7)


class Agglomerative(NamedTuple):
    """The tree, and the labels of the training rows when it is cut."""

    labels: Int[Array, ' rows']
    merges: Float[Array, 'm 4']


def agglomerative(*, n_clusters: int = 2, linkage: str = 'ward', metric: str = 'euclidean') -> Estimator:
    """Agglomerative clustering into n_clusters.  New rows have no place in the tree, so there is no predict.

    Formula: `linkage`, and `cut` of what it gives.
    Paper: Ward 1963, Hierarchical grouping to optimize an objective function, JASA 58.
    Shapes: fit X [rows, features], or [rows, rows] with metric='precomputed' -> Agglomerative(labels [rows], merges
        [rows - 1, 4]).
    Cost: time rows^2 x features, memory the distances of all pairs, twice: 20,000 rows take 3 GB in float32.
    Errors: ValueError for bad shapes or values (`linkage`), n_clusters above rows, and a weight: rows have none here.
    Example:
        X = jnp.array([[0.0], [1.0], [5.0], [5.5]])
        model = agglomerative(n_clusters=2, linkage='average')
        state = model.fit(jax.random.key(0), X)
        assert state.labels[0] == state.labels[1] != state.labels[2]
    """
    hyper('n_clusters', n_clusters, 1)
    choice('linkage', linkage, METHODS)
    choice('metric', metric, ('euclidean', 'precomputed'))

    def fit(key, X, y=None, weight=None) -> Agglomerative:
        if weight is not None:
            raise ValueError('weight: expected None, as linkages of weighted rows are not defined, found some')
        merges = _linkage(X, method=linkage, metric=metric)
        return Agglomerative(cut(merges, n_clusters=n_clusters), merges)

    return Estimator(fit)
