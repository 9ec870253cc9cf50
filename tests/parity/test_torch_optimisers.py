"""Optimisers against torch.optim and optax: 50 steps from the same start, on gradients that our own loss gives each."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from parity_ledger import compare

from levels.level0_foundations.optimisers import adam, adamw, rmsprop, sgd

STEPS = 50
RATE = 0.02
# name, ours, torch's, what of its state is which of ours
CASES = [
    ('sgd', sgd(RATE), lambda p: torch.optim.SGD(p, RATE), {}),
    ('sgd, momentum', sgd(RATE, momentum=0.9), lambda p: torch.optim.SGD(p, RATE, momentum=0.9),
     {'momentum_buffer': 'velocity'}),
    ('sgd, nesterov', sgd(RATE, momentum=0.9, nesterov=True),
     lambda p: torch.optim.SGD(p, RATE, momentum=0.9, nesterov=True), {'momentum_buffer': 'velocity'}),
    ('adam', adam(RATE), lambda p: torch.optim.Adam(p, RATE), {'exp_avg': 'mean', 'exp_avg_sq': 'square'}),
    ('adam, other betas', adam(RATE, b1=0.5, b2=0.9, eps=1e-3),
     lambda p: torch.optim.Adam(p, RATE, betas=(0.5, 0.9), eps=1e-3), {'exp_avg': 'mean', 'exp_avg_sq': 'square'}),
    ('adamw, defaults', adamw(RATE), lambda p: torch.optim.AdamW(p, RATE), {'exp_avg': 'mean', 'exp_avg_sq': 'square'}),
    ('adamw, decay 0.3', adamw(RATE, weight_decay=0.3), lambda p: torch.optim.AdamW(p, RATE, weight_decay=0.3),
     {'exp_avg': 'mean', 'exp_avg_sq': 'square'}),
    ('rmsprop', rmsprop(RATE, decay=0.99), lambda p: torch.optim.RMSprop(p, RATE), {'square_avg': 'square'}),
    ('rmsprop, centered', rmsprop(RATE, decay=0.95, centered=True),
     lambda p: torch.optim.RMSprop(p, RATE, alpha=0.95, centered=True), {'square_avg': 'square', 'grad_avg': 'mean'}),
    ('rmsprop, momentum', rmsprop(RATE, decay=0.99, momentum=0.8),
     lambda p: torch.optim.RMSprop(p, RATE, momentum=0.8), {'square_avg': 'square'}),
]


OPTAX = {
    'sgd': optax.sgd(RATE), 'sgd, momentum': optax.sgd(RATE, 0.9), 'sgd, nesterov': optax.sgd(RATE, 0.9, nesterov=True),
    'adam': optax.adam(RATE), 'adam, other betas': optax.adam(RATE, 0.5, 0.9, 1e-3),
    'adamw, defaults': optax.adamw(RATE, weight_decay=1e-2), 'adamw, decay 0.3': optax.adamw(RATE, weight_decay=0.3),
    'rmsprop': optax.rmsprop(RATE, 0.99, eps_in_sqrt=False),
    'rmsprop, centered': optax.rmsprop(RATE, 0.95, eps_in_sqrt=False, centered=True),
    'rmsprop, momentum': optax.rmsprop(RATE, 0.99, eps_in_sqrt=False, momentum=0.8),
}


def start(dtype):
    rng = np.random.default_rng(0)
    return {'kernel': rng.normal(size=(4, 3)).astype(dtype), 'bias': rng.normal(size=3).astype(dtype)}


def loss(p, xp):
    """A bowl with waves, by jax.numpy or torch."""
    return (p['kernel'] ** 2).sum() + xp.sin(p['kernel'] @ p['bias']).sum() + (p['bias'] ** 4).sum() / 4


@pytest.mark.parametrize('bits', [32, 64])
@pytest.mark.parametrize(('name', 'ours', 'theirs', 'parts'), CASES, ids=[c[0] for c in CASES])
def test_fifty_steps_are_torch_s(name, ours, theirs, parts, bits):
    params = start(f'float{bits}')
    peer = {k: torch.nn.Parameter(torch.tensor(x)) for k, x in params.items()}
    tx = theirs(list(peer.values()))
    for _ in range(STEPS):
        tx.zero_grad()
        loss(peer, torch).backward()
        tx.step()
    with jax.enable_x64(bits == 64):
        got, state = descend(ours, params)
        assert np.abs(got['kernel'] - params['kernel']).max() > 0.3
        component, _, variant = name.partition(', ')
        what = f'f{bits}{variant and ", " + variant}'
        gate = 3e-6 if bits == 32 else 1e-12
        compare(component, 'torch.optim', f'parameters after 50 steps, {what}', got,
                {k: p.detach().numpy() for k, p in peer.items()}, gate)
        if parts:
            compare(component, 'torch.optim', f'state after 50 steps, {what}',
                    [getattr(state, our)[k] for our in parts.values() for k in peer],
                    [tx.state[peer[k]][their].numpy() for their in parts for k in peer], 10 * gate)
        assert int(state.count) == STEPS


def descend(tx, params):
    """(parameters, state) after the 50 steps, in one program."""
    def step(carry, _):
        updates, state = tx.update(jax.grad(loss)(carry[0], jnp), carry[1], carry[0])
        return (optax.apply_updates(carry[0], updates), state), None

    return jax.jit(lambda p: jax.lax.scan(step, (p, tx.init(p)), length=STEPS)[0])(params)


@pytest.mark.parametrize('bits', [32, 64])
def test_fifty_steps_are_optax_s(bits):
    """The same ten; `tests/contracts/test_optimisers.py` compares whole paths, schedules and masks too."""
    assert set(OPTAX) == {name for name, *_ in CASES}
    with jax.enable_x64(bits == 64):
        for name, ours, *_ in CASES:
            component, _, variant = name.partition(', ')
            compare(component, 'optax', f'parameters after 50 steps, f{bits}{variant and ", " + variant}',
                    descend(ours, start(f'float{bits}'))[0], descend(OPTAX[name], start(f'float{bits}'))[0],
                    1e-5 if bits == 32 else 1e-12)      # Adam: optax takes 1 - 0.999 in float32


def test_a_scheduled_rate_is_torch_s():
    params = start('float64')
    peer = {k: torch.nn.Parameter(torch.tensor(x)) for k, x in params.items()}
    tx = torch.optim.AdamW(list(peer.values()), 0.05)
    schedule = torch.optim.lr_scheduler.ExponentialLR(tx, 0.9)
    for _ in range(STEPS):
        tx.zero_grad()
        loss(peer, torch).backward()
        tx.step()
        schedule.step()
    with jax.enable_x64(True):
        got, _ = descend(adamw(lambda count: 0.05 * 0.9 ** count), params)
        compare('adamw', 'torch.optim', 'parameters after 50 steps, f64, exponential schedule', got,
                {k: p.detach().numpy() for k, p in peer.items()}, 1e-12)


def test_the_first_steps_of_adam_keep_the_digits_of_float32():
    """1 - 0.999 has four right digits in float32; with them the first step of the second moment is off by 3e-5."""
    grad = jnp.asarray([3.0, -7.0, 0.1], jnp.float32)
    error = lambda make: np.abs(np.asarray(make.update(grad, make.init(grad))[0]) + np.sign(grad)).max()
    compare('adam', 'the formula', 'first step at rate 1, f32', error(adam(1.0)), 0.0, 5e-7)
    assert error(optax.adam(1.0)) > 1e-6
