"""The shape calculator against XLA's own shape rules (nothing is computed) and torch's, over random cases."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from jax import lax
from parity_ledger import compare

from levels.level3_vision.padding import NAMES, conv_shape, conv_transpose_shape, pad_amounts, pool_shape


def draw(rng):
    """A random size, window, strides, dilation, features."""
    pair = lambda low, high: tuple(int(n) for n in rng.integers(low, high, 2))
    return pair(1, 20), pair(1, 6), pair(1, 5), pair(1, 4), int(rng.integers(1, 5))


def drawn_padding(rng):
    kind = rng.integers(0, 6)
    pair = lambda: tuple(int(n) for n in rng.integers(0, 5, 2))
    return [*NAMES, int(rng.integers(0, 4)), pair(), (pair(), pair())][kind]


def xla(x, k, strides, padding, dilation):
    dims = ('NHWC', 'HWIO', 'NHWC')
    conv = functools.partial(lax.conv_general_dilated, window_strides=strides, padding=padding, rhs_dilation=dilation,
                             dimension_numbers=dims)
    return jax.eval_shape(conv, jax.ShapeDtypeStruct(x, 'float32'), jax.ShapeDtypeStruct(k, 'float32')).shape


def test_a_thousand_random_convolutions_have_xlas_shapes():
    """XLA says 0 where no window fits; we say so in words.  Names go to XLA as names, so its padding is checked too."""
    rng, ours, theirs, refused = np.random.default_rng(0), [], [], 0
    for _ in range(1000):
        size, window, strides, dilation, features = draw(rng)
        padding = drawn_padding(rng)
        shape = (2, *size, 3)
        pads = padding if padding in ('SAME', 'VALID') else pad_amounts(padding, size, window, dilation=dilation)
        truth = xla(shape, (*window, 3, features), strides, pads, dilation)
        if 0 in truth:
            refused += 1
            with pytest.raises(ValueError, match='window: expected one that fits'):
                conv_shape(shape, window, features, strides=strides, padding=padding, dilation=dilation)
            continue
        ours.append(conv_shape(shape, window, features, strides=strides, padding=padding, dilation=dilation))
        theirs.append(truth)
    assert refused > 30 and len(ours) > 700
    compare('conv_shape', 'jax.lax.conv_general_dilated', 'shapes of 1,000 random cases', ours, theirs, 0)


def test_pads_are_xlas_and_torchs():
    """SAME as lax pads it, over sizes and strides; torch_same as the one size that torch itself computes."""
    rng, ours, theirs = np.random.default_rng(1), [], []
    for _ in range(300):
        size, window, strides, dilation, _ = draw(rng)
        reach = [d * (k - 1) + 1 for d, k in zip(dilation, window)]
        ours.append(pad_amounts('SAME', size, window, strides=strides, dilation=dilation))
        theirs.append(lax.padtype_to_pads(size, reach, strides, 'SAME'))
    compare('pad_amounts', 'jax.lax.padtype_to_pads', 'SAME, 300 random cases', ours, theirs, 0)
    for window, dilation in (((3, 4), (1, 1)), ((2, 5), (3, 2)), ((1, 6), (2, 1))):
        x, k = torch.randn(1, 2, 9, 9), torch.randn(3, 2, *window)
        (top, bottom), (left, right) = pad_amounts('torch_same', (9, 9), window, dilation=dilation)
        padded = F.conv2d(F.pad(x, (left, right, top, bottom)), k, dilation=dilation)
        compare('pad_amounts', 'torch.nn.functional.conv2d', "torch_same as padding='same'", padded.numpy(),
                F.conv2d(x, k, padding='same', dilation=dilation).numpy(), 1e-5)


def test_random_transposed_convolutions_have_torchs_and_xlas_shapes():
    rng, ours, theirs = np.random.default_rng(2), [], []
    while len(ours) < 300:
        size, window, strides, dilation, features = draw(rng)
        padding = tuple(int(n) for n in rng.integers(0, 3, 2))
        extra = tuple(int(rng.integers(0, max(s, d))) for s, d in zip(strides, dilation))
        x, k = torch.empty(2, 3, *size, device='meta'), torch.empty(3, features, *window, device='meta')
        reach = [(n - 1) * s + d * (w - 1) + 1 - 2 * p + e
                 for n, s, d, w, p, e in zip(size, strides, dilation, window, padding, extra)]
        if min(reach) < 1:
            continue
        shape = F.conv_transpose2d(x, k, None, strides, padding, extra, 1, dilation).shape
        theirs.append((shape[0], *shape[2:], shape[1]))
        ours.append(conv_transpose_shape((2, *size, 3), window, features, strides=strides, padding=padding,
                                         output_padding=extra, dilation=dilation))
    compare('conv_transpose_shape', 'torch.nn.functional.conv_transpose2d', 'shapes of 300 random cases', ours, theirs,
            0)
    same = [(conv_transpose_shape((1, 5, 6, 2), k, 3, strides=s, padding='SAME'),
             jax.eval_shape(lambda x, w, s=s: lax.conv_transpose(x, w, s, 'SAME'), jnp.zeros((1, 5, 6, 2)),
                            jnp.zeros((*k, 2, 3))).shape)
            for k in ((1, 2), (3, 4), (5, 2)) for s in ((1, 1), (2, 3), (4, 2))]
    compare('conv_transpose_shape', 'jax.lax.conv_transpose', 'SAME', *zip(*same), 0)


def test_random_poolings_have_xlas_and_torchs_shapes():
    rng, ours, theirs = np.random.default_rng(3), [], []
    while len(ours) < 300:
        size, window, strides, _, _ = draw(rng)
        padding = tuple(int(rng.integers(0, w // 2 + 1)) for w in window)
        if any(n + 2 * p < w for n, p, w in zip(size, padding, window)):
            continue
        for ceil in (False, True):
            shape = F.max_pool2d(torch.empty(1, 2, *size, device='meta'), window, strides, padding, 1, ceil).shape
            theirs.append((1, *shape[2:], 2))
            ours.append(pool_shape((1, *size, 2), window, strides=strides, padding=padding, ceil_mode=ceil))
    compare('pool_shape', 'torch.nn.functional.max_pool2d', 'shapes of 300 random cases, with ceil_mode', ours, theirs,
            0)
    ours, theirs = [], []
    for _ in range(200):
        size, window, strides, _, _ = draw(rng)
        if all(n >= w for n, w in zip(size, window)):
            for name in ('SAME', 'VALID'):
                pool = lambda x, w=window, s=strides, p=name: lax.reduce_window(
                    x, 0.0, lax.add, (1, *w, 1), (1, *s, 1), p)
                theirs.append(jax.eval_shape(pool, jax.ShapeDtypeStruct((1, *size, 2), 'float32')).shape)
                ours.append(pool_shape((1, *size, 2), window, strides=strides, padding=name))
    assert len(ours) > 100
    compare('pool_shape', 'jax.lax.reduce_window', 'SAME and VALID, random cases', ours, theirs, 0)


def test_bad_arguments_say_what_is_wrong():
    for call, message in (
        (lambda: pad_amounts('same', (8, 8), (3, 3)), "expected VALID, SAME, torch_same or numbers; found 'same'"),
        (lambda: pad_amounts(-1, (8, 8), (3, 3)), 'padding: expected an integer >= 0'),
        (lambda: pad_amounts((1, 2, 3), (8, 8), (3, 3)), 'one or a pair of them for each of 2 axes'),
        (lambda: pad_amounts(1, (8,), (3, 3)), 'size: expected an integer >= 1 for each of 2 axes'),
        (lambda: pad_amounts(1, (8, 8), (3, 3), strides=(0, 1)), 'strides: expected an integer >= 1'),
        (lambda: conv_shape((1, 4, 4, 3), (5, 5), 2), r'window: expected one that fits into 4 \+ 0'),
        (lambda: conv_transpose_shape((1, 4, 4, 3), (3, 3), 2, output_padding=(1, 0)), 'output_padding: expected'),
        (lambda: conv_transpose_shape((1, 1, 1, 3), (2, 2), 2, padding=1), 'padding: expected to leave an output'),
    ):
        with pytest.raises(ValueError, match=message):
            call()
