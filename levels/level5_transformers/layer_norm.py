"""Layer normalisation and its root-mean-square form, both computed in float32 at least.

Paper: Ba, Kiros, Hinton 2016, Layer Normalization, section 3, equation 3; Zhang, Sennrich 2019, Root Mean Square Layer
    Normalization, section 3, equation 4.

The variance is two-pass, the mean of (x - mean)^2. The one-pass form, mean(x^2) - mean^2, cancels where the mean is
large: at mean 1000 and deviation 1 it loses 8 % in float32, the two-pass form 1e-4.

`epsilon` belongs to the family of the model, and `EPSILON` has it: weights of one family with the epsilon of another
give other outputs (BERT's with 1e-6 in place of 1e-12: 4e-5).

Example:
    from levels.level5_transformers.layer_norm import LayerNorm
    y, variables = LayerNorm().init_with_output(jax.random.key(0), x)
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

EPSILON = {'gpt2': 1e-5, 'torch': 1e-5, 'bert': 1e-12, 'vit': 1e-12, 'vit, torchvision': 1e-6, 'llama': 1e-6,
           'flax': 1e-6}


def _wide(x: Array) -> Array:
    """`x` in float32, or in float64 where it is."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def _check(x: Array, epsilon: float) -> None:
    if x.ndim < 1:
        raise ValueError(f'x: expected a last axis to normalise; found shape {x.shape}')
    if not epsilon > 0:
        raise ValueError(f'epsilon: expected a positive number; found {epsilon}')


def rms_normalise(x: Float[Array, '*rest dim'], *, epsilon: float = 1e-6) -> Float[Array, '*rest dim']:
    """x / sqrt(mean(x^2) + epsilon) over the last axis, in x's type; the normalisation of `RMSNorm`, with no scale."""
    wide = _wide(x)
    return (wide * jax.lax.rsqrt(jnp.mean(jnp.square(wide), -1, keepdims=True) + epsilon)).astype(x.dtype)


class LayerNorm(nn.Module):
    """Each vector of the last axis to mean 0 and variance 1, then scaled and shifted by learned vectors.

    Formula: y = scale (x - mean) / sqrt(var + epsilon) + bias, var = mean((x - mean)^2), over the last axis.
    Paper: Ba, Kiros, Hinton 2016, section 3, equation 3.
    Shapes: [..., dim] -> [..., dim]; statistics in float32 (float64 for float64 input), output in `dtype`.
    Parameters: `scale` [dim], ones; `bias` [dim], zeros, unless `use_bias` is False.
    Errors: ValueError for an epsilon that is not positive, or for a scalar.
    Example:
        norm = LayerNorm(epsilon=EPSILON['gpt2'])
        x = 1000 + jax.random.normal(jax.random.key(0), (2, 3, 8))
        y = norm.apply(norm.init(jax.random.key(1), x), x)
        abs(y.mean(-1)).max() < 1e-3                         # True
    """

    epsilon: float = 1e-5
    use_bias: bool = True
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, '*rest dim'], *, train: bool = False) -> Float[Array, '*rest dim']:
        _check(x, self.epsilon)
        wide = _wide(x)
        centred = wide - wide.mean(-1, keepdims=True)
        y = centred * jax.lax.rsqrt(jnp.mean(jnp.square(centred), -1, keepdims=True) + self.epsilon)
        last = (1,) * (x.ndim - 1) + (-1,)       # spelled out: rank promotion may be an error
        y = y * self.param('scale', nn.initializers.ones, x.shape[-1:], self.param_dtype).reshape(last)
        if self.use_bias:
            y = y + self.param('bias', nn.initializers.zeros, x.shape[-1:], self.param_dtype).reshape(last)
        return y.astype(self.dtype or x.dtype)


class RMSNorm(nn.Module):
    """Each vector of the last axis to root mean square 1, then scaled by a learned vector; the mean stays.

    Formula: y = scale x / sqrt(mean(x^2) + epsilon), over the last axis.
    Paper: Zhang, Sennrich 2019, section 3, equation 4.
    Shapes: [..., dim] -> [..., dim]; statistics in float32 (float64 for float64 input), output in `dtype`.
    Parameters: `scale` [dim], ones.
    Errors: ValueError for an epsilon that is not positive, or for a scalar.
    Example:
        norm = RMSNorm()
        x = jax.random.normal(jax.random.key(0), (2, 3, 8))
        y = norm.apply(norm.init(jax.random.key(1), x), x)
        abs((y ** 2).mean(-1) - 1).max() < 1e-4              # True
    """

    epsilon: float = 1e-6
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, '*rest dim'], *, train: bool = False) -> Float[Array, '*rest dim']:
        _check(x, self.epsilon)
        scale = self.param('scale', nn.initializers.ones, x.shape[-1:], self.param_dtype)
        y = rms_normalise(_wide(x), epsilon=self.epsilon) * scale.reshape((1,) * (x.ndim - 1) + (-1,))
        return y.astype(self.dtype or x.dtype)
