"""Linear systems and least squares, with what they are worth: condition numbers, backward errors, error bounds.

Example:
    from levels.level0_foundations.linear_algebra.systems import linear_solve, lstsq
    x, condition, backward, bound = linear_solve(A, b)      # |x - exact|_1 <= bound |x|_1
    fit = lstsq(X, y)                                       # fit.x, fit.rank, fit.condition
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from levels.level0_foundations.linear_algebra.arrays import (
    batched,
    choice,
    exact,
    floats,
    holds,
    matrix,
    ratio,
    readable,
)
from levels.level0_foundations.linear_algebra.factor import lu, substitute
from levels.level0_foundations.linear_algebra.spectral import svd
from levels.level0_foundations.linear_algebra.vectors import norm


class Solved(NamedTuple):
    """x, shaped as b; condition |A|_1 |A^-1|_1; backward error and bound: see `linear_solve`."""

    x: Float[Array, '*right']
    condition: Float[Array, '*batch']
    backward: Float[Array, '*batch']
    bound: Float[Array, '*batch']


class LeastSquares(NamedTuple):
    """x; residual |A x - b|^2 of each right-hand side; rank; condition s_1 / s_min(m,n); the singular values."""

    x: Float[Array, '*right']
    residual: Float[Array, '*right']
    rank: Int[Array, '*batch']
    condition: Float[Array, '*batch']
    singular: Float[Array, '*batch r']


def _right(A: Array, b: Array) -> tuple[Array, Array, bool]:
    """(A, b [*batch, m, k], whether b was a vector: one axis less than A).  Errors: ValueError."""
    b = floats('b', b)
    dtype = jnp.promote_types(A.dtype, b.dtype)
    A, b = A.astype(dtype), b.astype(dtype)
    is_vector = b.ndim == A.ndim - 1
    m = A.shape[-2]
    if b.ndim < 1 or b.shape[-1 if is_vector else -2:][:1] != (m,):
        raise ValueError(f'b: expected [*batch, {m}] or [*batch, {m}, k], found shape {b.shape}')
    return A, b[..., None] if is_vector else b, is_vector


def _apply(factors, b: Array, transpose: bool = False) -> Array:
    """A^-1 b, or A'^-1 b, for b [n, k]."""
    L, U, order, _ = factors
    if transpose:
        return jnp.zeros_like(b).at[order].set(substitute(L.T, substitute(U.T, b, lower=True), lower=False))
    return substitute(U, substitute(L, b[order], lower=True), lower=False)


def _columns(x: Array) -> Array:
    """|x|_1 of a matrix: the largest column sum."""
    return jnp.max(jnp.sum(jnp.abs(x), -2), -1)


def _linear_solve(A, b):
    n = A.shape[0]
    factors = lu(jax.lax.stop_gradient(A))

    def forward(product, b):
        x = _apply(factors, b)
        return x + _apply(factors, b - product(x))

    def backward_(product, b):
        x = _apply(factors, b, transpose=True)
        return x + _apply(factors, b - product(x), transpose=True)

    x = jax.lax.custom_linear_solve(lambda v: A @ v, b, forward, backward_)
    A, b, at = (jax.lax.stop_gradient(v) for v in (A, b, x))    # what is reported has no derivative
    inverse = _apply(factors, jnp.eye(n, dtype=A.dtype))
    condition = _columns(A) * _columns(inverse)
    condition = jnp.where(jnp.isfinite(condition), condition, jnp.inf)
    backward = ratio(_columns(b - A @ at), _columns(A) * _columns(at))
    bound = condition * (backward + (n + 2) * jnp.finfo(A.dtype).eps)
    return x, condition, backward, jnp.where(jnp.isnan(bound), jnp.inf, bound)


