"""Padding and stride: what each name pads, and the shape of what comes out, in integers and before anything runs.

Formula: out = floor((n + low + high - d (k - 1) - 1) / s) + 1 for n entries, window k, stride s, dilation d.
    SAME: out = ceil(n / s), low = total // 2, total = max((out - 1) s + d (k - 1) + 1 - n, 0), which depends on n.
    torch_same: low = d (k - 1) // 2, high = d (k - 1) - low, whatever n and s are.
Paper: Dumoulin, Visin 2016, A guide to convolution arithmetic for deep learning, chapters 2 to 4.
Shapes: images are [batch, height, width, channels]; windows, strides, dilations are (height, width).

| padding                  | what it pads                                       | in torch                          |
| 'VALID', 0               | nothing                                            | padding=0, 'valid'                |
| 'SAME'                   | what TensorFlow, XLA and Linen pad                 | none at stride 2 and more         |
| 'torch_same'             | half the window a side, the odd one right, below   | 'same'; k // 2 for an odd k       |
| 1, (1, 2)                | both sides alike, of both axes or of each          | padding=1, (1, 2)                 |
| ((0, 1), (2, 3))         | (before, after) of each axis                       | F.pad before it                   |

With stride 1 SAME and torch_same are one. With stride 2 they are not: of an even n and a window of 3, SAME pads (0, 1)
and torch_same (1, 1). Networks from torch want the latter; with the former they compute something else, quietly.

Example:
    from levels.level3_vision.padding import conv_shape, pad_amounts
    pad_amounts('SAME', (8, 8), (3, 3), strides=(2, 2))              # ((0, 1), (0, 1))
    pad_amounts('torch_same', (8, 8), (3, 3), strides=(2, 2))        # ((1, 1), (1, 1))
"""

from collections.abc import Sequence
from typing import Any

Padding = str | int | Sequence[int] | Sequence[tuple[int, int]]
Pads = tuple[tuple[int, int], ...]
NAMES = ('VALID', 'SAME', 'torch_same')


