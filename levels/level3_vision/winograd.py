"""Convolution with a 3x3 window and stride 1 in 16 products for 4 outputs, where the definition takes 36.

Formula: F(2x2, 3x3): Y = A' [(G g G') * (B' d B)] A for each 4x4 tile d of the image, two apart, and each window g, *
    being element by element; summed over the channels, each of the 16 elements is a matrix product over all tiles.
    A' = [1 1 1 0; 0 1 -1 -1], G = [1 0 0; 1/2 1/2 1/2; 1/2 -1/2 1/2; 0 0 1],
    B' = [1 0 -1 0; 0 1 1 0; 0 -1 1 0; 0 1 0 -1].
Paper: Lavin, Gray 2016, Fast algorithms for convolutional neural networks, section 4.1; Winograd 1980, Arithmetic
    complexity of computations.
Shapes: x [batch, height, width, c_in], k [3, 3, c_in, c_out] -> y [batch, height', width', c_out].

Rounding: in float32, against float64, root mean square errors of values and gradients were 0.3 to 2.1 times those of
lax's convolution (32 to 512 channels).
Both gradients are such products too. The one with respect to x has the turned window, whose transform is that of the
window with its elements in another order; that with respect to k sums the products of the tiles of x and A y' A'.

Example:
    from levels.level3_vision.winograd import winograd
    y = winograd(x, k, ((1, 1), (1, 1)))        # 'same'
"""

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

Pads = tuple[tuple[int, int], tuple[int, int]]
Grid = list[list[Array]]        # element (u, w) of all tiles
_TURNED = (3, 1, 2, 0)          # G g' in terms of G g, for g' with its rows in reverse


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def winograd(
    x: Float[Array, 'b h w c'], k: Float[Array, '3 3 c o'], pads: Pads, precision: Any = None
) -> Float[Array, 'b oh ow o']:
    """Convolution (cross-correlation) with a 3x3 window and stride 1 by Winograd's F(2x2, 3x3).

    Formula: y[b, i, j, o] = sum_uvc x[b, i + u - top, j + v - left, c] k[u, v, c, o], by the module's products.
    Paper: Lavin, Gray 2016, section 4.1.
    Shapes: x [batch, h, w, c_in], k [3, 3, c_in, c_out], pads ((top, bottom), (left, right)), each 0, 1 or 2 ->
        [batch, h + top + bottom - 2, w + left + right - 2, c_out]. `precision` is that of the matrix products.
    Errors: ValueError for another window, other channels, other pads, or no output. Forward-mode AD is a TypeError.
    Example:
        x, k = jnp.ones((2, 5, 6, 4)), jnp.ones((3, 3, 4, 7))
        y = winograd(x, k, ((1, 1), (0, 0)))
        assert y.shape == (2, 5, 4, 7)
        assert y[0, 2, 1, 0] == 36                          # 3 * 3 * 4 ones
    """
    return _forward(x, k, pads, precision)


def fits(window: Sequence[int], strides: Sequence[int], pads: Sequence[Sequence[int]]) -> bool:
    """Whether `winograd` computes such a convolution."""
    return tuple(window) == (3, 3) and tuple(strides) == (1, 1) and all(0 <= n <= 2 for p in pads for n in p)


def _forward(x: Array, k: Array, pads: Pads, precision: Any) -> Array:
    out = [n + low + high - 2 for n, (low, high) in zip(x.shape[1:3], pads)]
    if k.shape[:2] != (3, 3) or k.shape[2] != x.shape[3] or not fits((3, 3), (1, 1), pads) or min(out) < 1:
        raise ValueError(f'x, k, pads: expected [b, h, w, c], [3, 3, c, o], pads from 0 to 2 and an output; '
                         f'found {x.shape}, {k.shape}, {pads}')
    return _outputs(_dots(_tiles(x, pads), _window(k), (1, 0), precision), x.shape[0], out)


def _mix(a: Array, b: Array, c: Array, d: Array) -> list[Array]:
    """B' on four rows."""
    return [a - c, b + c, c - b, b - d]


