"""Max and average pooling over [batch, height, width, channels]: windows, the whole image, or a given number of parts.

Formula: y[b, i, j, c] = max (or mean) over 0 <= u < w_h, 0 <= v < w_w of x[b, i s_h + u - p_h, j s_w + v - p_w, c].
Paper: average: LeCun et al. 1989, Handwritten Digit Recognition with a Back-Propagation Network, section 4; max against
    average: Scherer, Mueller, Behnke 2010, Evaluation of Pooling Operations in Convolutional Architectures.
Shapes: x [batch, h, w, c] -> [batch, h', w', c], h' = (h + pads - w_h) // s_h + 1; see `padding.pool_shape`.

Windows that tile the image (stride = window, size a multiple of it, no padding) are folded with elementwise operations
on slices: XLA's reduce_window has a gradient (select_and_scatter) that is 6-9 times slower on a CPU. Everything else is
reduce_window. Where a window holds equal maxima the tiled form, and global and adaptive pooling, share the gradient
among them; reduce_window and torch give it to the first one. Both are subgradients.

Paddings are those of `padding.py`; padding never counts as an entry of a maximum. `ceil_mode` is torch's: the last
window may hang over the padded image, and what hangs over is counted by no mean, not even with `count_include_pad`.

Example:
    from levels.level3_vision.pooling import avg_pool, max_pool
    x = jnp.arange(16.0).reshape(1, 4, 4, 1)
    max_pool(x, (2, 2))[0, :, :, 0]                          # [[5, 7], [13, 15]]
    avg_pool(x, (2, 2))[0, :, :, 0]                          # [[2.5, 4.5], [10.5, 12.5]]
"""

import functools
from collections.abc import Callable, Sequence

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from levels.level3_vision.padding import Padding, Pads, ceil_pads, pad_amounts, pool_shape

_FOLD = 8  # up to this window edge slices are folded one by one; beyond, one reduction makes a smaller program


def max_pool(
    x: Float[Array, '...'],
    window: Sequence[int] = (2, 2),
    *,
    strides: Sequence[int] | None = None,
    padding: Padding = 'VALID',
    ceil_mode: bool = False,
) -> Float[Array, '...']:
    """The largest entry of each window.

    Formula: y[b, i, j, c] = max_uv x[b, i s_h + u, j s_w + v, c].
    Paper: Scherer, Mueller, Behnke 2010.
    Shapes: [batch, h, w, c] -> [batch, h', w', c]; `strides=None` means the window, as in torch (Linen's None means 1).
    Errors: ValueError when x is not of rank 4, a window or stride is not two positive integers, a padding is unknown
        or as wide as the window, or the window does not fit.
    Example:
        x = jnp.arange(16.0).reshape(1, 4, 4, 1)
        y = max_pool(x, (2, 2))
        y.shape                                              # (1, 2, 2, 1)
        y[0, 0, 0, 0]                                        # 5.0
    """
    window, strides, _, whole = _checked(x, window, strides, padding, ceil_mode)
    if not _tiles(x, window, strides, whole):
        return nn.max_pool(x, window, strides=strides, padding=whole)
    return _fold(x, window, jnp.maximum, jnp.max)


