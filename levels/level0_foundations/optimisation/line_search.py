"""How far to go in a direction: backtracking (Armijo) and the strong Wolfe conditions.

Close to a minimum the decrease that they ask for is smaller than the rounding of the values, and no step would ever
pass. There `backtracking` judges by slopes, which still have digits, and `wolfe` allows for the rounding.

Example:
    from levels.level0_foundations.optimisation.line_search import wolfe
    step = wolfe(fun, x, -jax.grad(fun)(x))
    x = x - step.size * jax.grad(fun)(x)
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

Fun = Callable[[Float[Array, ' d']], Float[Array, '']]
Number = float | Float[Array, '']


class Step(NamedTuple):
    """The length found, the value there, how often the function was asked, and whether the conditions hold."""

    size: Float[Array, '']
    value: Float[Array, '']
    evaluations: Int[Array, '']
    found: Bool[Array, '']


def _start(fun: Fun, x: Array, direction: Array, c1: float, c2: float, start: Number):
    """(function and slope along the line, value, slope and rounding at 0)."""
    if jnp.shape(x) != jnp.shape(direction) or jnp.ndim(x) != 1:
        raise ValueError(f'x, direction: expected [d] and [d]; found shapes {jnp.shape(x)} and {jnp.shape(direction)}')
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise ValueError(f'x: expected floating point numbers; found {x.dtype}')
    if not 0 < c1 < c2 < 1:
        raise ValueError(f'c1, c2: expected 0 < c1 < c2 < 1; found {c1} and {c2}')
    if not isinstance(start, jax.core.Tracer) and not start > 0:
        raise ValueError(f'start: expected a length > 0; found {start}')

    def along(size):
        value, gradient = jax.value_and_grad(fun)(x + size * direction)
        return value, jnp.vdot(gradient, direction)

    value, slope = along(jnp.zeros((), x.dtype))
    return along, value, slope, 4 * jnp.finfo(x.dtype).eps * jnp.abs(value)


def backtracking(fun: Fun, x: Float[Array, ' d'], direction: Float[Array, ' d'], *, start: Number = 1.0,
                 shrink: float = 0.5, c1: float = 1e-4, max_steps: int = 50) -> Step:
    """The first of start, start shrink, start shrink^2, ... that decreases the function enough.

    Formula: f(x + a d) <= f(x) + c1 a f'(x) d; where the two values differ by less than their rounding, f'(x + a d) d
        <= (2 c1 - 1) f'(x) d instead, which is the same for a quadratic.
    Paper: Armijo 1966, Minimization of functions having Lipschitz continuous first partial derivatives, Pacific
        Journal of Mathematics 16; by slopes: Hager, Zhang 2005, SIAM Journal on Optimization 16.
    Shapes: x, direction [d] -> Step of []; values that are not finite are steps too long.
    Errors: ValueError for shapes that differ, an x that is not floating point, start <= 0, shrink or c1 outside
        0 < c < 1. A direction that does not descend: size 0, found False.
    Example:
        bowl = lambda x: jnp.sum(x ** 2)
        x = jnp.array([1.0, 0.0])
        step = backtracking(bowl, x, -2 * x, start=4.0)
        assert step.size == 0.5 and step.value == 0          # 4, 2 and 1 are too long
    """
    if not 0 < shrink < 1:
        raise ValueError(f'shrink: expected 0 < shrink < 1; found {shrink}')
    x, direction = jnp.asarray(x), jnp.asarray(direction)
    along, value, slope, slack = _start(fun, x, direction, c1, 1 - 1e-9, start)

    def passes(size, new, there):
        return jnp.where(jnp.abs(new - value) <= slack, there <= (2 * c1 - 1) * slope, new <= value + c1 * size * slope)

    def body(loop):
        size, _, _, i = loop
        return size * shrink, *along(size * shrink), i + 1

    before = (jnp.asarray(start, x.dtype) / shrink, jnp.full_like(value, jnp.inf), slope, jnp.zeros((), jnp.int32))
    size, new, there, i = jax.lax.while_loop(lambda loop: ~passes(*loop[:3]) & (loop[3] < max_steps) & (slope < 0),
                                             body, before)
    found = passes(size, new, there) & (slope < 0)
    return Step(jnp.where(found, size, 0), jnp.where(found, new, value), i + 1, found)


class _Trial(NamedTuple):
    size: Array
    value: Array
    slope: Array


def _cubic(a: _Trial, b: _Trial) -> Array:
    """The minimum of the cubic through both values and slopes, kept off the ends; else the middle."""
    d1 = a.slope + b.slope - 3 * (a.value - b.value) / (a.size - b.size)
    root = jnp.sqrt(jnp.maximum(d1 ** 2 - a.slope * b.slope, 0)) * jnp.sign(b.size - a.size)
    guess = b.size - (b.size - a.size) * (b.slope + root - d1) / (b.slope - a.slope + 2 * root)
    low, high = jnp.minimum(a.size, b.size), jnp.maximum(a.size, b.size)
    edge = 0.1 * (high - low)
    return jnp.where(jnp.isfinite(guess), jnp.clip(guess, low + edge, high - edge), 0.5 * (low + high))


def wolfe(fun: Fun, x: Float[Array, ' d'], direction: Float[Array, ' d'], *, start: Number = 1.0, c1: float = 1e-4,
          c2: float = 0.9, max_steps: int = 40) -> Step:
    """A length that decreases the function enough and where the slope has flattened enough: neither long nor short.

    Formula: f(x + a d) <= f(x) + c1 a f'(x) d and |f'(x + a d) d| <= c2 |f'(x) d|: doubled until such a length is
        bracketed, then the bracket is narrowed by cubics.
    Paper: Wolfe 1969, Convergence conditions for ascent methods, SIAM Review 11; the algorithm: Nocedal, Wright 2006,
        Numerical optimization, 3.5 and 3.6.
    Shapes: x, direction [d] -> Step of []; values that are not finite are steps too long.
    Errors: ValueError for shapes that differ, an x that is not floating point, start <= 0, c1 and c2 not in
        0 < c1 < c2 < 1. Where max_steps did not suffice, found is False, and the size the best that decreases enough
        (0 if there is none).
    Example:
        bowl = lambda x: jnp.sum(x ** 2)
        x = jnp.array([8.0])
        step = wolfe(bowl, x, -2 * x, start=0.01, c2=0.1)
        assert step.found and abs(step.size - 0.5) <= 0.05   # |slope| fell to a tenth
    """
    x, direction = jnp.asarray(x), jnp.asarray(direction)
    along, value, slope, slack = _start(fun, x, direction, c1, c2, start)
    origin = _Trial(jnp.zeros((), x.dtype), value, slope)

    def body(loop):
        i, size, low, high, zoomed, _ = loop
        new = _Trial(size, *along(size))
        short = (new.value <= value + c1 * size * slope + slack) & (new.value < low.value + slack)
        done = short & (jnp.abs(new.slope) <= -c2 * slope)
        # the bracket has its low end where the least value is, and turns where the slope there points out of it
        turned = jnp.where(zoomed, new.slope * (high.size - low.size) >= 0, new.slope >= 0)
        pick = lambda c, a, b: jax.tree.map(lambda u, v: jnp.where(c, u, v), a, b)
        ends = pick(short, pick(turned, low, high), new)
        start_low = pick(short, new, low)
        zoomed = zoomed | ~short | turned
        size = jnp.where(done, size, jnp.where(zoomed, _cubic(start_low, ends), 2 * size))
        return i + 1, size, start_low, ends, zoomed, done

    first = (jnp.zeros((), jnp.int32), jnp.asarray(start, x.dtype), origin, origin, jnp.asarray(False),
             jnp.asarray(False))
    i, _, low, _, _, found = jax.lax.while_loop(
        lambda loop: ~loop[-1] & (loop[0] < max_steps) & (slope < 0), body, first)
    return Step(low.size, low.value, i + 1, found)
