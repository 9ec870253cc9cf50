"""One eigenpair at a time: power, inverse and Rayleigh quotient iteration, each a Task on `common.task.solve`.

Example:
    from levels.level0_foundations.linear_algebra.iterations import power_iteration
    found = power_iteration(jax.random.key(0), A)
    found.value, found.vector, found.residual, found.steps, found.converged
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from common.task import Task, solve
from levels.level0_foundations.linear_algebra.arrays import batched, exact, matrix, ratio
from levels.level0_foundations.linear_algebra.factor import lu, substitute
from levels.level0_foundations.linear_algebra.vectors import norm


class Eigenpair(NamedTuple):
    """A v = value v up to the residual |A v - value v| / |A|_F."""

    value: Float[Array, '*batch']
    vector: Float[Array, '*batch n']
    residual: Float[Array, '*batch']
    steps: Int[Array, '*batch']
    converged: Bool[Array, '*batch']


class Search(NamedTuple):
    """A unit vector, its image A v, its Rayleigh quotient v' A v, and |A v - value v|."""

    vector: Float[Array, ' n']
    image: Float[Array, ' n']
    value: Float[Array, '']
    residual: Float[Array, '']


def _search(A: Array, v: Array) -> Search:
    v = ratio(v, norm(v))
    image = A @ v
    value = v @ image
    return Search(v, image, value, norm(image - value * v))


def _shifted(A: Array, shift: Array) -> Any:
    """The LU factors of A - shift I, a pivot of 0 replaced by a rounding: the nearer to singular, the better here."""
    n = len(A)
    least = jnp.finfo(A.dtype).eps * jnp.max(jnp.abs(A))
    factors = lu(A - shift * jnp.eye(n, dtype=A.dtype))
    d = jnp.diagonal(factors.U)
    return factors._replace(U=factors.U + jnp.diag(jnp.where(jnp.abs(d) < least, least, 0)))


def _divide(factors: Any, v: Array) -> Array:
    right = substitute(factors.L, v[factors.order][:, None], lower=True)
    return substitute(factors.U, right, lower=False)[:, 0]


def _power(data, s: Search) -> Array:
    return s.image


def _inverse(data, s: Search) -> Array:
    return _divide(data[1], s.vector)


def _rayleigh(data, s: Search) -> Array:
    return _divide(_shifted(data[0], s.value), s.vector)


def _iterate(A: Array, start: Array, shift: Array, *, next_vector: Callable, tol: float, max_steps: int) -> tuple:
    size = norm(A.reshape(-1))
    factors = _shifted(A, shift) if next_vector is _inverse else None
    task = Task(
        init=lambda key, data: _search(data[0], start),
        step=lambda key, s, data: (_search(data[0], next_vector(data, s)), {}),
    )
    found = solve(task, jax.random.key(0), (A, factors), max_steps=max_steps,
                  done=lambda old, new: new.residual <= tol * size)
    s = found.state
    return s.value, s.vector, ratio(s.residual, size), found.steps, found.converged


def _run(next_vector, key, A, start, shift, tol, max_steps) -> Eigenpair:
    A = matrix('A', A, square=True)
    n = A.shape[-1]
    tol = max(n, 10) * float(jnp.finfo(A.dtype).eps) if tol is None else tol
    if not 0 < tol < 1:
        raise ValueError(f'tol: expected 0 < tol < 1, found {tol}')
    if max_steps < 1:
        raise ValueError(f'max_steps: expected at least 1, found {max_steps}')
    start = jax.random.normal(key, A.shape[:-1], A.dtype) if start is None else jnp.asarray(start, A.dtype)
    if start.shape[-1:] != (n,):
        raise ValueError(f'start: expected [*batch, {n}], found shape {start.shape}')
    return Eigenpair(*batched('(n,n),(n),()->(),(n),(),(),()', _iterate, A, start, jnp.asarray(shift, A.dtype),
                              next_vector=next_vector, tol=tol, max_steps=max_steps))