def _tiles(x: Array, pads: Pads) -> Grid:
    """B' d B: [batch tiles, channels] for each element."""
    # the last tile may stick out by one: one zero more
    room = [(low, high + (n + low + high) % 2) for n, (low, high) in zip(x.shape[1:3], pads)]
    x = jnp.pad(x, ((0, 0), *room, (0, 0)))
    b, h, w, c = x.shape
    x = x.reshape(b, h // 2, 2, w // 2, 2, c)        # rows and columns by parity: slices without strides
    rows = [_mix(even[:, :-1], odd[:, :-1], even[:, 1:], odd[:, 1:])
            for even, odd in ((x[:, :, 0, :, at], x[:, :, 1, :, at]) for at in range(2))]
    return [[tile.reshape(-1, c) for tile in _mix(even[:, :, :-1], odd[:, :, :-1], even[:, :, 1:], odd[:, :, 1:])]
            for even, odd in zip(*rows)]


def _window(k: Array) -> Grid:
    """G g G': [channels in, channels out] for each element."""
    def mix(a: Array, b: Array, c: Array) -> list[Array]:
        return [a, (a + b + c) / 2, (a - b + c) / 2, c]

    columns = [mix(*k[:, at]) for at in range(3)]
    return [mix(*row) for row in zip(*columns)]


def _dots(a: Grid, b: Grid, axes: tuple[int, int], precision: Any) -> Grid:
    """Matrix products of the elements of two grids, over these axes. One by one: a batched product is slower."""
    return [[lax.dot_general(p, q, (((axes[0],), (axes[1],)), ((), ())), precision=precision) for p, q in zip(*rows)]
            for rows in zip(a, b)]


def _outputs(grid: Grid, batch: int, out: Sequence[int]) -> Array:
    """A' m A, put in its places."""
    def mix(a: Array, b: Array, c: Array, d: Array) -> list[Array]:
        return [a + b + c, b - c - d]

    h, w = (-(-n // 2) for n in out)
    columns = [mix(*column) for column in zip(*grid)]
    y = [[half.reshape(batch, h, w, -1) for half in mix(*row)] for row in zip(*columns)]
    y = jnp.stack([jnp.stack(row, axis=3) for row in y], axis=2).reshape(batch, 2 * h, 2 * w, -1)
    return y[:, :out[0], :out[1]]


def _spread(g: Array) -> Grid:
    """A y' A': [batch tiles, channels] for each element."""
    def mix(a: Array, b: Array) -> list[Array]:
        return [a, a + b, a - b, -b]

    g = jnp.pad(g, ((0, 0), (0, g.shape[1] % 2), (0, g.shape[2] % 2), (0, 0)))
    b, h, w, c = g.shape
    g = g.reshape(b, h // 2, 2, w // 2, 2, c)
    columns = [mix(g[:, :, 0, :, at], g[:, :, 1, :, at]) for at in range(2)]
    return [[tile.reshape(-1, c) for tile in mix(*pair)] for pair in zip(*columns)]


def _gather(grid: Grid) -> Array:
    """G' m G: [3, 3, channels in, channels out]."""
    def mix(a: Array, b: Array, c: Array, d: Array) -> list[Array]:
        return [a + (b + c) / 2, (b - c) / 2, (b + c) / 2 + d]

    columns = [mix(*column) for column in zip(*grid)]
    return jnp.stack([jnp.stack(mix(*row)) for row in zip(*columns)])


def _fwd(x: Array, k: Array, pads: Pads, precision: Any) -> tuple[Array, tuple[Array, Array]]:
    return _forward(x, k, pads, precision), (x, k)


def _bwd(pads: Pads, precision: Any, saved: tuple[Array, Array], g: Array) -> tuple[Array, Array]:
    x, k = saved
    window = _window(k)
    turned = [[window[u][w] for w in _TURNED] for u in _TURNED]
    back = _tiles(g, tuple((2 - low, 2 - high) for low, high in pads))
    dx = _outputs(_dots(back, turned, (1, 1), precision), x.shape[0], x.shape[1:3])
    return dx, _gather(_dots(_tiles(x, pads), _spread(g), (0, 0), precision))


winograd.defvjp(_fwd, _bwd)
