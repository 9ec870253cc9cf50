"""Backpropagation by hand against autodiff, layer by layer and in chains, and against torch; all can be looked at."""

import contextlib
import inspect
from unittest import mock

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from parity_ledger import compare

from levels.level2_neural import backprop as B
from levels.level2_neural import backprop_norms as N
from levels.level2_neural.activations import ACTIVATIONS
from levels.level2_neural.backprop_slopes import SLOPES

KEY = jax.random.key(3)
OPTIONS = {'leaky_relu': {'slope': 0.2}, 'elu': {'alpha': 1.5}, 'celu': {'alpha': 1.5}, 'softplus': {'beta': 2.0},
           'soft_shrink': {'at': 0.3}, 'hard_shrink': {'at': 0.3}}
LAYERS = {
    'dense': (lambda: B.dense(4), True),
    'dense without bias': (lambda: B.dense(4, bias=False), True),
    'dropout': (lambda: B.dropout(0.4), True),
    'dropout in evaluation': (lambda: B.dropout(0.4), False),
    'batch_norm': (N.batch_norm, True),
    'batch_norm in evaluation': (N.batch_norm, False),
    'layer_norm': (N.layer_norm, True),
    'softmax': (lambda: B.activation('softmax'), True),
    'log_softmax': (lambda: B.activation('log_softmax'), True),
}
GATES = ((32, 1e-5), (64, 1e-10))


def both_ways(layer, x, dy, train):
    """(dx, dparams) by hand, and by autodiff."""
    params, stats, _ = layer.init(KEY, x.shape[-1], x.dtype)
    params = jax.tree.map(lambda p: p + 0.3 * jnp.sin(jnp.arange(p.size, dtype=p.dtype)).reshape(p.shape), params)
    stats = jax.tree.map(lambda s: s + 0.2, stats)

    @jax.jit
    def run(params, x, dy):
        forward = lambda params, x: layer.forward(params, stats, x, train, KEY)[0]
        _, saved, _ = layer.forward(params, stats, x, train, KEY)
        dx, grads = layer.backward(params, saved, dy)
        return (dx, grads), jax.vjp(forward, params, x)[1](dy)[::-1]

    return run(params, x, dy)


@pytest.mark.parametrize('name', LAYERS)
def test_every_layer_goes_back_as_autodiff_does(name):
    make, train = LAYERS[name]
    for bits, gate in GATES:
        with jax.enable_x64(bits == 64):
            layer = make()
            x = jnp.asarray(np.random.default_rng(0).normal(size=(6, 2, 5)), f'float{bits}')
            like = layer.forward(*layer.init(KEY, 5, x.dtype)[:2], x, train, KEY)[0]
            dy = jnp.asarray(np.random.default_rng(1).normal(size=like.shape), x.dtype)
            ours, theirs = both_ways(layer, x, dy, train)
            compare(f'backprop.{layer.name}', 'jax.vjp', f'slopes, f{bits}, {name}', ours, theirs, gate, relative=True)


def test_every_activation_goes_back_as_autodiff_does():
    assert set(SLOPES) == set(ACTIVATIONS)
    for bits, gate in GATES:
        with jax.enable_x64(bits == 64):
            x = jnp.asarray([np.linspace(-4.9, 4.9, 99), np.linspace(-90, 90, 99)], f'float{bits}')
            dy = jnp.asarray(np.random.default_rng(1).normal(size=x.shape), x.dtype)

            @jax.jit
            def run(x, dy):
                out = {}
                for name in ACTIVATIONS:
                    layer, options = B.activation(name, **OPTIONS.get(name, {})), OPTIONS.get(name, {})
                    _, saved, _ = layer.forward({}, {}, x, True, None)
                    out[name] = layer.backward({}, saved, dy)[0], jax.vjp(
                        lambda x, name=name, options=options: ACTIVATIONS[name](x, **options), x)[1](dy)[0]
                return out

            for name, (ours, theirs) in run(x, dy).items():
                assert ours.dtype == x.dtype
                compare(f'backprop.activation {name}', 'jax.vjp', f'slopes, f{bits}', ours, theirs, gate)
    far = jnp.array([1e4, -1e4])
    for name, slope in SLOPES.items():
        assert jnp.isfinite(slope(far, ACTIVATIONS[name](far))).all(), name


HEADS = {
    'cross-entropy': (B.softmax_cross_entropy_head(), 'classes'),
    'smoothed cross-entropy': (B.softmax_cross_entropy_head(label_smoothing=0.2), 'classes'),
    'squared error': (B.squared_error_head(), 'reals'),
    'binary cross-entropy': (B.binary_cross_entropy_head(), 'bits'),
}


