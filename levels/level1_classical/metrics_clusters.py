"""How good a clustering is: silhouettes, which need no truth, and the adjusted Rand index, which compares two.

Formula: see each function.
Paper: Rousseeuw 1987, Silhouettes, J. Comput. Appl. Math. 20; Hubert, Arabie 1985, Comparing partitions, J. Classif. 2.
Shapes: X [rows, features], labels [rows] with values 0 .. n_clusters - 1 -> [rows] or [].  Usable inside jit and vmap.

Example:
    from levels.level1_classical.metrics_clusters import adjusted_rand, silhouette
    score = silhouette(X, labels, n_clusters=3)
    agreement = adjusted_rand(labels, truth, n_clusters=3)
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from levels.level1_classical.estimator import concrete, exact, features, holds, hyper
from levels.level1_classical.unsupervised.mean_shift import squares

CHUNK = 256         # rows whose distances to all are held at once


def _labels(name: str, labels: Any, length: int, n_clusters: int) -> Int[Array, ' rows']:
    labels = jnp.asarray(labels)
    if labels.shape != (length,) or not jnp.issubdtype(labels.dtype, jnp.integer):
        raise ValueError(f'{name}: expected whole numbers [{length}], found {labels.dtype} of shape {labels.shape}')
    if concrete(labels) and not holds(lambda: jnp.all((labels >= 0) & (labels < n_clusters))):
        raise ValueError(f'{name}: expected 0 to {n_clusters - 1}, found others')
    return labels.astype(jnp.int32)


@exact
def silhouette_samples(X: Float[Array, 'rows features'], labels: Int[Array, ' rows'], *,
                       n_clusters: int) -> Float[Array, ' rows']:
    """How much nearer each row is to its own cluster than to the next one: from -1 to 1.

    Formula: s = (b - a) / max(a, b), a the mean distance to the other rows of its cluster, b the least mean distance to
        the rows of another; 0 for a row that is a cluster of its own.
    Paper: Rousseeuw 1987, Silhouettes: a graphical aid to the interpretation and validation of cluster analysis.
    Shapes: X [rows, features], labels [rows] -> [rows]. Time rows^2 x features, memory rows x 256. n_clusters is
        static; clusters without rows do not count.
    Errors: ValueError for bad shapes or values (`estimator.features`), labels that are not whole numbers 0 ..
        n_clusters - 1, n_clusters below 2.
    Example:
        X = jnp.array([[0.0], [1.0], [9.0], [10.0]])
        s = silhouette_samples(X, jnp.array([0, 0, 1, 1]), n_clusters=2)
        assert jnp.allclose(s[0], (9.5 - 1) / 9.5)
        s                                                    # [0.895, 0.882, 0.882, 0.895]
    """
    hyper('n_clusters', n_clusters, 2)
    X = features(X)
    labels = _labels('labels', labels, len(X), n_clusters)
    member = jax.nn.one_hot(labels, n_clusters, dtype=X.dtype)
    count = jnp.sum(member, 0)

    def part(now):
        rows, own = now
        total = member.T @ jnp.sqrt(squares(X, rows))               # [clusters, rows of the part]
        mine = jnp.arange(n_clusters)[:, None] == own[None]
        fellows = count[own] - 1
        a = jnp.sum(jnp.where(mine, total, 0), 0) / jnp.where(fellows > 0, fellows, 1)
        there = (count > 0)[:, None] & ~mine
        b = jnp.min(jnp.where(there, total / jnp.where(count > 0, count, 1)[:, None], jnp.inf), 0)
        most = jnp.maximum(a, b)
        use = (fellows > 0) & (most > 0) & jnp.isfinite(b)
        return jnp.where(use, (b - a) / jnp.where(use, most, 1), 0)

    size = min(CHUNK, len(X))
    split = lambda v: jnp.pad(v, ((0, -len(X) % size), *[(0, 0)] * (v.ndim - 1))).reshape(-1, size, *v.shape[1:])
    return jax.lax.map(part, (split(X), split(labels))).reshape(-1)[:len(X)]


def silhouette(X: Float[Array, 'rows features'], labels: Int[Array, ' rows'], *, n_clusters: int) -> Float[Array, '']:
    """The mean of `silhouette_samples`: the number of clusters at which it is largest is a fair guess.

    Formula: mean_i (b_i - a_i) / max(a_i, b_i).
    Paper: Rousseeuw 1987, Silhouettes: a graphical aid to the interpretation and validation of cluster analysis.
    Shapes: X [rows, features], labels [rows] -> [].
    Errors: ValueError as `silhouette_samples`.
    Example:
        X = jnp.array([[0.0], [1.0], [9.0], [10.0]])
        good = silhouette(X, jnp.array([0, 0, 1, 1]), n_clusters=2)
        bad = silhouette(X, jnp.array([0, 1, 0, 1]), n_clusters=2)
        assert good > 0.88 and bad < 0
    """
    return jnp.mean(silhouette_samples(X, labels, n_clusters=n_clusters))


@exact
def adjusted_rand(a: Int[Array, ' rows'], b: Int[Array, ' rows'], *, n_clusters: int) -> Float[Array, '']:
    """Agreement of two clusterings, whatever their clusters are called: 1 for the same, about 0 by chance.

    Formula: (S - A B) / ((A + B) / 2 - A B), S, A and B the shares of all pairs of rows that are together in both, in
        a, and in b; 1 where both put all rows together, or none.
    Paper: Hubert, Arabie 1985, Comparing partitions, Journal of Classification 2.
    Shapes: a, b [rows] -> []. n_clusters is static: at least as many as either has.
    Errors: ValueError for labels that are not whole numbers 0 .. n_clusters - 1, lengths that differ.
    Example:
        a = jnp.array([0, 0, 1, 1])
        assert adjusted_rand(a, 1 - a, n_clusters=2) == 1
        b = jnp.array([0, 1, 0, 1])
        assert jnp.allclose(adjusted_rand(a, b, n_clusters=2), -0.5)
    """
    hyper('n_clusters', n_clusters, 1)
    n = jnp.size(a)
    if n < 2:
        raise ValueError(f'a: expected at least two labels, found {n}')
    a, b = _labels('a', a, n, n_clusters), _labels('b', b, n, n_clusters)
    table = jnp.zeros((n_clusters, n_clusters), jnp.result_type(float)).at[a, b].add(1)
    # each n (n - 1) divided by that of all rows, and no fourth power of n: float32 would have no room for it
    together = lambda counts: jnp.sum((counts / n) * ((counts - 1) / (n - 1)))
    both, in_a, in_b = together(table), together(jnp.sum(table, 1)), together(jnp.sum(table, 0))
    gap = (in_a + in_b) / 2 - in_a * in_b
    same = (both == in_a) & (both == in_b)
    return jnp.where(same, 1, (both - in_a * in_b) / jnp.where(gap > 0, gap, 1))
