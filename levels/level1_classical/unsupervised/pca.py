"""Principal component analysis: exact by SVD or by the covariance, randomised, and a batch at a time.

Formula: with Xc = X less its mean, Xc = U S V': components V' [k, features], explained variance S^2 / (n - 1).
Paper: Pearson 1901, On lines and planes of closest fit, Philosophical Magazine 2; Halko, Martinsson, Tropp 2011,
    Finding structure with randomness, SIAM Review 53; Ross, Lim, Lin, Yang 2008, Incremental learning for robust
    visual tracking, IJCV 77.
Shapes: X [rows, features] -> components [k, features], scores [rows, k].

Example:
    from levels.level1_classical.unsupervised.pca import pca
    model = pca(n_components=2, whiten=True)
    state = model.fit(jax.random.key(0), X)
    Z = model.transform(state, X)
    X_again = model.inverse(state, Z)
"""

from itertools import pairwise
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from common import lapack
from levels.level1_classical.estimator import Estimator, choice, exact, features, hyper, rows, summed
from levels.level1_classical.estimator import weighted_mean as mean_of


class PCA(NamedTuple):
    """The axes, largest variance first, and the variance along each; `noise_variance` is the mean of those left out."""

    components: Float[Array, 'k features']
    explained_variance: Float[Array, ' k']
    explained_variance_ratio: Float[Array, ' k']
    singular_values: Float[Array, ' k']
    mean: Float[Array, ' features']
    noise_variance: Float[Array, '']


def signed(components: Float[Array, 'k features']) -> Float[Array, 'k features']:
    """Each axis turned so that its entry largest in size is positive."""
    largest = jnp.take_along_axis(components, jnp.argmax(jnp.abs(components), 1)[:, None], 1)
    return jnp.where(largest < 0, -components, components)


def described(components, squares, mean, total, count) -> PCA:
    """The state: `squares` are the sums of squares along the axes, `total` that along all, `count` the rows."""
    free = jnp.where(count > 1, count - 1, 1)
    left = jnp.minimum(count, components.shape[1]) - len(components)
    noise = jnp.maximum(total - jnp.sum(squares), 0) / free / jnp.where(left > 0, left, 1)
    share = squares / jnp.where(total > 0, total, 1)
    return PCA(signed(components), squares / free, share, jnp.sqrt(squares), mean, jnp.where(left > 0, noise, 0))


