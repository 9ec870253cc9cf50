"""The derivative of a function of one number, in four ways that fail differently.

| method | error | needs | at a kink |
| --- | --- | --- | --- |
| `forward`, `reverse` | rounding | JAX's rules for what fn calls | the branch, or the primitive's own rule |
| `central` | h^2 f''' / 6 + rounding / h | nothing but values | the mean of the slopes on both sides |
| `complex` | h^2 f''' / 6, no cancellation | fn analytic and written for complex numbers | the branch taken there |

`functions.KINKS` has a row of numbers for each of eight kinks. A complex step through `jnp.abs` is 0 everywhere and
through `jnp.conj` has the wrong sign: write |x| as `functions.magnitude` does.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

METHODS = ('forward', 'reverse', 'central', 'complex')


class SideBySide(NamedTuple):
    """Four derivatives, the slopes from the left and from the right, and whether those two agree."""

    forward: Float[Array, '*shape']
    reverse: Float[Array, '*shape']
    central: Float[Array, '*shape']
    complex_step: Float[Array, '*shape']
    left: Float[Array, '*shape']
    right: Float[Array, '*shape']
    smooth: Bool[Array, '*shape']


def _point(x: Any) -> Array:
    x = jnp.asarray(x)
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise ValueError(f'x: expected floating point numbers, found {x.dtype}')
    return x


def _step(x: Array, step: float | None) -> Array:
    """eps^(1/3), where errors of the formula and of rounding meet, times |x|; exactly x + h - x."""
    h = (jnp.finfo(x.dtype).eps ** (1 / 3) if step is None else step) * jnp.maximum(1, jnp.abs(x))
    return (x + h) - x


def derivative(fn: Callable[[Array], Array], x: Float[Array, '*shape'], *, method: str = 'forward',
               step: float | None = None) -> Float[Array, '*shape']:
    """f' at every x, for an fn that maps each number of an array by itself.

    Formula: forward: J 1; reverse: J' 1; central: (f(x + h) - f(x - h)) / 2h, h = eps^(1/3) max(1, |x|); complex:
        Im f(x + ih) / h, h = 1e-20, which subtracts nothing and so loses nothing.
    Paper: Wengert 1964, A simple automatic derivative evaluation program; Squire, Trapp 1998, Using complex variables
        to estimate derivatives of real functions.
    Shapes: fn [*shape] -> [*shape], x [*shape] -> [*shape]. step: h, times max(1, |x|) if central.
    Errors: ValueError for an unknown method, integers, an fn that changes the shape, a step that is not above 0.
    Example:
        fn = lambda x: jnp.sin(x) * x
        x = jnp.array([0.5, 2.0])
        exact = jnp.cos(x) * x + jnp.sin(x)
        for method in METHODS:
            assert jnp.allclose(derivative(fn, x, method=method), exact, atol=1e-3)
    """
    x = _point(x)
    if method not in METHODS:
        raise ValueError(f'method: expected one of {", ".join(METHODS)}; found {method!r}')
    if step is not None and not step > 0:
        raise ValueError(f'step: expected a number above 0, found {step}')
    out = jax.eval_shape(fn, x).shape
    if out != x.shape:
        raise ValueError(f'fn: expected a function [*shape] -> [*shape], found {x.shape} -> {out}')
    if method == 'forward':
        return jax.jvp(fn, (x,), (jnp.ones_like(x),))[1]
    if method == 'reverse':
        return jax.vjp(fn, x)[1](jnp.ones_like(x))[0]
    if method == 'central':
        h = _step(x, step)
        return (fn(x + h) - fn(x - h)) / (2 * h)
    h = 1e-20 if step is None else step
    return (jnp.imag(fn(jax.lax.complex(x, jnp.full_like(x, h)))) / h).astype(x.dtype)


def side_by_side(fn: Callable[[Array], Array], x: Float[Array, '*shape']) -> SideBySide:
    """All four derivatives and both one-sided slopes: what each of them says of a kink.

    Formula: left = (3 f(x) - 4 f(x - h) + f(x - 2h)) / 2h, right = -(3 f(x) - 4 f(x + h) + f(x + 2h)) / 2h; smooth
        where they differ by less than eps^(1/4) of the larger, at least of 1.
    Paper: Clarke 1983, Optimization and nonsmooth analysis: at a kink every slope between the two is a subgradient of
        a convex function, and a rule may give any of them.
    Shapes: fn [*shape] -> [*shape], x [*shape] -> SideBySide of [*shape].
    Errors: ValueError as `derivative`.
    Example:
        relu = lambda x: jnp.where(jnp.real(x) > 0, x, 0)
        found = side_by_side(relu, jnp.array([-1.0, 0.0, 1.0]))
        assert found.forward.tolist() == [0, 0, 1] and found.central.tolist() == [0, 0.5, 1]
        assert found.smooth.tolist() == [True, False, True]
    """
    x = _point(x)
    four = [derivative(fn, x, method=method) for method in METHODS]
    h = _step(x, None)
    left = (3 * fn(x) - 4 * fn(x - h) + fn(x - 2 * h)) / (2 * h)
    right = -(3 * fn(x) - 4 * fn(x + h) + fn(x + 2 * h)) / (2 * h)
    size = jnp.maximum(1, jnp.maximum(jnp.abs(left), jnp.abs(right)))
    return SideBySide(*four, left, right, jnp.abs(left - right) <= jnp.finfo(x.dtype).eps ** 0.25 * size)
