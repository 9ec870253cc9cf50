"""Derivatives against torch.autograd in float64, where torch computes them by rules that somebody else wrote."""
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from parity_ledger import compare

from levels.level0_foundations.calculus import tape
from levels.level0_foundations.calculus.chain import chain_rule, log1pexp
from levels.level0_foundations.calculus.derivative import METHODS, derivative
from levels.level0_foundations.calculus.functions import FUNCTIONS
from levels.level0_foundations.calculus.gradients import gradient, hessian, hvp, jacobian, jvp, vjp
from levels.level0_foundations.calculus.implicit import fixed_point, implicit_gradient
from levels.level0_foundations.calculus.partial import jacobian_columns, partial_derivative, total_derivative

RNG = np.random.default_rng(0)
A, B, X = RNG.normal(size=(4, 3)), RNG.normal(size=(3,)), RNG.normal(size=(3,))
F = torch.nn.functional
PEERS = {       # the 30 functions in torch's words
    'cube': lambda x: x**3 - 2 * x + 1, 'reciprocal': torch.reciprocal, 'power': lambda x: x**2.5,
    'square root': torch.sqrt, 'rational': lambda x: (x * x + 1) / (x - 4), 'exp': torch.exp, 'expm1': torch.expm1,
    'log': torch.log, 'log1p': torch.log1p, 'sin': torch.sin, 'cos': torch.cos, 'tan': torch.tan,
    'arcsin': torch.arcsin, 'arctan': torch.arctan, 'sinh': torch.sinh, 'cosh': torch.cosh, 'tanh': torch.tanh,
    'sigmoid': torch.sigmoid, 'softplus': F.softplus, 'swish': F.silu,
    'bell': lambda x: torch.distributions.Normal(0.0, 1.0).log_prob(x).exp(),
    'wave packet': lambda x: torch.exp(-x * x) * torch.sin(5 * x),
    'Squire and Trapp': lambda x: torch.exp(x) / torch.sqrt(torch.sin(x)**3 + torch.cos(x)**3),
    'absolute': torch.abs, 'relu': F.relu, 'hard tanh': F.hardtanh, 'huber': lambda x: F.huber_loss(x, 0 * x.detach(),
                                                                                                  reduction='none'),
    'elu': F.elu, 'soft threshold': F.softshrink, 'sine above parabola': lambda x: torch.maximum(torch.sin(x), x * x),
}


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def torch_slope(fn, x):
    x = torch.tensor(x, requires_grad=True, dtype=torch.float64)
    fn(x).sum().backward()
    return x.grad.numpy()


@pytest.mark.parametrize('method', METHODS)
def test_thirty_functions(method):
    """To 1e-6 by the definition; all but the central difference to rounding."""
    assert len(FUNCTIONS) == len(PEERS) == 30 and sum(bool(f.kinks) for f in FUNCTIONS) == 7
    ours, theirs = [], []
    for f in FUNCTIONS:
        x = np.linspace(f.low, f.high, 24)
        assert all(np.abs(x - k).min() > 1e-3 for k in f.kinks)
        ours.append(derivative(f.fn, jnp.asarray(x), method=method))
        theirs.append(torch_slope(PEERS[f.name], x))
    compare('derivative', 'torch.autograd', f'30 functions, {method}, f64', ours, theirs,
            1e-6 if method == 'central' else 1e-13, relative=True)


def ours_fn(x):
    return jnp.tanh(A @ x) * jnp.sum(x * B)**2


def torch_fn(x):
    return torch.tanh(torch.tensor(A) @ x) * (x * torch.tensor(B)).sum()**2


def test_products_with_jacobians_and_hessians():
    f, tf = torch.autograd.functional, torch_fn
    scalar, torch_scalar = lambda x: jnp.sum(ours_fn(x)), lambda x: torch_fn(x).sum()
    x, v, u = X, RNG.normal(size=3), RNG.normal(size=4)
    tx, tv, tu = map(torch.tensor, (x, v, u))
    J = f.jacobian(tf, tx)
    parts = [lambda x: jnp.append(A @ x, jnp.sum(x * B)), lambda y: jnp.tanh(y[:4]) * y[4]**2]
    pairs = {       # ours, in one program for all; theirs
        'gradient': (lambda x: gradient(scalar, x), f.jacobian(torch_scalar, tx)),
        'jvp': (lambda x: jvp(ours_fn, x, v=v), f.jvp(tf, tx, tv)),
        'vjp': (lambda x: vjp(ours_fn, x, u=u), f.vjp(tf, tx, tu)),
        'hvp': (lambda x: hvp(scalar, x, v=v), f.hvp(torch_scalar, tx, tv)[1]),
        'hessian': (lambda x: hessian(scalar, x), f.hessian(torch_scalar, tx)),
        'jacobian': (lambda x: [jacobian(ours_fn, x, mode=mode) for mode in ('forward', 'reverse')], [J, J]),
        'jacobian_columns': (lambda x: jacobian_columns(ours_fn, x), J),
        'partial_derivative': (lambda x: partial_derivative(ours_fn, x, index=1), J[:, 1]),
        'chain_rule': (lambda x: [chain_rule(parts, x, order=order).jacobian for order in ('forward', 'reverse')],
                       [J, J]),
    }
    ours = jax.jit(lambda x: {name: fn(x) for name, (fn, _) in pairs.items()})(jnp.asarray(x))
    for name, (_, theirs) in pairs.items():
        compare(name, 'torch.autograd.functional', 'value, f64', ours[name], jax.tree.map(np.asarray, theirs), 1e-12,
                relative=True)
    found = total_derivative(lambda t, u, w: jnp.sin(t) * u * jnp.sum(w), [jnp.exp, lambda t: t * jnp.arange(3.0)],
                             jnp.asarray(0.7))
    theirs = torch_slope(lambda t: torch.sin(t) * torch.exp(t) * (t * torch.arange(3.0).double()).sum(), 0.7)
    compare('total_derivative', 'torch.autograd', 'total, f64', found.total, theirs, 1e-12, relative=True)


