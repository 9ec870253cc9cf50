"""Convolution: the one place that picks an implementation by backend.

Formula: y[b, i, j, o] = sum over u, v, c of x[b, i*s_h + u - p_h, j*s_w + v - p_w, c] * k[u, v, c, o], x being zero
    outside its borders (cross-correlation, as every deep-learning library computes it).
Paper: LeCun et al. 1989, Backpropagation Applied to Handwritten Zip Code Recognition, Neural Computation 1(4),
    section 3 (weight sharing); gradients: Dumoulin and Visin 2016, A guide to convolution arithmetic for deep
    learning, chapter 4; im2col: Chellapilla, Puri, Simard 2006, High Performance CNNs for Document Processing.
Shapes: x [batch, height, width, c_in], k [k_h, k_w, c_in, c_out] -> y [batch, height', width', c_out].

Why not plain `lax`: on the CPU XLA gives a convolution whose layout is not NHWC to a naive loop when it stands inside
`lax.scan` or `while_loop` (jax-ml/jax #12868), and both gradients of a convolution are such. So on the CPU
* few input channels (LeNet's two layers, any RGB stem) and windows of 1x1: patches and one matrix product, fast both
  ways and under vmap, where lax's loop has one core;
* windows of 3x3, stride 1, from 32 channels to 32 or more: `winograd.py`; forward and gradients take 1.1 to 1.9 times
  less than lax on two cores, 2.4 to 2.7 times under vmap over kernels;
* one filter for each channel: `depthwise.py`, no convolution at all. In a scan, forward and gradients took 6 CPU ms in
  place of 3,087 (batch 16, 8x8, 384 channels), 17 in place of 1,629 (32x32, 64 channels); outside 7 and 18 in place of
  55 and 82;
* else: lax forward, with both gradients written as forward NHWC convolutions (`jax.custom_vjp`, so reverse-mode only,
  as Winograd's);
* other groups, dilation, other layouts, mixed precision, 1-D and 3-D: lax.
On other backends everything is lax.

Example:
    from levels.level3_vision.conv import Conv
    model = Conv(6, (5, 5), padding='VALID')
    params = model.init(jax.random.key(0), jnp.zeros((1, 32, 32, 1)))
    y = model.apply(params, jnp.ones((8, 32, 32, 1)))   # [8, 28, 28, 6]
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from levels.level3_vision import depthwise, winograd
from levels.level3_vision.padding import pad_amounts

_NHWC = ('NHWC', 'HWIO', 'NHWC')
# Measured inside a scan on two cores, forward and gradients: im2col beats the convolution thunk in wall and CPU time up
# to 8 channels; beyond a patch of 200 numbers the copies cost more memory traffic than they save.
_IM2COL_CHANNELS, _IM2COL_PATCH = 8, 200
_WINOGRAD_CHANNELS = 32     # with fewer the transforms cost more than the products that they save
_DEPTHWISE_PATCH = 81       # places of a window that are written out one by one

Pads = tuple[tuple[int, int], tuple[int, int]]
Strides = tuple[int, int]


def conv_general_dilated(
    lhs: Float[Array | np.ndarray, '...'],
    rhs: Float[Array | np.ndarray, '...'],
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: Any = None,
    feature_group_count: int = 1,
    batch_group_count: int = 1,
    precision: Any = None,
    preferred_element_type: Any = None,
) -> Float[Array, '...']:
    """`lax.conv_general_dilated`, same arguments and values, with gradients that stay fast inside loops on a CPU.

    Formula: y[b, i, j, o] = sum_uvc x[b, i s_h + u - p_h, j s_w + v - p_w, c] k[u, v, c, o].
    Paper: LeCun et al. 1989 (see the module's card).
    Shapes: NHWC [batch, h, w, c_in] and HWIO [k_h, k_w, c_in, c_out] take the fast path; all of lax's work. A padding
        more than lax has: 'torch_same' (`padding.py`).
    Errors: lax's own (TypeError, ValueError) for shapes that do not fit. Forward-mode AD (`jax.jvp`, `jax.hessian`) of
        the custom gradient is a TypeError: use `flax.linen.Conv` there.
    Example:
        x, k = jnp.ones((8, 14, 14, 16)), jnp.ones((3, 3, 16, 32))
        dims = ('NHWC', 'HWIO', 'NHWC')
        y = conv_general_dilated(x, k, (1, 1), 'SAME', dimension_numbers=dims)
        y.shape                                              # (8, 14, 14, 32)
    """
    lhs, rhs = jnp.asarray(lhs), jnp.asarray(rhs)
    if isinstance(padding, str) and padding == 'torch_same':
        spec = lax.conv_dimension_numbers(lhs.shape, rhs.shape, dimension_numbers)
        sizes, window = ([a.shape[i] for i in at[2:]] for a, at in ((lhs, spec.lhs_spec), (rhs, spec.rhs_spec)))
        padding = pad_amounts(padding, sizes, window, strides=window_strides, dilation=rhs_dilation)
    handled = (
        jax.default_backend() == 'cpu'
        and lhs.ndim == 4
        and rhs.ndim == 4
        and all(d == 1 for d in (*(lhs_dilation or ()), *(rhs_dilation or ())))
        and batch_group_count == 1
        and preferred_element_type is None
        and lhs.dtype == rhs.dtype
        and dimension_numbers is not None
        and _is_nhwc(lhs, rhs, dimension_numbers)
    )
    plain = handled and feature_group_count == 1 and lhs.shape[3] == rhs.shape[2]       # lax has the message for it
    deep = (handled and 1 < feature_group_count == lhs.shape[3] and rhs.shape[2] == 1
            and rhs.shape[3] % feature_group_count == 0 and rhs.shape[0] * rhs.shape[1] <= _DEPTHWISE_PATCH)
    if not (plain or deep):
        return lax.conv_general_dilated(
            lhs,
            rhs,
            window_strides,
            padding,
            lhs_dilation=lhs_dilation,
            rhs_dilation=rhs_dilation,
            dimension_numbers=dimension_numbers,
            feature_group_count=feature_group_count,
            batch_group_count=batch_group_count,
            precision=precision,
            preferred_element_type=preferred_element_type,
        )
    strides, window = tuple(window_strides), rhs.shape[:2]
    if isinstance(padding, str):
        padding = lax.padtype_to_pads(lhs.shape[1:3], window, strides, padding)
    pads = tuple((int(lo), int(hi)) for lo, hi in padding)
    channels = rhs.shape[2]
    small = window == (1, 1) or (channels <= _IM2COL_CHANNELS and window[0] * window[1] * channels <= _IM2COL_PATCH)
    # negative pads crop, which jnp.pad refuses; sizes that do not fit are left to lax, whose messages are good
    sound = min(min(p) for p in pads) >= 0 and all(
        n + lo + hi >= k for n, (lo, hi), k in zip(lhs.shape[1:3], pads, window)
    )
    if deep and sound:
        return depthwise.depthwise(lhs, rhs, strides, pads)
    if deep:
        return _lax(lhs, rhs, strides, pads, precision, feature_group_count=feature_group_count)
    if small and sound:
        return _im2col(lhs, rhs, strides, pads, precision)
    if (sound and winograd.fits(window, strides, pads) and min(rhs.shape[2:]) >= _WINOGRAD_CHANNELS
            and lhs.dtype in (jnp.float32, jnp.float64)):
        return winograd.winograd(lhs, rhs, pads, precision)
    return _conv(lhs, rhs, strides, pads, precision)


def _is_nhwc(lhs: Array, rhs: Array, dimension_numbers: Any) -> bool:
    found = lax.conv_dimension_numbers(lhs.shape, rhs.shape, dimension_numbers)
    return found == lax.conv_dimension_numbers(lhs.shape, rhs.shape, _NHWC)


def _im2col(
    x: Float[Array, 'b h w c'], k: Float[Array, 'kh kw c o'], strides: Strides, pads: Pads, precision: Any
) -> Float[Array, 'b oh ow o']:
    x = jnp.pad(x, ((0, 0), *pads, (0, 0)))
    (kh, kw, c, o), (sh, sw) = k.shape, strides
    rows, cols = (x.shape[1] - kh) // sh * sh + 1, (x.shape[2] - kw) // sw * sw + 1
    patches = [x[:, u : u + rows : sh, v : v + cols : sw] for u in range(kh) for v in range(kw)]
    patches = jnp.concatenate(patches, axis=-1)
    # two-dimensional: a product that sums over three axes, as the gradient then would, is three times slower
    y = jnp.matmul(patches.reshape(-1, kh * kw * c), k.reshape(kh * kw * c, o), precision=precision)
    return y.reshape(*patches.shape[:3], o)


def _lax(x: Array, k: Array, strides: Strides, pads: Pads, precision: Any, **options: Any) -> Array:
    return lax.conv_general_dilated(x, k, strides, pads, dimension_numbers=_NHWC, precision=precision, **options)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def _conv(
    x: Float[Array, 'b h w c'], k: Float[Array, 'kh kw c o'], strides: Strides, pads: Pads, precision: Any
) -> Float[Array, 'b oh ow o']:
    return _lax(x, k, strides, pads, precision)


def _conv_fwd(x: Array, k: Array, strides: Strides, pads: Pads, precision: Any) -> tuple[Array, tuple[Array, Array]]:
    return _lax(x, k, strides, pads, precision), (x, k)


def _conv_bwd(
    strides: Strides, pads: Pads, precision: Any, saved: tuple[Array, Array], g: Array
) -> tuple[Array, Array]:
    x, k = saved
    x_pads, k_pads = [], []
    for size, window, out, stride, (low, _) in zip(x.shape[1:3], k.shape[:2], g.shape[1:3], strides, pads):
        spread = (out - 1) * stride + 1  # the cotangent with stride - 1 zeros between its entries
        # Each output size must come out as the primal's; a stride that skips the last rows makes the high pad larger.
        x_pads.append((window - 1 - low, size + low - spread))
        k_pads.append((low, window - 1 + spread - size - low))
    turned = jnp.flip(k, (0, 1)).swapaxes(2, 3)
    dx = _lax(g, turned, (1, 1), tuple(x_pads), precision, lhs_dilation=strides)
    # Channels play the batch and the batch plays the channels, so the sum over examples is the one over channels in.
    by_channel = _lax(
        x.transpose(3, 1, 2, 0), g.transpose(1, 2, 0, 3), (1, 1), tuple(k_pads), precision, rhs_dilation=strides
    )
    return dx, by_channel.transpose(1, 2, 0, 3)


_conv.defvjp(_conv_fwd, _conv_bwd)


class Conv(nn.Conv):
    """`flax.linen.Conv` with the loop-fast convolution plugged in; fields, parameters and values are Linen's.

    Formula: y = conv(x, kernel) + bias.
    Paper: LeCun et al. 1989 (see the module's card).
    Shapes: x [*batch, h, w, c_in] -> [*batch, h', w', features]; kernel [k_h, k_w, c_in, features], bias [features].
    Errors: Linen's own. `padding='SAME'` with a stride pads right and bottom first, unlike torch: give explicit pads,
        or 'torch_same' (`padding.py`).
    Example:
        layer = Conv(16, (3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))
        params = layer.init(jax.random.key(0), jnp.zeros((1, 28, 28, 3)))
        y = layer.apply(params, jnp.ones((8, 28, 28, 3)))
        y.shape                                              # (8, 14, 14, 16)
    """

    conv_general_dilated: Callable[..., Any] | None = conv_general_dilated
    # Linen's annotations of these two are protocols that a run-time type checker cannot check
    promote_dtype: Callable[..., Any] = nn.dtypes.promote_dtype
    conv_general_dilated_cls: Any = None

    def __call__(self, x: Float[Array, '*in c_in'], *, train: bool = False) -> Float[Array, '*out c_out']:
        """Convolve; `train` is accepted because every module here takes it, and changes nothing."""
        del train
        return super().__call__(x)
