"""30 functions of one number, smooth and not, each written so that a complex step goes through it; eight kinks.

Branches look at the real part only: then the branch of x + ih is the branch of x.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array


class Function(NamedTuple):
    """fn is smooth on low .. high but at `kinks`."""

    name: str
    fn: Callable[[Array], Array]
    low: float
    high: float
    kinks: tuple[float, ...] = ()


class Kink(NamedTuple):
    """What each method says at a point without a derivative, and the slopes on both sides of it."""

    name: str
    fn: Callable[[Array], Array]
    at: float
    forward: float
    reverse: float
    central: float
    complex_step: float
    left: float
    right: float


def magnitude(x: Array) -> Array:
    """|x| for a real x, analytic on both sides."""
    return jnp.where(jnp.real(x) < 0, -x, x)


def larger(a: Array, b: Array) -> Array:
    """max(a, b) by real parts; b where they are equal."""
    return jnp.where(jnp.real(a) > jnp.real(b), a, b)


def _relu(x):
    return jnp.where(jnp.real(x) > 0, x, 0)


def _far(x):
    return jnp.abs(jnp.real(x))


def _clip(x):
    return jnp.where(_far(x) <= 1, x, jnp.sign(jnp.real(x)))


def _huber(x):
    return jnp.where(_far(x) <= 1, x * x / 2, magnitude(x) - 0.5)


def _elu(x):
    return jnp.where(jnp.real(x) > 0, x, jnp.expm1(jnp.where(jnp.real(x) > 0, 0, x)))


def _shrink(x):
    return jnp.where(_far(x) > 0.5, x - 0.5 * jnp.sign(jnp.real(x)), 0)


def _step(x):
    return jnp.where(jnp.real(x) >= 0, 1.0, 0.0) + 0 * x


def _sawtooth(x):
    return x - jnp.floor(jnp.real(x))


FUNCTIONS = (
    Function('cube', lambda x: x**3 - 2 * x + 1, -3, 3),
    Function('reciprocal', lambda x: 1 / x, 0.3, 4),
    Function('power', lambda x: x**2.5, 0.2, 3),
    Function('square root', jnp.sqrt, 0.2, 5),
    Function('rational', lambda x: (x * x + 1) / (x - 4), -3, 3),
    Function('exp', jnp.exp, -3, 3),
    Function('expm1', jnp.expm1, -2, 2),
    Function('log', jnp.log, 0.2, 5),
    Function('log1p', jnp.log1p, -0.7, 3),
    Function('sin', jnp.sin, -4, 4),
    Function('cos', jnp.cos, -4, 4),
    Function('tan', jnp.tan, -1.2, 1.2),
    Function('arcsin', jnp.arcsin, -0.8, 0.8),
    Function('arctan', jnp.arctan, -3, 3),
    Function('sinh', jnp.sinh, -2, 2),
    Function('cosh', jnp.cosh, -2, 2),
    Function('tanh', jnp.tanh, -2, 2),
    Function('sigmoid', lambda x: 1 / (1 + jnp.exp(-x)), -4, 4),
    Function('softplus', lambda x: jnp.log1p(jnp.exp(x)), -4, 4),
    Function('swish', lambda x: x / (1 + jnp.exp(-x)), -4, 4),
    Function('bell', lambda x: jnp.exp(-x * x / 2) / math.sqrt(2 * math.pi), -3, 3),
    Function('wave packet', lambda x: jnp.exp(-x * x) * jnp.sin(5 * x), -2, 2),
    Function('Squire and Trapp', lambda x: jnp.exp(x) / jnp.sqrt(jnp.sin(x) ** 3 + jnp.cos(x) ** 3), -0.4, 1.5),
    Function('absolute', magnitude, -2, 2, (0.0,)),
    Function('relu', _relu, -2, 2, (0.0,)),
    Function('hard tanh', _clip, -2, 2, (-1.0, 1.0)),
    Function('huber', _huber, -2, 2, (-1.0, 1.0)),
    Function('elu', _elu, -2, 2, (0.0,)),
    Function('soft threshold', _shrink, -2, 2, (-0.5, 0.5)),
    Function('sine above parabola', lambda x: larger(jnp.sin(x), x * x), -2, 2, (0.0, 0.8767262153950625)),
)

# Central differences of a jump have no limit: 1 / 2h, or less 1 / 2h. One-sided slopes look across it.
KINKS = (
    Kink('magnitude', magnitude, 0.0, 1, 1, 0, 1, -1, 1),       # a branch: x >= 0 owns the point
    Kink('jnp.abs', jnp.abs, 0.0, 1, 1, 0, 0, -1, 1),           # JAX takes the right; a complex step sees |x + ih|
    Kink('where relu', _relu, 0.0, 0, 0, 0.5, 0, 0, 1),         # a branch: x <= 0 owns the point
    Kink('maximum(x, 0)', lambda x: jnp.maximum(x, 0), 0.0, 0.5, 0.5, 0.5, 1, 0, 1),   # JAX: equal shares; i breaks it
    Kink('hard tanh', _clip, 1.0, 1, 1, 0.5, 1, 1, 0),
    Kink('soft threshold', _shrink, 0.5, 0, 0, 0.5, 0, 0, 1),
    Kink('step', _step, 0.0, 0, 0, math.inf, 0, math.inf, 0),   # a jump, of which autodiff sees nothing
    Kink('sawtooth', _sawtooth, 1.0, 1, 1, -math.inf, 1, -math.inf, 1),
)
