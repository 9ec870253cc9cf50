"""Spectral clustering: k-means on the first eigenvectors of the graph of similar rows.

Formula: W_ij = exp(-gamma ||x_i - x_j||^2), or (C + C') / 2 with C_ij = 1 for the nearest rows j of i; W_ii = 0.
    L = I - D^-1/2 W D^-1/2; the embedding is D^-1/2 v, v the eigenvectors of the smallest eigenvalues of L.
Paper: Shi, Malik 2000, Normalized cuts and image segmentation, IEEE TPAMI 22; Ng, Jordan, Weiss 2001, On spectral
    clustering, NIPS; eigensolver: Golub, Underwood 1977, The block Lanczos method for computing eigenvalues.
Shapes: X [rows, features] -> embedding [rows, k], labels [rows].

Example:
    from levels.level1_classical.unsupervised.spectral import spectral_clustering, spectral_embedding
    model = spectral_clustering(n_clusters=2, affinity='nearest_neighbors')
    labels = model.fit(jax.random.key(0), X).labels
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from common import lapack
from levels.level1_classical.estimator import Estimator, choice, concrete, exact, features, holds, hyper
from levels.level1_classical.neighbours import nearest
from levels.level1_classical.unsupervised.kmeans import kmeans
from levels.level1_classical.unsupervised.mean_shift import squares

AFFINITIES = ('rbf', 'nearest_neighbors', 'precomputed')
SOLVERS = ('auto', 'dense', 'lanczos')
DENSE = 400         # rows up to which a whole eigendecomposition is the faster one
STORED = 12_000     # rows up to which the similarities are kept (0.6 GB), and not worked out again for each product
BASIS = 16          # blocks of a Lanczos basis; half as many where a product reads rows^2 numbers


class Embedding(NamedTuple):
    """Coordinates of the rows, smallest eigenvalue first; `converged` is whether the residuals came down to tol."""

    vectors: Float[Array, 'rows k']
    values: Float[Array, ' k']
    steps: Int[Array, '']
    converged: Bool[Array, '']


def similar(X, first, size: int, gamma):
    """exp(-gamma squared distance) [size, rows] of the rows from number `first` on to all; 0 to themselves."""
    part = jax.lax.dynamic_slice_in_dim(X, first, size)
    own = first + jnp.arange(size)[:, None] == jnp.arange(len(X))[None]
    return jnp.where(own, 0, jnp.exp(-gamma * squares(part, X)))


def by_rows(n: int, size: int, one: Callable, width: int):
    """one(first row, rows) -> [rows, width], for all n rows, `size` at a time; the last ones overlap."""
    starts = jnp.minimum(jnp.arange(-(-n // size)) * size, n - size)
    put = lambda out, i: (jax.lax.dynamic_update_slice_in_dim(out, one(i, size), i, 0), None)
    dtype = jax.eval_shape(lambda: one(0, size)).dtype
    return jax.lax.scan(put, jnp.zeros((n, width), dtype), starts)[0]


def graph(X, affinity: str, gamma, n_neighbors: int, dense: bool) -> tuple[Any, Callable]:
    """(arrays, product): product(arrays, v [rows, b]) is W v; the arrays are W itself where it is `dense` or small."""
    n = len(X)
    matrix = lambda W, v: W @ v
    if affinity == 'precomputed':
        return jnp.where(jnp.eye(n, dtype=bool), 0, X), matrix
    if affinity == 'rbf':
        size = min(n, 128)
        if dense or n <= STORED:
            return by_rows(n, size, lambda i, s: similar(X, i, s, gamma), n), matrix
        again = lambda X, v: by_rows(n, size, lambda i, s: similar(X, i, s, gamma) @ v, v.shape[1])
        return X, again
    found = nearest(X, X, n_neighbors).indices
    half = jnp.where(found == jnp.arange(n, dtype=found.dtype)[:, None], 0, jnp.asarray(0.5, X.dtype))
    if dense:
        C = jnp.zeros((n, n), X.dtype).at[jnp.arange(n)[:, None], found].set(half)
        return C + C.T, matrix

    def product(arrays, v):
        found, half = arrays
        there = jnp.einsum('ij,ijb->ib', half, v[found])
        return there + jnp.zeros_like(v).at[found].add(half[:, :, None] * v[:, None])

    return (found, half), product


def orthonormal(Q, V):
    """The columns of Q made orthogonal to those of V and to each other, by the eigenvectors of the small Q'Q: a QR of
    so long a matrix takes ten times as long on a CPU.

    Again and again (as a rule twice) until a pass has next to nothing left to do: each multiplies the rounding errors
    by what it takes away, and of dependent columns rounding errors are all that the first pass leaves.
    """
    def once(now):
        Q, _, passes = now
        before = jnp.linalg.norm(Q, axis=0)
        Q = Q - V @ (V.T @ Q)
        size = jnp.linalg.norm(Q, axis=0)
        Q = Q / jnp.where(size > 0, size, 1)[None]
        values, U = lapack.eigh(Q.T @ Q)
        good = (values[0] > 0.5) & (size > before / 2).all()
        least = jnp.finfo(Q.dtype).eps * values[-1]
        return Q @ (U / jnp.sqrt(jnp.maximum(values, least))[None]), good, passes + 1

    return jax.lax.while_loop(lambda now: ~now[1] & (now[2] < 8), once, (Q, jnp.asarray(False), 0))[0]


def filtered(product: Callable, edge, degree):
    """v -> T_degree(2 A / edge - 1) v, which leaves eigenvalues from 0 to `edge` in [-1, 1] and lifts those above."""
    step = lambda v: 2 / edge * product(v) - v

    def run(v):
        more = lambda i, now: (now[1], 2 * step(now[1]) - now[0])
        return jax.lax.fori_loop(1, degree, more, (v, step(v)))[1]

    return run


def ritz(T, b: int):
    """The b largest eigenvalues of T, and their vectors."""
    values, Y = lapack.eigh((T + T.T) / 2)
    return values[::-1][:b], Y[:, ::-1][:, :b]


def lanczos(product: Callable, start: Float[Array, 'n b'], k: int, tol, max_iter: int, basis: int = BASIS):
    """The k largest eigenvalues of a symmetric matrix that has none below 0, and their vectors, by block Lanczos with
    full reorthogonalisation: (values [k], vectors [n, k], cycles, converged).

    Eigenvalues that are there several times, up to the b columns of a block, are all found. After `basis` blocks the b
    best Ritz vectors begin anew, until the residuals of k of them are at most tol. From the second cycle on it is not
    the matrix but a Chebyshev polynomial of it, small up to the b-th Ritz value: eigenvalues that lie close together
    are so far apart in it that many products need few blocks, and those are what costs where the matrix is sparse.
    """
    n, b = start.shape
    blocks = max(2, min(basis, n // (2 * b)))

    def cycle(now):
        Q, values, steps, _ = now
        edge = jnp.where(steps > 0, values[-1], 1)
        lift = jnp.arccosh(jnp.maximum(2 * values[0] / jnp.where(edge > 0, edge, 1) - 1, 1 + 1e-5))
        degree = jnp.where((steps > 0) & (edge > 0), jnp.clip(2 / lift, 1, 32), 1).astype(jnp.int32)
        matrix = filtered(product, jnp.where(edge > 0, edge, 1), degree)

        def one(j, basis):
            V, PV, Q = basis
            image = matrix(Q)
            place = lambda M, new: jax.lax.dynamic_update_slice_in_dim(M, new, j * b, 1)
            V = place(V, Q)
            return V, place(PV, image), orthonormal(image, V)

        zeros = jnp.zeros((n, blocks * b), Q.dtype)
        V, PV, _ = jax.lax.fori_loop(0, blocks, one, (zeros, zeros, Q))
        Q = V @ ritz(V.T @ PV, b)[1]
        image = product(Q)
        values, Y = ritz(Q.T @ image, b)
        Q, image = Q @ Y, image @ Y
        residual = jnp.max(jnp.linalg.norm(image - Q * values[None], axis=0)[:k])
        return Q, values, steps + 1, residual

    first = (orthonormal(start, jnp.zeros((n, 1), start.dtype)), jnp.zeros(b, start.dtype), jnp.int32(0),
             jnp.asarray(jnp.inf, start.dtype))
    Q, values, steps, residual = jax.lax.while_loop(lambda now: (now[3] > tol) & (now[2] < max_iter), cycle, first)
    return values[:k], Q[:, :k], steps, residual <= tol


def embed(key, X, k: int, affinity: str, gamma, n_neighbors: int, solver: str, tol, max_iter: int) -> Embedding:
    """The first k eigenvectors of L over the root of the degrees, each turned so that its largest entry is positive."""
    n = len(X)
    dense = solver == 'dense' or (solver == 'auto' and n <= DENSE) or 2 * min(k + 4, n) > n
    arrays, product = graph(X, affinity, gamma, n_neighbors, dense)
    degree = product(arrays, jnp.ones((n, 1), X.dtype))[:, 0]
    root = jnp.sqrt(jnp.where(degree > 0, degree, 1))           # a row without neighbours keeps to itself
    if dense:
        values, vectors = lapack.eigh(arrays / root[:, None] / root[None])
        values, vectors = values[::-1][:k], vectors[:, ::-1][:, :k]
        steps, converged = jnp.int32(0), jnp.asarray(True)
    else:
        start = jax.random.normal(key, (n, k + 4), X.dtype).at[:, 0].set(root)      # the first one is known
        limit = 64 * jnp.finfo(X.dtype).eps if tol is None else tol
        # I + D^-1/2 W D^-1/2, whose eigenvalues are from 0 to 2
        raised = lambda v: product(arrays, v / root[:, None]) / root[:, None] + v
        values, vectors, steps, converged = lanczos(raised, start, k, limit, max_iter,
                                                      BASIS if affinity == 'nearest_neighbors' else BASIS // 2)
        values = values - 1
    vectors = vectors / root[:, None]
    largest = jnp.take_along_axis(vectors, jnp.argmax(jnp.abs(vectors), 0)[None], 0)
    return Embedding(jnp.where(largest < 0, -vectors, vectors), 1 - values, steps, converged)


def _checked(X, affinity: str, n_neighbors: int):
    X = features(X)
    if affinity == 'nearest_neighbors' and n_neighbors > len(X):
        raise ValueError(f'n_neighbors: expected at most {len(X)}, the rows there are, found {n_neighbors}')
    if affinity == 'precomputed':
        if X.shape[0] != X.shape[1]:
            raise ValueError(f'X: expected similarities [rows, rows], found shape {X.shape}')
        if concrete(X) and not holds(lambda: (X == X.T).all() & (X >= 0).all()):
            raise ValueError('X: expected similarities that are symmetric and at least 0')
    return X


def _hypers(k, affinity, gamma, n_neighbors, solver, tol, max_iter):
    hyper('n_neighbors', n_neighbors, 1)
    hyper('gamma', gamma, 0)
    hyper('tol', 0 if tol is None else tol, 0)
    hyper('max_iter', max_iter, 1)
    choice('affinity', affinity, AFFINITIES)
    choice('solver', solver, SOLVERS)
    return hyper('n_clusters or n_components', k, 1)


@exact
def spectral_embedding(key, X: Float[Array, 'rows features'], *, n_components: int = 2, affinity: str = 'rbf',
                       gamma=1.0, n_neighbors: int = 10, drop_first: bool = True, solver: str = 'auto', tol=None,
                       max_iter: int = 50) -> Embedding:
    """Laplacian eigenmaps: coordinates in which similar rows are close.

    Formula: D^-1/2 v, v the eigenvectors of I - D^-1/2 W D^-1/2, smallest eigenvalue first; drop_first leaves out the
        first, which is constant on a connected graph. The largest entry of each is positive.
    Paper: Belkin, Niyogi 2003, Laplacian eigenmaps for dimensionality reduction, Neural Computation 15.
    Shapes: X [rows, features], or similarities [rows, rows] with affinity='precomputed' -> Embedding(vectors [rows,
        n_components], values [n_components], steps [], converged []).
    affinity, gamma, n_neighbors, solver, tol, max_iter: as in `spectral_clustering`.
    Errors: ValueError as `spectral_clustering`.
    Example:
        X = jnp.arange(8.0)[:, None]                                   # a line
        found = spectral_embedding(jax.random.key(0), X, n_components=1)
        steps = jnp.diff(found.vectors[:, 0])
        assert (steps > 0).all() or (steps < 0).all()                  # in its order
    """
    k = _hypers(n_components, affinity, gamma, n_neighbors, solver, tol, max_iter) + drop_first
    X = _checked(X, affinity, n_neighbors)
    if k > len(X):
        raise ValueError(f'n_components: expected at most {len(X) - drop_first}, found {n_components}')
    found = embed(key, X, k, affinity, gamma, n_neighbors, solver, tol, max_iter)
    return found._replace(vectors=found.vectors[:, drop_first:], values=found.values[drop_first:])


class SpectralClustering(NamedTuple):
    """Labels of the training rows, and the embedding in which k-means found them."""

    labels: Int[Array, ' rows']
    embedding: Float[Array, 'rows k']
    values: Float[Array, ' k']
    steps: Int[Array, '']
    converged: Bool[Array, '']


def spectral_clustering(*, n_clusters: int = 8, affinity: str = 'rbf', gamma=1.0, n_neighbors: int = 10,
                        solver: str = 'auto', n_init: int = 10, tol=None, max_iter: int = 50) -> Estimator:
    """k-means on the first n_clusters coordinates of the spectral embedding.  New rows have no coordinates: no predict.

    Formula: labels = k-means of the rows of D^-1/2 v, v the eigenvectors of the n_clusters smallest eigenvalues of
        I - D^-1/2 W D^-1/2.
    Paper: Shi, Malik 2000, Normalized cuts and image segmentation; von Luxburg 2007, A tutorial on spectral clustering.
    Shapes: fit X [rows, features], or similarities [rows, rows] with affinity='precomputed' ->
        SpectralClustering(labels [rows], embedding [rows, k], values [k], steps [], converged []).
    affinity: 'rbf', exp(-gamma d^2), has rows^2 entries: kept for up to 12,000 rows, beyond that worked out anew for
        each product, 128 rows at a time; 'nearest_neighbors' has rows x n_neighbors, which is for large data.
    solver: 'dense' decomposes the whole matrix, rows^3 steps; 'lanczos' takes 8 blocks of n_clusters + 4 vectors (16
        for 'nearest_neighbors') in each of up to max_iter cycles, until residuals are at most tol (None: 64 times the
        rounding of 1); 'auto' is 'dense' for up to 400 rows.
    Cost: time for each product with the graph rows^2 x features ('rbf' beyond 12,000 rows; kept, rows^2) or rows x
        n_neighbors, and 8 or 16 (later 32 times that) of them in a cycle; memory as `affinity` says, and rows x 32
        (n_clusters + 4).
    Errors: ValueError for bad shapes or values (`estimator.features`), more clusters or neighbours than rows,
        similarities that are not square, symmetric and >= 0, and a weight: rows have none here.
    Example:
        X = jnp.array([[0.0], [0.3], [0.6], [9.0], [9.2]])
        model = spectral_clustering(n_clusters=2)
        state = model.fit(jax.random.key(0), X)
        assert state.labels[0] == state.labels[2] != state.labels[3] == state.labels[4]
    """
    k = _hypers(n_clusters, affinity, gamma, n_neighbors, solver, tol, max_iter)

    @exact
    def fit(key, X, y=None, weight=None) -> SpectralClustering:
        if weight is not None:
            raise ValueError('weight: expected None, as graphs of weighted rows are not defined, found some')
        X = _checked(X, affinity, n_neighbors)
        if k > len(X):
            raise ValueError(f'n_clusters: expected at most {len(X)}, the rows there are, found {k}')
        start, seeds = jax.random.split(key)
        found = embed(start, X, k, affinity, gamma, n_neighbors, solver, tol, max_iter)
        means = kmeans(n_clusters=k, n_init=n_init)
        labels = means.predict(means.fit(seeds, found.vectors), found.vectors)
        return SpectralClustering(labels, *found)

    return Estimator(fit)
