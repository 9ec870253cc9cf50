"""Eigenvalues of a symmetric matrix by the QR algorithm: reduce to three diagonals, then sweep the bulge down them.

`spectral.eigh` wraps this with derivatives. Each sweep is a step of a Task that `common.task.solve` drives.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from common.task import Task, solve
from levels.level0_foundations.linear_algebra.arrays import batched, exact, matrix, ratio
from levels.level0_foundations.linear_algebra.arrays import symmetric as symmetric_matrix
from levels.level0_foundations.linear_algebra.vectors import norm


class Hessenberg(NamedTuple):
    """A = Q H Q', H zero below its first subdiagonal, Q orthogonal."""

    H: Float[Array, '*batch n n']
    Q: Float[Array, '*batch n n']


class Eigenpairs(NamedTuple):
    """values ascending, vectors in columns; sweeps made; whether the off-diagonals reached rounding."""

    values: Float[Array, '*batch n']
    vectors: Float[Array, '*batch n n']
    steps: Int[Array, '*batch']
    converged: Bool[Array, '*batch']


class Sweep(NamedTuple):
    """d diagonal, e off-diagonal with a zero at its end, Vt: rows become eigenvectors."""

    d: Float[Array, ' n']
    e: Float[Array, ' n']
    Vt: Float[Array, 'n n']


def _hessenberg(A):
    n = A.shape[0]

    def column(carry, j):
        H, Q = carry
        x = jnp.where(jnp.arange(n) > j, H[:, j], 0)
        u = x.at[j + 1].add(jnp.where(x[j + 1] < 0, -1.0, 1.0).astype(A.dtype) * norm(x))
        u = ratio(u, norm(u))
        H = H - 2 * jnp.outer(u, u @ H)
        return (H - 2 * jnp.outer(H @ u, u), Q - 2 * jnp.outer(Q @ u, u)), None

    (H, Q), _ = jax.lax.scan(column, (A, jnp.eye(n, dtype=A.dtype)), jnp.arange(max(n - 2, 0)))
    return jnp.triu(H, -1), Q


@exact
def hessenberg(A: Float[Array, '*batch n n']) -> Hessenberg:
    """Reflections from both sides until all is zero below the first subdiagonal; of a symmetric A, a tridiagonal H.

    Formula: for k = 1 .. n-2, u of column k below its first subdiagonal entry, A <- (I - 2 u u') A (I - 2 u u').
    Paper: Householder 1958; Householder, Bauer 1959, On certain methods for expanding the characteristic polynomial.
    Shapes: A [*batch, n, n] -> H, Q [*batch, n, n].
    Errors: ValueError for a matrix that is not square.
    Example:
        A = jnp.array([[4.0, 1.0, 2.0], [1.0, 3.0, 0.0], [2.0, 0.0, 1.0]])
        H, Q = hessenberg(A)
        assert jnp.allclose(Q @ H @ Q.T, A, atol=1e-5)
        assert H[2, 0] == 0 and abs(H[0, 2]) < 1e-6         # A is symmetric: three diagonals
    """
    A = matrix('A', A, square=True)
    return Hessenberg(*batched('(n,n)->(n,n),(n,n)', _hessenberg, A))


def deflated(d: Array, e: Array) -> Array:
    """e with zeros where an entry is nothing beside its two neighbours on the diagonal."""
    beside = jnp.abs(d) + jnp.abs(jnp.roll(d, -1))
    small = jnp.abs(e) <= jnp.finfo(d.dtype).eps * beside + jnp.finfo(d.dtype).tiny
    return jnp.where(small, 0, e)


