"""Norms, projections and Gram-Schmidt orthogonalisation.

Example:
    from levels.level0_foundations.linear_algebra.vectors import gram_schmidt, norm, project
    Q, R = gram_schmidt(A)               # A = Q R, Q' Q = I
    along = project(x, A)                # the point of span(A) nearest to x
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from levels.level0_foundations.linear_algebra.arrays import batched, exact, matrix, ratio, readable, vector


class GramSchmidt(NamedTuple):
    """A = Q R.  A column that depends on those before it is a column of zeros in Q, with a zero on R's diagonal."""

    Q: Float[Array, '*batch m n']
    R: Float[Array, '*batch n n']


def norm(x: Float[Array, '*shape'], *, order: float = 2, axis: int = -1) -> Float[Array, '*rest']:
    """The p-norm of vectors, that neither overflows nor underflows, with derivative 0 at the origin.

    Formula: |x|_p = s (sum_i |x_i / s|^p)^(1/p), s = max_i |x_i|; |x|_inf = s.
    Paper: Minkowski 1896, Geometrie der Zahlen; the scaling: Blue 1978, A portable Fortran program to find the
        Euclidean norm of a vector.
    Shapes: [..., n, ...] -> the same without `axis`.
    Errors: ValueError for a scalar, an empty axis, an order below 1 (which is no norm: the triangle inequality fails).
    Example:
        x = jnp.array([3.0, -4.0])
        assert norm(x) == 5 and norm(x, order=1) == 7 and norm(x, order=jnp.inf) == 4
        assert norm(1e30 * x) > 4.9e30                      # the sum of squares is infinite in float32
        assert jax.grad(norm)(jnp.zeros(2)).tolist() == [0, 0]
    """
    x = jnp.abs(vector('x', x))
    if not readable(order) or not order >= 1:
        raise ValueError(f'order: expected a number >= 1 or infinity, found {order}')
    top = jnp.max(x, axis, keepdims=True)
    if math.isinf(order):
        return jnp.squeeze(top, axis)
    # The scale takes no part in the derivative: it cancels.
    scale = jax.lax.stop_gradient(jnp.where((top > 0) & jnp.isfinite(top), top, 1))
    if order == 1:
        return jnp.squeeze(scale, axis) * jnp.sum(x / scale, axis)
    total = jnp.sum((x / scale) ** order, axis)
    positive = ~(total == 0)
    root = jnp.where(positive, total, 1) ** (1 / order)
    return jnp.where(positive, jnp.squeeze(scale, axis) * root, 0)


def _gram_schmidt(A, *, passes, tol):
    n = A.shape[1]
    lengths = norm(A, axis=0)

    def column(carry, j):
        W, Q, R = carry
        v = W[:, j]
        for _ in range(passes - 1):
            again = Q.T @ v         # columns of Q that are not there yet are zeros
            v, R = v - Q @ again, R.at[:, j].add(again)
        length = norm(v)
        length = jnp.where(length > tol * lengths[j], length, 0)
        q = ratio(v, length)
        row = jnp.where(jnp.arange(n) > j, q @ W, 0)
        R = R.at[j].add(row).at[j, j].set(length)
        return (W - jnp.outer(q, row), Q.at[:, j].set(q), R), None

    (_, Q, R), _ = jax.lax.scan(column, (A, jnp.zeros_like(A), jnp.zeros((n, n), A.dtype)), jnp.arange(n))
    return Q, R


@exact
def gram_schmidt(A: Float[Array, '*batch m n'], *, passes: int = 2, tol: float | None = None) -> GramSchmidt:
    """Orthonormal columns from any columns: modified Gram-Schmidt, each column orthogonalised again before it counts.

    Formula: for j = 1, 2, ...: (passes - 1) times v_j <- v_j - Q (Q' v_j); q_j = v_j / |v_j|; then for all k > j
        r_jk = q_j' v_k, v_k <- v_k - r_jk q_j. With one pass |Q' Q - I| grows with the condition of A, with two it
        stays at rounding. What remains of a dependent column, less than tol of it, is dropped.
    Paper: Bjorck 1967, Solving linear least squares problems by Gram-Schmidt orthogonalization; twice is enough:
        Giraud, Langou, Rozloznik 2005, The loss of orthogonality in the Gram-Schmidt orthogonalization process.
    Shapes: A [*batch, m, n] -> Q [*batch, m, n], R [*batch, n, n], upper triangular. tol: of the column's length,
        default 10 max(m, n) eps.
    Errors: ValueError for fewer than two axes, passes below 1, tol outside 0 <= tol < 1.
    Example:
        A = jnp.array([[1.0, 1.0, 2.0], [1e-4, 0.0, 1e-4], [0.0, 1e-4, 1e-4]])
        Q, R = gram_schmidt(A)                              # the third column is the sum of the first two
        assert jnp.allclose(Q @ R, A) and R[2, 2] == 0
        assert abs(Q[:, 0] @ Q[:, 1]) < 1e-6
    """
    A = matrix('A', A)
    m, n = A.shape[-2:]
    tol = 10 * max(m, n) * float(jnp.finfo(A.dtype).eps) if tol is None else tol
    if passes < 1:
        raise ValueError(f'passes: expected at least 1, found {passes}')
    if not 0 <= tol < 1:
        raise ValueError(f'tol: expected 0 <= tol < 1, found {tol}')
    return GramSchmidt(*batched('(m,n)->(m,n),(n,n)', _gram_schmidt, A, passes=passes, tol=tol))


@exact
def project(x: Float[Array, '*batch m'], A: Float[Array, '*batch m n'], *, tol: Any = None) -> Float[Array, '*batch m']:
    """The point of the span of A's columns that is nearest to x; what is left, x - project(x, A), is orthogonal to A.

    Formula: P x = Q (Q' x), Q from `gram_schmidt`: columns may be dependent, and A may be wide.
    Paper: Gram 1883; Schmidt 1907, Zur Theorie der linearen und nichtlinearen Integralgleichungen.
    Shapes: x [*batch, m], A [*batch, m, n] -> [*batch, m]; batches broadcast.
    Errors: ValueError for lengths that differ, and for what `gram_schmidt` refuses.
    Example:
        A = jnp.array([[1.0], [1.0]])
        x = jnp.array([2.0, 0.0])
        along = project(x, A)
        assert jnp.allclose(along, jnp.ones(2)) and jnp.allclose((x - along) @ A, 0, atol=1e-6)
    """
    x, A = vector('x', x), matrix('A', A)
    if x.shape[-1] != A.shape[-2]:
        raise ValueError(f'x: expected [*batch, {A.shape[-2]}], found shape {x.shape}')
    Q = gram_schmidt(A, tol=tol).Q
    return batched('(m),(m,n)->(m)', _onto, x, Q)


def _onto(x, Q):
    return Q @ (x @ Q)