def pad_amounts(
    padding: Padding, size: Sequence[int], window: Sequence[int], *, strides: Sequence[int] | None = None,
    dilation: Sequence[int] | None = None,
) -> Pads:
    """Any padding as pairs (before, after), one for each axis of the window.

    Formula: VALID 0; SAME total = max((ceil(n / s) - 1) s + d (k - 1) + 1 - n, 0); torch_same total = d (k - 1); the
        first half, rounded down, goes before.
    Paper: Dumoulin, Visin 2016, A guide to convolution arithmetic for deep learning, section 2.3.
    Shapes: size, window, strides, dilation: one integer an axis; strides and dilation default to 1 -> pairs.
    Errors: ValueError for an unknown name, pads that are no integers >= 0, another number of axes, sizes below 1.
    Example:
        pads = pad_amounts('SAME', (8, 7), (3, 3), strides=(2, 2))
        assert pads == ((0, 1), (1, 1))
        assert pad_amounts(1, (8, 7), (3, 3)) == ((1, 1), (1, 1))
        assert pad_amounts('torch_same', (8, 7), (3, 3), strides=(2, 2)) == ((1, 1), (1, 1))
    """
    size, window, strides, dilation = _axes(size, window, strides, dilation)
    if isinstance(padding, str):
        if padding not in NAMES:
            raise ValueError(f'padding: expected {", ".join(NAMES)} or numbers; found {padding!r}')
        totals = {
            'VALID': lambda n, k, s, d: 0,
            'SAME': lambda n, k, s, d: max((-(-n // s) - 1) * s + d * (k - 1) + 1 - n, 0),
            'torch_same': lambda n, k, s, d: d * (k - 1),
        }
        amounts = [totals[padding](*axis) for axis in zip(size, window, strides, dilation)]
        return tuple((total // 2, total - total // 2) for total in amounts)
    pairs = [padding] * len(window) if isinstance(padding, int) else list(padding)
    pairs = [(p, p) if isinstance(p, int) else tuple(p) for p in pairs]
    if len(pairs) != len(window) or not all(len(p) == 2 and all(isinstance(n, int) and n >= 0 for n in p)
                                            for p in pairs):
        raise ValueError(f'padding: expected an integer >= 0, one or a pair of them for each of {len(window)} axes; '
                         f'found {padding}')
    return tuple(pairs)


def conv_shape(
    shape: Sequence[int], kernel: Sequence[int], features: int, *, strides: Sequence[int] | None = None,
    padding: Padding = 'VALID', dilation: Sequence[int] | None = None,
) -> tuple[int, ...]:
    """The shape of a convolution's output.

    Formula: out = floor((n + low + high - d (k - 1) - 1) / s) + 1 of each axis.
    Paper: Dumoulin, Visin 2016, relationships 6 and 15.
    Shapes: [batch, *sizes, c_in] with a kernel (one size an axis) -> [batch, *outs, features].
    Errors: ValueError as `pad_amounts`, and when a window does not fit into its padded axis.
    Example:
        stem = conv_shape((8, 224, 224, 3), (7, 7), 64, strides=(2, 2), padding=3)
        assert stem == (8, 112, 112, 64)
        assert pool_shape(stem, (3, 3), strides=(2, 2), padding=1) == (8, 56, 56, 64)
        assert conv_transpose_shape(stem, (2, 2), 3, strides=(2, 2)) == (8, 224, 224, 3)
    """
    sizes, _, strides, dilation = _axes(shape[1:-1], kernel, strides, dilation)
    pads = pad_amounts(padding, sizes, kernel, strides=strides, dilation=dilation)
    outs = [_out(*axis) for axis in zip(sizes, kernel, strides, dilation, pads)]
    return (shape[0], *outs, features)


def conv_transpose_shape(
    shape: Sequence[int], kernel: Sequence[int], features: int, *, strides: Sequence[int] | None = None,
    padding: Padding = 'VALID', output_padding: Sequence[int] | None = None, dilation: Sequence[int] | None = None,
) -> tuple[int, ...]:
    """The shape of a transposed convolution's output; `padding` is that of the convolution it turns round.

    Formula: out = (n - 1) s + d (k - 1) + 1 - low - high + output_padding; SAME: out = n s.
    Paper: Dumoulin, Visin 2016, relationship 14.
    Shapes: [batch, *sizes, c_in] -> [batch, *outs, features].
    Errors: ValueError as `pad_amounts`, for an output padding not below the stride or the dilation, for no output.
    Example:
        shape = conv_transpose_shape((8, 7, 7, 64), (3, 3), 32, strides=(2, 2), padding=1, output_padding=(1, 1))
        assert shape == (8, 14, 14, 32)
        assert conv_shape(shape, (3, 3), 64, strides=(2, 2), padding=1) == (8, 7, 7, 64)
        assert conv_transpose_shape((8, 7, 7, 64), (4, 4), 32, strides=(2, 2), padding='SAME') == (8, 14, 14, 32)
    """
    sizes, window, steps, spread = _axes(shape[1:-1], kernel, strides, dilation)
    cuts = transpose_cuts(sizes, window, strides=steps, padding=padding, output_padding=output_padding, dilation=spread)
    outs = [(n - 1) * s + d * (k - 1) + 1 - low - high
            for n, k, s, d, (low, high) in zip(sizes, window, steps, spread, cuts)]
    if min(outs) < 1:
        raise ValueError(f'padding: expected to leave an output; found {padding} for sizes {sizes}, kernel {kernel}')
    return (shape[0], *outs, features)


def transpose_cuts(
    size: Sequence[int], window: Sequence[int], *, strides: Sequence[int] | None = None, padding: Padding = 'VALID',
    output_padding: Sequence[int] | None = None, dilation: Sequence[int] | None = None,
) -> Pads:
    """What a transposed convolution cuts from the ends of its full output; a negative number adds zeros there."""
    size, window, strides, dilation = _axes(size, window, strides, dilation)
    extra = tuple(output_padding or (0,) * len(window))
    if len(extra) != len(window) or not all(0 <= e < max(s, d) for e, s, d in zip(extra, strides, dilation)):
        raise ValueError(f'output_padding: expected 0 or more, below stride or dilation, for each axis; found {extra}')
    if padding == 'SAME':       # the input of the convolution is then n * s long
        total = [d * (k - 1) + 1 - s for k, s, d in zip(window, strides, dilation)]
        cuts = [(max(t, 0) // 2, t - max(t, 0) // 2) for t in total]
    else:
        cuts = pad_amounts(padding, size, window, strides=strides, dilation=dilation)
    return tuple((low, high - e) for (low, high), e in zip(cuts, extra))


def pool_shape(
    shape: Sequence[int], window: Sequence[int] = (2, 2), *, strides: Sequence[int] | None = None,
    padding: Padding = 'VALID', ceil_mode: bool = False,
) -> tuple[int, ...]:
    """The shape of a pooling's output; `strides=None` means the window.

    Formula: out = floor((n + low + high - w) / s) + 1; with ceil_mode rounded up, but for a window that would begin
        behind the image and its first padding.
    Paper: Dumoulin, Visin 2016, relationship 7; ceil_mode is torch's.
    Shapes: [batch, *sizes, channels] -> [batch, *outs, channels].
    Errors: ValueError as `pad_amounts`, and when a window does not fit.
    Example:
        shape = (8, 7, 7, 64)
        assert pool_shape(shape) == (8, 3, 3, 64)
        assert pool_shape(shape, ceil_mode=True) == (8, 4, 4, 64)
        assert pool_shape(shape, (3, 3), strides=(2, 2), padding=1) == (8, 4, 4, 64)
    """
    sizes, window, strides, ones = _axes(shape[1:-1], window, window if strides is None else strides, None)
    pads = pad_amounts(padding, sizes, window, strides=strides)
    pads = ceil_pads(sizes, window, strides, pads) if ceil_mode else pads
    outs = [_out(*axis) for axis in zip(sizes, window, strides, ones, pads)]
    return (shape[0], *outs, shape[-1])


def ceil_pads(size: Sequence[int], window: Sequence[int], strides: Sequence[int], pads: Pads) -> Pads:
    """The pads that give torch's ceil_mode: the last window may hang over the padded end, but not begin behind it."""
    out = []
    for n, w, s, (low, high) in zip(size, window, strides, pads):
        count = -(-max(n + low + high - w, 0) // s) + 1
        if (count - 1) * s >= n + low:
            count -= 1
        out.append((low, max(high, (count - 1) * s + w - n - low)))
    return tuple(out)


def _out(n: int, k: int, s: int, d: int, pads: tuple[int, int]) -> int:
    reach, room = d * (k - 1) + 1, n + sum(pads)
    if room < reach:
        raise ValueError(f'window: expected one that fits into {n} + {sum(pads)}; found {k} with dilation {d}')
    return (room - reach) // s + 1


def _axes(size: Any, window: Any, strides: Any, dilation: Any) -> tuple[tuple[int, ...], ...]:
    ones = (1,) * len(window)
    found = {'size': tuple(size), 'window': tuple(window), 'strides': tuple(strides or ones),
             'dilation': tuple(dilation or ones)}
    for name, values in found.items():
        if len(values) != len(window) or not all(isinstance(v, int) and v >= 1 for v in values):
            raise ValueError(f'{name}: expected an integer >= 1 for each of {len(window)} axes; found {values}')
    return tuple(found.values())