def sweep(key, s: Sweep, batch) -> tuple[Sweep, dict]:
    """One implicit QR step with Wilkinson's shift on the last block that is not yet diagonal."""
    n = s.d.shape[0]
    where = jnp.arange(n)
    hi = 1 + jnp.max(jnp.where(s.e != 0, where, 0))
    lo = 1 + jnp.max(jnp.where((s.e == 0) & (where < hi - 1), where, -1))
    half = (s.d[hi - 1] - s.d[hi]) / 2
    last = s.e[hi - 1]
    root = jnp.where(half < 0, -1, 1).astype(s.d.dtype) * jnp.hypot(half, last)
    shift = s.d[hi] - last * ratio(last, half + root)       # the eigenvalue of the last 2x2 nearest to its corner

    def rotate(k, carry):
        d, e, Vt, x, z = carry
        r = jnp.where(x < 0, -1, 1).astype(d.dtype) * jnp.hypot(x, z)       # the smaller of two angles
        c, t = jnp.where(r == 0, 1, ratio(x, r)), ratio(z, r)
        a, b, g = d[k], e[k], d[k + 1]
        more = 2 * c * b + t * (g - a)
        d = d.at[k].set(a + t * more).at[k + 1].set(g - t * more)       # the sum stays what it was
        e = e.at[k - 1].set(jnp.where(k > lo, r, e[k - 1]))     # k = lo = 0 writes back the zero at the end
        x, z = c * more - b, t * e[k + 1]
        e = e.at[k].set(x).at[k + 1].multiply(c)
        half, (p, q) = t / (1 + c), jax.lax.dynamic_slice_in_dim(Vt, k, 2)
        turned = jnp.stack([p + t * (q - half * p), q - t * (p + half * q)])    # c is 1 - t half: rows keep length 1
        return d, e, jax.lax.dynamic_update_slice_in_dim(Vt, turned, k, 0), x, z

    d, e, Vt, _, _ = jax.lax.fori_loop(lo, hi, rotate, (s.d, s.e, s.Vt, s.d[lo] - shift, s.e[lo]))
    return Sweep(d, deflated(d, e), Vt), {}


def start(key, batch) -> Sweep:
    H, Q = batch
    d = jnp.diagonal(H)
    return Sweep(d, deflated(d, jnp.append(jnp.diagonal(H, -1), jnp.zeros(1, d.dtype))), Q.T)


def _symmetric_qr(A, *, max_steps):
    n = A.shape[0]
    scale = jnp.max(jnp.abs(A))
    scale = jnp.where((scale > 0) & jnp.isfinite(scale), scale, 1)      # squares neither over- nor underflow
    task = Task(start, sweep)
    over = lambda old, new: ~(new.e != 0).any()
    if n == 1:
        return A[0], jnp.ones_like(A), jnp.zeros((), jnp.int32), jnp.isfinite(A[0, 0])
    found = solve(task, jax.random.key(0), tuple(hessenberg(A / scale)), max_steps=max_steps, done=over)
    order = jnp.argsort(found.state.d)
    good = found.converged & jnp.isfinite(found.state.d).all()
    return found.state.d[order] * scale, found.state.Vt[order].T, found.steps, good


@exact
def symmetric_qr(A: Float[Array, '*batch n n'], *, max_steps: int | None = None) -> Eigenpairs:
    """The QR algorithm: tridiagonal form, then implicit QR steps with Wilkinson's shifts, cubic in the end.

    Formula: T = Q' A Q; repeat on the last unreduced block: mu = t_n - sign(h) b^2 / (|h| + sqrt(h^2 + b^2)),
        h = (t_{n-1} - t_n) / 2, b = t_{n-1,n}; rotate T - mu I to triangular form and back, without forming it, by
        chasing one bulge down; b with |b| <= eps (|t_{n-1}| + |t_n|) is zero. About two sweeps for an eigenvalue.
    Paper: Francis 1961, The QR transformation; Wilkinson 1968, Global convergence of tridiagonal QR algorithm with
        origin shifts.
    Shapes: A [*batch, n, n] -> values [*batch, n] ascending, vectors [*batch, n, n], steps, converged [*batch].
    max_steps: default 30 n. Not differentiable in reverse: `spectral.eigh` is.
    Errors: ValueError for a matrix that is not square, or not symmetric where values can be read.
    Example:
        A = jnp.diag(jnp.array([2.0, 2.0, 2.0])) - jnp.eye(3, k=1) - jnp.eye(3, k=-1)
        values, V, steps, converged = symmetric_qr(A)
        root = 2 ** 0.5
        assert converged and jnp.allclose(values, jnp.array([2 - root, 2.0, 2 + root]), atol=1e-5)
    """
    A = symmetric_matrix('A', A)
    n = A.shape[-1]
    return Eigenpairs(*batched('(n,n)->(n),(n,n),(),()', _symmetric_qr, A, max_steps=max_steps or 30 * n))
