"""Initialisers: standard deviations within 2 % of the formula and of torch's; what they do to deep networks."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
import torch
from parity_ledger import compare

from common import plots
from levels.level2_neural import init as lib

SHAPES = {'dense': (300, 200), 'conv': (3, 3, 40, 60)}
EXPECTED = {        # name: (standard deviation for fan_in n and fan_out m, the largest weight in standard deviations)
    'glorot_uniform': (lambda n, m: math.sqrt(2 / (n + m)), math.sqrt(3)),
    'glorot_normal': (lambda n, m: math.sqrt(2 / (n + m)), 2 / 0.8796),
    'he_uniform': (lambda n, m: math.sqrt(2 / n), math.sqrt(3)),
    'he_normal': (lambda n, m: math.sqrt(2 / n), 2 / 0.8796),
    'lecun_uniform': (lambda n, m: math.sqrt(1 / n), math.sqrt(3)),
    'lecun_normal': (lambda n, m: math.sqrt(1 / n), 2 / 0.8796),
    'torch_uniform': (lambda n, m: math.sqrt(1 / (3 * n)), math.sqrt(3)),
    'truncated_normal': (lambda n, m: 0.02, 2 / 0.8796),
}
PEERS = {'glorot_uniform': torch.nn.init.xavier_uniform_, 'glorot_normal': torch.nn.init.xavier_normal_,
         'he_uniform': functools.partial(torch.nn.init.kaiming_uniform_, nonlinearity='relu'),
         'he_normal': functools.partial(torch.nn.init.kaiming_normal_, nonlinearity='relu')}


def torch_order(shape):
    """[*window, in, out] -> [out, in, *window]."""
    return (shape[-1], shape[-2], *shape[:-2])


def layer_of(shape):
    if len(shape) == 2:
        return torch.nn.Linear(*shape)
    return torch.nn.Conv2d(shape[2], shape[3], shape[:2])


@pytest.mark.parametrize('shape', SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize('name', EXPECTED)
def test_standard_deviation_and_range(name, shape):
    n, m = math.prod(shape[:-1]), math.prod(shape[:-2]) * shape[-1]
    std, widest = EXPECTED[name]
    w = np.asarray(lib.INITIALISERS[name](jax.random.key(3), shape, jnp.float32), np.float64)
    assert w.shape == shape and abs(w.mean()) < 4 * std(n, m) / math.sqrt(w.size)
    compare(name, 'the formula', f'standard deviation, {len(shape)} axes', w.std() / std(n, m), 1.0, 0.02)
    assert 0.97 * widest < abs(w).max() / std(n, m) <= widest * 1.001, 'drawn to its ends, and not beyond'
    torch.manual_seed(0)
    if name in PEERS:
        theirs = PEERS[name](torch.empty(torch_order(shape))).numpy()
    elif name == 'torch_uniform':
        theirs = layer_of(shape).weight.detach().numpy()
    else:
        return
    compare(name, 'torch', f'standard deviation over torch\'s, {len(shape)} axes', w.std() / theirs.std(), 1.0, 0.02)
    if name.endswith('uniform'):
        assert abs(abs(w).max() / abs(theirs).max() - 1) < 0.01


def test_torch_s_default_and_flax_s_are_apart():
    ours, flax = (f(jax.random.key(0), (300, 300), jnp.float32).std() for f in (lib.torch_uniform, lib.lecun_normal))
    assert abs(ours / flax - 0.577) < 0.01
    n = 100_000
    torch.manual_seed(0)
    net = torch.nn.Linear(16, n)
    bias = lib.torch_uniform(jax.random.key(1), (n,), inputs=16)
    # the standard deviation of n uniform numbers has a relative error of sqrt(0.2 / n), a ratio of two sqrt(0.4 / n):
    # 0.2 % here, and the gate is five of those
    compare('torch_uniform', 'torch.nn.Linear', 'standard deviation of a bias', bias.std() / net.bias.std().item(), 1.0,
            5 * math.sqrt(0.4 / n))
    assert abs(abs(bias).max() - 1 / 4) < 1e-4 and abs(bias).max() <= 1 / 4


@pytest.mark.parametrize('cut', [0.5, 2.0, 4.0])
def test_truncated_normal_is_scipy_s_law(cut):
    w = np.asarray(lib.truncated_normal(jax.random.key(0), (200, 200), std=0.3, cut=cut), np.float64).ravel()
    unit = scipy.stats.truncnorm(-cut, cut)
    scale = 0.3 / unit.std()
    assert scipy.stats.kstest(w, scipy.stats.truncnorm(-cut, cut, scale=scale).cdf).pvalue > 1e-3
    compare('truncated_normal', 'scipy.stats.truncnorm', f'standard deviation, cut at {cut}', w.std() / 0.3, 1.0, 0.02)
    assert abs(w).max() <= cut * scale * 1.0001


@pytest.mark.parametrize('shape', [(6, 6), (8, 5), (5, 8), (3, 2, 4)])
def test_orthogonal(shape):
    w = np.asarray(lib.orthogonal(jax.random.key(2), shape, scale=1.5), np.float64)
    flat = w.reshape(-1, shape[-1])
    flat = flat if flat.shape[0] >= flat.shape[1] else flat.T
    compare('orthogonal', 'the identity matrix', f'W^T W / scale^2, {shape}', flat.T @ flat / 1.5**2,
            np.eye(flat.shape[1]), 2e-6)


@pytest.mark.parametrize(('name', 'factor'), [('he_normal', 1.0), ('lecun_normal', 1 / 2), ('torch_uniform', 1 / 6)])
def test_relu_layers_multiply_the_mean_square_as_he_et_al_say(name, factor):
    """Signal and gradient alike, over 12 layers; the logarithm per layer within 0.08 (seen: 0.03)."""
    found = lib.propagation(jax.random.key(0), name, depth=12, width=128, networks=8)
    for values in (found.signal, found.gradient[::-1]):
        rate = (np.log(values[-1]) - np.log(values[1])) / 11
        assert abs(rate - math.log(factor)) < 0.08, (name, rate)
    # The first layer sees normal numbers: nothing is halved before it.
    assert abs(np.log(found.signal[1] / found.signal[0] / factor)) < 0.15


def test_orthogonal_layers_keep_a_linear_signal_and_its_gradient():
    found = lib.propagation(jax.random.key(0), 'orthogonal', activation='identity', depth=20, width=32, networks=2)
    assert np.allclose(found.signal, found.signal[0], rtol=1e-4)
    assert np.allclose(found.gradient, found.gradient[-1], rtol=1e-4)


def test_the_picture(tmp_path):
    found = {name: lib.propagation(jax.random.key(0), name, depth=4, width=16, networks=2)
             for name in ('he_normal', 'torch_uniform')}
    figure = lib.draw(found, 'relu')
    assert [line.get_label() for line in figure.axes[0].lines] == list(found)
    assert plots.save(figure, tmp_path / 'x.png').stat().st_size > 5000
    assert np.allclose(figure.axes[1].lines[1].get_ydata(), found['torch_uniform'].gradient)


def test_bad_input_is_one_line():
    key = jax.random.key(0)
    for call, message in ((lambda: lib.torch_uniform(key, (5,)), 'shape: expected'),
                          (lambda: lib.torch_uniform(key, (5,), inputs=0), 'inputs: expected'),
                          (lambda: lib.truncated_normal(key, (5,), std=-1.0), 'std, cut: expected'),
                          (lambda: lib.orthogonal(key, (5,)), 'shape: expected'),
                          (lambda: lib.initialiser('he'), 'init: expected a callable or one of glorot_uniform'),
                          (lambda: lib.propagation(key, 'he_normal', depth=0), 'depth: expected')):
        with pytest.raises(ValueError, match=f'^{message}'):
            call()
