"""Activations against torch: values and slopes in float32 and float64, at kinks too; nothing overflows at +-1e4."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from parity_ledger import compare

from levels.level2_neural.activations import ACTIVATIONS, activation_fn, glu, log_softmax, softmax

PEERS = {       # name -> (torch's, options of ours)
    'identity': (torch.nn.Identity(), {}),
    'relu': (F.relu, {}),
    'relu6': (F.relu6, {}),
    'squared_relu': (lambda x: F.relu(x) ** 2, {}),
    'leaky_relu': (F.leaky_relu, {}),
    'elu': (lambda x: F.elu(x, 1.7), {'alpha': 1.7}),
    'celu': (lambda x: F.celu(x, 1.7), {'alpha': 1.7}),
    'selu': (F.selu, {}),
    'sigmoid': (torch.sigmoid, {}),
    'log_sigmoid': (F.logsigmoid, {}),
    'tanh': (torch.tanh, {}),
    'softplus': (lambda x: F.softplus(x, 1.3, threshold=1e9), {'beta': 1.3}),
    'soft_sign': (F.softsign, {}),
    'silu': (F.silu, {}),
    'mish': (F.mish, {}),
    'gelu_erf': (F.gelu, {}),
    'gelu_tanh': (lambda x: F.gelu(x, approximate='tanh'), {}),
    'quick_gelu': (lambda x: x * torch.sigmoid(1.702 * x), {}),
    'hard_tanh': (F.hardtanh, {}),
    'hard_sigmoid': (F.hardsigmoid, {}),
    'hard_swish': (F.hardswish, {}),
    'soft_shrink': (lambda x: F.softshrink(x, 0.7), {'at': 0.7}),
    'hard_shrink': (lambda x: F.hardshrink(x, 0.7), {'at': 0.7}),
    'tanh_shrink': (F.tanhshrink, {}),
}
FORMULA = ('squared_relu', 'quick_gelu')        # torch has no function of that name
KINKS = [-3.0, -1.0, 0.0, 1.0, 3.0, 6.0]
ENDS = [1e4, -1e4, 100.0, -100.0, 20.0, -20.0]


@functools.cache
def ours(dtype, ends):
    """(x, name -> (values, slopes)) of all activations in one program."""
    x = [*ENDS, *KINKS, 1e-30, -1e-30] if ends else np.concatenate([np.linspace(-5, 5, 101), KINKS, ENDS[2:]])

    @jax.jit
    def run(x):
        out = {}
        for name, (_, options) in PEERS.items():
            fn = lambda x, name=name, options=options: ACTIVATIONS[name](x, **options)
            out[name] = fn(x), jax.grad(lambda x, fn=fn: jnp.sum(fn(x)))(x)
        return out

    with jax.enable_x64(dtype == jnp.float64):
        x = jnp.asarray(x, dtype)
        return np.asarray(x), jax.device_get(run(x))


def theirs(fn, x):
    at = torch.tensor(x, requires_grad=True)
    y = fn(at)
    y.sum().backward()
    return y.detach().numpy(), at.grad.numpy()


def test_every_activation_has_a_peer():
    assert set(PEERS) == set(ACTIVATIONS) and len(ACTIVATIONS) >= 12


@pytest.mark.parametrize('name', PEERS)
def test_values_and_slopes_equal_torch(name):
    peer, _ = PEERS[name]
    who = 'the formula in torch' if name in FORMULA else 'torch.nn.functional'
    # torch keeps 1 / 6 and 1 / alpha in float32 in these two slopes, for float64 as well
    rough = 1e-7 if name in ('celu', 'hard_sigmoid') else 1e-12
    for dtype, gate in ((jnp.float32, 1e-6), (jnp.float64, rough)):
        x, found = ours(dtype, False)
        bits, want = 8 * x.dtype.itemsize, theirs(peer, x)
        for what, a, b in zip(('values', 'slopes'), found[name], want, strict=True):
            assert a.dtype == x.dtype
            scale = np.maximum(1, np.abs(b))        # beyond 1 the gate is relative: values are rounded
            compare(name, who, f'{what}, f{bits}', a / scale, b / scale, gate)


@pytest.mark.parametrize('name', PEERS)
def test_nothing_overflows(name):
    for dtype in (jnp.float32, jnp.bfloat16):
        for found in ours(dtype, True)[1][name]:
            assert found.dtype == dtype and np.isfinite(np.float32(found)).all()


@pytest.mark.parametrize(('fn', 'peer'), [(softmax, torch.softmax), (log_softmax, torch.log_softmax)])
@pytest.mark.parametrize('axis', [-1, 0])
def test_softmax_along_an_axis(fn, peer, axis):
    rng = np.random.default_rng(0)
    for bits, gate in ((32, 1e-6), (64, 1e-12)):
        with jax.enable_x64(bits == 64):
            x, w = rng.normal(size=(2, 4, 5)).astype(f'float{bits}') * 3
            at = torch.tensor(x, requires_grad=True)
            y = peer(at, axis)
            (y * torch.tensor(w)).sum().backward()
            got = jax.jit(lambda x, w=w: (fn(x, axis=axis), jax.grad(lambda x: jnp.sum(w * fn(x, axis=axis)))(x)))(x)
            compare(fn.__name__, 'torch', f'values, f{bits}, axis {axis}', got[0], y.detach().numpy(), gate)
            compare(fn.__name__, 'torch', f'slopes, f{bits}, axis {axis}', got[1], at.grad.numpy(), gate)
    far = jnp.array([[1e4, -1e4, 0.0], [1e4, 1e4, 1e4]])
    grad = jax.grad(lambda x: jnp.sum(fn(x, axis=axis) ** 2))(far)
    assert jnp.isfinite(fn(far, axis=axis)).all() and jnp.isfinite(grad).all()
    if fn is softmax:
        assert jnp.allclose(fn(far, axis=axis).sum(axis), 1)


@pytest.mark.parametrize(('gate', 'peer'), [('sigmoid', torch.sigmoid), ('gelu_erf', F.gelu), ('silu', F.silu)])
def test_gated_units(gate, peer):
    with jax.enable_x64(True):
        x = np.random.default_rng(1).normal(size=(3, 6, 2))
        at = torch.tensor(x, requires_grad=True)
        a, b = at.chunk(2, 1)
        y = a * peer(b)
        if gate == 'sigmoid':
            assert torch.equal(y, F.glu(at, 1))
        (y ** 2).sum().backward()
        who = 'torch.nn.functional.glu' if gate == 'sigmoid' else 'the formula in torch'
        compare('glu', who, f'values, f64, {gate}', glu(x, axis=1, gate=gate), y.detach().numpy(), 1e-12)
        grad = jax.grad(lambda x: jnp.sum(glu(x, axis=1, gate=gate) ** 2))(jnp.asarray(x))
        compare('glu', who, f'slopes, f64, {gate}', grad, at.grad.numpy(), 1e-12)


def test_second_derivatives_of_the_slopes_that_were_worked_out():
    with jax.enable_x64(True):
        x = jnp.linspace(-4, 4, 17)
        for name, fn in (('mish', lambda x: x * jnp.tanh(jax.nn.softplus(x))), ('gelu_tanh', jax.nn.gelu)):
            twice = lambda f: jax.jit(jax.vmap(jax.grad(jax.grad(f))))(x)
            assert jnp.abs(twice(ACTIVATIONS[name]) - twice(fn)).max() < 1e-12, name


def test_a_learned_slope_is_prelu():
    with jax.enable_x64(True):
        x, slope = np.random.default_rng(2).normal(size=(5, 3)), np.array([0.1, 0.25, -0.2])
        at, w = torch.tensor(x, requires_grad=True), torch.tensor(slope, requires_grad=True)
        (F.prelu(at, w) ** 2).sum().backward()
        total = lambda x, s: jnp.sum(ACTIVATIONS['leaky_relu'](x, slope=s[None]) ** 2)
        grads = jax.grad(total, (0, 1))(jnp.asarray(x), jnp.asarray(slope))
        compare('leaky_relu', 'torch.nn.functional.prelu', 'slopes, f64', grads, (at.grad.numpy(), w.grad.numpy()),
                1e-12)


def test_the_approximate_forms_are_as_far_off_as_their_cards_say():
    x = jnp.linspace(-6, 6, 2001)
    off = lambda name: float(jnp.abs(ACTIVATIONS[name](x) - ACTIVATIONS['gelu_erf'](x)).max())
    assert 4e-4 < off('gelu_tanh') < 5e-4 and 0.02 < off('quick_gelu') < 0.021


def test_bad_input_is_one_line():
    with pytest.raises(ValueError, match='x: expected floating point numbers, found int32'):
        ACTIVATIONS['mish'](jnp.arange(3))
    with pytest.raises(ValueError, match='x: expected an even length along axis -1'):
        glu(jnp.ones((2, 3)))
    with pytest.raises(ValueError, match='activation: expected a callable or one of relu, tanh'):
        activation_fn('gelu')