def avg_pool(
    x: Float[Array, '...'],
    window: Sequence[int] = (2, 2),
    *,
    strides: Sequence[int] | None = None,
    padding: Padding = 'VALID',
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Float[Array, '...']:
    """The mean of each window.

    Formula: y[b, i, j, c] = (1/n) sum_uv x[b, i s_h + u, j s_w + v, c], n = w_h w_w, or without
        `count_include_pad` the number of entries that are not padding.
    Paper: LeCun et al. 1989, section 4.
    Shapes: [batch, h, w, c] -> [batch, h', w', c]; `strides=None` means the window, as in torch (Linen's None means 1).
    Errors: ValueError as `max_pool`.
    Example:
        x = jnp.arange(16.0).reshape(1, 4, 4, 1)
        y = avg_pool(x, (2, 2))
        y.shape                                              # (1, 2, 2, 1)
        y[0, 0, 0, 0]                                        # 2.5
    """
    window, strides, pads, whole = _checked(x, window, strides, padding, ceil_mode)
    if _tiles(x, window, strides, whole):
        return _fold(x, window, jnp.add, jnp.sum) / (window[0] * window[1])
    total = lax.reduce_window(x, np.zeros((), x.dtype), lax.add, (1, *window, 1), (1, *strides, 1),
                              ((0, 0), *whole, (0, 0)))
    counts = [_counts(*axis, count_include_pad)
              for axis in zip(x.shape[1:3], total.shape[1:3], window, strides, pads)]
    return total / jnp.asarray(np.multiply.outer(*counts), x.dtype)[None, :, :, None]


def global_avg_pool(x: Float[Array, 'b h w c']) -> Float[Array, 'b c']:
    """The mean of each channel over the whole image.

    Formula: y[b, c] = (1 / (h w)) sum_ij x[b, i, j, c].
    Paper: Lin, Chen, Yan 2013, Network in network, section 3.2.
    Shapes: [batch, h, w, c] -> [batch, c].
    Errors: ValueError when x is not of rank 4.
    Example:
        x = jnp.arange(16.0).reshape(1, 4, 4, 1)
        y = global_avg_pool(x)
        assert y.shape == (1, 1)
        assert y[0, 0] == 7.5
    """
    _rank(x)
    return jnp.mean(x, axis=(1, 2))


def global_max_pool(x: Float[Array, 'b h w c']) -> Float[Array, 'b c']:
    """The largest entry of each channel of the whole image.

    Formula: y[b, c] = max_ij x[b, i, j, c].
    Paper: Oquab, Bottou, Laptev, Sivic 2015, Is object localization for free?, section 3.2.
    Shapes: [batch, h, w, c] -> [batch, c].
    Errors: ValueError when x is not of rank 4.
    Example:
        x = jnp.arange(16.0).reshape(1, 4, 4, 1)
        y = global_max_pool(x)
        assert y.shape == (1, 1)
        assert y[0, 0] == 15
    """
    _rank(x)
    return jnp.max(x, axis=(1, 2))


def adaptive_avg_pool(x: Float[Array, 'b h w c'], size: Sequence[int] | int) -> Float[Array, 'b oh ow c']:
    """The mean of each of `size` parts of the image, whatever the size of the image.

    Formula: part i of n entries in m parts: floor(i n / m) to ceil((i + 1) n / m), so that neighbours may overlap.
    Paper: He, Zhang, Ren, Sun 2014, Spatial pyramid pooling in deep convolutional networks, section 2.2; the parts are
        torch's.
    Shapes: [batch, h, w, c] and (oh, ow), or one number for both -> [batch, oh, ow, c].
    Errors: ValueError when x is not of rank 4 or a size is no integer >= 1.
    Example:
        x = jnp.arange(5.0).reshape(1, 5, 1, 1)
        y = adaptive_avg_pool(x, (2, 1))
        assert y[0, :, 0, 0].tolist() == [1, 3]              # of 0 1 2 and of 2 3 4
        assert adaptive_avg_pool(x, 1)[0, 0, 0, 0] == 2
    """
    size = _sizes(x, size)
    if all(n % m == 0 for n, m in zip(x.shape[1:3], size)):
        return avg_pool(x, tuple(n // m for n, m in zip(x.shape[1:3], size)))
    down, across = (np.stack([np.bincount(np.arange(lo, hi), minlength=n) / (hi - lo) for lo, hi in _parts(n, m)])
                    for n, m in zip(x.shape[1:3], size))
    return jnp.einsum('ih,bhwc,jw->bijc', down.astype(x.dtype), x, across.astype(x.dtype), precision='highest')


def adaptive_max_pool(x: Float[Array, 'b h w c'], size: Sequence[int] | int) -> Float[Array, 'b oh ow c']:
    """The largest entry of each of `size` parts of the image, whatever the size of the image.

    Formula: part i of n entries in m parts: floor(i n / m) to ceil((i + 1) n / m), so that neighbours may overlap.
    Paper: He, Zhang, Ren, Sun 2014, Spatial pyramid pooling in deep convolutional networks, section 2.2; the parts are
        torch's.
    Shapes: [batch, h, w, c] and (oh, ow), or one number for both -> [batch, oh, ow, c].
    Errors: ValueError when x is not of rank 4 or a size is no integer >= 1.
    Example:
        x = jnp.arange(5.0).reshape(1, 5, 1, 1)
        y = adaptive_max_pool(x, (2, 1))
        assert y[0, :, 0, 0].tolist() == [2, 4]              # of 0 1 2 and of 2 3 4
        assert adaptive_max_pool(x, 1)[0, 0, 0, 0] == 4
    """
    size = _sizes(x, size)
    x = jnp.stack([jnp.max(x[:, lo:hi], axis=1) for lo, hi in _parts(x.shape[1], size[0])], axis=1)
    return jnp.stack([jnp.max(x[:, :, lo:hi], axis=2) for lo, hi in _parts(x.shape[2], size[1])], axis=2)


def _rank(x: Array) -> None:
    if x.ndim != 4:
        raise ValueError(f'x: expected rank 4 [batch, height, width, channels]; found shape {x.shape}')


def _sizes(x: Array, size: Sequence[int] | int) -> tuple[int, int]:
    _rank(x)
    size = (size, size) if isinstance(size, int) else tuple(size)
    if len(size) != 2 or not all(isinstance(n, int) and n >= 1 for n in size):
        raise ValueError(f'size: expected one or two integers >= 1; found {size}')
    return size


def _parts(n: int, m: int) -> list[tuple[int, int]]:
    return [(i * n // m, -(-(i + 1) * n // m)) for i in range(m)]


def _checked(
    x: Array, window: Sequence[int], strides: Sequence[int] | None, padding: Padding, ceil_mode: bool
) -> tuple[tuple[int, ...], tuple[int, ...], Pads, Pads]:
    """Window, strides, the pads that were asked for, and those with what ceil_mode adds."""
    _rank(x)
    window, strides = tuple(window), tuple(window if strides is None else strides)
    for name, value in (('window', window), ('strides', strides)):
        if len(value) != 2 or not all(isinstance(v, int) and v > 0 for v in value):
            raise ValueError(f'{name}: expected two positive integers; found {value}')
    pads = pad_amounts(padding, x.shape[1:3], window, strides=strides)
    if any(max(p) >= w for p, w in zip(pads, window)):      # a window of padding alone has no maximum and no mean
        raise ValueError(f'padding: expected less than the window {window} on each side; found {pads}')
    pool_shape(x.shape, window, strides=strides, padding=pads, ceil_mode=ceil_mode)     # the window must fit
    return window, strides, pads, ceil_pads(x.shape[1:3], window, strides, pads) if ceil_mode else pads


def _tiles(x: Array, window: tuple[int, ...], strides: tuple[int, ...], pads: Pads) -> bool:
    unpadded = all(p == (0, 0) for p in pads)
    return unpadded and window == strides and all(n % w == 0 for n, w in zip(x.shape[1:3], window))


def _counts(n: int, out: int, w: int, s: int, pads: tuple[int, int], include: bool) -> np.ndarray:
    """How many entries each of `out` windows averages over."""
    first = np.arange(out) * s - pads[0]
    begin, end = (-pads[0], n + pads[1]) if include else (0, n)
    return np.minimum(first + w, end) - np.maximum(first, begin)


def _fold(x: Array, window: tuple[int, ...], pair: Callable, reduce: Callable) -> Array:
    b, h, w, c = x.shape
    wh, ww = window
    x = x.reshape(b, h // wh, wh, w // ww, ww, c)
    if max(window) > _FOLD:
        return reduce(x, axis=(2, 4))
    x = functools.reduce(pair, [x[:, :, :, :, v] for v in range(ww)])
    return functools.reduce(pair, [x[:, :, u] for u in range(wh)])