def upper(A):
    """A'A as blocks of rows; of a wide A only those on and above the diagonal are multiplied (XLA knows no symmetric
    product)."""
    d = A.shape[1]
    edges = [d * i // 4 for i in range(5)] if d >= 256 else [0, d]
    return [A[:, a:b].T @ A[:, a:] for a, b in pairwise(edges)]


def assembled(blocks):
    """The whole matrix of `upper`."""
    if len(blocks) == 1:
        return blocks[0]
    d = blocks[0].shape[1]
    whole = jnp.concatenate([jnp.pad(b, ((0, 0), (d - b.shape[1], 0))) for b in blocks])
    return jnp.triu(whole) + jnp.triu(whole, 1).T


def scatter(X, weight):
    """(mean, sum of squares and products about it), some rows at a time: no centred copy of X is made.

    Rows are centred by a first mean, whose rounding error the second one puts right.
    """
    total = jnp.sum(weight)
    first = summed(lambda w, x: w @ x, weight, X) / total

    def part(weight, X):
        A = jnp.sqrt(weight)[:, None] * (X - first[None])
        return upper(A), jnp.sqrt(weight) @ A

    blocks, off = summed(part, weight, X, always=True)
    off = off / total
    return first + off, assembled(blocks) - total * off[:, None] * off[None]


def by_eigh(key, X, weight, k, power_iterations):
    mean, G = scatter(X, weight)
    values, V = lapack.eigh(G)
    return V[:, ::-1][:, :k].T, jnp.maximum(values[::-1][:k], 0), mean, jnp.trace(G)


def by_svd(key, X, weight, k, power_iterations):
    mean = mean_of(X, weight)
    A = jnp.sqrt(weight)[:, None] * (X - mean[None])
    if A.shape[0] > A.shape[1]:
        A = lapack.qr_r(A)      # the same right singular vectors, from a smaller matrix
    _, s, Vt = lapack.svd(A)
    return Vt[:k], s[:k] ** 2, mean, jnp.sum(s**2)


def randomised(key, X, weight, k, power_iterations):
    """Subspace iteration on A'A from random directions, ten more than asked for, and Rayleigh-Ritz in the end."""
    mean = mean_of(X, weight)
    A = jnp.sqrt(weight)[:, None] * (X - mean[None])
    Q = jax.random.normal(key, (A.shape[1], min(k + 10, *A.shape)), A.dtype)
    orthonormal = lambda Q: lapack.qr(A.T @ (A @ Q))[0]       # of [features, k + 10]: the long side is never QR'd
    Q = jax.lax.fori_loop(0, power_iterations + 1, lambda i, Q: orthonormal(Q), Q)
    _, s, Vt = lapack.svd(lapack.qr_r(A @ Q))
    return (Vt @ Q.T)[:k], s[:k] ** 2, mean, jnp.sum(A**2)


SOLVERS = {'full': by_svd, 'eigh': by_eigh, 'randomised': randomised}


def _like(state, X):
    X, d = features(X), state.components.shape[1]
    if X.shape[1] != d:
        raise ValueError(f'X: expected {d} features as in fit, found {X.shape[1]}')
    return X.astype(state.components.dtype)


def maps(whiten: bool):
    """(transform, inverse) of a state with mean, components and explained_variance."""
    def scale(state):
        spread = jnp.sqrt(state.explained_variance)     # of an axis without spread nothing can be made 1
        return jnp.maximum(spread, jnp.finfo(spread.dtype).eps)[None] if whiten else jnp.ones((1, 1), spread.dtype)

    @exact
    def transform(state, X: Float[Array, 'rows features']) -> Float[Array, 'rows k']:
        return (_like(state, X) - state.mean[None]) @ state.components.T / scale(state)

    @exact
    def inverse(state, Z: Float[Array, 'rows k']) -> Float[Array, 'rows features']:
        Z, k = features(Z), len(state.components)
        if Z.shape[1] != k:
            raise ValueError(f'Z: expected {k} components, found {Z.shape[1]}')
        return (Z.astype(state.mean.dtype) * scale(state)) @ state.components + state.mean[None]

    return transform, inverse


def _count(n_components, *most: int) -> int:
    if n_components is None:
        return min(most)
    if n_components > min(most):
        raise ValueError(f'n_components: expected at most {min(most)}, the smaller of rows and features, '
                         f'found {n_components}')
    return n_components


def pca(*, n_components: int | None = None, whiten: bool = False, solver: str = 'auto',
        power_iterations: int = 4) -> Estimator:
    """Principal components by SVD ('full'), from the covariance ('eigh'), or randomised.

    Formula: Xc = U S V', components = V' with the largest entry of each made positive, explained variance = S^2 /
        (n - 1), Z = Xc V (/ sqrt(explained variance) if `whiten`), X ~ Z V' + mean. A weight counts as that many rows.
    Paper: Pearson 1901, On lines and planes of closest fit to systems of points in space; Halko, Martinsson, Tropp
        2011, Finding structure with randomness, algorithms 4.4 and 5.1.
    Shapes: fit X [rows, features], weight [rows] -> PCA(components [k, features], explained_variance [k],
        explained_variance_ratio [k], singular_values [k], mean [features], noise_variance []); transform [rows, k];
        inverse [rows, features]. n_components is static; None keeps min(rows, features).
    solver: 'eigh' takes rows x features^2 steps, features^2 memory beside X (rows go by in chunks), and axes whose
        singular value is below about sqrt(eps) of the largest one drown in rounding; 'full' holds a centred copy and is
        exact for those too; 'randomised' takes rows x features x k steps for each of power_iterations + 1 passes, holds
        a centred copy, and is as good as the spectrum falls; 'auto' is 'eigh' for up to 1,000 features with ten times
        as many rows, else 'full'.
    Cost: time and memory as `solver` says; only 'eigh' holds no copy of X.
    Errors: ValueError for bad shapes or values (`estimator.rows`), n_components above rows or features, an unknown
        solver.
    Example:
        X = jnp.array([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0], [3.0, 3.5]])
        model = pca(n_components=1)
        state = model.fit(jax.random.key(0), X)
        Z = model.transform(state, X)
        assert state.explained_variance_ratio[0] > 0.99 and Z.shape == (4, 1)
        assert jnp.allclose(model.inverse(state, Z), X, atol=0.2)
    """
    hyper('n_components', 1 if n_components is None else n_components, 1)
    hyper('power_iterations', power_iterations, 0)
    choice('solver', solver, ('auto', *SOLVERS))

    @exact
    def fit(key, X, y=None, weight=None) -> PCA:
        X, _, weight = rows(X, None, weight, need_y=False)
        n, d = X.shape
        k = _count(n_components, n, d)
        chosen = solver if solver != 'auto' else 'eigh' if d <= 1000 and n >= 10 * d else 'full'
        components, squares, mean, total = SOLVERS[chosen](key, X, weight, k, power_iterations)
        return described(components, squares, mean, total, jnp.sum(weight))

    transform, inverse = maps(whiten)
    return Estimator(fit, transform=transform, inverse=inverse)


class IncrementalPCA(NamedTuple):
    """What is known after some batches: `count` rows, and the sum of squares about the mean of each column."""

    components: Float[Array, 'k features']
    singular_values: Float[Array, ' k']
    mean: Float[Array, ' features']
    squares: Float[Array, ' features']
    count: Float[Array, '']

    @property
    def explained_variance(self) -> Float[Array, ' k']:
        return self.summary().explained_variance

    def summary(self) -> PCA:
        """The same as a fitted `PCA`, variances worked out."""
        return described(self.components, self.singular_values**2, self.mean, jnp.sum(self.squares), self.count)


def incremental_start(n_components: int, n_features: int, dtype=float) -> IncrementalPCA:
    """The state before the first batch."""
    zeros = lambda *shape: jnp.zeros(shape, dtype)
    return IncrementalPCA(zeros(n_components, n_features), zeros(n_components), zeros(n_features), zeros(n_features),
                          zeros())


@exact
def incremental_update(state: IncrementalPCA, X: Float[Array, 'rows features'],
                       weight: Float[Array, ' rows'] | None = None) -> IncrementalPCA:
    """The axes with one batch more: pure, so that `lax.scan` runs it over a stream.

    Formula: the SVD of [S V'; batch - its mean; sqrt(n m / (n + m)) (mean - batch mean)], n rows before, m in the
        batch; k right singular vectors are kept. With k = features nothing is lost, and the result is that of `pca`.
    Paper: Ross, Lim, Lin, Yang 2008, Incremental learning for robust visual tracking, IJCV 77, section 3.1.
    Shapes: state IncrementalPCA, X [rows, features], weight [rows] -> IncrementalPCA. Memory (k + rows) x features.
    Errors: ValueError for bad shapes or values (`estimator.rows`), another number of features than in the state.
    Example:
        X = jnp.array([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0], [3.0, 3.5]])
        state = incremental_start(1, 2)
        for batch in (X[:2], X[2:]):
            state = incremental_update(state, batch)
        assert state.count == 4 and abs(abs(state.components[0, 0]) - 0.66) < 0.02
    """
    X, _, weight = rows(_like(state, X), None, weight, need_y=False)
    here = jnp.sum(weight)
    count = state.count + here
    safe = jnp.where(here > 0, here, 1)             # a batch of nothing but rows of weight 0 changes nothing
    mean = weight @ X / safe
    mean = mean + weight @ (X - mean[None]) / safe
    A = jnp.sqrt(weight)[:, None] * (X - mean[None])
    share = state.count * here / jnp.where(count > 0, count, 1)
    gap = jnp.sqrt(share) * (state.mean - mean)
    stack = jnp.concatenate([state.singular_values[:, None] * state.components, A, gap[None]])
    _, s, Vt = lapack.svd(stack)
    k = len(state.components)
    more = k - min(k, len(s))       # fewer rows so far than axes
    moved = (mean - state.mean) * here / jnp.where(count > 0, count, 1)
    return IncrementalPCA(signed(jnp.pad(Vt[:k], ((0, more), (0, 0)))), jnp.pad(s[:k], (0, more)), state.mean + moved,
                          state.squares + jnp.sum(A**2, 0) + gap**2, count)


def incremental_pca(*, n_components: int | None = None, whiten: bool = False,
                    batch_size: int | None = None) -> Estimator:
    """Principal components from batches in the order of the rows, by `incremental_update`: memory of one batch.

    Formula: that of `incremental_update`; `summary()` of the state gives variances, ratios and noise as `pca` does.
    Paper: Ross, Lim, Lin, Yang 2008, Incremental learning for robust visual tracking, IJCV 77.
    Shapes: fit X [rows, features], weight [rows] -> IncrementalPCA(components [k, features], singular_values [k], mean
        [features], squares [features], count []); transform [rows, k]; inverse [rows, features].
    batch_size: None takes 5 times the features.
    Cost: time rows x features x (k + batch), memory (k + batch) x features.
    Errors: ValueError for bad shapes or values (`estimator.rows`), n_components above rows or features.
    Example:
        X = jnp.array([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0], [3.0, 3.5]])
        model = incremental_pca(n_components=2, batch_size=2)
        state = model.fit(jax.random.key(0), X)
        assert state.summary().explained_variance_ratio[0] > 0.99
        model.transform(state, X).shape                      # (4, 2)
    """
    hyper('n_components', 1 if n_components is None else n_components, 1)
    hyper('batch_size', 1 if batch_size is None else batch_size, 1)

    def fit(key, X, y=None, weight=None) -> IncrementalPCA:
        X, _, weight = rows(X, None, weight, need_y=False)
        n, d = X.shape
        size = min(n, batch_size or 5 * d)
        short = -n % size
        split = lambda v: jnp.pad(v, ((0, short), *[(0, 0)] * (v.ndim - 1))).reshape(-1, size, *v.shape[1:])
        start = incremental_start(_count(n_components, n, d), d, X.dtype)
        add = lambda state, batch: (incremental_update(state, *batch), None)
        return jax.lax.scan(add, start, (split(X), split(weight)))[0]

    transform, inverse = maps(whiten)
    return Estimator(fit, transform=transform, inverse=inverse)
