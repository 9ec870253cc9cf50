"""The four forms of convolution and the transposed one against torch: values and gradients in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from jax import lax
from parity_ledger import compare, value_and_grads

from levels.level3_vision.conv import Conv, conv_general_dilated
from levels.level3_vision.conv_forms import METHODS, ConvTranspose, conv2d, conv_transpose2d

# size, kernel, strides, padding, dilation, groups; 4 channels in, 6 out
FORWARD = [
    ((7, 8), (3, 2), (1, 1), (0, 0), (1, 1), 1),
    ((9, 8), (3, 3), (2, 3), (1, 2), (1, 1), 2),
    ((9, 9), (3, 2), (2, 1), (2, 1), (2, 3), 2),
    ((6, 6), (5, 5), (1, 1), (2, 2), (1, 1), 1),
]
# size, kernel, strides, padding, output padding, dilation, groups
BACKWARD = [
    ((4, 5), (3, 2), (1, 1), (0, 0), (0, 0), (1, 1), 1),
    ((4, 5), (3, 3), (2, 3), (1, 0), (1, 2), (1, 1), 1),
    ((5, 4), (2, 5), (3, 2), (0, 2), (2, 0), (1, 1), 1),
    ((4, 4), (3, 3), (2, 2), (1, 1), (1, 1), (2, 2), 2),
]


def data(size, kernel, c_in, c_out):
    rng = np.random.default_rng(0)
    return rng.normal(size=(2, *size, c_in)), rng.normal(size=(*kernel, c_in, c_out))


def torchs(fn, x, k, turn):
    """The same in torch; `turn` is how our kernel's axes go to torch's, its own inverse's order."""
    tx, tk = (torch.tensor(a, requires_grad=True) for a in (x.transpose(0, 3, 1, 2), k.transpose(turn)))
    y = fn(tx, tk)
    y.sin().sum().backward()
    back = np.argsort(turn)
    return y.detach().numpy().transpose(0, 2, 3, 1), (tx.grad.numpy().transpose(0, 2, 3, 1),
                                                      tk.grad.numpy().transpose(back))