@pytest.mark.parametrize('head', HEADS)
def test_every_head_and_a_chain_of_every_layer(head):
    """All slopes of a chain at once: of parameters, of the input, and of what each layer gave."""
    loss, kind = HEADS[head]
    net = B.chain(B.dense(7), N.batch_norm(), B.activation('gelu_erf'), B.dropout(0.3), B.dense(6), N.layer_norm(),
                  B.activation('tanh'), B.dense(3), head=loss)
    rng = np.random.default_rng(2)
    for bits, gate in GATES:
        with jax.enable_x64(bits == 64):
            x = jnp.asarray(rng.normal(size=(8, 5)), f'float{bits}')
            y = jnp.asarray({'classes': rng.integers(0, 3, 8), 'reals': rng.normal(size=(8, 3)),
                             'bits': rng.integers(0, 2, (8, 3))}[kind])
            params, stats = net.init(KEY, features=5, dtype=x.dtype)

            @jax.jit
            def run(params, x, y, stats=stats):
                total = lambda params, x: loss.value(net.forward(params, stats, x, train=True, key=KEY)[0], y).sum()
                return (net.passes(params, stats, x, y, train=True, key=KEY),
                        jax.value_and_grad(total, (0, 1))(params, x))

            seen, (value, (grads, dx)) = run(params, x, y)
            compare('backprop.chain', 'jax.grad', f'loss, f{bits}, {head}', seen.loss.sum(), value, gate / 10,
                    relative=True)
            # a bias in front of a batch norm changes nothing: its slope is rounding, and is looked at by itself
            assert np.abs(seen.grads['0 dense'].pop('bias')).max() < (1e-4 if bits == 32 else 1e-12)
            grads['0 dense'].pop('bias')
            some = lambda tree: {k: v for k, v in tree.items() if v}
            compare('backprop.chain', 'jax.grad', f'slopes, f{bits}, {head}', (some(seen.grads), seen.input_slope),
                    (some(grads), dx), gate, relative=True)


def test_every_value_and_every_slope_can_be_looked_at():
    """dL/d(value) of each layer is what autodiff finds for something that is added there."""
    with jax.enable_x64(True):
        net = B.chain(B.dense(4), B.activation('silu'), N.layer_norm(), B.dense(3), head=B.softmax_cross_entropy_head())
        params, stats = net.init(KEY, features=5, dtype=jnp.float64)
        x, y = jax.random.normal(KEY, (6, 5)), jnp.arange(6) % 3
        seen = jax.jit(net.passes)(params, stats, x, y)
        assert net.names == ('0 dense', '1 silu', '2 layer_norm', '3 dense') == tuple(seen.values)
        assert set(seen.slopes) == set(seen.grads) == set(net.names) and (seen.values['3 dense'] == seen.output).all()
        layers = dict(zip(net.names, (B.dense(4), B.activation('silu'), N.layer_norm(), B.dense(3))))

        def pushed(extra):
            at = x
            for name, layer in layers.items():
                at = layer.forward(params[name], stats[name], at, False, None)[0] + extra[name]
            return B.softmax_cross_entropy_head().value(at, y).sum()

        found = jax.jit(jax.grad(pushed))(jax.tree.map(jnp.zeros_like, seen.values))
        compare('backprop.chain', 'jax.grad', 'slopes of every value, f64', seen.slopes, found, 1e-10, relative=True)