@exact
def linear_solve(A: Float[Array, '*batch n n'], b: Float[Array, '*right']) -> Solved:
    """x of A x = b by LU, refined once, with the condition of A and a bound of the error.

    Formula: x = U^-1 L^-1 b[order], x <- x + A^-1 (b - A x). With r = b - A x: backward = |r| / (|A| |x|), so x solves
        exactly a system that is off by that share; condition = |A| |A^-1|; bound = condition (backward + (n + 2) eps),
        |x - exact| <= bound |x|. All norms are 1-norms (largest column sum, over all right-hand sides).
        The derivative is implicit, through one solve with A', and not through the elimination.
    Paper: Wilkinson 1963, Rounding errors in algebraic processes; Higham 2002, Accuracy and stability of numerical
        algorithms, chapters 7, 9 and 12.
    Shapes: A [*batch, n, n]; b [*batch, n], one axis less than A, or [*batch, n, k]; batches broadcast.
    Errors: ValueError for other shapes, and for a singular A where values can be read; inside jit and vmap such an A
        has condition = bound = inf, and its x means nothing.
    Example:
        A = jnp.array([[2.0, 0.0], [0.0, 1e-3]])
        x, condition, backward, bound = linear_solve(A, jnp.array([1.0, 1.0]))
        assert jnp.allclose(x, jnp.array([0.5, 1000.0]))
        assert jnp.allclose(condition, 2000) and bound < 1e-2
    """
    A, b, is_vector = _right(matrix('A', A, square=True), b)
    x, condition, backward, bound = batched('(n,n),(n,k)->(n,k),(),(),()', _linear_solve, A, b)
    if readable(condition) and holds(lambda: jnp.isinf(condition).any()):
        raise ValueError('A: expected an invertible matrix, found a singular one; lstsq takes it')
    return Solved(x[..., 0] if is_vector else x, condition, backward, bound)


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def _minimum(A, b, rcond):
    """(x [n, k], rank, singular values) of one system, by the pseudo-inverse, refined once."""
    x, rank, s, _ = _pseudo(A, b, rcond)
    return x, rank, s


def _pseudo(A, b, rcond):
    U, s, Vt = svd(A)[:3]
    kept = s > rcond * s[0]
    inverse = (Vt.T * jnp.where(kept, ratio(jnp.ones_like(s), s), 0)[None]) @ U.T
    x = inverse @ b
    return x + inverse @ (b - A @ x), jnp.sum(kept).astype(A.dtype), s, inverse


@_minimum.defjvp
def _minimum_jvp(rcond, primals, tangents):
    # Golub, Pereyra 1973: the derivative of a pseudo-inverse, where the rank does not change. Each term is a product,
    # so no derivative of singular vectors, which equal singular values would not have, comes in.
    (A, b), (dA, db) = primals, tangents
    x, rank, s, P = _pseudo(A, b, rcond)
    r = b - A @ x
    beyond = dA.T @ (P.T @ x)
    dx = P @ (db - dA @ x) + P @ (P.T @ (dA.T @ r)) + beyond - P @ (A @ beyond)
    return (x, rank, s), (dx, jnp.zeros_like(rank), jax.jvp(lambda A: svd(A).s, (A,), (dA,))[1])


def _lstsq(A, b, *, rcond):
    x, rank, s = _minimum(A, b, rcond)
    return x, jnp.sum((A @ x - b) ** 2, 0), rank.astype(jnp.int32), s


@exact
def lstsq(A: Float[Array, '*batch m n'], b: Float[Array, '*right'], *, rcond: float | None = None) -> LeastSquares:
    """The shortest of all x that minimise |A x - b|, whatever the rank and the shape of A.

    Formula: A = U s V'; x = V diag(1 / s_i where s_i > rcond s_1, else 0) U' b, refined once; condition = s_1 / s_k,
        k = min(m, n), infinite for s_k = 0. The derivative is that of the pseudo-inverse at constant rank.
    Paper: Golub, Kahan 1965, Calculating the singular values and pseudo-inverse of a matrix; Golub, Pereyra 1973, The
        differentiation of pseudo-inverses and nonlinear least squares problems whose variables separate.
    Shapes: A [*batch, m, n]; b [*batch, m], one axis less than A, or [*batch, m, k] -> x [*batch, n, *k], residual
        [*batch, *k], rank and condition [*batch], singular [*batch, min(m, n)].
    rcond: default max(m, n) eps, NumPy's.
    Errors: ValueError for other shapes, rcond outside 0 <= rcond < 1.
    Example:
        A = jnp.array([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]])
        fit = lstsq(A, jnp.array([1.0, 3.0, 5.0]))
        assert jnp.allclose(fit.x, jnp.array([1.0, 2.0]), atol=1e-5) and fit.rank == 2
        assert fit.residual < 1e-8 and fit.condition > 1
    """
    A, b, is_vector = _right(matrix('A', A), b)
    rcond = max(A.shape[-2:]) * float(jnp.finfo(A.dtype).eps) if rcond is None else rcond
    if not 0 <= rcond < 1:
        raise ValueError(f'rcond: expected 0 <= rcond < 1, found {rcond}')
    x, residual, rank, s = batched('(m,n),(m,k)->(n,k),(k),(),(r)', _lstsq, A, b, rcond=rcond)
    top, low = s[..., 0], s[..., -1]
    condition = jnp.where(low > 0, ratio(top, low), jnp.inf)
    if is_vector:
        x, residual = x[..., 0], residual[..., 0]
    return LeastSquares(x, residual, rank, condition, s)


