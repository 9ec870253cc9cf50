"""Linear and affine maps: apply, compose, invert, see in another basis; determinants as volumes.

Example:
    from levels.level0_foundations.linear_algebra.transforms import apply, compose, inverse, rotation, translation
    turn = compose(rotation(0.5), translation(jnp.array([1.0, 0.0])))      # first the shift, then the turn
    back = inverse(turn)
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from levels.level0_foundations.linear_algebra.arrays import batched, exact, floats, holds, matrix, readable, vector
from levels.level0_foundations.linear_algebra.factor import lu
from levels.level0_foundations.linear_algebra.systems import linear_solve
from levels.level0_foundations.linear_algebra.vectors import norm


class Affine(NamedTuple):
    """x -> matrix x + shift; linear if the shift is zero."""

    matrix: Float[Array, '*batch m n']
    shift: Float[Array, '*batch m']


class Volume(NamedTuple):
    """An estimate and the standard deviation of its error."""

    value: Float[Array, '']
    error: Float[Array, '']


def linear(A: Float[Array, '*batch m n']) -> Affine:
    """The map of a matrix."""
    A = matrix('A', A)
    return Affine(A, jnp.zeros(A.shape[:-1], A.dtype))


def translation(shift: Float[Array, '*batch n']) -> Affine:
    """x -> x + shift."""
    shift = vector('shift', shift)
    n = shift.shape[-1]
    return Affine(jnp.broadcast_to(jnp.eye(n, dtype=shift.dtype), (*shift.shape, n)), shift)


def rotation(angle: Any) -> Affine:
    """The plane turned by an angle, counterclockwise."""
    c, s = jnp.cos(floats('angle', angle)), jnp.sin(floats('angle', angle))
    return linear(jnp.stack([jnp.stack([c, -s], -1), jnp.stack([s, c], -1)], -2))


def reflection(normal: Float[Array, '*batch n']) -> Affine:
    """I - 2 u u', u = normal / |normal|: mirrored at the plane through the origin that is orthogonal to `normal`."""
    normal = vector('normal', normal)
    u = normal / norm(normal)[..., None]
    return linear(batched('(n)->(n,n)', _mirror, u))


def _mirror(u):
    return jnp.eye(len(u), dtype=u.dtype) - 2 * jnp.outer(u, u)


def shear(n: int, i: int, j: int, by: Any) -> Affine:
    """x_i <- x_i + by x_j."""
    if not (0 <= i < n and 0 <= j < n and i != j):
        raise ValueError(f'i, j: expected two different axes below {n}, found {i} and {j}')
    by = floats('by', by)
    return linear(jnp.eye(n, dtype=by.dtype).at[i, j].set(by))


@exact
def apply(map_: Affine, x: Float[Array, '*points n']) -> Float[Array, '*points m']:
    """The images of points under one map."""
    x = vector('x', x)
    if map_.matrix.ndim != 2 or x.shape[-1] != map_.matrix.shape[1]:
        raise ValueError(f'x: expected [*points, n] for a map [m, n], found {x.shape} and {map_.matrix.shape}')
    image = x.reshape(-1, x.shape[-1]) @ map_.matrix.T + map_.shift[None]
    return image.reshape(*x.shape[:-1], -1)


@exact
def compose(*maps: Affine) -> Affine:
    """One map that does what several do one after the other, the last one first.

    Formula: (A, a) o (B, b) = (A B, A b + a); as homogeneous matrices their product. Composing does not commute.
    Paper: Cayley 1858, A memoir on the theory of matrices; homogeneous coordinates: Mobius 1827, Der barycentrische
        Calcul.
    Shapes: Affine(matrix [*batch, m, k], shift [*batch, m]), Affine([*batch, k, n], [*batch, k]), ... -> Affine(matrix
        [*batch, m, n], shift [*batch, m]).
    Errors: ValueError without a map, and for sizes that do not meet.
    Example:
        turn, move = rotation(jnp.pi / 2), translation(jnp.array([1.0, 0.0]))
        x = jnp.zeros(2)
        assert jnp.allclose(apply(compose(turn, move), x), jnp.array([0.0, 1.0]), atol=1e-6)
        assert jnp.allclose(apply(compose(move, turn), x), jnp.array([1.0, 0.0]))
    """
    if not maps:
        raise ValueError('maps: expected at least one, found none')
    first, *rest = maps
    for other in rest:
        if first.matrix.shape[-1] != other.matrix.shape[-2]:
            raise ValueError(f'maps: expected a map into {first.matrix.shape[-1]} dimensions, found one into '
                             f'{other.matrix.shape[-2]}')
        shift = batched('(m,k),(k),(m)->(m)', _moved, first.matrix, other.shift, first.shift)
        first = Affine(batched('(m,k),(k,n)->(m,n)', jnp.matmul, first.matrix, other.matrix), shift)
    return first


