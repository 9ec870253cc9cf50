"""The simple recurrent network: one layer that hears its own last output.

    kernel [in, f]   recurrent_kernel [f, f]   bias [f]

Weights go to and from torch by `torch_weights`.

Example:
    from levels.level4_sequence.rnn import RNN
    from levels.level4_sequence.unroll import unroll
    params = RNN(8).init(jax.random.key(0), xs, method=unroll)
    carry, ys = RNN(8).apply(params, xs, lengths, method=unroll)
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from common import layers
from levels.level2_neural.mlp import activation_fn
from levels.level4_sequence.unroll import blocks, carry_dtype, one_step

Init = Callable[..., Array]


class RNN(nn.Module):
    """One step of an Elman network; over time: `unroll`.

    Formula: h' = f(W x + R h + b); y = h'. f is tanh by default; a name of `ACTIVATIONS` or a callable.
    Paper: Elman 1990, Finding structure in time.
    Shapes: carry h [batch, f], x [batch, in] -> carry, y [batch, f]. f (in + f + 1) parameters.
    Errors: ValueError for an unknown activation, features below 1, other ranks of x, a carry of another form.
    Example:
        cell, x = RNN(8), jnp.ones((2, 3))
        carry = cell.initial_carry(2)
        params = cell.init(jax.random.key(0), carry, x)
        carry, y = cell.apply(params, carry, x)
        y.shape, carry.shape                                 # (2, 8), (2, 8)
    """

    features: int
    activation: str | Callable[[Array], Array] = 'tanh'
    kernel_init: Init = nn.initializers.xavier_uniform()
    recurrent_init: Init = layers.orthogonal()
    bias_init: Init = nn.initializers.zeros_init()
    dtype: Any = None
    param_dtype: Any = jnp.float32

    def __call__(
        self, carry: Float[Array, 'batch f'], x: Float[Array, 'batch in']
    ) -> tuple[Float[Array, 'batch f'], Float[Array, 'batch f']]:
        return one_step(self, carry, x)

    @nn.compact
    def inputs(self, xs: Float[Array, '*lead in']) -> tuple[Float[Array, '*lead f'], dict[str, Array]]:
        """W x + b for every x, and the weights that `step` needs."""
        f = self.features
        activation_fn(self.activation)          # an unknown one is said here, before any scan
        if f < 1:
            raise ValueError(f'features: expected a width >= 1; found {f}')
        kernel = self.param('kernel', self.kernel_init, (xs.shape[-1], f), self.param_dtype)
        recurrent = self.param('recurrent_kernel', blocks(self.recurrent_init, 1), (f, f), self.param_dtype)
        bias = self.param('bias', self.bias_init, (f,), self.param_dtype)
        xs, kernel, bias, recurrent = nn.dtypes.promote_dtype(xs, kernel, bias, recurrent, dtype=self.dtype)
        return xs @ kernel + jnp.expand_dims(bias, tuple(range(xs.ndim - 1))), {'recurrent': recurrent}

    @nn.nowrap
    def step(
        self, weights: dict[str, Array], carry: Float[Array, 'batch f'], projected: Float[Array, 'batch f']
    ) -> tuple[Float[Array, 'batch f'], Float[Array, 'batch f']]:
        """One step without parameters of its own: what a scan runs."""
        pre = projected + carry.astype(projected.dtype) @ weights['recurrent']
        carry = activation_fn(self.activation)(pre.astype(carry.dtype))
        return carry, carry.astype(projected.dtype)

    @nn.nowrap
    def initial_carry(self, batch: int, dtype: Any = jnp.float32) -> Float[Array, 'batch f']:
        """Zeros, float32 at least."""
        return jnp.zeros((batch, self.features), carry_dtype(dtype))
