"""Convolution in four forms that agree, with stride, dilation and groups; and the transposed convolution.

Formula: y[b, i, j, o] = sum over u, v, c of x[b, i s_h + u d_h - p_h, j s_w + v d_w - p_w, c] k[u, v, c, o], where c
    runs over the input channels of the group of o; x is zero outside its borders.
Paper: Dumoulin, Visin 2016, A guide to convolution arithmetic for deep learning; im2col: Chellapilla, Puri, Simard
    2006, High performance convolutional neural networks for document processing; Fourier: Mathieu, Henaff, LeCun 2013,
    Fast training of convolutional networks through FFTs.
Shapes: x [batch, height, width, c_in], k [k_h, k_w, c_in / groups, c_out] -> y [batch, height', width', c_out].

| method | work for each output number | memory beside x, k, y | when                                             |
| lax    | k_h k_w c_in                | little                | the default: XLA's, with the gradients of `conv`  |
| direct | k_h k_w c_in                | a copy of x           | to read: one product for each place of the window |
| im2col | k_h k_w c_in                | k_h k_w copies of x   | few channels on a CPU: one product in all         |
| fft    | c_in + logarithms           | spectra of x and k    | windows of 15 and more                            |

Example:
    from levels.level3_vision.conv_forms import conv2d, conv_transpose2d
    y = conv2d(x, k, strides=(2, 2), padding='torch_same', groups=4, method='fft')
"""

from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

from levels.level3_vision.conv import conv_general_dilated
from levels.level3_vision.padding import Padding, conv_shape, conv_transpose_shape, pad_amounts, transpose_cuts

_NHWC = ('NHWC', 'HWIO', 'NHWC')


def conv2d(
    x: Float[Array, 'b h w c'], k: Float[Array, 'kh kw c_in o'], *, strides: Sequence[int] = (1, 1),
    padding: Padding = 'VALID', dilation: Sequence[int] = (1, 1), groups: int = 1, method: str = 'lax',
) -> Float[Array, 'b oh ow o']:
    """Two-dimensional convolution by any of four methods that agree up to rounding.

    Formula: y[b, i, j, o] = sum_uvc x[b, i s_h + u d_h - p_h, j s_w + v d_w - p_w, c] k[u, v, c, o].
    Paper: Dumoulin, Visin 2016 (see the module's card, and its table of methods).
    Shapes: x [batch, h, w, c_in], k [k_h, k_w, c_in / groups, c_out] -> [batch, h', w', c_out]; `padding.conv_shape`
        says h' and w', and `padding.py` what the paddings are.
    Errors: ValueError for other ranks, channels that the groups do not divide, a window that does not fit, an unknown
        method.
    Example:
        x, k = jnp.ones((2, 9, 9, 4)), jnp.ones((3, 3, 2, 6))
        ways = [conv2d(x, k, strides=(2, 2), padding=1, groups=2, method=method) for method in METHODS]
        assert all(y.shape == (2, 5, 5, 6) for y in ways)
        assert all(jnp.abs(y - ways[0]).max() < 1e-4 for y in ways)
    """
    x, k = _checked(x, k, groups, 0)
    if method not in METHODS:
        raise ValueError(f'method: expected one of {", ".join(METHODS)}; found {method!r}')
    strides, dilation = tuple(strides), tuple(dilation)
    out = conv_shape(x.shape, k.shape[:2], k.shape[3], strides=strides, padding=padding, dilation=dilation)
    pads = pad_amounts(padding, x.shape[1:3], k.shape[:2], strides=strides, dilation=dilation)
    if method == 'lax':
        return conv_general_dilated(x, k, strides, pads, rhs_dilation=dilation, dimension_numbers=_NHWC,
                                    feature_group_count=groups)
    # [..., groups, channels in] and [..., channels in, groups, channels out]
    x = jnp.pad(x, ((0, 0), *pads, (0, 0))).reshape(x.shape[0], *_sum(x.shape[1:3], pads), groups, -1)
    k = k.reshape(*k.shape[:3], groups, -1)
    return METHODS[method](x, k, out[1:3], strides, dilation).reshape(out)


def _sum(sizes: Sequence[int], pads: Sequence[tuple[int, int]]) -> list[int]:
    return [n + low + high for n, (low, high) in zip(sizes, pads)]


def _shifts(x: Array, k: Array, out: Sequence[int], strides: Sequence[int], dilation: Sequence[int]) -> list[Array]:
    """For each place (u, v) of the window, what it sees at every output: [b, oh, ow, groups, c]."""
    (sh, sw), (dh, dw) = strides, dilation
    reach = [(n - 1) * s + 1 for n, s in zip(out, strides)]
    return [x[:, u * dh : u * dh + reach[0] : sh, v * dw : v * dw + reach[1] : sw]
            for u in range(k.shape[0]) for v in range(k.shape[1])]