@exact
def power_iteration(key: Key[Array, ''], A: Float[Array, '*batch n n'], *, start: Any = None, tol: float | None = None,
                    max_steps: int = 1000) -> Eigenpair:
    """The eigenvalue of largest size, by multiplying with A again and again.

    Formula: v <- A v / |A v|, value = v' A v; the error of the vector falls by |l_2 / l_1| with each step, that of the
        value of a symmetric A by its square. Done when |A v - value v| <= tol |A|_F.
    Paper: von Mises, Pollaczek-Geiringer 1929, Praktische Verfahren der Gleichungsauflosung.
    Shapes: A [*batch, n, n]; start [*batch, n], default normal of `key` -> value, residual, steps, converged [*batch],
        vector [*batch, n].
    Errors: ValueError for a matrix that is not square, tol outside 0 < tol < 1. It does not converge, and says so,
        where two eigenvalues of largest size differ (l and -l, or a complex pair).
    Example:
        A = jnp.array([[2.0, 1.0], [1.0, 2.0]])
        found = power_iteration(jax.random.key(0), A)
        assert found.converged and jnp.allclose(found.value, 3)
        flip = power_iteration(jax.random.key(0), jnp.diag(jnp.array([1.0, -1.0])), max_steps=50)
        assert not flip.converged
    """
    return _run(_power, key, A, start, 0.0, tol, max_steps)


@exact
def inverse_iteration(key: Key[Array, ''], A: Float[Array, '*batch n n'], *, shift: Any = 0.0, start: Any = None,
                      tol: float | None = None, max_steps: int = 1000) -> Eigenpair:
    """The eigenvalue nearest to a shift, by dividing by A - shift I again and again, factored once.

    Formula: v <- (A - shift I)^-1 v / |.|, value = v' A v; the error falls by |l_1 - shift| / |l_2 - shift|.
    Paper: Wielandt 1944, Das Iterationsverfahren bei nicht selbstadjungierten linearen Eigenwertaufgaben; why a nearly
        singular system does no harm: Peters, Wilkinson 1979, Inverse iteration, ill-conditioned equations and
        Newton's method.
    Shapes: A [*batch, n, n]; shift [] or [*batch]; start [*batch, n] -> as `power_iteration`.
    Errors: ValueError as `power_iteration`. Two eigenvalues equally far from the shift do not converge.
    Example:
        A = jnp.diag(jnp.array([1.0, 4.0, 9.0]))
        found = inverse_iteration(jax.random.key(0), A, shift=3.5)
        assert found.converged and jnp.allclose(found.value, 4)
        assert inverse_iteration(jax.random.key(0), A, shift=4.0).steps <= 3       # exactly singular
    """
    return _run(_inverse, key, A, start, shift, tol, max_steps)


@exact
def rayleigh_iteration(key: Key[Array, ''], A: Float[Array, '*batch n n'], *, start: Any = None,
                       tol: float | None = None, max_steps: int = 100) -> Eigenpair:
    """Inverse iteration with the best shift known: it converges cubically, to an eigenvalue that `start` decides.

    Formula: mu = v' A v, v <- (A - mu I)^-1 v / |.|; cubic for symmetric A, quadratic for others with real pairs.
    Paper: Rayleigh 1894, The theory of sound; Ostrowski 1958, On the convergence of the Rayleigh quotient iteration
        for the computation of the characteristic roots and vectors.
    Shapes: A [*batch, n, n]; start [*batch, n] -> as `power_iteration`.
    Errors: ValueError as `power_iteration`.
    Example:
        A = jnp.diag(jnp.array([1.0, 4.0, 9.0])) + 0.1
        found = rayleigh_iteration(jax.random.key(0), A, start=jnp.array([0.1, 1.0, 0.1]))
        assert found.converged and found.steps <= 4
        assert abs(found.value - 4.1) < 0.02
    """
    return _run(_rayleigh, key, A, start, 0.0, tol, max_steps)