def layers():
    sizes = ((5, 7), (7, 6), (6, 1))
    return [{'w': RNG.normal(size=(a, b)) / math.sqrt(a), 'b': RNG.normal(size=b)} for a, b in sizes]


def test_tape_on_a_net_of_three_layers():
    """Tanh, relu and a smooth last layer, biases broadcast over rows: value, slopes, and slopes of slopes."""
    params, x, y = layers(), RNG.normal(size=(8, 5)), RNG.normal(size=(8, 1))

    def jax_loss(p):
        h = jnp.tanh(x @ p[0]['w'] + p[0]['b'][None])
        h = jnp.maximum(h @ p[1]['w'] + p[1]['b'][None], 0)
        return jnp.mean((jnp.sin(h @ p[2]['w'] + p[2]['b'][None]) - y)**2)

    def tape_loss(p):
        h = tape.tanh(x @ p[0]['w'] + p[0]['b'])
        h = tape.maximum(h @ p[1]['w'] + p[1]['b'], 0.0)
        return tape.mean((tape.sin(h @ p[2]['w'] + p[2]['b']) - y)**2)

    value, slopes = tape.value_and_grad(tape_loss)(params)
    assert all(type(leaf) is np.ndarray for leaf in jax.tree.leaves(slopes))
    compare('tape.grad', 'jax.grad', 'loss, net of 3 layers, f64', value, jax_loss(params), 1e-12)
    compare('tape.grad', 'jax.grad', 'gradients, net of 3 layers, f64', slopes, jax.grad(jax_loss)(params), 1e-12)
    leaves = [torch.tensor(leaf, requires_grad=True) for leaf in jax.tree.leaves(params)]
    p = jax.tree.unflatten(jax.tree.structure(params), leaves)
    h = torch.tanh(torch.tensor(x) @ p[0]['w'] + p[0]['b'])
    h = torch.relu(h @ p[1]['w'] + p[1]['b'])
    ((torch.sin(h @ p[2]['w'] + p[2]['b']) - torch.tensor(y))**2).mean().backward()
    compare('tape.grad', 'torch.autograd', 'gradients, net of 3 layers, f64', jax.tree.leaves(slopes),
            [leaf.grad.numpy() for leaf in leaves], 1e-12)
    v = jax.tree.map(lambda leaf: RNG.normal(size=leaf.shape), params)
    dot = lambda a, b: sum((tape.sum(i * j) for i, j in zip(jax.tree.leaves(a), jax.tree.leaves(b))), start=0.0)
    ours = tape.grad(lambda p: dot(tape.grad(tape_loss)(p), v))(params)
    compare('tape.grad', 'jax: forward over reverse', 'Hessian times vector, net of 3 layers, f64', ours,
            hvp(jax_loss, params, v=v), 1e-12)


def test_rules_of_ones_own():
    x = np.array([-800.0, -30, -1, 0, 1, 15, 800])
    compare('log1pexp', 'torch.nn.functional.softplus', 'value, f64', log1pexp(x), F.softplus(torch.tensor(x)).numpy(),
            1e-12, relative=True)
    compare('log1pexp', 'torch.nn.functional.softplus', 'gradient, f64', jax.grad(lambda x: jnp.sum(log1pexp(x)))(
        jnp.asarray(x)), torch_slope(F.softplus, x), 1e-8)      # torch is linear above 20, and off by e^-20 there


def test_fixed_points():
    """x = tanh(W x + b): torch goes back through 200 steps, we through none."""
    W, b = 0.3 * RNG.normal(size=(4, 4)), RNG.normal(size=4)
    c = RNG.normal(size=4)
    tW, tb = torch.tensor(W, requires_grad=True), torch.tensor(b, requires_grad=True)
    x = torch.zeros(4).double()
    for _ in range(200):
        x = torch.tanh(tW @ x + tb)
    (torch.tensor(c) @ x).backward()
    fn = lambda theta, x: jnp.tanh(theta['W'] @ x + theta['b'])
    theta = {'W': jnp.asarray(W), 'b': jnp.asarray(b)}
    found = fixed_point(fn, theta, jnp.zeros(4))
    assert found.converged
    error = compare('fixed_point', 'torch, 200 steps', 'x, f64', found.x, x.detach().numpy(), 1e-12)
    assert error <= found.bound < 1e-12
    theirs = {'W': tW.grad.numpy(), 'b': tb.grad.numpy()}
    slopes = jax.jit(jax.grad(lambda theta: c @ fixed_point(fn, theta, jnp.zeros(4)).x))(theta)
    compare('fixed_point', 'torch.autograd, unrolled', 'gradient, f64', slopes, theirs, 1e-12)
    slopes_at = jax.jit(lambda x: implicit_gradient(fn, theta, x, u=jnp.asarray(c)))
    rough = slopes_at(x.detach().numpy() + 1e-6)
    off = np.sqrt(sum(float(np.sum((rough.gradient[k] - theirs[k])**2)) for k in theirs))
    assert 1e-8 < off <= rough.bound < 1e-4
    compare('implicit_gradient', 'torch.autograd, unrolled', 'gradient, f64', slopes_at(found.x).gradient, theirs,
            1e-12)
