"""How far the neighbours in a map are neighbours in the data.

Formula and paper: see `trustworthiness`.
"""
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from levels.level1_classical.estimator import features
from levels.level1_classical.neighbours import nearest
from levels.level1_classical.unsupervised.tsne_affinity import chunked


def trustworthiness(X: Float[Array, 'rows features'], Y: Float[Array, 'rows k'], *, n_neighbors: int = 5):
    """1 if all neighbours in the map Y are neighbours in X as well, less for intruders, by how far they came.

    Formula: 1 - 2 / (n k (2 n - 3 k - 1)) sum_i sum_{j in N_k(i; Y)} max(0, r(i, j) - k), with r(i, j) = 1, 2, ... the
        rank of j among the rows by distance from i in X.
    Paper: Venna, Kaski 2001, Neighborhood preservation in nonlinear projection methods, ICANN.
    Shapes: X [rows, features], Y [rows, k] -> [].
    Time grows with rows^2 x features; memory with rows, as distances come in chunks and nothing is sorted: the rank of
        a neighbour is the number of rows nearer than it.
    Errors: ValueError for bad shapes or values (`estimator.features`), lengths that differ, n_neighbors of half the
        rows or more.
    Example:
        X = jnp.arange(12.0)[:, None] ** 2
        assert trustworthiness(X, X / 3, n_neighbors=3) == 1
        folded = jnp.abs(jnp.arange(12.0) - 6)[:, None]
        assert trustworthiness(X, folded, n_neighbors=3) < 0.9
    """
    X, Y = features(X), features(Y)
    n = len(X)
    if len(Y) != n:
        raise ValueError(f'Y: expected {n} rows as in X, found {len(Y)}')
    if not 1 <= n_neighbors < n / 2:
        raise ValueError(f'n_neighbors: expected 1 or more, below half the rows ({n / 2:g}), found {n_neighbors}')
    near = nearest(Y, Y, n_neighbors, exclude_self=True).indices
    columns = X.T

    def late(i, x, js):
        """By how much the rank of each neighbour exceeds n_neighbors; of equal distances the lower row comes first."""
        squared = jnp.sum((columns - x[:, None]) ** 2, 0).at[i].set(jnp.inf)
        its = squared[js][:, None]
        before = (squared[None] < its) | ((squared[None] == its) & (jnp.arange(n)[None] < js[:, None]))
        return jnp.sum(jnp.maximum(jnp.sum(before, 1) + 1 - n_neighbors, 0))

    size = max(1, 2**22 // (n * max(X.shape[1], n_neighbors)))
    total = jnp.sum(chunked(jax.vmap(late), n, jnp.arange(n), X, near, size=size).astype(X.dtype))
    return 1 - total * (2 / (n * n_neighbors * (2 * n - 3 * n_neighbors - 1)))
