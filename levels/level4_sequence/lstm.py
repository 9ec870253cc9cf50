"""Long short-term memory: the cell of Gers et al. (with a forget gate), with peepholes and a projection as options.

Gates stand in torch's order, i f g o, each `features` wide:

    kernel [in, 4 f]   recurrent_kernel [p, 4 f]   bias [4 f]   peephole [3, f] (i f o)   projection [f, p]

where p = projection width, or f. Weights go to and from torch by `torch_weights`. The forget bias is an initial
value and part of `bias`, so weights mean the same whatever it was.

Example:
    from levels.level4_sequence.lstm import LSTM
    from levels.level4_sequence.unroll import unroll
    params = LSTM(8).init(jax.random.key(0), xs, method=unroll)
    carry, ys = LSTM(8).apply(params, xs, lengths, method=unroll)
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from common import layers
from levels.level4_sequence.unroll import blocks, carry_dtype, one_step

Init = Callable[..., Array]


class LSTMCarry(NamedTuple):
    """h: the last output; c: the memory."""

    h: Float[Array, 'batch p']
    c: Float[Array, 'batch f']


class LSTM(nn.Module):
    """One step of an LSTM; over time: `unroll`.

    Formula: i, f, o = sigmoid(W x + R h + b), g = tanh(W x + R h + b); c' = f c + i g; h' = o tanh(c'); y = h'.
        peephole: i and f also see c, o sees c', each through one weight per unit. projection: h' = P (o tanh(c')).
    Paper: Hochreiter, Schmidhuber 1997, Long short-term memory; forget gate: Gers, Schmidhuber, Cummins 2000, Learning
        to forget; peepholes: Gers, Schmidhuber 2000; projection: Sak, Senior, Beaufays 2014; forget bias 1: Jozefowicz,
        Zaremba, Sutskever 2015.
    Shapes: carry LSTMCarry(h [batch, p], c [batch, f]), x [batch, in] -> carry, y [batch, p]; p = projection or f.
        4 f (in + p + 1) parameters, 3 f more with peepholes, f p more with a projection.
    Errors: ValueError for features or projection below 1, other ranks of x, a carry of another form.
    Example:
        cell, x = LSTM(8), jnp.ones((2, 3))
        carry = cell.initial_carry(2)
        params = cell.init(jax.random.key(0), carry, x)
        carry, y = cell.apply(params, carry, x)
        y.shape, carry.c.shape                               # (2, 8), (2, 8)
    """

    features: int
    projection: int | None = None
    peephole: bool = False
    forget_bias: float = 1.0
    kernel_init: Init = nn.initializers.xavier_uniform()
    recurrent_init: Init = layers.orthogonal()
    dtype: Any = None
    param_dtype: Any = jnp.float32

    def __call__(self, carry: LSTMCarry, x: Float[Array, 'batch in']) -> tuple[LSTMCarry, Float[Array, 'batch p']]:
        return one_step(self, carry, x)

    @nn.compact
    def inputs(self, xs: Float[Array, '*lead in']) -> tuple[Float[Array, '*lead gates'], dict[str, Array]]:
        """W x + b for every x, and the weights that `step` needs."""
        f, p = self.features, self.width
        if min(f, p) < 1:
            raise ValueError(f'features, projection: expected widths >= 1; found {f} and {self.projection}')

        def bias_init(key: Array, shape: tuple[int], dtype: Any) -> Array:
            return jnp.zeros(shape, dtype).at[f:2 * f].set(self.forget_bias)

        kernel = self.param('kernel', blocks(self.kernel_init, 4), (xs.shape[-1], 4 * f), self.param_dtype)
        weights = {
            'recurrent': self.param('recurrent_kernel', blocks(self.recurrent_init, 4), (p, 4 * f), self.param_dtype)
        }
        bias = self.param('bias', bias_init, (4 * f,), self.param_dtype)
        if self.peephole:
            weights['peephole'] = self.param('peephole', nn.initializers.normal(0.1), (3, f), self.param_dtype)
        if self.projection is not None:
            weights['projection'] = self.param('projection', self.kernel_init, (f, p), self.param_dtype)
        xs, kernel, bias, *values = nn.dtypes.promote_dtype(xs, kernel, bias, *weights.values(), dtype=self.dtype)
        return xs @ kernel + jnp.expand_dims(bias, tuple(range(xs.ndim - 1))), dict(zip(weights, values))

    @nn.nowrap
    def step(
        self, weights: dict[str, Array], carry: LSTMCarry, projected: Float[Array, 'batch gates']
    ) -> tuple[LSTMCarry, Float[Array, 'batch p']]:
        """One step without parameters of its own: what a scan runs."""
        h, c = carry
        gates = projected + h.astype(projected.dtype) @ weights['recurrent']
        i, f, g, o = jnp.split(gates.astype(c.dtype), 4, axis=-1)
        if self.peephole:
            see_i, see_f, see_o = weights['peephole'].astype(c.dtype)[:, None]
            i, f = i + see_i * c, f + see_f * c
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        if self.peephole:
            o = o + see_o * c
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        if self.projection is not None:
            h = (h.astype(projected.dtype) @ weights['projection']).astype(c.dtype)
        return LSTMCarry(h, c), h.astype(projected.dtype)

    @nn.nowrap
    def initial_carry(self, batch: int, dtype: Any = jnp.float32) -> LSTMCarry:
        """Zeros, float32 at least."""
        return LSTMCarry(*(jnp.zeros((batch, n), carry_dtype(dtype)) for n in (self.width, self.features)))

    @property
    def width(self) -> int:
        """Of h and of the outputs."""
        return self.features if self.projection is None else self.projection
