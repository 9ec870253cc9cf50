"""Eigenvalues of a general matrix by the QR algorithm: Hessenberg form, then shifted QR sweeps to triangular form.

In complex arithmetic from the second stage on, so that a complex pair needs no treatment of its own.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Complex, Float, Int

from common.task import Task, solve
from levels.level0_foundations.linear_algebra.arrays import batched, exact, matrix, ratio
from levels.level0_foundations.linear_algebra.symmetric import hessenberg


class Schur(NamedTuple):
    """A = Z T Z^H, T upper triangular with the eigenvalues on its diagonal, Z unitary."""

    T: Complex[Array, '*batch n n']
    Z: Complex[Array, '*batch n n']
    steps: Int[Array, '*batch']
    converged: Bool[Array, '*batch']


class Eig(NamedTuple):
    """A v_i = values[i] v_i for the columns of vectors; residual max_i |A v_i - l_i v_i| / |A|_F."""

    values: Complex[Array, '*batch n']
    vectors: Complex[Array, '*batch n n']
    residual: Float[Array, '*batch']
    converged: Bool[Array, '*batch']


class Chase(NamedTuple):
    """H, Hessenberg, becomes T; Zh is the conjugate transpose of Z; age: sweeps since the last deflation."""

    H: Complex[Array, 'n n']
    Zh: Complex[Array, 'n n']
    age: Int[Array, '']


def _rows(X: Array, k: Array, c: Array, s: Array) -> Array:
    """Rows k and k + 1 times [[conj c, conj s], [-s, c]]."""
    pair = jax.lax.dynamic_slice_in_dim(X, k, 2)
    new = jnp.stack([jnp.conj(c) * pair[0] + jnp.conj(s) * pair[1], c * pair[1] - s * pair[0]])
    return jax.lax.dynamic_update_slice_in_dim(X, new, k, 0)


def _left(H: Array) -> Array:
    """|subdiagonal|, with a zero at the end, and zeros where an entry is nothing beside its neighbours."""
    d, e = jnp.abs(jnp.diagonal(H)), jnp.append(jnp.abs(jnp.diagonal(H, -1)), 0)
    eps = jnp.finfo(e.dtype).eps
    beside = d + jnp.roll(d, -1)
    beside = jnp.where(beside == 0, jnp.sqrt(jnp.sum(jnp.abs(H) ** 2)), beside)     # nilpotent parts have no diagonal
    return jnp.where(e <= eps * beside, 0, e)


def _sweep(key, state: Chase, batch) -> tuple[Chase, dict]:
    """One implicit QR step with Wilkinson's shift on the last block that is not yet triangular."""
    H, Zh, age = state
    n = H.shape[0]
    where = jnp.arange(n)
    left = _left(H)
    hi = 1 + jnp.max(jnp.where(left != 0, where, 0))
    lo = 1 + jnp.max(jnp.where((left == 0) & (where < hi - 1), where, -1))
    a, b, c, d = H[hi - 1, hi - 1], H[hi - 1, hi], H[hi, hi - 1], H[hi, hi]
    half = (a - d) / 2
    root = jnp.sqrt(half**2 + b * c)
    root = jnp.where(jnp.real(jnp.conj(half) * root) < 0, -root, root)
    shift = d - ratio(b * c, half + root)
    # A block that the shift maps onto itself (a permutation) would never end: every tenth sweep takes another.
    shift = jnp.where((age > 0) & (age % 10 == 0), d + 1.5 * jnp.abs(c), shift)

    def rotate(k, carry):
        H, Zh, x, z = carry
        r = jnp.sqrt(jnp.abs(x) ** 2 + jnp.abs(z) ** 2)
        c, s = jnp.where(r == 0, 1, ratio(x, r)), ratio(z, r)
        H = _rows(H, k, c, s)
        H = _rows(H.T, k, jnp.conj(c), jnp.conj(s)).T
        return H, _rows(Zh, k, c, s), H[k + 1, k], H[jnp.minimum(k + 2, n - 1), k]

    H, Zh, _, _ = jax.lax.fori_loop(lo, hi, rotate, (H, Zh, H[lo, lo] - shift, H[lo + 1, lo]))
    H = jnp.triu(H, -1)
    H = jnp.where(jnp.eye(n, k=-1, dtype=bool) & (_left(H) == 0)[None, :], 0, H)
    return Chase(H, Zh, jnp.where(_left(H)[hi - 1] == 0, 0, age + 1)), {}


def _schur(A, *, max_steps):
    n = len(A)
    top = jnp.max(jnp.abs(A))
    scale = jnp.where((top > 0) & jnp.isfinite(top), top, 1)
    H, Q = (x.astype(jnp.result_type(A.dtype, jnp.complex64)) for x in hessenberg(A / scale))
    if n == 1:
        return H * scale, Q, jnp.zeros((), jnp.int32), jnp.isfinite(A[0, 0])
    start = lambda key, batch: Chase(*batch, jnp.zeros((), jnp.int32))
    # The first sweep is not asked whether it is needed; on a triangular matrix it rotates by the identity.
    found = solve(Task(start, _sweep), jax.random.key(0), (H, Q.T), max_steps=max_steps,
                  done=lambda old, new: ~(_left(new.H) != 0).any())
    T = found.state.H
    return jnp.triu(T) * scale, jnp.conj(found.state.Zh.T), found.steps, found.converged & jnp.isfinite(T).all()


