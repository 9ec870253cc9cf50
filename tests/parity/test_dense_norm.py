"""Linen's dense layer and `common.layers.batch_norm`, which our models are made of, against torch."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from parity_ledger import compare

from common.layers import batch_norm

IN, OUT = 7, 5
SHAPES = {'BatchNorm1d': (16, 6), 'BatchNorm2d': (4, 3, 5, 6)}      # channels last
MOMENTUM = 0.1                                                      # torch's: the share of the new


@pytest.mark.parametrize('bits', [32, 64])
def test_dense_is_torch_s_linear(bits):
    """On [batch, in] and [batch, time, in]; its parameters after a step of gradient descent."""
    with jax.enable_x64(bits == 64):
        rng, dtype = np.random.default_rng(0), f'float{bits}'
        net = torch.nn.Linear(IN, OUT, dtype=getattr(torch, dtype))
        layer = nn.Dense(OUT, param_dtype=dtype)
        params = {'kernel': net.weight.detach().numpy().T.copy(), 'bias': net.bias.detach().numpy().copy()}
        for lead in ((6,), (3, 4)):
            x, weight = (rng.normal(size=(*lead, n)).astype(dtype) for n in (IN, OUT))
            net.zero_grad()
            at = torch.tensor(x, requires_grad=True)
            y = net(at)
            (y.sin() * torch.tensor(weight)).sum().backward()

            def loss(params, x, weight=weight):
                y = layer.apply({'params': params}, x)
                return jnp.sum(jnp.sin(y) * weight), y

            (_, got), grads = jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))(params, x)
            what = f'f{bits}, rank {x.ndim}'
            gate = 1e-6 if bits == 32 else 1e-12
            compare('Dense', 'torch.nn.Linear', f'outputs {what}', got, y.detach().numpy(), gate)
            if bits == 64:
                theirs = {'kernel': net.weight.grad.numpy().T, 'bias': net.bias.grad.numpy()}
                compare('Dense', 'torch.nn.Linear', f'gradients {what}', grads, (theirs, at.grad.numpy()), 1e-9,
                        relative=True)
        torch.optim.SGD(net.parameters(), 0.1).step()
        after = jax.tree.map(lambda p, g: p - 0.1 * g, params, grads[0])
        compare('Dense', 'torch.nn.Linear', f'parameters after a step, f{bits}', after,
                {'kernel': net.weight.detach().numpy().T, 'bias': net.bias.detach().numpy()}, gate)


def channels_first(x):
    return np.moveaxis(x, -1, 1)


@pytest.mark.parametrize('bits', [32, 64])
@pytest.mark.parametrize('name', SHAPES)
def test_batch_norm_is_torch_s(name, bits):
    """Two steps of training from running statistics that are neither 0 nor 1, then evaluation."""
    with jax.enable_x64(bits == 64):
        rng, dtype, shape = np.random.default_rng(0), f'float{bits}', SHAPES[name]
        n, width, gate = np.prod(shape[:-1]), shape[-1], 1e-6 if bits == 32 else 1e-12
        net = getattr(torch.nn, name)(width, dtype=getattr(torch, dtype))
        draw = lambda *s: rng.normal(size=s).astype(dtype)
        params = {'scale': draw(width), 'bias': draw(width)}
        stats = {'mean': draw(width), 'var': np.exp(draw(width))}
        with torch.no_grad():
            for theirs, ours in ((net.weight, params['scale']), (net.bias, params['bias']),
                                 (net.running_mean, stats['mean']), (net.running_var, stats['var'])):
                theirs.copy_(torch.tensor(ours))
        layer = lambda train: batch_norm(train=train, momentum=1 - MOMENTUM, param_dtype=dtype)

        @jax.jit
        def step(params, stats, x, weight):
            def loss(params, x):
                y, new = layer(True).apply({'params': params, 'batch_stats': stats}, x, mutable='batch_stats')
                return jnp.sum(jnp.sin(y) * weight), (y, new['batch_stats'])
            return jax.value_and_grad(loss, (0, 1), has_aux=True)(params, x)

        unbiased = stats['var']         # torch's running variance is that of the population: n / (n - 1) of the batch's
        for _ in range(2):
            x, weight, old = 2 + 3 * draw(*shape), draw(*shape), stats['var']
            net.zero_grad()
            at = torch.tensor(channels_first(x).copy(), requires_grad=True)
            y = net(at)
            (y.sin() * torch.tensor(channels_first(weight).copy())).sum().backward()
            (_, (got, stats)), grads = step(params, stats, x, weight)
            batch_var = (stats['var'] - (1 - MOMENTUM) * old) / MOMENTUM
            unbiased = (1 - MOMENTUM) * unbiased + MOMENTUM * batch_var * n / (n - 1)
        what = f'f{bits}, {name[-2:]}'
        component, peer = 'batch_norm', f'torch.nn.{name}'
        compare(component, peer, f'training outputs {what}', channels_first(got), y.detach().numpy(), gate)
        compare(component, peer, f'running mean after 2 steps, {what}', stats['mean'], net.running_mean.numpy(), gate)
        compare(component, peer, f'running variance times n/(n-1) after 2 steps, {what}', unbiased,
                net.running_var.numpy(), gate, relative=True)
        assert np.abs(stats['var'] - net.running_var.numpy()).max() > 1e-2, 'ours is that of the batch: another number'
        if bits == 64:
            theirs = {'scale': net.weight.grad.numpy(), 'bias': net.bias.grad.numpy()}
            compare(component, peer, f'training gradients {what}', (grads[0], channels_first(grads[1])),
                    (theirs, at.grad.numpy()), 1e-9, relative=True)
        net.eval()
        loaded = {'mean': net.running_mean.numpy(), 'var': net.running_var.numpy()}
        at = torch.tensor(channels_first(x).copy(), requires_grad=True)
        y = net(at)
        (y.sin() * torch.tensor(channels_first(weight).copy())).sum().backward()
        evaluate = lambda x: layer(False).apply({'params': params, 'batch_stats': loaded}, x)
        got, pull = jax.vjp(evaluate, jnp.asarray(x))
        compare(component, peer, f'evaluation outputs {what}', channels_first(got), y.detach().numpy(), gate)
        if bits == 64:
            compare(component, peer, f'evaluation gradients {what}', channels_first(pull(jnp.cos(got) * weight)[0]),
                    at.grad.numpy(), 1e-9, relative=True)


def test_the_variance_of_a_large_mean_keeps_its_digits():
    """Two passes: at mean 1000 the difference of two squares would leave two digits of a variance of 1."""
    x = (1000 + np.random.default_rng(0).normal(size=(64, 8))).astype(np.float32)
    exact = x.astype(np.float64) - x.astype(np.float64).mean(0)
    exact /= np.sqrt((exact ** 2).mean(0) + 1e-5)

    def error(layer):
        variables = layer.init(jax.random.key(0), x)
        return np.abs(layer.apply(variables, x, mutable='batch_stats')[0] - exact).max()

    compare('batch_norm', 'float64', 'training outputs, mean 1000, f32', error(batch_norm(train=True)), 0.0, 5e-4)
    assert error(nn.BatchNorm(use_running_average=False)) > 1e-2
