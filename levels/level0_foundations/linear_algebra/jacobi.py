"""Jacobi's rotations, n/2 at a time: eigenvalues of a symmetric matrix, singular values of any.

A sweep meets every pair of columns once, in rounds of disjoint pairs (a round-robin tournament), so that one round is a
few array operations instead of n/2 small ones. `spectral.eigh` and `spectral.svd` wrap these with derivatives.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from common.task import Task, solve
from levels.level0_foundations.linear_algebra.arrays import batched, exact, matrix, ratio
from levels.level0_foundations.linear_algebra.arrays import symmetric as symmetric_matrix
from levels.level0_foundations.linear_algebra.factor import householder_qr
from levels.level0_foundations.linear_algebra.symmetric import Eigenpairs
from levels.level0_foundations.linear_algebra.vectors import norm


class Rotated(NamedTuple):
    """What is rotated, by what it was (rows of Vt), and how far from diagonal the last sweep found it."""

    W: Float[Array, 'm n']
    Vt: Float[Array, 'n n']
    off: Float[Array, '']


class JacobiSVD(NamedTuple):
    """A = U diag(s) Vt, s descending; sweeps made; whether all pairs of columns reached orthogonality."""

    U: Float[Array, '*batch m k']
    s: Float[Array, '*batch k']
    Vt: Float[Array, '*batch k n']
    steps: Int[Array, '*batch']
    converged: Bool[Array, '*batch']


def rounds(n: int) -> np.ndarray:
    """[n - 1, 2, n / 2] for an even n: the rounds of a tournament in which everybody meets everybody once."""
    others = np.arange(n - 1)
    table = np.stack([np.concatenate([np.roll(others, r), [n - 1]]) for r in range(n - 1)])
    return np.stack([table[:, :n // 2], table[:, n // 2:][:, ::-1]], 1)


def angles(p: Array, q: Array, between: Array) -> tuple[Array, Array]:
    """(sin t, tan t/2) of the smaller angle t that makes [[p, between], [between, q]] diagonal; (0, 0) if it is."""
    tau = ratio(q - p, 2 * between)
    tan = jnp.where(tau < 0, -1, 1) / (jnp.abs(tau) + jnp.hypot(jnp.ones_like(tau), tau))
    tan = jnp.where(between == 0, 0, tan).astype(p.dtype)
    cos = 1 / jnp.hypot(jnp.ones_like(tan), tan)
    return tan * cos, tan * cos / (1 + cos)


def turn(X: Array, p: Array, q: Array, sin: Array, half: Array) -> Array:
    """Rows p and q of X rotated, pair by pair: cos t is 1 - sin t tan t/2, so small angles do not lengthen rows."""
    a, b, sin, half = X[p], X[q], sin[:, None], half[:, None]
    return X.at[p].set(a - sin * (b + half * a)).at[q].set(b + sin * (a - half * b))


def _scaled(A: Array) -> tuple[Array, Array]:
    top = jnp.max(jnp.abs(A))
    scale = jnp.where((top > 0) & jnp.isfinite(top), top, 1)
    return A / scale, scale


def _start(key, W) -> Rotated:
    return Rotated(W, jnp.eye(len(W), dtype=W.dtype), jnp.asarray(jnp.inf, W.dtype))


def _eigh_round(state: Rotated, pair) -> tuple[Rotated, None]:
    p, q = pair
    sin, half = angles(state.W[p, p], state.W[q, q], state.W[p, q])
    W = turn(turn(state.W, p, q, sin, half).T, p, q, sin, half)
    W = W.at[p, q].set(0).at[q, p].set(0)
    return Rotated(W, turn(state.Vt, p, q, sin, half), state.off), None


def _eigh_sweep(key, state: Rotated, batch) -> tuple[Rotated, dict]:
    state, _ = jax.lax.scan(_eigh_round, state, jnp.asarray(rounds(len(state.Vt))))
    return state._replace(off=norm((state.W - jnp.diag(jnp.diagonal(state.W))).reshape(-1))), {}


def _jacobi_eigh(A, *, max_steps):
    n = len(A)
    A, scale = _scaled(A)
    goal = jnp.finfo(A.dtype).eps * norm(A.reshape(-1))
    # A row and a column of zeros beside an odd matrix are never rotated.
    found = solve(Task(_start, _eigh_sweep), jax.random.key(0), jnp.pad(A, (0, n % 2)), max_steps=max_steps,
                  done=lambda _, new: new.off <= goal)
    values = jnp.diagonal(found.state.W)[:n]
    order = jnp.argsort(values)
    return values[order] * scale, found.state.Vt[:n, :n][order].T, found.steps, found.converged


@exact
def jacobi_eigh(A: Float[Array, '*batch n n'], *, max_steps: int = 40) -> Eigenpairs:
    """Rotates off-diagonal entries away, pair by pair, sweep by sweep, until none is left.

    Formula: cot 2t = (a_qq - a_pp) / (2 a_pq), tan t the root of the smaller size; A <- J' A J. The sum of squares
        off the diagonal falls by 2 a_pq^2 with each rotation, in the end quadratically with each sweep.
    Paper: Jacobi 1846, Uber ein leichtes Verfahren die in der Theorie der Sacularstorungen vorkommenden Gleichungen
        numerisch aufzulosen; rounds of disjoint pairs: Brent, Luk 1985.
    Shapes: A [*batch, n, n] -> values [*batch, n] ascending, vectors [*batch, n, n], steps, converged [*batch].
    Errors: ValueError for a matrix that is not square, or not symmetric where values can be read. Not differentiable
        in reverse: `spectral.eigh(method='jacobi')` is.
    Example:
        A = jnp.array([[1.0, 2.0, 0.0], [2.0, 1.0, 0.0], [0.0, 0.0, 5.0]])
        values, V, steps, converged = jacobi_eigh(A)
        assert converged and jnp.allclose(values, jnp.array([-1.0, 3.0, 5.0]))
        assert jnp.allclose(A @ V, V * values[None], atol=1e-5)
    """
    A = symmetric_matrix('A', A)
    return Eigenpairs(*batched('(n,n)->(n),(n,n),(),()', _jacobi_eigh, A, max_steps=max_steps))


def _svd_round(state: Rotated, pair) -> tuple[Rotated, None]:
    # Rows of W are the columns of what is decomposed: rotating rows moves memory that lies together.
    p, q = pair
    a, b = state.W[p], state.W[q]
    alpha, beta, gamma = jnp.sum(a * a, 1), jnp.sum(b * b, 1), jnp.sum(a * b, 1)
    lengths = jnp.sqrt(alpha) * jnp.sqrt(beta)
    cosine = jnp.abs(gamma) / jnp.where(lengths > 0, lengths, jnp.inf)
    sin, half = angles(alpha, beta, jnp.where(cosine <= jnp.finfo(a.dtype).eps, 0, gamma))
    off = jnp.maximum(state.off, jnp.max(cosine))
    return Rotated(turn(state.W, p, q, sin, half), turn(state.Vt, p, q, sin, half), off), None


def _svd_sweep(key, state: Rotated, batch) -> tuple[Rotated, dict]:
    state = state._replace(off=jnp.zeros_like(state.off))
    return jax.lax.scan(_svd_round, state, jnp.asarray(rounds(len(state.Vt))))[0], {}


def _jacobi_svd(A, *, wide, max_steps):
    A, scale = _scaled(A.T if wide else A)
    m, n = A.shape
    goal = m * jnp.finfo(A.dtype).eps
    found = solve(Task(_start, _svd_sweep), jax.random.key(0), jnp.pad(A.T, ((0, n % 2), (0, 0))), max_steps=max_steps,
                  done=lambda _, new: new.off <= goal)
    Wt, Vt = found.state.W[:n], found.state.Vt[:n, :n]
    s = norm(Wt)
    order = jnp.argsort(-s)
    s, Wt, Vt = s[order], Wt[order], Vt[order]
    Q, R, _ = householder_qr(Wt.T)
    U = Q * jnp.where(jnp.diagonal(R) < 0, -1, 1).astype(A.dtype)[None]
    good = found.converged & jnp.isfinite(s).all()
    return (Vt.T, s * scale, U.T, found.steps, good) if wide else (U, s * scale, Vt, found.steps, good)


@exact
def jacobi_svd(A: Float[Array, '*batch m n'], *, max_steps: int = 40) -> JacobiSVD:
    """Rotates columns, pair by pair, until all are orthogonal: their lengths are the singular values.

    Formula: W = A V, V a product of rotations with cot 2t = (|w_q|^2 - |w_p|^2) / (2 w_p' w_q); s_i = |w_i|, U the
        Q factor of W with its columns in falling order, which also completes U where s_i = 0. Done when
        |w_p' w_q| <= max(m, n) eps |w_p| |w_q| for every pair. Wide matrices are transposed.
    Paper: Hestenes 1958, Inversion of matrices by biorthogonalization and related results; small singular values to
        high relative accuracy: Demmel, Veselic 1992, Jacobi's method is more accurate than QR.
    Shapes: A [*batch, m, n] -> U [*batch, m, k], s [*batch, k] descending, Vt [*batch, k, n], steps, converged
        [*batch]; k = min(m, n).
    Errors: ValueError for fewer than two axes. Not differentiable in reverse: `spectral.svd` is.
    Example:
        A = jnp.array([[1.0, 1.0], [1.0, 1.0], [0.0, 0.0]])
        U, s, Vt, steps, converged = jacobi_svd(A)          # rank one
        assert converged and jnp.allclose(s, jnp.array([2.0, 0.0]), atol=1e-6)
        assert jnp.allclose(U.T @ U, jnp.eye(2), atol=1e-6)
    """
    A = matrix('A', A)
    wide = A.shape[-1] > A.shape[-2]
    signature = '(m,n)->(m,m),(m),(m,n),(),()' if wide else '(m,n)->(m,n),(n),(n,n),(),()'
    return JacobiSVD(*batched(signature, _jacobi_svd, A, wide=wide, max_steps=max_steps))