@exact
def matrix_norm(A: Float[Array, '*batch m n'], *, order: str | int | float = 'fro') -> Float[Array, '*batch']:
    """The size of a matrix, in one of five ways.

    Formula: 'fro' sqrt(sum a_ij^2); 'nuc' sum of singular values; 2 the largest of them; 1 the largest sum of |a_ij|
        over a column; jnp.inf over a row. 2, 1 and inf are max |A x|_p / |x|_p.
    Paper: von Neumann 1937, Some matrix inequalities and metrization of matric-space.
    Shapes: [*batch, m, n] -> [*batch].
    Errors: ValueError for fewer than two axes or another order.
    Example:
        A = jnp.array([[3.0, 0.0], [0.0, -4.0]])
        assert jnp.allclose(matrix_norm(A), 5)
        assert jnp.allclose(matrix_norm(A, order=2), 4)
        assert jnp.allclose(matrix_norm(A, order='nuc'), 7)
    """
    A = matrix('A', A)
    choice('order', order, ('fro', 'nuc', 1, 2, jnp.inf))
    if order == 'fro':
        return norm(A.reshape(*A.shape[:-2], -1))
    if order in ('nuc', 2):
        s = svd(A).s
        return jnp.sum(s, -1) if order == 'nuc' else s[..., 0]
    return _columns(A if order == 1 else A.mT)


@exact
def matrix_rank(A: Float[Array, '*batch m n'], *, rcond: float | None = None) -> Int[Array, '*batch']:
    """How many independent columns (or rows) A has, up to rounding: singular values above rcond times the largest.

    Formula: sum_i [s_i > rcond s_1], rcond = max(m, n) eps by default.
    Paper: Eckart, Young 1936, The approximation of one matrix by another of lower rank: s_{r+1} is how far A is from
        the nearest matrix of rank r.
    Shapes: [*batch, m, n] -> [*batch] integers.
    Errors: ValueError for fewer than two axes, rcond outside 0 <= rcond < 1.
    Example:
        A = jnp.array([[1.0, 2.0], [2.0, 4.0], [3.0, 6.0]])
        assert matrix_rank(A) == 1
        assert matrix_rank(A + 1e-3 * jnp.eye(3, 2)) == 2
        assert matrix_rank(A + 1e-3 * jnp.eye(3, 2), rcond=0.01) == 1
    """
    A = matrix('A', A)
    rcond = max(A.shape[-2:]) * float(jnp.finfo(A.dtype).eps) if rcond is None else rcond
    if not 0 <= rcond < 1:
        raise ValueError(f'rcond: expected 0 <= rcond < 1, found {rcond}')
    s = svd(A).s
    return jnp.sum(s > rcond * s[..., :1], -1)


def condition_number(A: Float[Array, '*batch m n']) -> Float[Array, '*batch']:
    """s_1 / s_min(m,n): by how much a relative change of A or b can grow in the solution; infinite if singular."""
    s = svd(A).s
    return jnp.where(s[..., -1] > 0, ratio(s[..., 0], s[..., -1]), jnp.inf)
