"""Convolution with the batch as the last axis, [channels, height, width, batch]: for small channel counts on a CPU.

Formula: y[o, i, j, b] = bias_o + sum over u, v, c of x[c, i + u - p_h, j + v - p_w, b] k[u, v, c, o].
Paper: Krizhevsky 2014, cuda-convnet2 (the layout); im2col: Chellapilla, Puri, Simard 2006, High Performance CNNs for
    Document Processing.
Shapes: x [c_in, height, width, batch], k [k_h, k_w, c_in, c_out] -> y [c_out, height', width', batch].

Patches and one matrix product, as in `conv.py`; but with the batch last every shift of a window is a copy of long
contiguous runs, whatever the number of channels, where LeNet's 1 and 6 channels last make it one of single numbers.
Forward and backward LeNet-5 (batch 128) took 6.7 ms in place of 30 on two cores. Tried and slower in a whole step:
summing the window elementwise without patches (16 ms: XLA fuses it into the pooling and computes it again), and adding
the gradients of patches in place (8 ms). Pooling over axes 1 and 2 (`pooling.py`) and everything elementwise work in
this layout as they are.

Example:
    x = images.transpose(3, 1, 2, 0)                             # from NHWC
    y = PlanesConv(6, (5, 5), padding=((2, 2), (2, 2))).apply(params, x).transpose(3, 1, 2, 0)
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

Pads = tuple[tuple[int, int], tuple[int, int]]


def conv_planes(x: Float[Array, 'c h w b'], k: Float[Array, 'kh kw c o'], *, padding: Pads = ((0, 0), (0, 0))
                ) -> Float[Array, 'o oh ow b']:
    """Convolution with stride 1 of [channels, height, width, batch].

    Formula: y[o, i, j, b] = sum_uvc x[c, i + u - p_h, j + v - p_w, b] k[u, v, c, o].
    Paper: Krizhevsky 2014, cuda-convnet2 (see the module's card).
    Shapes: x [c, h, w, b], k [k_h, k_w, c, o] -> [o, h', w', b], h' = h + pads - k_h + 1.
    Errors: ValueError for other ranks, channels that differ, negative pads, a window larger than the padded image.
    Example:
        x, k = jnp.ones((1, 5, 5, 8)), jnp.ones((3, 3, 1, 2))
        y = conv_planes(x, k)
        y.shape                                              # (2, 3, 3, 8)
        assert (y == 9).all()
    """
    if x.ndim != 4 or k.ndim != 4 or x.shape[0] != k.shape[2]:
        raise ValueError(f'x, k: expected [c, h, w, batch] and [k_h, k_w, c, o]; found {x.shape} and {k.shape}')
    fits = all(n + lo + hi >= w for n, w, (lo, hi) in zip(x.shape[1:3], k.shape[:2], padding))
    if min(min(p) for p in padding) < 0 or not fits:
        raise ValueError(f'padding: expected pads >= 0 and a window that fits; found {padding}, {x.shape}, {k.shape}')
    x = jnp.pad(x, ((0, 0), *padding, (0, 0)))
    rows, cols = x.shape[1] - k.shape[0] + 1, x.shape[2] - k.shape[1] + 1
    patches = [x[:, u : u + rows, v : v + cols] for u in range(k.shape[0]) for v in range(k.shape[1])]
    y = k.reshape(-1, k.shape[3]).T @ jnp.concatenate(patches).reshape(-1, rows * cols * x.shape[3])
    return y.reshape(-1, rows, cols, x.shape[3])


class PlanesConv(nn.Module):
    """`conv.Conv` for [channels, height, width, batch], stride 1: the same parameters, drawn alike, under one name."""

    features: int
    kernel_size: tuple[int, int]
    padding: Pads = ((0, 0), (0, 0))
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, 'c h w b'], *, train: bool = False) -> Float[Array, 'o oh ow b']:
        del train
        shape = (*self.kernel_size, x.shape[0], self.features)
        kernel = self.param('kernel', nn.initializers.lecun_normal(), shape, self.param_dtype)
        bias = self.param('bias', nn.initializers.zeros, (self.features,), self.param_dtype)
        x, kernel, bias = nn.dtypes.promote_dtype(x, kernel, bias, dtype=self.dtype)
        return conv_planes(x, kernel, padding=self.padding) + bias[:, None, None, None]
