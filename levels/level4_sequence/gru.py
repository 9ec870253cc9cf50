"""Gated recurrent unit, in both variants that go by this name; they are two different functions.

`reset_after` (torch, cuDNN, Keras since 2.0) resets the product R h; `reset_before` (the paper) resets h. With equal
weights their outputs are a tenth apart, so weights trained in one do not fit the other.

Gates stand in torch's order, r z n, each `features` wide:

    kernel [in, 3 f]   recurrent_kernel [f, 3 f]   bias [3 f]   recurrent_bias [f] (of n, reset_after only)

Weights go to and from torch by `torch_weights`.

Example:
    from levels.level4_sequence.gru import GRU
    from levels.level4_sequence.unroll import unroll
    params = GRU(8).init(jax.random.key(0), xs, method=unroll)
    carry, ys = GRU(8).apply(params, xs, lengths, method=unroll)
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from common import layers
from levels.level4_sequence.unroll import blocks, carry_dtype, one_step

Init = Callable[..., Array]
VARIANTS = ('reset_after', 'reset_before')


class GRU(nn.Module):
    """One step of a GRU; over time: `unroll`.

    Formula: r, z = sigmoid(W x + R h + b); n = tanh(W x + b + r (R h + b_R)) for reset_after, tanh(W x + R (r h) + b)
        for reset_before; h' = (1 - z) n + z h; y = h'.
    Paper: Cho et al. 2014, Learning phrase representations using RNN encoder-decoder, appendix A.1.1 (reset_before);
        reset_after: cuDNN, and with it torch.
    Shapes: carry h [batch, f], x [batch, in] -> carry, y [batch, f]. 3 f (in + f + 1) parameters, f more for
        reset_after.
    Errors: ValueError for an unknown variant, features below 1, other ranks of x, a carry of another form.
    Example:
        cell, x = GRU(8), jnp.ones((2, 3))
        carry = cell.initial_carry(2)
        params = cell.init(jax.random.key(0), carry, x)
        carry, y = cell.apply(params, carry, x)
        y.shape, carry.shape                                 # (2, 8), (2, 8)
    """

    features: int
    variant: str = 'reset_after'
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
    def inputs(self, xs: Float[Array, '*lead in']) -> tuple[Float[Array, '*lead gates'], dict[str, Array]]:
        """W x + b for every x, and the weights that `step` needs."""
        f = self.features
        if self.variant not in VARIANTS:
            raise ValueError(f'variant: expected one of {", ".join(VARIANTS)}; found {self.variant!r}')
        if f < 1:
            raise ValueError(f'features: expected a width >= 1; found {f}')
        kernel = self.param('kernel', blocks(self.kernel_init, 3), (xs.shape[-1], 3 * f), self.param_dtype)
        weights = {
            'recurrent': self.param('recurrent_kernel', blocks(self.recurrent_init, 3), (f, 3 * f), self.param_dtype)
        }
        bias = self.param('bias', self.bias_init, (3 * f,), self.param_dtype)
        if self.variant == 'reset_after':
            weights['bias'] = self.param('recurrent_bias', self.bias_init, (f,), self.param_dtype)
        xs, kernel, bias, *values = nn.dtypes.promote_dtype(xs, kernel, bias, *weights.values(), dtype=self.dtype)
        return xs @ kernel + jnp.expand_dims(bias, tuple(range(xs.ndim - 1))), dict(zip(weights, values))

    @nn.nowrap
    def step(
        self, weights: dict[str, Array], carry: Float[Array, 'batch f'], projected: Float[Array, 'batch gates']
    ) -> tuple[Float[Array, 'batch f'], Float[Array, 'batch f']]:
        """One step without parameters of its own: what a scan runs."""
        h, dtype, cut = carry.astype(projected.dtype), carry.dtype, 2 * self.features
        x_rz, x_n = projected[:, :cut], projected[:, cut:].astype(dtype)
        if self.variant == 'reset_after':
            recurrent = h @ weights['recurrent']
            r, z = jnp.split(jax.nn.sigmoid((x_rz + recurrent[:, :cut]).astype(dtype)), 2, axis=-1)
            n = jnp.tanh(x_n + r * (recurrent[:, cut:] + weights['bias'][None]).astype(dtype))
        else:
            r, z = jnp.split(
                jax.nn.sigmoid((x_rz + h @ weights['recurrent'][:, :cut]).astype(dtype)), 2, axis=-1)
            n = jnp.tanh(x_n + ((r * carry).astype(h.dtype) @ weights['recurrent'][:, cut:]).astype(dtype))
        carry = (1 - z) * n + z * carry
        return carry, carry.astype(projected.dtype)

    @nn.nowrap
    def initial_carry(self, batch: int, dtype: Any = jnp.float32) -> Float[Array, 'batch f']:
        """Zeros, float32 at least."""
        return jnp.zeros((batch, self.features), carry_dtype(dtype))
