"""Three factorisations of a matrix, and the two substitutions that use them.

| | A | cost | for |
| --- | --- | --- | --- |
| `householder_qr` | any | 2 n^2 (m - n/3) | least squares, rank with `pivot`, orthonormal bases |
| `lu` | any | 2/3 n^3 | systems, determinants |
| `cholesky` | symmetric, positive definite | 1/3 n^3 | such systems, Gaussians |

The loops are over columns and unblocked: on an accelerator `jnp.linalg` is faster for large matrices.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from levels.level0_foundations.linear_algebra.arrays import batched, choice, exact, holds, matrix, ratio, readable
from levels.level0_foundations.linear_algebra.vectors import norm


class QR(NamedTuple):
    """A[:, order] = Q R; order is 0, 1, ... without pivoting."""

    Q: Float[Array, '*batch m k']
    R: Float[Array, '*batch k n']
    order: Int[Array, '*batch n']


class LU(NamedTuple):
    """A[order] = L U; parity is +1 or -1, the sign of that permutation."""

    L: Float[Array, '*batch m k']
    U: Float[Array, '*batch k n']
    order: Int[Array, '*batch m']
    parity: Float[Array, '*batch']


def _swap(x: Array, i: Array, j: Array) -> Array:
    """x with entries (rows) i and j exchanged."""
    return x.at[i].set(x[j]).at[j].set(x[i])


def _householder_qr(A, *, k, pivot):
    m, n = A.shape
    rows = jnp.arange(m)

    def column(carry, j):
        R, order = carry
        if pivot:
            # Lengths anew and not downdated: their differences would cancel just where the rank shows.
            lengths = jnp.where(jnp.arange(n) >= j, norm(jnp.where((rows >= j)[:, None], R, 0), axis=0), -1)
            first = jnp.argmax(lengths)
            R, order = _swap(R.T, j, first).T, _swap(order, j, first)
        x = jnp.where(rows >= j, R[:, j], 0)
        away = jnp.where(x[j] < 0, -1.0, 1.0).astype(A.dtype)      # the sum has no cancellation
        u = x.at[j].add(away * norm(x))
        # The last row needs no reflection: LAPACK makes none, and R's last sign is A's own.
        u = jnp.where(j < m - 1, ratio(u, norm(u)), 0)
        return (R - 2 * jnp.outer(u, u @ R), order), u

    (R, order), us = jax.lax.scan(column, (A, jnp.arange(n)), jnp.arange(min(m, n)))
    reflect = lambda Q, u: (Q - 2 * jnp.outer(u, u @ Q), None)
    Q, _ = jax.lax.scan(reflect, jnp.eye(m, k, dtype=A.dtype), us, reverse=True)
    return Q, jnp.triu(R)[:k], order


@exact
def householder_qr(A: Float[Array, '*batch m n'], *, mode: str = 'reduced', pivot: bool = False) -> QR:
    """QR by reflections: Q is orthogonal to rounding whatever A is.

    Formula: for each column x below the diagonal, u = (x + sign(x_1) |x| e_1) / |.|, A <- A - 2 u (u' A); Q is the
        product of I - 2 u u'. Signs are LAPACK's: R_kk = -sign(x_1) |x|. With `pivot` the longest remaining column is
        taken next, so |R_11| >= |R_22| >= ..., and small ones show the rank.
    Paper: Householder 1958, Unitary triangularization of a nonsymmetric matrix; pivoting: Businger, Golub 1965, Linear
        least squares solutions by Householder transformations.
    Shapes: A [*batch, m, n] -> Q [*batch, m, k], R [*batch, k, n], order [*batch, n]; k = min(m, n), or m with
        mode='full'.
    Errors: ValueError for fewer than two axes or an unknown mode. Derivatives exist where the first min(m, n) columns
        are independent.
    Example:
        A = jnp.array([[3.0, 1.0], [4.0, 2.0]])
        Q, R, order = householder_qr(A)
        assert jnp.allclose(Q @ R, A) and jnp.allclose(R[0, 0], -5)
        assert jnp.allclose(Q.T @ Q, jnp.eye(2), atol=1e-6)
    """
    A = matrix('A', A)
    choice('mode', mode, ('reduced', 'full'))
    m, n = A.shape[-2:]
    k = min(m, n) if mode == 'reduced' else m
    k_ = 'm' if k == m else 'n'
    return QR(*batched(f'(m,n)->(m,{k_}),({k_},n),(n)', _householder_qr, A, k=k, pivot=pivot))


def _lu(A):
    m, n = A.shape
    k = min(m, n)
    def column(carry, j):
        W, order, parity = carry
        here = jnp.where(jnp.arange(m) >= j, jnp.abs(W[:, j]), -1)
        best = jnp.argmax(here)
        W, order = _swap(W, j, best), _swap(order, j, best)
        below = jnp.where(jnp.arange(m) > j, ratio(W[:, j], W[j, j]), 0)
        right = jnp.where(jnp.arange(n) > j, W[j], 0)
        W = (W - jnp.outer(below, right)).at[:, j].set(jnp.where(jnp.arange(m) > j, below, W[:, j]))
        return (W, order, jnp.where(best == j, parity, -parity)), None

    start = (A, jnp.arange(m), jnp.ones((), A.dtype))
    (W, order, parity), _ = jax.lax.scan(column, start, jnp.arange(k))
    return jnp.tril(W, -1)[:, :k] + jnp.eye(m, k, dtype=A.dtype), jnp.triu(W)[:k], order, parity


@exact
def lu(A: Float[Array, '*batch m n']) -> LU:
    """Gaussian elimination with partial pivoting.

    Formula: at step k the row with the largest |a_ik|, i >= k, comes up; l_ik = a_ik / a_kk;
        a_ij <- a_ij - l_ik a_kj. |l_ik| <= 1. A column without a pivot is left alone: U_kk = 0.
    Paper: Turing 1948, Rounding-off errors in matrix processes; Wilkinson 1961, Error analysis of direct methods of
        matrix inversion.
    Shapes: A [*batch, m, n] -> L [*batch, m, k], U [*batch, k, n], order [*batch, m], parity [*batch]; k = min(m, n).
    Errors: ValueError for fewer than two axes. Singular matrices are factored, not refused.
    Example:
        A = jnp.array([[0.0, 2.0], [4.0, 1.0]])
        L, U, order, parity = lu(A)
        assert jnp.allclose(L @ U, A[order]) and order.tolist() == [1, 0]
        assert parity * U[0, 0] * U[1, 1] == -8             # the determinant
    """
    A = matrix('A', A)
    m, n = A.shape[-2:]
    k = min(m, n)
    k_ = 'm' if k == m else 'n'
    return LU(*batched(f'(m,n)->(m,{k_}),({k_},n),(m),()', _lu, A))


def _cholesky(A):
    n = A.shape[0]
    def column(L, j):
        rest = A[:, j] - L @ L[j]
        pivot = jnp.where(rest[j] > 0, rest[j], jnp.nan)
        return L.at[:, j].set(jnp.where(jnp.arange(n) >= j, rest / jnp.sqrt(pivot), 0)), None

    return jax.lax.scan(column, jnp.zeros_like(A), jnp.arange(n))[0]


@exact
def cholesky(A: Float[Array, '*batch n n']) -> Float[Array, '*batch n n']:
    """The triangular square root of a symmetric positive definite matrix; reads the lower triangle only.

    Formula: A = L L'; l_jj = sqrt(a_jj - sum_k l_jk^2), l_ij = (a_ij - sum_k l_ik l_jk) / l_jj, k < j < i.
    Paper: Benoit 1924, Note sur une methode de resolution des equations normales (Procede du Commandant Cholesky).
    Shapes: A [*batch, n, n] -> L [*batch, n, n], lower triangular with a positive diagonal.
    Errors: ValueError for a matrix that is not square; for one that is not positive definite where values can be read,
        and NaN from that column on inside jit and vmap.
    Example:
        A = jnp.array([[4.0, 2.0], [2.0, 5.0]])
        L = cholesky(A)
        assert jnp.allclose(L, jnp.array([[2.0, 0.0], [1.0, 2.0]]))
        assert jnp.allclose(L @ L.T, A)
    """
    A = matrix('A', A, square=True)
    L = batched('(n,n)->(n,n)', _cholesky, A)
    if readable(L) and holds(lambda: jnp.isnan(L).any()):
        raise ValueError('A: expected a positive definite matrix, found a pivot that is not above 0')
    return L


def _substitute(T, b, *, lower):
    n = T.shape[0]
    T = jnp.tril(T) if lower else jnp.triu(T)

    def row(x, i):
        # rows of x that are not known yet are zeros, so T[i] @ x is the sum over the known ones
        return x.at[i].set((b[i] - T[i] @ x) / T[i, i]), None

    return jax.lax.scan(row, jnp.zeros_like(b), jnp.arange(n), reverse=not lower)[0]


def substitute(T: Float[Array, '*batch n n'], b: Float[Array, '*batch n k'], *, lower: bool) -> Float[Array,
                                                                                                   '*batch n k']:
    """x of T x = b for a triangular T, whose other triangle is not read, row by row; zeros on the diagonal divide."""
    return batched('(n,n),(n,k)->(n,k)', _substitute, T, b, lower=lower)