@pytest.mark.parametrize(('size', 'kernel', 'strides', 'padding', 'dilation', 'groups'), FORWARD)
def test_all_forms_equal_torch(size, kernel, strides, padding, dilation, groups):
    with jax.enable_x64(True):
        x, k = data(size, kernel, 4, 6)
        k = k[:, :, : 4 // groups]
        theirs = torchs(lambda x, k: F.conv2d(x, k, None, strides, padding, dilation, groups), x, k, (3, 2, 0, 1))
        options = {'strides': strides, 'padding': padding, 'dilation': dilation, 'groups': groups}
        for method in METHODS:
            y, grads = value_and_grads(lambda x, k, method=method: conv2d(x, k, **options, method=method), x, k)
            name = f'{method}, f64'
            compare('conv2d', 'torch.nn.functional.conv2d', f'values, {name}', y, theirs[0], 1e-10)
            compare('conv2d', 'torch.nn.functional.conv2d', f'gradients, {name}', grads, theirs[1], 1e-10,
                    relative=True)


@pytest.mark.parametrize('method', METHODS)
def test_forms_in_half_and_single_precision(method):
    x, k = data((9, 8), (3, 3), 4, 6)
    k = k / 6
    y = F.conv2d(torch.tensor(x.transpose(0, 3, 1, 2)), torch.tensor(k.transpose(3, 2, 0, 1)), None, 2, 1).numpy()
    for dtype, gate in ((jnp.float32, 2e-6), (jnp.bfloat16, 5e-2)):
        ours = conv2d(jnp.asarray(x, dtype), jnp.asarray(k, dtype), strides=(2, 2), padding=1, method=method)
        assert ours.dtype == dtype
        compare('conv2d', 'torch.nn.functional.conv2d', f'values, {method}, {jnp.dtype(dtype).name}', ours,
                y.transpose(0, 2, 3, 1), gate)


@pytest.mark.parametrize('backend', ['cpu', 'gpu'])
@pytest.mark.parametrize(('size', 'kernel', 'strides', 'padding', 'extra', 'dilation', 'groups'), BACKWARD)
def test_transposed_equals_torch(monkeypatch, backend, size, kernel, strides, padding, extra, dilation, groups):
    """'gpu' is the form that other backends take, run here."""
    monkeypatch.setattr(jax, 'default_backend', lambda: backend)
    with jax.enable_x64(True):
        x, k = data(size, kernel, 4, 6)
        k = k[..., : 6 // groups]
        theirs = torchs(lambda x, k: F.conv_transpose2d(x, k, None, strides, padding, extra, groups, dilation), x, k,
                        (2, 3, 0, 1))
        y, grads = value_and_grads(lambda x, k: conv_transpose2d(
            x, k, strides=strides, padding=padding, output_padding=extra, dilation=dilation, groups=groups), x, k)
        name = 'f64, ' + ('phases' if backend == 'cpu' else 'lax')
        compare('conv_transpose2d', 'torch.nn.functional.conv_transpose2d', f'values, {name}', y, theirs[0], 1e-10)
        compare('conv_transpose2d', 'torch.nn.functional.conv_transpose2d', f'gradients, {name}', grads, theirs[1],
                1e-10, relative=True)


@pytest.mark.parametrize(('kernel', 'strides'), [((3, 2), (2, 3)), ((4, 4), (2, 2)), ((5, 3), (1, 2))])
def test_transposed_same_equals_lax(kernel, strides):
    with jax.enable_x64(True):
        x, k = data((4, 5), kernel, 3, 2)
        theirs = lax.conv_transpose(x, jnp.flip(jnp.asarray(k), (0, 1)), strides, 'SAME')
        assert theirs.shape[1:3] == (4 * strides[0], 5 * strides[1])
        compare('conv_transpose2d', 'jax.lax.conv_transpose', 'SAME, f64',
                conv_transpose2d(x, k, strides=strides, padding='SAME'), theirs, 1e-12)


def test_transposed_is_the_gradient_of_the_convolution():
    """<conv(x), y> = <x, conv_transpose(y)> with the kernel's channels swapped: no library has a say in it."""
    with jax.enable_x64(True):
        options = {'strides': (2, 3), 'padding': (1, 2), 'dilation': (2, 1)}
        x, k = data((9, 9), (3, 3), 4, 6)
        y = conv2d(x, k, **options)
        back = conv_transpose2d(jnp.cos(y), k.swapaxes(2, 3), output_padding=(0, 1), **options)
        assert back.shape == x.shape
        assert abs(jnp.vdot(jnp.cos(y), y) - jnp.vdot(x, back)) < 1e-9 * abs(jnp.vdot(x, back))


@pytest.mark.parametrize('groups', [1, 2])
def test_transposed_layer_equals_torch(groups):
    x, k = data((4, 4), (4, 3), 4, 6)
    x, k, b = (np.asarray(a, np.float32) for a in (x, k[..., : 6 // groups] / 7, np.arange(6)))
    net = torch.nn.ConvTranspose2d(4, 6, (4, 3), (2, 1), (1, 1), groups=groups)
    with torch.no_grad():
        net.weight.copy_(torch.tensor(k.transpose(2, 3, 0, 1)))
        net.bias.copy_(torch.tensor(b))
        theirs = net(torch.tensor(x.transpose(0, 3, 1, 2))).numpy().transpose(0, 2, 3, 1)
    layer = ConvTranspose(6, (4, 3), strides=(2, 1), padding=(1, 1), groups=groups)
    params = layer.init(jax.random.key(0), x)['params']
    assert params['kernel'].shape == k.shape
    compare('ConvTranspose', 'torch.nn.ConvTranspose2d', 'values, f32',
            layer.apply({'params': {'kernel': k, 'bias': b}}, x), theirs, 2e-6)


# kernel, strides, padding, dilation, multiplier: what MobileNet and its relatives are made of
@pytest.mark.parametrize(('kernel', 'strides', 'padding', 'dilation', 'times'), [
    ((3, 3), (1, 1), (1, 1), (1, 1), 1), ((3, 2), (2, 2), (1, 0), (1, 1), 2), ((3, 3), (2, 1), (2, 2), (2, 2), 1)])
def test_depthwise_equals_torch(kernel, strides, padding, dilation, times):
    with jax.enable_x64(True):
        x, k = data((8, 9), kernel, 6, 6 * times)
        k = k[:, :, :1]
        theirs = torchs(lambda x, k: F.conv2d(x, k, None, strides, padding, dilation, 6), x, k, (3, 2, 0, 1))
        pads = tuple((p, p) for p in padding)
        y, grads = value_and_grads(lambda x, k: conv_general_dilated(
            x, k, strides, pads, rhs_dilation=dilation, feature_group_count=6,
            dimension_numbers=('NHWC', 'HWIO', 'NHWC')), x, k)
        compare('conv_general_dilated', 'torch.nn.functional.conv2d', 'values, depthwise, f64', y, theirs[0], 1e-12)
        compare('conv_general_dilated', 'torch.nn.functional.conv2d', 'gradients, depthwise, f64', grads, theirs[1],
                1e-12, relative=True)


def test_torch_same_pads_as_torch_at_any_stride():
    """At stride 2 SAME is another function altogether: what the names are for."""
    x, k = data((8, 8), (3, 3), 3, 4)
    params = {'params': {'kernel': jnp.asarray(k, jnp.float32), 'bias': jnp.zeros(4)}}
    x = jnp.asarray(x, jnp.float32)
    y = F.conv2d(torch.tensor(np.array(x.transpose(0, 3, 1, 2))), torch.tensor(np.asarray(k, np.float32).transpose(
        3, 2, 0, 1)), None, 2, 1).numpy().transpose(0, 2, 3, 1)
    layer = lambda padding: Conv(4, (3, 3), strides=(2, 2), padding=padding).apply(params, x)
    compare('Conv', 'torch.nn.functional.conv2d', 'torch_same at stride 2, f32', layer('torch_same'), y, 1e-5)
    assert layer('SAME').shape == y.shape and np.abs(layer('SAME') - y).max() > 1


def test_bad_arguments_say_what_is_wrong():
    x, k = jnp.ones((1, 5, 5, 4)), jnp.ones((3, 3, 2, 6))
    for call, message in (
        (lambda: conv2d(x[0], k), r'x, k: expected \[batch, h, w, c\]'),
        (lambda: conv2d(x, k), r'groups: expected to divide the channels of x .* found 1'),
        (lambda: conv2d(x, k, groups=2, method='winograd'), 'method: expected one of lax, direct, im2col, fft; found'),
        (lambda: conv2d(x, k, groups=2, dilation=(3, 3)), r'window: expected one that fits into 5 \+ 0; found 3'),
        (lambda: conv2d(x, k, groups=2, padding='FULL'), 'padding: expected VALID, SAME, torch_same or numbers; found'),
        (lambda: conv_transpose2d(x, k), 'groups: expected to divide the channels'),
        (lambda: conv_transpose2d(x, jnp.ones((3, 3, 4, 6)), padding=4), 'padding: expected to leave an output'),
        (lambda: conv_transpose2d(x, jnp.ones((3, 3, 4, 6)), output_padding=(1, 1)), 'output_padding: expected'),
        (lambda: ConvTranspose(5, (3, 3), groups=2).init(jax.random.key(0), x), 'features: expected a multiple'),
    ):
        with pytest.raises(ValueError, match=message):
            call()