def _direct(x: Array, k: Array, out: Sequence[int], strides: Sequence[int], dilation: Sequence[int]) -> Array:
    places = k.reshape(-1, *k.shape[2:])
    return sum(jnp.einsum('bhwgc,cgo->bhwgo', seen, place)
               for seen, place in zip(_shifts(x, k, out, strides, dilation), places))


def _im2col(x: Array, k: Array, out: Sequence[int], strides: Sequence[int], dilation: Sequence[int]) -> Array:
    patches = jnp.concatenate(_shifts(x, k, out, strides, dilation), axis=-1)       # [b, oh, ow, groups, kh kw c]
    return jnp.einsum('bhwgp,pgo->bhwgo', patches, k.reshape(-1, *k.shape[3:]))


def _fft(x: Array, k: Array, out: Sequence[int], strides: Sequence[int], dilation: Sequence[int]) -> Array:
    sizes, (sh, sw), (dh, dw), dtype = x.shape[1:3], strides, dilation, jnp.result_type(x, k)
    x, k = (a.astype(jnp.promote_types(dtype, jnp.float32)) for a in (x, k))     # there is no FFT of bfloat16
    still = ((0, 0, 0),) * 3
    k = lax.pad(k, jnp.zeros((), k.dtype), ((0, 0, dh - 1), (0, 0, dw - 1), *still))
    # correlation: the kernel's spectrum conjugated. Nothing wraps round, because only whole windows are read.
    spectrum = jnp.einsum('bhwgc,hwcgo->bhwgo', jnp.fft.rfft2(x, axes=(1, 2)),
                          jnp.conj(jnp.fft.rfft2(k, s=sizes, axes=(0, 1))))
    y = jnp.fft.irfft2(spectrum, s=sizes, axes=(1, 2))
    return y[:, : (out[0] - 1) * sh + 1 : sh, : (out[1] - 1) * sw + 1 : sw].astype(dtype)


METHODS: dict[str, Callable[..., Array] | None] = {'lax': None, 'direct': _direct, 'im2col': _im2col, 'fft': _fft}


def conv_transpose2d(
    x: Float[Array, 'b h w c'], k: Float[Array, 'kh kw c o_in'], *, strides: Sequence[int] = (1, 1),
    padding: Padding = 'VALID', output_padding: Sequence[int] | None = None, dilation: Sequence[int] = (1, 1),
    groups: int = 1,
) -> Float[Array, 'b oh ow o']:
    """Transposed convolution: every input number lays down its copy of the kernel, `strides` apart.

    It is the gradient of `conv2d` with respect to its input, padding and all. On a CPU, without dilation and groups, it
    is one convolution of stride 1 whose outputs for the s_h s_w places between two inputs are channels, put in their
    places at the end: no multiplication with the zeros that stand between the inputs otherwise.

    Formula: y[b, i s_h + u d_h - p_h, j s_w + v d_w - p_w, o] += x[b, i, j, c] k[u, v, c, o], for all b, i, j, u, v, c.
    Paper: Dumoulin, Visin 2016, chapter 4; the channels: Shi et al. 2016, Real-time single image and video
        super-resolution using an efficient sub-pixel convolutional neural network.
    Shapes: x [batch, h, w, c_in], k [k_h, k_w, c_in, c_out / groups] -> [batch, h', w', c_out]:
        `padding.conv_transpose_shape`. The kernel is not turned (torch's way; `lax.conv_transpose` turns it).
    Errors: ValueError for other ranks, channels that the groups do not divide, pads that leave no output.
    Example:
        x, k = jnp.ones((2, 4, 4, 3)), jnp.ones((3, 3, 3, 5))
        y = conv_transpose2d(x, k, strides=(2, 2), padding=1, output_padding=(1, 1))
        assert y.shape == (2, 8, 8, 5)
        assert conv_transpose2d(x, k)[0, 0, 0, 0] == 3          # a corner sees one input, of three channels
    """
    x, k = _checked(x, k, groups, 1)
    steps, spread, window = tuple(strides), tuple(dilation), k.shape[:2]
    options = {'strides': steps, 'padding': padding, 'output_padding': output_padding, 'dilation': spread}
    out = conv_transpose_shape(x.shape, window, k.shape[3] * groups, **options)
    cuts = transpose_cuts(x.shape[1:3], window, **options)
    if jax.default_backend() == 'cpu' and groups == 1 and spread == (1, 1):
        return _by_phases(x, k, steps, cuts, out)
    kernel = jnp.flip(k, (0, 1))
    if groups > 1:      # lax wants [.., c_in / groups, c_out]; torch's layout has the groups in the input channels
        kernel = jnp.moveaxis(kernel.reshape(*window, groups, -1, k.shape[3]), 2, 3).reshape(*window, -1, out[3])
    pads = [(d * (w - 1) - low, d * (w - 1) - high) for w, d, (low, high) in zip(window, spread, cuts)]
    return lax.conv_general_dilated(x, kernel, (1, 1), pads, lhs_dilation=steps, rhs_dilation=spread,
                                    dimension_numbers=_NHWC, feature_group_count=groups)


