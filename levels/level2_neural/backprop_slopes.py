"""The slopes of all activations by hand: what backpropagation multiplies by.

Formula: SLOPES[name](x, y) = f'(x), of each element, with y = f(x) at hand; at kinks torch's slope.
Paper: see the cards in `activations.py`.
Shapes: x, y [*shape] -> [*shape].

Example:
    from levels.level2_neural.backprop_slopes import SLOPES
    dx = dy * SLOPES['tanh'](x, jnp.tanh(x))
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

SELU_ALPHA, SELU_SCALE = 1.6732632423543772, 1.0507009873554805
ROOT = math.sqrt(2 / math.pi)


def _gelu_erf(x, y):
    density = jnp.exp(-x * x / 2) / math.sqrt(2 * math.pi)
    return 0.5 * jax.lax.erfc(-x / math.sqrt(2)) + x * density


def _gelu_tanh(x, y):
    # (1 + tanh u) / 2 = sigmoid(2 u): 1 - tanh(u)^2 would lose its digits where tanh is nearly 1
    u = 2 * ROOT * (x + 0.044715 * x**3)
    s = jax.nn.sigmoid(u)
    return s + x * s * jax.nn.sigmoid(-u) * 2 * ROOT * (1 + 3 * 0.044715 * x * x)


def _silu(x, y):
    s = jax.nn.sigmoid(x)
    return s + y * (1 - s)


def _quick_gelu(x, y):
    s = jax.nn.sigmoid(1.702 * x)
    return s + 1.702 * y * (1 - s)


def _mish(x, y):
    q = jax.nn.sigmoid(-x)       # tanh(log(1 + exp(x))) = (1 - q^2) / (1 + q^2)
    return (1 - q * q) / (1 + q * q) + x * (2 * q / (1 + q * q)) ** 2 * jax.nn.sigmoid(x)


def _step(where, x):
    return where.astype(x.dtype)


SLOPES: dict[str, Callable[..., Float[Array, '*shape']]] = {
    'identity': lambda x, y: jnp.ones_like(x),
    'relu': lambda x, y: _step(x > 0, x),
    'relu6': lambda x, y: _step((x > 0) & (x < 6), x),
    'squared_relu': lambda x, y: 2 * jnp.maximum(x, 0),
    'leaky_relu': lambda x, y, *, slope=0.01: jnp.where(x > 0, 1, slope),
    'elu': lambda x, y, *, alpha=1.0: jnp.where(x > 0, 1, alpha * jnp.exp(jnp.minimum(x, 0))),
    'celu': lambda x, y, *, alpha=1.0: jnp.exp(jnp.minimum(x, 0) / alpha),
    'selu': lambda x, y: SELU_SCALE * jnp.where(x > 0, 1, SELU_ALPHA * jnp.exp(jnp.minimum(x, 0))),
    'sigmoid': lambda x, y: y * (1 - y),
    'log_sigmoid': lambda x, y: jax.nn.sigmoid(-x),
    'tanh': lambda x, y: 1 - y * y,
    'softplus': lambda x, y, *, beta=1.0: jax.nn.sigmoid(beta * x),
    'soft_sign': lambda x, y: 1 / (1 + jnp.abs(x)) ** 2,
    'silu': _silu,
    'mish': _mish,
    'gelu_erf': _gelu_erf,
    'gelu_tanh': _gelu_tanh,
    'quick_gelu': _quick_gelu,
    'hard_tanh': lambda x, y: _step(jnp.abs(x) < 1, x),
    'hard_sigmoid': lambda x, y: _step(jnp.abs(x) < 3, x) / 6,
    'hard_swish': lambda x, y: jnp.where(x >= 3, 1, jnp.where(x > -3, x / 3 + 0.5, 0)),
    'soft_shrink': lambda x, y, *, at=0.5: _step(jnp.abs(x) > at, x),
    'hard_shrink': lambda x, y, *, at=0.5: _step(jnp.abs(x) > at, x),
    'tanh_shrink': lambda x, y: jnp.tanh(x) ** 2,
}