def _moved(A, b, a):
    return A @ b + a


@exact
def inverse(map_: Affine) -> Affine:
    """The map that undoes a map.

    Formula: (A, a)^-1 = (A^-1, -A^-1 a), by LU, refined (`linear_solve`).
    Paper: Cayley 1858, A memoir on the theory of matrices.
    Shapes: Affine(matrix [*batch, n, n], shift [*batch, n]) -> the same.
    Errors: ValueError for a matrix that is not square, and for a singular one where values can be read.
    Example:
        map_ = Affine(jnp.array([[2.0, 1.0], [0.0, 1.0]]), jnp.array([3.0, -1.0]))
        x = jnp.array([[0.5, 2.0], [1.0, 0.0]])
        back = apply(inverse(map_), apply(map_, x))
        assert jnp.allclose(back, x, atol=1e-6)
    """
    A = matrix('matrix', map_.matrix, square=True)
    n = A.shape[-1]
    inner = linear_solve(A, jnp.broadcast_to(jnp.eye(n, dtype=A.dtype), A.shape)).x
    return Affine(inner, batched('(n,n),(n)->(n)', _pulled, inner, map_.shift))


def _pulled(A, b):
    return -(A @ b)


@exact
def change_basis(A: Float[Array, '*batch n n'], basis: Float[Array, '*batch n n']) -> Float[Array, '*batch n n']:
    """The matrix of the same linear map, in coordinates with respect to another basis.

    Formula: B^-1 A B, the columns of B are the new basis; x = B x'. Trace, determinant and eigenvalues stay.
    Paper: Jordan 1870, Traite des substitutions.
    Shapes: A, basis [*batch, n, n] -> [*batch, n, n].
    Errors: ValueError for matrices that are not square or differ in size; for a dependent basis where values can be
        read.
    Example:
        A = jnp.array([[2.0, 1.0], [1.0, 2.0]])
        basis = jnp.array([[1.0, 1.0], [1.0, -1.0]])        # the eigenvectors
        assert jnp.allclose(change_basis(A, basis), jnp.diag(jnp.array([3.0, 1.0])), atol=1e-6)
        assert jnp.allclose(jnp.trace(change_basis(A, basis)), jnp.trace(A))
    """
    A, basis = matrix('A', A, square=True), matrix('basis', basis, square=True)
    if A.shape[-1] != basis.shape[-1]:
        raise ValueError(f'basis: expected [*batch, {A.shape[-1]}, {A.shape[-1]}], found shape {basis.shape}')
    return linear_solve(basis, batched('(n,n),(n,n)->(n,n)', jnp.matmul, A, basis)).x


def homogeneous(map_: Affine) -> Float[Array, '*batch m1 n1']:
    """An affine map as one matrix, on points with a 1 at their end: composing becomes multiplying.

    Formula: [[A, a], [0, 1]] [x; 1] = [A x + a; 1].
    Paper: Mobius 1827, Der barycentrische Calcul.
    Shapes: Affine(matrix [*batch, m, n], shift [*batch, m]) -> [*batch, m + 1, n + 1]; `from_homogeneous` goes back.
    Errors: ValueError for a matrix with fewer than two axes.
    Example:
        turn, move = rotation(0.3), translation(jnp.array([1.0, 2.0]))
        product = homogeneous(turn) @ homogeneous(move)
        assert jnp.allclose(product, homogeneous(compose(turn, move)), atol=1e-6)
        assert from_homogeneous(2 * product).shift.shape == (2,)
    """
    A = matrix('matrix', map_.matrix)
    top = jnp.concatenate([A, map_.shift[..., None]], -1)
    last = jnp.zeros_like(top[..., :1, :]).at[..., -1].set(1)
    return jnp.concatenate([top, last], -2)