def test_a_chain_equals_torch():
    """Three layers with batch norm and layer norm, in training: loss, every gradient, running mean and variance."""
    with jax.enable_x64(True):
        net = B.chain(B.dense(6), N.batch_norm(), B.activation('relu'), B.dense(4), N.layer_norm(),
                      B.activation('mish'), B.dense(3), head=B.softmax_cross_entropy_head())
        params, stats = net.init(KEY, features=5, dtype=jnp.float64)
        x, y = np.random.default_rng(5).normal(size=(9, 5)), np.arange(9) % 3
        seen = jax.jit(lambda *a: net.passes(*a, train=True))(params, stats, jnp.asarray(x), jnp.asarray(y))
        peer = torch.nn.Sequential(torch.nn.Linear(5, 6), torch.nn.BatchNorm1d(6), torch.nn.ReLU(),
                                   torch.nn.Linear(6, 4), torch.nn.LayerNorm(4), torch.nn.Mish(),
                                   torch.nn.Linear(4, 3)).double()
        names = {0: '0 dense', 1: '1 batch_norm', 3: '3 dense', 4: '4 layer_norm', 6: '6 dense'}
        with torch.no_grad():
            for i, name in names.items():
                w = params[name].get('kernel', params[name].get('scale'))
                peer[i].weight.copy_(torch.tensor(np.array(w).T))
                peer[i].bias.copy_(torch.tensor(np.array(params[name]['bias'])))
        loss = torch.nn.functional.cross_entropy(peer(torch.tensor(x)), torch.tensor(y), reduction='sum')
        loss.backward()
        ours = [{k: v for k, v in seen.grads[n].items() if (n, k) != ('0 dense', 'bias')} for n in names.values()]
        theirs = [{'kernel' if i in (0, 3, 6) else 'scale': peer[i].weight.grad.numpy().T}
                  | ({'bias': peer[i].bias.grad.numpy()} if i else {}) for i in names]
        compare('backprop.chain', 'torch.nn.Sequential', 'loss, f64', seen.loss.sum(), loss.item(), 1e-10)
        compare('backprop.chain', 'torch.nn.Sequential', 'gradients, f64', ours, theirs, 1e-10, relative=True)
        compare('backprop.batch_norm', 'torch.nn.BatchNorm1d', 'running mean, f64', seen.stats['1 batch_norm']['mean'],
                peer[1].running_mean.numpy(), 1e-12)
        # torch takes n / (n - 1) of the batch's variance into the running one, Linen and we 1
        fresh = seen.stats['1 batch_norm']['var'] - 0.9
        compare('backprop.batch_norm', 'torch.nn.BatchNorm1d', 'running variance with n / (n - 1), f64',
                0.9 + fresh * 9 / 8, peer[1].running_var.numpy(), 1e-12)
        assert jnp.abs(fresh).min() > 1e-3, 'the first variance, 1, has moved'
        linen = nn.BatchNorm(use_running_average=False, momentum=0.9, param_dtype=jnp.float64)
        given = {'params': params['1 batch_norm'], 'batch_stats': stats['1 batch_norm']}
        _, after = linen.apply(given, seen.values['0 dense'], mutable='batch_stats')
        compare('backprop.batch_norm', 'flax.linen.BatchNorm', 'running mean and variance, f64',
                seen.stats['1 batch_norm'], after['batch_stats'], 1e-12)


@contextlib.contextmanager
def out_of_order():
    """Within, whatever JAX differentiates raises."""
    with contextlib.ExitStack() as stack:
        for trace in ('JVPTrace', 'LinearizeTrace'):
            stack.enter_context(mock.patch(f'jax._src.interpreters.ad.{trace}.process_primitive',
                                           side_effect=AssertionError('autodiff')))
        yield


def test_nothing_here_differentiates():
    """The way back is traced while JAX's own differentiation is out of order; autodiff of the same chain then fails."""
    net = B.chain(B.dense(4), N.batch_norm(), B.activation('gelu_tanh'), B.dropout(0.5), B.dense(2), N.layer_norm(),
                  head=B.squared_error_head())
    params, stats = net.init(KEY, features=3)
    x, y = jnp.ones((4, 3)), jnp.ones((4, 2))
    jax.clear_caches()
    with out_of_order():
        made = jax.make_jaxpr(lambda p: net.passes(p, stats, x, y, train=True, key=KEY))(params)
        assert len(made.eqns) > 30
        with pytest.raises(AssertionError, match='autodiff'):
            jax.grad(lambda p: net.forward(p, stats, x)[0].sum())(params)
    for module in (B, N, inspect.getmodule(SLOPES['mish'])):
        source = inspect.getsource(module)
        assert not [w for w in ('jax.grad', 'value_and_grad', 'jax.vjp', 'jvp', 'linearize', 'jacrev') if w in source]


def test_bad_input_is_one_line():
    for make, message in ((lambda: B.dense(0), 'features: expected 1 or more, found 0'),
                          (lambda: B.activation('gelu'), 'name: expected one of softmax'),
                          (lambda: B.dropout(1.0), 'rate: expected 0 <= rate < 1'),
                          (lambda: B.dropout(0.5).forward({}, {}, jnp.ones((2, 2)), True, None), 'key: expected one'),
                          (lambda: N.batch_norm(momentum=1.5), 'epsilon, momentum: expected'),
                          (lambda: N.layer_norm(epsilon=0.0), 'epsilon, momentum: expected'),
                          (lambda: B.chain(head=B.squared_error_head()), 'layers: expected one or more')):
        with pytest.raises(ValueError, match=message):
            make()
