"""`eigh` and `svd` with one face over several algorithms and with derivatives; angles between subspaces.

Eigenvectors of a repeated eigenvalue are any basis of a subspace and have no derivative. With `ties='nan'` theirs is
NaN; that of the values stays, and is right for what treats equal values alike, as their sum does. With
`ties='subspace'` vectors turn out of their subspace but not inside it, which is right for what no turn inside it
changes and no split of its values: a projector on all of it, a polar factor. V f(l) V' is not of that kind, for a
change of A splits l at once; write such functions without eigenvectors.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from levels.level0_foundations.linear_algebra import jacobi, symmetric
from levels.level0_foundations.linear_algebra.arrays import batched, choice, exact, matrix, ratio
from levels.level0_foundations.linear_algebra.arrays import symmetric as symmetric_matrix
from levels.level0_foundations.linear_algebra.factor import householder_qr

TIES = ('nan', 'subspace')


class Eigh(NamedTuple):
    """values ascending; column i of vectors belongs to values[i]; residual max_i |A v_i - l_i v_i| / max |l|."""

    values: Float[Array, '*batch n']
    vectors: Float[Array, '*batch n n']
    residual: Float[Array, '*batch']


class SVD(NamedTuple):
    """A = U diag(s) Vt, s descending; residual: the largest entry of A - U s Vt over s_1."""

    U: Float[Array, '*batch m k']
    s: Float[Array, '*batch k']
    Vt: Float[Array, '*batch k n']
    residual: Float[Array, '*batch']


def _gaps(values: Array, ties: str) -> Array:
    """1 / (l_j - l_i), and 0 or NaN (but on the diagonal) where two values are one up to rounding."""
    n = values.shape[0]
    gap = values[None, :] - values[:, None]
    tie = jnp.abs(gap) <= 10 * n * jnp.finfo(values.dtype).eps * jnp.max(jnp.abs(values))
    inverse = jnp.where(tie, 0, 1 / jnp.where(tie, 1, gap))
    return jnp.where(tie & ~jnp.eye(n, dtype=bool), jnp.nan, inverse) if ties == 'nan' else inverse


@functools.partial(jax.custom_jvp, nondiff_argnums=(1, 2))
def _eigh(A, method, ties):
    if method == 'lapack':
        return tuple(jnp.linalg.eigh(A))
    found = (symmetric.symmetric_qr if method == 'qr' else jacobi.jacobi_eigh)(A)
    return jnp.where(found.converged, found.values, jnp.nan), found.vectors


@_eigh.defjvp
def _eigh_jvp(method, ties, primals, tangents):
    values, V = _eigh(*primals, method, ties)
    inner = V.T @ tangents[0] @ V
    return (values, V), (jnp.diagonal(inner), V @ (_gaps(values, ties) * inner))


def _checked_eigh(A, *, method, ties):
    values, V = _eigh(A, method, ties)
    off = jax.lax.stop_gradient(A @ V - V * values[None])
    size = jax.lax.stop_gradient(jnp.max(jnp.abs(values)))
    return values, V, ratio(jnp.max(jnp.sqrt(jnp.sum(off**2, 0))), size)


@exact
def eigh(A: Float[Array, '*batch n n'], *, method: str = 'qr', ties: str = 'nan') -> Eigh:
    """Eigenvalues and orthonormal eigenvectors of a symmetric matrix, with derivatives.

    Formula: A V = V diag(l), V' V = I. dl_i = v_i' dA v_i; dV = V (F o V' dA V), F_ij = 1 / (l_j - l_i), and by `ties`
        NaN or 0 where the two are equal to 10 n eps (`levels.level0_foundations.linear_algebra.spectral` says why).
        method: 'qr' (`symmetric_qr`), 'jacobi' (`jacobi_eigh`), 'lapack' (`jnp.linalg.eigh`, fastest for large n).
    Paper: Francis 1961, The QR transformation; Jacobi 1846; derivatives: Magnus 1985, On differentiating eigenvalues
        and eigenvectors.
    Shapes: A [*batch, n, n] -> values [*batch, n] ascending, vectors [*batch, n, n] in columns, residual [*batch].
    Errors: ValueError for a matrix that is not square, one that is not symmetric where values can be read, an unknown
        method or ties. Values are NaN if the iteration has not converged.
    Example:
        A = jnp.array([[2.0, 1.0], [1.0, 2.0]])
        values, V, residual = eigh(A)
        assert jnp.allclose(values, jnp.array([1.0, 3.0])) and residual < 1e-6
        cube = lambda A: jnp.sum(eigh(A).values ** 3)
        assert jnp.allclose(jax.grad(cube)(2 * jnp.eye(2)), 12 * jnp.eye(2))      # 3 A^2, at a repeated eigenvalue
    """
    A = symmetric_matrix('A', A)
    choice('method', method, ('qr', 'jacobi', 'lapack'))
    choice('ties', ties, TIES)
    return Eigh(*batched('(n,n)->(n),(n,n),()', _checked_eigh, A, method=method, ties=ties))


@functools.partial(jax.custom_jvp, nondiff_argnums=(1, 2))
def _svd(A, method, ties):
    if method == 'lapack':
        return tuple(jnp.linalg.svd(A, full_matrices=False))
    found = jacobi.jacobi_svd(A)
    return found.U, jnp.where(found.converged, found.s, jnp.nan), found.Vt


@_svd.defjvp
def _svd_jvp(method, ties, primals, tangents):
    (A,), (dA,) = primals, tangents
    U, s, Vt = _svd(A, method, ties)
    inner = U.T @ dA @ Vt.T
    # dU = U X + ..., dV = V Y + ... with X, Y skew and inner = X s + ds - s Y. X + Y comes of the symmetric part and
    # has the gaps in it; X - Y comes of the skew part and is right at equal values too (a polar factor turns by it).
    both = (inner + inner.T) * _gaps(s, ties)
    tiny = 10 * max(A.shape) * jnp.finfo(s.dtype).eps * s[0]
    total = s[:, None] + s[None, :]
    apart = (inner - inner.T) * jnp.where(total > tiny, ratio(jnp.ones_like(total), total), 0)
    inverse = jnp.where(s > tiny, ratio(jnp.ones_like(s), s), 0)
    right, left = dA @ Vt.T, dA.T @ U
    dU = U @ ((both + apart) / 2) + (right - U @ (U.T @ right)) * inverse[None]
    dV = Vt.T @ ((both - apart) / 2) + (left - Vt.T @ (Vt @ left)) * inverse[None]
    return (U, s, Vt), (dU, jnp.diagonal(inner), dV.T)


def _checked_svd(A, *, method, ties):
    U, s, Vt = _svd(A, method, ties)
    off = jax.lax.stop_gradient(A - (U * s[None]) @ Vt)
    return U, s, Vt, ratio(jnp.max(jnp.abs(off)), jax.lax.stop_gradient(s[0]))


@exact
def svd(A: Float[Array, '*batch m n'], *, method: str = 'jacobi', ties: str = 'nan') -> SVD:
    """Singular values and vectors, with derivatives.

    Formula: A = U diag(s) V', U' U = V' V = I, s_1 >= s_2 >= ... >= 0. ds_i = u_i' dA v_i; those of U and V in the
        source. method: 'jacobi' (`jacobi_svd`) or 'lapack' (`jnp.linalg.svd`, fastest for large matrices).
    Paper: Hestenes 1958, Inversion of matrices by biorthogonalization; derivatives: Papadopoulo, Lourakis 2000,
        Estimating the Jacobian of the singular value decomposition.
    Shapes: A [*batch, m, n] -> U [*batch, m, k], s [*batch, k], Vt [*batch, k, n], residual [*batch]; k = min(m, n).
    Errors: ValueError for fewer than two axes, an unknown method or ties. Values are NaN if the iteration has not
        converged. Vectors of a singular value 0 have no derivative from outside the span: theirs is 0 there.
    Example:
        A = jnp.array([[3.0, 0.0], [0.0, -2.0], [0.0, 0.0]])
        U, s, Vt, residual = svd(A)
        assert jnp.allclose(s, jnp.array([3.0, 2.0])) and residual < 1e-6
        assert jnp.allclose(U @ jnp.diag(s) @ Vt, A)
        assert jnp.allclose(jax.grad(lambda A: svd(A).s[0])(A), jnp.outer(U[:, 0], Vt[0]))
    """
    A = matrix('A', A)
    choice('method', method, ('jacobi', 'lapack'))
    choice('ties', ties, TIES)
    k = 'n' if A.shape[-1] <= A.shape[-2] else 'm'
    return SVD(*batched(f'(m,n)->(m,{k}),({k}),({k},n),()', _checked_svd, A, method=method, ties=ties))


def _principal_angles(A, B):
    P, Q = householder_qr(A).Q, householder_qr(B).Q
    inner = P.T @ Q
    cosines = svd(inner).s[::-1]            # ascending, as the angles descend
    sines = svd(Q - P @ inner).s            # descending
    return jnp.where(cosines**2 > 0.5, jnp.arcsin(jnp.minimum(sines, 1)), jnp.arccos(jnp.minimum(cosines, 1)))


@exact
def principal_angles(A: Float[Array, '*batch m p'], B: Float[Array, '*batch m q']) -> Float[Array, '*batch k']:
    """The angles between the spans of two sets of independent columns, k = min(p, q), the largest first.

    By cosines where they are large angles and by sines where they are small: arccos alone would round every angle
    below 3e-4 (float32) to noise.
    """
    A, B = matrix('A', A), matrix('B', B)
    if A.shape[-2] != B.shape[-2]:
        raise ValueError(f'B: expected [*batch, {A.shape[-2]}, q], found shape {B.shape}')
    if A.shape[-1] < B.shape[-1]:
        A, B = B, A
    if A.shape[-1] > A.shape[-2]:
        raise ValueError(f'A, B: expected at most {A.shape[-2]} columns, found {A.shape[-1]}')
    return batched('(m,p),(m,q)->(q)', _principal_angles, A, B)


def subspace_angle(A: Float[Array, '*batch m p'], B: Float[Array, '*batch m q']) -> Float[Array, '*batch']:
    """The largest angle between two subspaces: how eigenvectors are compared, whose signs and bases are arbitrary.

    Formula: cos t_i = singular values of P' Q, sin t_i = those of Q - P P' Q, for orthonormal bases P and Q; each
        angle from the one of the two that is well conditioned. 0 if the smaller span lies within the larger.
    Paper: Bjorck, Golub 1973, Numerical methods for computing angles between linear subspaces; Knyazev, Argentati 2002,
        Principal angles between subspaces in an A-based scalar product.
    Shapes: A [*batch, m, p], B [*batch, m, q], p, q <= m, columns independent -> [*batch], radians, 0 to pi / 2.
        `principal_angles` gives all of them.
    Errors: ValueError for fewer than two axes, other numbers of rows, more columns than rows.
    Example:
        A = jnp.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
        B = jnp.array([[-1.0, 1.0], [2.0, 1.0], [0.0, 0.0]])
        assert subspace_angle(A, B) < 1e-6                  # another basis of the same plane
        assert jnp.allclose(subspace_angle(A[:, :1], A[:, 1:]), jnp.pi / 2)
    """
    return principal_angles(A, B)[..., 0]


def _eigenspace_angles(values, V, W, *, tol):
    order = jnp.argsort(values)
    near = jnp.diff(values[order]) <= tol * jnp.max(jnp.abs(values))
    group = jnp.zeros(len(values), int).at[order[1:]].set(jnp.cumsum(~near))

    def angle(g):
        mask = (group == g).astype(V.dtype)[None]
        return jnp.arcsin(jnp.minimum(svd((V * mask) @ V.T - (W * mask) @ W.T).s[0], 1))

    return jax.vmap(angle)(group)


@exact
def eigenspace_angles(values: Float[Array, '*batch n'], V: Float[Array, '*batch n n'], W: Float[Array, '*batch n n'],
                      *, tol: float = 1e-3) -> Float[Array, '*batch n']:
    """For each eigenvalue, the angle between its eigenspaces in V and in W (orthonormal, in one order).

    Values that a chain of gaps <= tol max |values| joins count as one eigenvalue: the sine is the 2-norm of the
    difference of the two projectors, so neither signs nor bases matter.
    """
    return batched('(n),(n,n),(n,n)->(n)', _eigenspace_angles, values, V, W, tol=tol)
