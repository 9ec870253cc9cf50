"""Max and average pooling over [batch, height, width, channels].

Formula: y[b, i, j, c] = max (or mean) over 0 <= u < w_h, 0 <= v < w_w of x[b, i*s_h + u, j*s_w + v, c].
Paper: average: LeCun et al. 1989, Handwritten Digit Recognition with a Back-Propagation Network, section 4; max against
    average: Scherer, Mueller, Behnke 2010, Evaluation of Pooling Operations in Convolutional Architectures.
Shapes: x [batch, h, w, c] -> [batch, h', w', c], h' = (h + pads - w_h) // s_h + 1.

Windows that tile the image (stride = window, size a multiple of it, no padding) are folded with elementwise operations
on slices: XLA's reduce_window has a gradient (select_and_scatter) that is 6-9 times slower on a CPU. Everything else is
Linen's pooling. Where a window holds equal maxima the tiled form shares the gradient among them; Linen and torch give
it to the first one. Both are subgradients.

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
from jaxtyping import Array, Float

Padding = str | Sequence[tuple[int, int]]
_FOLD = 8  # up to this window edge slices are folded one by one; beyond, one reduction makes a smaller program


def max_pool(
    x: Float[Array, '...'],
    window: Sequence[int] = (2, 2),
    *,
    strides: Sequence[int] | None = None,
    padding: Padding = 'VALID',
) -> Float[Array, '...']:
    """The largest entry of each window.

    Formula: y[b, i, j, c] = max_uv x[b, i s_h + u, j s_w + v, c].
    Paper: Scherer, Mueller, Behnke 2010.
    Shapes: [batch, h, w, c] -> [batch, h', w', c]; `strides=None` means the window, as in torch (Linen's None means 1).
    Errors: ValueError when x is not of rank 4 or a window or stride is not two positive integers.
    Example:
        x = jnp.arange(16.0).reshape(1, 4, 4, 1)
        y = max_pool(x, (2, 2))
        y.shape                                              # (1, 2, 2, 1)
        y[0, 0, 0, 0]                                        # 5.0
    """
    window, strides = _checked(x, window, strides)
    if not _tiles(x, window, strides, padding):
        return nn.max_pool(x, window, strides=strides, padding=padding)
    return _fold(x, window, jnp.maximum, jnp.max)


def avg_pool(
    x: Float[Array, '...'],
    window: Sequence[int] = (2, 2),
    *,
    strides: Sequence[int] | None = None,
    padding: Padding = 'VALID',
    count_include_pad: bool = True,
) -> Float[Array, '...']:
    """The mean of each window.

    Formula: y[b, i, j, c] = (1/n) sum_uv x[b, i s_h + u, j s_w + v, c], n = w_h w_w, or without
        `count_include_pad` the number of entries that are not padding.
    Paper: LeCun et al. 1989, section 4.
    Shapes: [batch, h, w, c] -> [batch, h', w', c]; `strides=None` means the window, as in torch (Linen's None means 1).
    Errors: ValueError when x is not of rank 4 or a window or stride is not two positive integers.
    Example:
        x = jnp.arange(16.0).reshape(1, 4, 4, 1)
        y = avg_pool(x, (2, 2))
        y.shape                                              # (1, 2, 2, 1)
        y[0, 0, 0, 0]                                        # 2.5
    """
    window, strides = _checked(x, window, strides)
    if not _tiles(x, window, strides, padding):
        return nn.avg_pool(x, window, strides=strides, padding=padding, count_include_pad=count_include_pad)
    return _fold(x, window, jnp.add, jnp.sum) / (window[0] * window[1])


def _checked(x: Array, window: Sequence[int], strides: Sequence[int] | None) -> tuple[tuple[int, ...], tuple[int, ...]]:
    if x.ndim != 4:
        raise ValueError(f'x: expected rank 4 [batch, height, width, channels]; found shape {x.shape}')
    window, strides = tuple(window), tuple(window if strides is None else strides)
    for name, value in (('window', window), ('strides', strides)):
        if len(value) != 2 or not all(isinstance(v, int) and v > 0 for v in value):
            raise ValueError(f'{name}: expected two positive integers; found {value}')
    return window, strides


def _tiles(x: Array, window: tuple[int, ...], strides: tuple[int, ...], padding: Padding) -> bool:
    # 'SAME' pads nothing when the window divides the size, so both names mean the same here
    unpadded = padding in ('VALID', 'SAME') if isinstance(padding, str) else all(tuple(p) == (0, 0) for p in padding)
    return unpadded and window == strides and all(n % w == 0 for n, w in zip(x.shape[1:3], window))


def _fold(x: Array, window: tuple[int, ...], pair: Callable, reduce: Callable) -> Array:
    b, h, w, c = x.shape
    wh, ww = window
    x = x.reshape(b, h // wh, wh, w // ww, ww, c)
    if max(window) > _FOLD:
        return reduce(x, axis=(2, 4))
    x = functools.reduce(pair, [x[:, :, :, :, v] for v in range(ww)])
    return functools.reduce(pair, [x[:, :, u] for u in range(wh)])
