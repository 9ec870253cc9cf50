"""Depthwise convolution, one window for each channel, written out for CPUs: a product and a sum for each place of it.

Formula: y[b, i, j, c m + n] = sum over u, v of x[b, i s_h + u - p_h, j s_w + v - p_w, c] k[u, v, 0, c m + n], for m
    outputs of each channel.
Paper: Howard et al. 2017, MobileNets: Efficient Convolutional Neural Networks for Mobile Vision Applications, section
    3.1; gradients: Dumoulin and Visin 2016, A guide to convolution arithmetic for deep learning, chapter 4.
Shapes: x [batch, height, width, channels], k [k_h, k_w, 1, channels m] -> y [batch, height', width', channels m].

The gradient with respect to x is as many such sums as there are places between two windows (s_h s_w), each over the
windows that see such a place. That with respect to k is one reduction to k_h k_w numbers for each image and channel:
as separate sums, what the automatic gradient makes, each would read all images again.

Example:
    from levels.level3_vision.depthwise import depthwise
    y = depthwise(x, k, (2, 2), ((1, 1), (1, 1)))
"""

import functools

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

Pads = tuple[tuple[int, int], tuple[int, int]]
Strides = tuple[int, int]


def depthwise(
    x: Float[Array, 'b h w c'], k: Float[Array, 'kh kw 1 o'], strides: Strides, pads: Pads
) -> Float[Array, 'b oh ow o']:
    """Depthwise convolution (cross-correlation).

    Formula: the module's.
    Paper: Howard et al. 2017, section 3.1.
    Shapes: x [batch, h, w, c], k [k_h, k_w, 1, c m], pads ((top, bottom), (left, right)), none negative ->
        [batch, (h + top + bottom - k_h) // s_h + 1, ..., c m].
    Errors: ValueError for other shapes, negative pads, or a window that does not fit. Forward-mode AD is a TypeError.
    Example:
        x, k = jnp.ones((2, 5, 6, 4)), jnp.ones((3, 3, 1, 8))
        y = depthwise(x, k, (2, 1), ((1, 1), (0, 0)))
        assert y.shape == (2, 3, 4, 8)
        assert y[0, 0, 0, 0] == 6                           # a row of the window lies outside
    """
    sizes = [n + low + high for n, (low, high) in zip(x.shape[1:3], pads)]
    if (x.ndim != 4 or k.ndim != 4 or k.shape[2] != 1 or k.shape[3] % x.shape[3] or min(min(p) for p in pads) < 0
            or any(n < w for n, w in zip(sizes, k.shape[:2]))):
        raise ValueError(f'x, k, pads: expected [b, h, w, c], [k_h, k_w, 1, c m], pads >= 0 and a window that fits; '
                         f'found {x.shape}, {k.shape}, {pads}')
    x = jnp.pad(x, ((0, 0), *pads, (0, 0)))
    return _padded(jnp.repeat(x, k.shape[3] // x.shape[3], axis=3) if k.shape[3] > x.shape[3] else x, k, strides)


def _shifts(x: Array, window: tuple[int, ...], strides: Strides) -> list[Array]:
    """What each place of the window sees."""
    (kh, kw), (sh, sw) = window, strides
    rows, cols = (x.shape[1] - kh) // sh * sh + 1, (x.shape[2] - kw) // sw * sw + 1
    return [x[:, u : u + rows : sh, v : v + cols : sw] for u in range(kh) for v in range(kw)]


def _places(k: Array) -> Array:
    return k.reshape(-1, 1, 1, 1, k.shape[3])


def _forward(x: Array, k: Array, strides: Strides) -> Array:
    return sum(seen * place for seen, place in zip(_shifts(x, k.shape[:2], strides), _places(k)))


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _padded(x: Array, k: Array, strides: Strides) -> Array:
    return _forward(x, k, strides)


def _fwd(x: Array, k: Array, strides: Strides) -> tuple[Array, tuple[Array, Array]]:
    return _forward(x, k, strides), (x, k)


def _bwd(strides: Strides, saved: tuple[Array, Array], g: Array) -> tuple[Array, Array]:
    x, k = saved
    # It is read k_h k_w times, and XLA would work out what computes it as often: EfficientNet-B0's step took 8 to 11 %
    # more CPU seconds without this.
    g = lax.optimization_barrier(g)
    (kh, kw), (sh, sw) = k.shape[:2], strides
    spans = [-(-n // s) for n, s in zip(k.shape[:2], strides)]          # of how many outputs a place is seen
    counts = [-(-n // s) for n, s in zip(x.shape[1:3], strides)]
    room = [(span - 1, count - out, 0) for span, count, out in zip(spans, counts, g.shape[1:3])]
    wide = lax.pad(g, jnp.zeros((), g.dtype), ((0, 0, 0), *room, (0, 0, 0)))
    # places of the window, turned, by the place between two windows that they see
    turned = jnp.pad(k, ((0, spans[0] * sh - kh), (0, spans[1] * sw - kw), (0, 0), (0, 0)))
    turned = jnp.flip(turned.reshape(spans[0], sh, spans[1], sw, 1, -1), (0, 2))
    phases = [[_forward(wide, turned[:, r, :, c], (1, 1)) for c in range(sw)] for r in range(sh)]
    dx = jnp.stack([jnp.stack(row, axis=3) for row in phases], axis=2)
    dx = dx.reshape(x.shape[0], counts[0] * sh, counts[1] * sw, -1)[:, : x.shape[1], : x.shape[2]]
    return dx, _window_gradient(x, g, (kh, kw), strides)


_padded.defvjp(_fwd, _bwd)


def _plain_window_gradient(x: Array, g: Array, window: tuple[int, int], strides: Strides) -> Array:
    sums = [jnp.sum(seen * g, axis=(0, 1, 2)) for seen in _shifts(x, window, strides)]
    return jnp.stack(sums).reshape(*window, 1, -1)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _window_gradient(x: Array, g: Array, window: tuple[int, int], strides: Strides) -> Array:
    products = tuple(seen * g for seen in _shifts(x, window, strides))
    zeros = (jnp.zeros((), g.dtype),) * len(products)
    sums = lax.reduce(products, zeros, lambda a, b: tuple(p + q for p, q in zip(a, b)), (1, 2))
    return jnp.stack([s.sum(0) for s in sums]).reshape(*window, 1, -1)


def _window_fwd(x: Array, g: Array, window: tuple[int, int], strides: Strides) -> tuple[Array, tuple[Array, Array]]:
    return _window_gradient(x, g, window, strides), (x, g)


def _window_bwd(window: tuple[int, int], strides: Strides, saved: tuple[Array, Array], t: Array) -> tuple[Array, Array]:
    return jax.vjp(lambda x, g: _plain_window_gradient(x, g, window, strides), *saved)[1](t)


_window_gradient.defvjp(_window_fwd, _window_bwd)