@exact
def schur(A: Float[Array, '*batch n n'], *, max_steps: int | None = None) -> Schur:
    """The QR algorithm for a general real matrix: a unitary basis in which it is triangular.

    Formula: A = Q H Q' (Hessenberg); repeat on the last unreduced block: mu = the eigenvalue of its last 2x2 nearest to
        the corner; rotate H - mu I to triangular form and back by chasing one bulge down; a subdiagonal entry below
        eps (|h_ii| + |h_i+1,i+1|) is zero. A = Z T Z^H. Defective matrices too.
    Paper: Francis 1961, The QR transformation; Kublanovskaya 1961, On some algorithms for the solution of the complete
        eigenvalue problem; Schur 1909.
    Shapes: A [*batch, n, n], real -> T, Z [*batch, n, n], complex; steps, converged [*batch]. max_steps: default 30 n.
    Errors: ValueError for a matrix that is not square. No balancing: badly scaled rows cost digits. Not
        differentiable in reverse.
    Example:
        A = jnp.array([[0.0, -1.0], [1.0, 0.0]])            # a quarter turn
        T, Z, steps, converged = schur(A)
        assert converged and jnp.allclose(jnp.sort(jnp.imag(jnp.diagonal(T))), jnp.array([-1.0, 1.0]))
        assert jnp.allclose(Z @ T @ jnp.conj(Z.T), A, atol=1e-6)
    """
    A = matrix('A', A, square=True)
    return Schur(*batched('(n,n)->(n,n),(n,n),(),()', _schur, A, max_steps=max_steps or 30 * A.shape[-1]))


def _vectors(T: Array) -> Array:
    """Unit eigenvectors of a triangular T, in columns; tiny pivots of repeated values are replaced by roundings."""
    n = len(T)
    least = jnp.finfo(T.dtype).eps * jnp.maximum(jnp.max(jnp.abs(T)), jnp.finfo(T.dtype).tiny)

    def one(i):
        def row(y, j):
            pivot = T[j, j] - T[i, i]
            pivot = jnp.where(jnp.abs(pivot) < least, least, pivot)
            return y.at[j].set(jnp.where(j < i, -(T[j] @ y) / pivot, y[j])), None

        y, _ = jax.lax.scan(row, jnp.zeros(n, T.dtype).at[i].set(1), jnp.arange(n), reverse=True)
        y = y / jnp.max(jnp.abs(y))
        return y / jnp.sqrt(jnp.sum(jnp.abs(y) ** 2))

    return jax.vmap(one, out_axes=1)(jnp.arange(n))


@jax.custom_jvp
def _eig(A):
    T, Z, _, converged = _schur(A, max_steps=30 * len(A))
    V = Z @ _vectors(T)
    return jnp.where(converged, jnp.diagonal(T), jnp.nan), V


@_eig.defjvp
def _eig_jvp(primals, tangents):
    values, V = _eig(*primals)
    inner = jnp.linalg.solve(V, tangents[0].astype(V.dtype) @ V)
    gap = values[None, :] - values[:, None]
    near = jnp.abs(gap) <= 10 * len(values) * jnp.finfo(values.dtype).eps * jnp.max(jnp.abs(values))
    tie = near & ~jnp.eye(len(values), dtype=bool)
    inverse = jnp.where(near, 0, 1 / jnp.where(near, 1, gap))
    # Beside a repeated value nothing has a derivative: a defective matrix moves by the root of its change.
    # Times NaN and not replaced by NaN: in reverse mode a `where` would be zero there, and wrong without a word.
    known = jnp.where(tie.any(0), jnp.nan, 1).astype(V.dtype)
    dV = V @ (inverse * inner)
    dV = dV - V * jnp.real(jnp.sum(jnp.conj(V) * dV, 0))[None]      # length stays 1
    return (values, V), (known * jnp.diagonal(inner), known[None] * dV)


def _checked_eig(A):
    values, V = _eig(A)
    off = jax.lax.stop_gradient(A.astype(V.dtype) @ V - V * values[None])
    size = jax.lax.stop_gradient(jnp.sqrt(jnp.sum(A**2)))
    residual = ratio(jnp.max(jnp.sqrt(jnp.sum(jnp.abs(off) ** 2, 0))), size)
    return values, V, residual, ~jnp.isnan(jax.lax.stop_gradient(values)).any()


@exact
def eig(A: Float[Array, '*batch n n']) -> Eig:
    """Eigenvalues and eigenvectors of a general real matrix, in no particular order, with derivatives.

    Formula: A = Z T Z^H (`schur`); l_i = t_ii, (T - l_i I) y_i = 0 by back substitution, v_i = Z y_i / |y_i|.
        dl_i = (V^-1 dA V)_ii; dV = V (F o V^-1 dA V), F_ij = 1 / (l_j - l_i), each v of length 1.
    Paper: Wilkinson 1965, The algebraic eigenvalue problem; derivatives: Magnus 1985.
    Shapes: A [*batch, n, n] -> values [*batch, n] and vectors [*batch, n, n], complex; residual, converged [*batch].
    Errors: ValueError for a matrix that is not square. Derivatives of a repeated eigenvalue and of its vectors are
        NaN, for there are none (if A is symmetric: `eigh`), in reverse mode those of everything that A has. A defective
        matrix has eigenvectors that nearly agree.
    Example:
        A = jnp.array([[1.0, 2.0], [0.0, 3.0]])
        values, V, residual, converged = eig(A)
        assert converged and residual < 1e-6
        slopes = jax.grad(lambda A: jnp.sum(jnp.real(eig(A).values ** 2)))(A)
        assert jnp.allclose(slopes, 2 * A.T, atol=1e-5)     # the trace of A A
    """
    A = matrix('A', A, square=True)
    return Eig(*batched('(n,n)->(n),(n,n),(),()', _checked_eig, A))