def from_homogeneous(H: Float[Array, '*batch m1 n1']) -> Affine:
    """The affine map of a homogeneous matrix, which any common factor leaves the same.

    Errors: ValueError for a last row that is not a multiple of 0, .., 0, 1 (a projective map), where it can be read.
    """
    H = matrix('H', H)
    tol = 10 * jnp.finfo(H.dtype).eps
    if readable(H) and not holds(
            lambda: (jnp.abs(H[..., -1, :-1]) <= tol * jnp.abs(H[..., -1, -1:])).all() & (H[..., -1, -1] != 0).all()):
        raise ValueError('H: expected a last row 0, .., 0, c with c other than 0, found another')
    H = H / H[..., -1:, -1:]
    return Affine(H[..., :-1, :-1], H[..., :-1, -1])


@exact
def determinant(A: Float[Array, '*batch n n']) -> Float[Array, '*batch']:
    """The factor by which a map scales volumes, negative where it mirrors.

    Formula: det A = parity of the pivots * product of U's diagonal, A[order] = L U. `log_determinant` for those that
        no float holds; `image_volume` measures |det A| without any of this.
    Paper: Leibniz 1693; Cramer 1750, Introduction a l'analyse des lignes courbes algebriques.
    Shapes: [*batch, n, n] -> [*batch].
    Errors: ValueError for a matrix that is not square.
    Example:
        A = jnp.array([[0.0, 2.0], [3.0, 0.0]])
        assert jnp.allclose(determinant(A), -6)
        slopes = jax.grad(determinant)(A)                   # cofactors
        assert jnp.allclose(slopes, jnp.array([[0.0, -3.0], [-2.0, 0.0]]))
    """
    factors = lu(matrix('A', A, square=True))
    return factors.parity * jnp.prod(jnp.diagonal(factors.U, axis1=-2, axis2=-1), -1)


@exact
def log_determinant(A: Float[Array, '*batch n n']) -> tuple[Float[Array, '*batch'], Float[Array, '*batch']]:
    """(sign, log |det A|), which neither overflows nor underflows; (0, -inf) for a singular matrix."""
    factors = lu(matrix('A', A, square=True))
    d = jnp.diagonal(factors.U, axis1=-2, axis2=-1)
    return factors.parity * jnp.prod(jnp.sign(d), -1), jnp.sum(jnp.log(jnp.abs(d)), -1)


@exact
def image_volume(key: Key[Array, ''], A: Float[Array, 'n n'], *, points: int = 100_000) -> Volume:
    """The volume of the image of the unit cube, by throwing points into a box around it: what |det A| is about.

    Formula: box = [sum_j min(a_ij, 0), sum_j max(a_ij, 0)] in each coordinate i; a point x is inside the image if all
        of A^-1 x lies in 0 .. 1; value = share inside * box, error = box sqrt(share (1 - share) / points).
    Paper: Metropolis, Ulam 1949, The Monte Carlo method.
    Shapes: A [n, n] -> Volume(value [], error []).
    Errors: ValueError for a matrix that is not [n, n], points below 1, a singular A where values can be read.
    Example:
        A = jnp.array([[2.0, 1.0], [0.0, 1.0]])
        volume = image_volume(jax.random.key(0), A, points=10_000)
        assert abs(volume.value - abs(determinant(A))) < 4 * volume.error
        assert volume.error < 0.05
    """
    A = matrix('A', A, square=True)
    if A.ndim != 2:
        raise ValueError(f'A: expected [n, n], found shape {A.shape}')
    if points < 1:
        raise ValueError(f'points: expected at least 1, found {points}')
    low, high = jnp.sum(jnp.minimum(A, 0), 1), jnp.sum(jnp.maximum(A, 0), 1)
    x = low[None] + (high - low)[None] * jax.random.uniform(key, (points, len(A)), A.dtype)
    cube = linear_solve(A, x.T).x
    share = jnp.mean(((cube >= 0) & (cube <= 1)).all(0).astype(A.dtype))
    box = jnp.prod(high - low)
    return Volume(share * box, box * jnp.sqrt(share * (1 - share) / points))
