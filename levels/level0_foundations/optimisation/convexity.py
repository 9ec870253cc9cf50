"""Is a function convex? Tests by sampling: one counterexample settles it; none is evidence, not proof.

Example:
    from levels.level0_foundations.optimisation.convexity import secant_test
    report = secant_test(jax.random.key(0), fun, low, high)
    if not report.convex: print(report.a, report.b)
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

Fun = Callable[[Float[Array, ' d']], Float[Array, '']]
KINDS = ('minimum', 'saddle', 'maximum', 'degenerate', 'slope')


class Curvature(NamedTuple):
    """What the Hessians say: the least eigenvalue anywhere, where, and in which direction; strong: it is above 0."""

    convex: Bool[Array, '']
    strong: Bool[Array, '']
    least: Float[Array, '']
    at: Float[Array, ' d']
    direction: Float[Array, ' d']


def hessian_test(fun: Fun, points: Float[Array, 'n d'], *, tol: float | None = None) -> Curvature:
    """Whether the Hessian is positive semidefinite at all of these points.

    Formula: f is convex on an open convex set where it is twice differentiable if and only if no eigenvalue of its
        Hessian is negative there; below -tol times the largest in size counts as negative.
    Paper: Boyd, Vandenberghe 2004, Convex optimization, section 3.1.4.
    Shapes: fun [d] -> []; points [n, d] -> Curvature. tol: default 100 eps.
    Errors: ValueError for points that are not [n, d].
    Example:
        points = jax.random.normal(jax.random.key(0), (100, 2))
        assert hessian_test(lambda x: jnp.sum(x ** 4), points).convex
        bent = hessian_test(lambda x: x[0] ** 2 - x[1] ** 2, points)
        assert not bent.convex and bent.least == -2 and abs(bent.direction[1]) == 1
    """
    points = jnp.asarray(points)
    if points.ndim != 2 or 0 in points.shape:
        raise ValueError(f'points: expected [n, d]; found shape {points.shape}')
    values, vectors = jax.vmap(lambda x: jnp.linalg.eigh(jax.hessian(fun)(x)))(points)
    i = jnp.argmin(values[:, 0])
    floor = (100 * jnp.finfo(values.dtype).eps if tol is None else tol) * jnp.max(jnp.abs(values))
    least = values[i, 0]
    return Curvature(least >= -floor, least > floor, least, points[i], vectors[i, :, 0])


class Secant(NamedTuple):
    """The worst of all tries: by how much f(a + t (b - a)) is above the chord from f(a) to f(b)."""

    convex: Bool[Array, '']
    excess: Float[Array, '']
    a: Float[Array, ' d']
    b: Float[Array, ' d']
    t: Float[Array, '']


def secant_test(key: Key[Array, ''], fun: Fun, low: Float[Array, ' d'], high: Float[Array, ' d'], *,
                pairs: int = 1000, tol: float | None = None) -> Secant:
    """Whether the function lies below its chords, for random pairs of points in a box; needs no derivatives.

    Formula: f((1 - t) a + t b) <= (1 - t) f(a) + t f(b) for all a, b and 0 <= t <= 1, up to tol times the largest
        |f| met. a, b uniform in the box, t uniform; a third of the pairs are close, a hundredth of the box apart: that
        finds narrow dents, and the others wide ones.
    Paper: Jensen 1906, Sur les fonctions convexes et les inegalites entre les valeurs moyennes, Acta Mathematica 30.
    Shapes: fun [d] -> []; low, high [d] -> Secant. tol: default 32 eps.
    Errors: ValueError for corners that are not [d] and [d], pairs < 1.
    Example:
        box = (-jnp.ones(2), jnp.ones(2))
        assert secant_test(jax.random.key(0), lambda x: jnp.sum(jnp.abs(x)), *box).convex
        found = secant_test(jax.random.key(0), lambda x: jnp.sum(jnp.sin(x)), *box)
        assert not found.convex and found.excess > 0.01
    """
    low, high = jnp.asarray(low), jnp.asarray(high)
    if low.ndim != 1 or low.shape != high.shape or pairs < 1:
        raise ValueError(f'low, high, pairs: expected [d], [d], at least 1; found shapes {low.shape}, {high.shape}, '
                         f'and {pairs}')
    first, second, third = jax.random.split(key, 3)
    place = lambda k: low[None] + (high - low)[None] * jax.random.uniform(k, (pairs, *low.shape), low.dtype)
    a, b = place(first), place(second)
    close = (jnp.arange(pairs) % 3 == 0)[:, None]
    b = jnp.where(close, a + 0.01 * (b - a), b)
    t = jax.random.uniform(third, (pairs,), low.dtype, 0.05, 0.95)
    each = jax.vmap(fun)
    at_a, at_b, between = each(a), each(b), each(a + t[:, None] * (b - a))
    excess = between - (at_a + t * (at_b - at_a))
    i = jnp.argmax(excess)
    floor = (32 * jnp.finfo(low.dtype).eps if tol is None else tol) * jnp.max(jnp.abs(jnp.stack([at_a, at_b])))
    return Secant(excess[i] <= floor, excess[i], a[i], b[i], t[i])


def classify(fun: Fun, x: Float[Array, ' d'], *, tol: float = 1e-4) -> Int[Array, '']:
    """What a point is to a function: the number of a name in `KINDS`.

    Formula: by the eigenvalues of the Hessian: all positive, of both signs, all negative; degenerate if one is within
        tol of 0 and they do not have both signs, when the second order does not tell; a slope if |f'| > tol. Both
        measured against max(1, largest |eigenvalue|).
    Paper: Milnor 1963, Morse theory, section 2.
    Shapes: fun [d] -> []; x [d] -> integer [], to be vmapped over points.
    Errors: ValueError for an x that is not [d].
    Example:
        saddle = lambda x: x[0] ** 2 - x[1] ** 2
        assert KINDS[classify(saddle, jnp.zeros(2))] == 'saddle'
        assert KINDS[classify(saddle, jnp.ones(2))] == 'slope'
        assert KINDS[classify(lambda x: jnp.sum(x ** 4), jnp.zeros(2))] == 'degenerate'
    """
    x = jnp.asarray(x)
    if x.ndim != 1:
        raise ValueError(f'x: expected [d]; found shape {x.shape}')
    values = jnp.linalg.eigvalsh(jax.hessian(fun)(x))
    limit = tol * jnp.maximum(1, jnp.max(jnp.abs(values)))
    up, down = jnp.any(values > limit), jnp.any(values < -limit)
    flat = jnp.any(jnp.abs(values) <= limit)
    kind = jnp.where(up & down, 1, jnp.where(flat, 3, jnp.where(up, 0, 2)))
    return jnp.where(jnp.max(jnp.abs(jax.grad(fun)(x))) > limit, 4, kind)
