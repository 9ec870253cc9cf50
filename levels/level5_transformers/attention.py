"""Scaled dot-product attention, and the multi-head self-attention of GPT with a cache of keys and values.

Paper: Vaswani et al. 2017, Attention Is All You Need, sections 3.2.1 (equation 1) and 3.2.2. Rotary positions: Su et
    al. 2021, RoFormer, section 3.2.2. Normalised queries and keys: Henry et al. 2020, Query-Key Normalization for
    Transformers, section 3, here with the root mean square and without their learned factor.

Masks are boolean, True where a query may look. A query that may look nowhere gets zeros, and sends no gradient.

Example:
    from levels.level5_transformers.attention import MultiHeadAttention, scaled_dot_product_attention
    y = scaled_dot_product_attention(q, k, v, causal=True)           # [batch, time, heads, dim]
    mask = real[:, None, None, :]                                    # padding: real [batch, keys]
    y = scaled_dot_product_attention(q, k, v, mask=mask, causal=True)
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from common.layers import Dropout, flat_dot
from levels.level5_transformers.layer_norm import rms_normalise

Weights = Float[Array, 'batch heads queries keys']
KV = tuple[Float[Array, 'batch length heads dim'], Float[Array, 'batch length heads dim']]


def scaled_dot_product_attention(
    q: Float[Array, 'batch queries heads dim'],
    k: Float[Array, 'batch keys heads dim'],
    v: Float[Array, 'batch keys heads out'],
    *,
    mask: Bool[Array, '#batch #heads #queries keys'] | None = None,
    causal: bool = False,
    scale: float | None = None,
    on_weights: Callable[[Weights], Weights] = lambda w: w,
) -> Float[Array, 'batch queries heads out']:
    """Averages of values, weighted by how well the keys fit the query.

    Formula: softmax(q k^T scale) v, scale = 1 / sqrt(dim); the softmax runs over the keys that the masks allow.
    Paper: Vaswani et al. 2017, section 3.2.1, equation 1.
    Shapes: q [batch, queries, heads, dim], k [batch, keys, heads, dim], v [batch, keys, heads, out]
        -> [batch, queries, heads, out]; mask broadcasts to [batch, heads, queries, keys], True: may look.
    causal: query i sees keys 0..i; needs as many queries as keys (otherwise say by `mask` what i means).
    on_weights: applied to the weights [batch, heads, queries, keys], dropout for example.
    Scores and softmax are float32 at least; a query that may look nowhere gives zeros.
    Errors: ValueError for shapes that do not fit, a mask that is not boolean, `causal` with queries != keys.
    Example:
        q = jax.random.normal(jax.random.key(0), (2, 5, 4, 8))
        y = scaled_dot_product_attention(q, q, q, causal=True)
        nowhere = jnp.zeros((2, 1, 1, 5), bool)
        abs(scaled_dot_product_attention(q, q, q, mask=nowhere)).max() == 0     # True
    """
    if not (q.ndim == k.ndim == v.ndim == 4 and k.shape[:3] == v.shape[:3] and q.shape[::2] == k.shape[::2]
            and q.shape[3] == k.shape[3]):
        raise ValueError(f'q, k, v: expected [batch, time, heads, dim] that fit; found {q.shape}, {k.shape}, {v.shape}')
    if mask is not None and (mask.dtype != bool or mask.ndim != 4):
        raise ValueError(f'mask: expected bool of rank 4; found {mask.dtype} {mask.shape}')
    if causal and q.shape[1] != k.shape[1]:
        raise ValueError(f'causal: expected as many queries as keys; found {q.shape[1]} and {k.shape[1]}')
    wide = jnp.promote_types(q.dtype, jnp.float32)
    scores = jnp.einsum('bqhd,bkhd->bhqk', q, k, preferred_element_type=wide)
    scores = scores * (q.shape[-1] ** -0.5 if scale is None else scale)
    see = mask
    if causal:
        before = jnp.tril(jnp.ones((1, 1, q.shape[1], k.shape[1]), bool))
        see = before if mask is None else before & mask
    if see is not None:
        # The lowest finite number, not -inf: a row of -inf has no softmax, and NaN in its gradient.
        scores = jnp.where(see, scores, jnp.finfo(wide).min)
    weights = jax.nn.softmax(scores, axis=-1)
    if mask is not None:
        weights = jnp.where(see, weights, 0)    # where all are forbidden the softmax is uniform; causal rows never are
    return jnp.einsum('bhqk,bkhd->bqhd', on_weights(weights.astype(v.dtype)), v)


def rotate(x: Float[Array, 'batch time heads dim'], positions: Int[Array, '#batch time'], *,
           base: float = 10_000.0) -> Float[Array, 'batch time heads dim']:
    """Rotary positions: the pair (x_i, x_{i + dim/2}) turns by position / base^(2 i / dim).

    The product of a rotated query and a rotated key depends on the difference of their positions alone.
    ValueError for an odd dim.
    """
    half = x.shape[-1] // 2
    if 2 * half != x.shape[-1]:
        raise ValueError(f'x: expected an even last axis; found shape {x.shape}')
    wide = jnp.promote_types(x.dtype, jnp.float32)
    rates = base ** (-jnp.arange(half, dtype=wide) / half)
    angle = positions[:, :, None, None].astype(wide) * rates[None, None, None, :]
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    a, b = x[..., :half].astype(wide), x[..., half:].astype(wide)
    return jnp.concatenate([a * cos - b * sin, a * sin + b * cos], -1).astype(x.dtype)


class MultiHeadAttention(nn.Module):
    """Self-attention of several heads: one fused projection to queries, keys and values, one projection back.

    Formula: [q, k, v] = x W_qkv + b_qkv, cut into heads; y = concat_h(softmax(q_h k_h^T / sqrt(dim)) v_h) W_out +
        b_out.
    Paper: Vaswani et al. 2017, section 3.2.2; the causal mask: section 3.2.3.
    Shapes: x [batch, time, width] -> [batch, time, width]; dim = width / heads. mask [batch, time], True for real
        tokens: no query sees the others. positions [batch, time], for `rope`; by default 0, 1, 2, ...
    Options: `rope` rotates queries and keys by position; `qk_norm` brings each to root mean square 1 before that.
    Parameters: `qkv` [width, 3 width] (all of q, then k, then v; within each, head by head), `out` [width, width], and
        their biases unless `bias` is False: 4 width^2 + 4 width.
    Dropout: of the weights, in training.
    Errors: ValueError when the width is not a multiple of the heads, or is not that of x.
    Example:
        layer = MultiHeadAttention(width=16, heads=4)
        x = jax.random.normal(jax.random.key(0), (2, 5, 16))
        params = layer.init(jax.random.key(1), x)
        layer.apply(params, x).shape                         # (2, 5, 16)
    """

    width: int
    heads: int
    causal: bool = True
    bias: bool = True
    dropout: float = 0.0
    rope: bool = False
    qk_norm: bool = False
    kernel_init: Callable[..., Any] = nn.initializers.normal(0.02)
    out_init: Callable[..., Any] = nn.initializers.normal(0.02)
    dtype: Any = None
    param_dtype: Any = jnp.float32

    def setup(self):
        if self.heads < 1 or self.width % self.heads:
            raise ValueError(f'width: expected a multiple of heads={self.heads}; found {self.width}')
        dense = lambda n, init: nn.Dense(n, use_bias=self.bias, kernel_init=init, dtype=self.dtype,
                                         param_dtype=self.param_dtype, dot_general=flat_dot)
        self.qkv, self.out = dense(3 * self.width, self.kernel_init), dense(self.width, self.out_init)
        self.drop = Dropout(self.dropout)

    def __call__(self, x: Float[Array, 'batch time width'], *, train: bool = False,
                 mask: Bool[Array, 'batch time'] | None = None,
                 positions: Int[Array, '#batch time'] | None = None) -> Float[Array, 'batch time width']:
        q, k, v = self._heads(x, positions)
        see = None if mask is None else mask[:, None, None, :]
        return self._join(scaled_dot_product_attention(q, k, v, mask=see, causal=self.causal,
                                                       on_weights=lambda w: self.drop(w, train=train)))

    def cached(self, x: Float[Array, 'batch time width'], memory: KV, *, at: Int[Array, ''],
               see: Bool[Array, 'batch time length'],
               positions: Int[Array, 'batch time']) -> tuple[Float[Array, 'batch time width'], KV]:
        """The same for tokens that come later: their keys and values go to the slots from `at` on of `memory`, each
        [batch, length, heads, dim]; `see` says which slots each of them may look at. Returns (y, new memory)."""
        q, *new = self._heads(x, positions)
        zero = jnp.zeros((), at.dtype)
        k, v = (jax.lax.dynamic_update_slice(old, fresh.astype(old.dtype), (zero, at, zero, zero))
                for old, fresh in zip(memory, new))
        y = scaled_dot_product_attention(q, k.astype(q.dtype), v.astype(q.dtype), mask=see[:, None])
        return self._join(y), (k, v)

    def _heads(self, x, positions):
        if x.ndim != 3 or x.shape[-1] != self.width:
            raise ValueError(f'x: expected [batch, time, {self.width}]; found shape {x.shape}')
        q, k, v = (p.reshape(*x.shape[:2], self.heads, -1) for p in jnp.split(self.qkv(x), 3, axis=-1))
        if self.qk_norm:
            q, k = rms_normalise(q), rms_normalise(k)
        if self.rope:
            positions = jnp.arange(x.shape[1])[None] if positions is None else positions
            q, k = rotate(q, positions), rotate(k, positions)
        return q, k, v

    def _join(self, y):
        return self.out(y.reshape(*y.shape[:2], self.width))