def _by_phases(x: Array, k: Array, strides: Sequence[int], cuts: Any, out: Sequence[int]) -> Array:
    (kh, kw, c, o), (sh, sw) = k.shape, strides
    th, tw = -(-kh // sh), -(-kw // sw)     # how many inputs an output sees
    # position t s + r of the kernel: from the t-th input before, at place r between two inputs
    k = jnp.pad(k, ((0, th * sh - kh), (0, tw * sw - kw), (0, 0), (0, 0))).reshape(th, sh, tw, sw, c, o)
    k = jnp.flip(k.transpose(0, 2, 4, 1, 3, 5), (0, 1)).reshape(th, tw, c, sh * sw * o)
    y = conv_general_dilated(x, k, (1, 1), ((th - 1, th - 1), (tw - 1, tw - 1)), dimension_numbers=_NHWC)
    rows, cols = y.shape[1:3]
    y = y.reshape(-1, rows, cols, sh, sw, o).transpose(0, 1, 3, 2, 4, 5).reshape(-1, rows * sh, cols * sw, o)
    # the last cut of the whole: what the padding of the kernel added there, and what the output does not want
    ends = [(-low, low + n - full) for (low, _), n, full in zip(cuts, out[1:3], y.shape[1:3])]
    return lax.pad(y, jnp.zeros((), y.dtype), ((0, 0, 0), *((low, high, 0) for low, high in ends), (0, 0, 0)))


class ConvTranspose(nn.Module):
    """A layer of `conv_transpose2d` with a bias.

    Formula: y = conv_transpose2d(x, kernel) + bias.
    Paper: Zeiler, Krishnan, Taylor, Fergus 2010, Deconvolutional networks; Dumoulin, Visin 2016, chapter 4.
    Shapes: x [batch, h, w, c_in] -> [batch, h', w', features]; kernel [k_h, k_w, c_in, features / groups], bias
        [features]. torch's weight [c_in, features / groups, k_h, k_w] is `kernel.transpose(2, 3, 0, 1)`.
    Errors: as `conv_transpose2d`.
    Example:
        layer = ConvTranspose(8, (4, 4), strides=(2, 2), padding=1)
        params = layer.init(jax.random.key(0), jnp.zeros((1, 7, 7, 16)))
        y = layer.apply(params, jnp.ones((2, 7, 7, 16)))
        assert y.shape == (2, 14, 14, 8)
    """

    features: int
    kernel_size: Sequence[int]
    strides: Sequence[int] = (1, 1)
    padding: Padding = 'VALID'
    output_padding: Sequence[int] | None = None
    dilation: Sequence[int] = (1, 1)
    groups: int = 1
    use_bias: bool = True
    kernel_init: Callable[..., Any] = nn.initializers.lecun_normal()
    bias_init: Callable[..., Any] = nn.initializers.zeros_init()
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, 'b h w c'], *, train: bool = False) -> Float[Array, 'b oh ow o']:
        del train
        if self.features % self.groups:
            raise ValueError(f'features: expected a multiple of groups={self.groups}; found {self.features}')
        shape = (*self.kernel_size, x.shape[-1], self.features // self.groups)
        kernel = self.param('kernel', self.kernel_init, shape, self.param_dtype)
        bias = self.param('bias', self.bias_init, (self.features,), self.param_dtype) if self.use_bias else None
        x, kernel, bias = nn.dtypes.promote_dtype(x, kernel, bias, dtype=self.dtype)
        y = conv_transpose2d(x, kernel, strides=self.strides, padding=self.padding, dilation=self.dilation,
                             output_padding=self.output_padding, groups=self.groups)
        return y if bias is None else y + bias[None, None, None]


def _checked(x: Any, k: Any, groups: int, outer: int) -> tuple[Array, Array]:
    """The arrays, whose kernel's axis 2 is the input channels, of one group or (outer) of all."""
    x, k = jnp.asarray(x), jnp.asarray(k)
    if x.ndim != 4 or k.ndim != 4:
        raise ValueError(f'x, k: expected [batch, h, w, c] and [k_h, k_w, c, o]; found {x.shape} and {k.shape}')
    whole = x.shape[3] if outer else k.shape[3]
    if groups < 1 or x.shape[3] % groups or whole % groups or k.shape[2] * (1 if outer else groups) != x.shape[3]:
        raise ValueError(f'groups: expected to divide the channels of x {x.shape} and k {k.shape}; found {groups}')
    return x, k
