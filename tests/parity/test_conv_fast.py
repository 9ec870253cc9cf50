"""Winograd's and the written-out depthwise convolution against torch, their gradients against lax's too, and where
`conv_general_dilated` takes them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from jax import lax
from parity_ledger import compare, eqns, value_and_grads

from levels.level3_vision.conv import conv_general_dilated
from levels.level3_vision.depthwise import depthwise
from levels.level3_vision.winograd import winograd

DIMS = ('NHWC', 'HWIO', 'NHWC')
# size, pads: even and odd outputs, one tile and part of one, pads of every kind
WINOGRAD = [((5, 6), ((1, 1), (1, 1))), ((7, 4), ((0, 2), (2, 1))), ((3, 3), ((0, 0), (0, 0))),
            ((1, 9), ((1, 1), (0, 0)))]
# size, window, strides, pads, outputs of a channel: places between windows that none sees, windows that skip the end
DEPTHWISE = [
    ((8, 9), (3, 3), (2, 2), ((1, 1), (1, 1)), 1),
    ((9, 8), (5, 5), (2, 1), ((2, 2), (0, 3)), 2),
    ((8, 8), (2, 1), (3, 2), ((0, 0), (0, 1)), 1),
    ((6, 5), (3, 3), (1, 1), ((1, 1), (1, 1)), 3),
]


def data(size, window, c_in, c_out, dtype=np.float64):
    rng = np.random.default_rng(0)
    x, k = rng.normal(size=(2, *size, c_in)), rng.normal(size=(*window, c_in, c_out)) / np.sqrt(9 * c_in)
    return x.astype(dtype), k.astype(dtype)


def torchs(x, k, strides, pads, groups):
    """Value and gradients of the same sum in torch."""
    tx, tk = (torch.tensor(a, requires_grad=True) for a in (x.transpose(0, 3, 1, 2), k.transpose(3, 2, 0, 1)))
    (top, bottom), (left, right) = pads
    y = F.conv2d(F.pad(tx, (left, right, top, bottom)), tk, None, strides, 0, 1, groups)
    y.sin().sum().backward()
    return y.detach().numpy().transpose(0, 2, 3, 1), (tx.grad.numpy().transpose(0, 2, 3, 1),
                                                      tk.grad.numpy().transpose(2, 3, 1, 0))


@pytest.mark.parametrize(('size', 'pads'), WINOGRAD)
def test_winograd_equals_torch(size, pads):
    with jax.enable_x64(True):
        x, k = data(size, (3, 3), 4, 5)
        y, grads = value_and_grads(lambda x, k: winograd(x, k, pads), x, k)
        theirs = torchs(x, k, (1, 1), pads, 1)
        compare('winograd', 'torch.nn.functional.conv2d', 'values, f64', y, theirs[0], 1e-12)
        compare('winograd', 'torch.nn.functional.conv2d', 'gradients, f64', grads, theirs[1], 1e-12, relative=True)


def test_winograd_in_single_precision():
    """Of many channels, where transforms that add and subtract could lose digits."""
    x, k = data((16, 16), (3, 3), 128, 64, np.float32)
    pads = ((1, 1), (1, 1))
    exact = torchs(x.astype(float), k.astype(float), (1, 1), pads, 1)
    for name, conv in (('winograd', lambda x, k: winograd(x, k, pads)),
                       ('conv_general_dilated', lambda x, k: conv_general_dilated(x, k, (1, 1), pads,
                                                                                  dimension_numbers=DIMS))):
        y, grads = value_and_grads(conv, x, k)
        compare(name, 'torch.nn.functional.conv2d', 'values, f32, 128 to 64 channels', y, exact[0], 5e-6)
        compare(name, 'torch.nn.functional.conv2d', 'gradients, f32, 128 to 64 channels', grads, exact[1], 5e-6,
                relative=True)


@pytest.mark.parametrize(('size', 'window', 'strides', 'pads', 'times'), DEPTHWISE)
def test_depthwise_equals_torch(size, window, strides, pads, times):
    with jax.enable_x64(True):
        x, k = data(size, window, 3, 3 * times)
        k = k[:, :, :1]
        y, grads = value_and_grads(lambda x, k: depthwise(x, k, strides, pads), x, k)
        theirs = torchs(x, k, strides, pads, 3)
        compare('depthwise', 'torch.nn.functional.conv2d', 'values, f64', y, theirs[0], 1e-12)
        compare('depthwise', 'torch.nn.functional.conv2d', 'gradients, f64', grads, theirs[1], 1e-12, relative=True)


@pytest.mark.parametrize('name', ['winograd', 'depthwise'])
def test_vmap_scan_and_second_derivatives(name):
    """Kernels mapped and images not, kernels and images mapped, all inside a scan; then a gradient of gradients."""
    pads, groups = ((1, 1), (1, 1)), {'winograd': 1, 'depthwise': 4}[name]
    ours = {'winograd': lambda x, k: winograd(x, k, pads),
            'depthwise': lambda x, k: depthwise(x, k, (1, 1), pads)}[name]
    theirs = lambda x, k: lax.conv_general_dilated(x, k, (1, 1), pads, dimension_numbers=DIMS,
                                                   feature_group_count=groups)
    with jax.enable_x64(True):
        x, _ = data((5, 6), (3, 3), 4, 4)
        ks = np.random.default_rng(1).normal(size=(2, 3, 3, 4 // groups, 4))

        def train(conv, k, x):
            def loss(k):
                return jnp.mean(jnp.sin(conv(x, k)))

            return lax.scan(lambda k, _: (k - jax.grad(loss)(k), loss(k)), k, None, length=3)

        def penalty(conv):
            grads = jax.grad(lambda x, k: jnp.sum(jnp.sin(conv(x, k))), (0, 1))
            return lambda x, k: sum(jnp.sum(jnp.cos(g)) for g in grads(x, k))

        for quantity, f in (
            ('vmap of kernels in a scan', lambda conv: jax.vmap(lambda k: train(conv, k, x))(ks)),
            ('vmap of both in a scan', lambda conv: jax.vmap(lambda k, x: train(conv, k, x))(ks, np.stack([x, 2 * x]))),
            ('gradient of gradients', lambda conv: jax.grad(penalty(conv), (0, 1))(x, ks[0])),
        ):
            compare(name, 'jax.lax.conv_general_dilated', f'{quantity}, f64', f(ours), f(theirs), 1e-10, relative=True)


@pytest.mark.parametrize(('window', 'strides', 'channels', 'dtype', 'convolutions'), [
    ((3, 3), (1, 1), (32, 32), np.float32, 0),
    ((3, 3), (2, 2), (32, 32), np.float32, 3),
    ((3, 3), (1, 1), (31, 32), np.float32, 3),
    ((3, 3), (1, 1), (32, 31), np.float32, 3),
    ((3, 2), (1, 1), (32, 32), np.float32, 3),
    ((3, 3), (1, 1), (32, 32), jnp.bfloat16, 3),
    ((1, 1), (2, 2), (40, 24), np.float32, 0),
])
def test_which_convolutions_need_none_of_xlas(window, strides, channels, dtype, convolutions):
    """In value and gradients; and with any path, what lax says."""
    x, k = data((6, 7), window, *channels, dtype)

    def f(conv):
        def loss(x, k):
            return jnp.sum(conv(x, k, strides, 'SAME', dimension_numbers=DIMS))
        return jax.value_and_grad(loss, (0, 1))

    program = jax.make_jaxpr(f(conv_general_dilated))(x, k)
    assert sum(e.primitive.name == 'conv_general_dilated' for e in eqns(program.jaxpr)) == convolutions
    if dtype == np.float32:
        for a, b in zip(jax.tree.leaves(f(conv_general_dilated)(x, k)),
                        jax.tree.leaves(f(lax.conv_general_dilated)(x, k)), strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-4)


def test_bad_arguments_say_what_is_wrong():
    x, k = jnp.ones((1, 5, 5, 4)), jnp.ones((3, 3, 4, 6))
    same = ((1, 1), (1, 1))
    for call, message in (
        (lambda: winograd(x, k[:2], same), r'x, k, pads: expected .* found \(1, 5, 5, 4\), \(2, 3, 4, 6\)'),
        (lambda: winograd(x, k[:, :, :3], same), 'x, k, pads: expected'),
        (lambda: winograd(x, k, ((3, 0), (1, 1))), r'pads from 0 to 2 and an output; found .* \(\(3, 0\), \(1, 1\)\)'),
        (lambda: winograd(x[:, :2], k, ((0, 0), (1, 1))), 'x, k, pads: expected'),
        (lambda: depthwise(x, k, (1, 1), same), r'x, k, pads: expected .* \[k_h, k_w, 1, c m\]'),
        (lambda: depthwise(x, k[:, :, :1], (1, 1), same), 'x, k, pads: expected'),
        (lambda: depthwise(x, k[:, :, :1, :4], (1, 1), ((-1, 0), (1, 1))), 'x, k, pads: expected'),
        (lambda: depthwise(x[:, :2], k[:, :, :1, :4], (1, 1), ((0, 0), (1, 1))), 'a window that fits'),
    ):
        with pytest.raises(ValueError, match=message):
            call()
