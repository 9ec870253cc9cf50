"""MLP against torch.nn.Sequential with copied weights."""

import itertools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from parity_ledger import compare

from levels.level2_neural.mlp import MLP, from_torch, to_torch

PEER = 'torch.nn.Sequential'
CASES = [  # hidden, n_out, kind, activation, torch's activation
    ((), 3, 'classification', 'relu', torch.nn.ReLU),
    ((7,), 3, 'classification', 'tanh', torch.nn.Tanh),
    ((16, 9, 5), 4, 'classification', 'gelu_erf', torch.nn.GELU),
    ((16, 9), 1, 'regression', 'silu', torch.nn.SiLU),
    ((8, 8, 8, 8), 2, 'regression', jax.nn.sigmoid, torch.nn.Sigmoid),
    ((8,), 1, 'classification', 'leaky_relu', torch.nn.LeakyReLU),
]
BATCH, IMAGE = 6, (3, 2, 2)


def network(hidden, n_out, activation, dtype):
    torch.manual_seed(len(hidden))
    widths = (int(np.prod(IMAGE)), *hidden)
    layers = []
    for a, b in itertools.pairwise(widths):
        layers += [torch.nn.Linear(a, b), activation()]
    return torch.nn.Sequential(*layers, torch.nn.Linear(widths[-1], n_out)).to(dtype)


def arrays(net):
    return {k: v.detach().numpy() for k, v in net.state_dict().items()}


@pytest.mark.parametrize(('hidden', 'n_out', 'kind', 'activation', 'theirs'), CASES)
@pytest.mark.parametrize('bits', [32, 64])
def test_outputs_and_gradients_equal_torch(hidden, n_out, kind, activation, theirs, bits):
    x = np.random.default_rng(0).normal(size=(BATCH, *IMAGE)).astype(f'float{bits}')
    net = network(hidden, n_out, theirs, getattr(torch, f'float{bits}'))
    y = net(torch.tensor(x).flatten(1))
    if kind == 'regression' and n_out == 1:
        y = y[:, 0]
    weights = np.random.default_rng(1).normal(size=y.shape).astype(x.dtype)
    (y.sin() * torch.tensor(weights)).sum().backward()

    with jax.enable_x64(bits == 64):
        model = MLP(hidden, n_out, kind=kind, activation=activation, param_dtype=x.dtype)
        params = from_torch(arrays(net))

        def loss(params, x):
            y = model.apply({'params': params}, x)
            return jnp.sum(jnp.sin(y) * weights), y

        (_, ours), grads = jax.jit(jax.value_and_grad(loss, has_aux=True))(params, x)
        assert ours.dtype == x.dtype
        name = f'{kind}, f{bits}'
        compare('MLP', PEER, f'output, {name}', ours, y.detach().numpy(), 1e-6 if bits == 32 else 1e-10)
        if bits == 64:
            theirs = from_torch({k: p.grad.numpy() for k, p in net.named_parameters()})
            compare('MLP', PEER, f'gradients, {name}', grads, theirs, 1e-10, relative=True)


def test_weights_go_there_and_back_bit_for_bit():
    state = arrays(network((7, 5), 3, torch.nn.ReLU, torch.float32))
    back = to_torch(from_torch(state))
    assert set(back) == set(state)
    assert all(np.array_equal(back[k], state[k]) and back[k].dtype == state[k].dtype for k in state)
    params = MLP((7, 5), 3).init(jax.random.key(0), jnp.zeros((1, 12)))['params']
    again = from_torch(to_torch(params))
    assert jax.tree.structure(again) == jax.tree.structure(params)
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), params, again))
    named = to_torch(params, names=('in', 'mid', 'head'))
    assert set(named) == {f'{n}.{leaf}' for n in ('in', 'mid', 'head') for leaf in ('weight', 'bias')}
    assert (from_torch(named, names=('in', 'mid', 'head'))['dense_2']['bias'] == params['dense_2']['bias']).all()


def test_sequential_names_are_in_numeric_order():
    # twelve layers: as strings '10' stands before '2'
    state = arrays(network((3,) * 11, 2, torch.nn.ReLU, torch.float32))
    params = from_torch(state)
    assert params['dense_5']['bias'].tolist() == state['10.bias'].tolist()
    assert params['dense_11']['kernel'].shape == (3, 2)


def test_dropout_follows_every_hidden_activation_and_only_in_training():
    x = jnp.ones((64, 5))
    model = MLP((32, 32), 2, activation='identity', dropout=0.5, bias_init=nn.initializers.ones_init())
    params = model.init(jax.random.key(0), x)
    eval_1, eval_2 = model.apply(params, x), model.apply(params, x, train=False)
    assert (eval_1 == eval_2).all()
    train, seen = model.apply(params, x, train=True, rngs={'dropout': jax.random.key(1)}, mutable='intermediates')
    assert not jnp.allclose(train, eval_1)
    # the first hidden layer is sown before its dropout; the second differs from example to example because of it
    first, second = (seen['intermediates'][f'hidden_{i}'][0] for i in range(2))
    assert jnp.ptp(first, axis=0).max() == 0 and jnp.ptp(second, axis=0).min() > 0
    # with this kernel at zero the second hidden layer is all ones, so only its own dropout can tell examples apart
    params['params']['dense_1']['kernel'] *= 0
    outs = [model.apply(params, x, train=True, rngs={'dropout': jax.random.key(k)}) for k in range(30)]
    assert jnp.ptp(outs[0], axis=0).min() > 0
    exact = model.apply(params, x)[0]
    assert jnp.abs(sum(y.mean(0) for y in outs) / 30 - exact).max() < 0.1  # 1,920 draws of standard deviation about 1


@pytest.mark.parametrize(
    ('fields', 'shape', 'message'),
    [
        ({'activation': 'gelu'}, (2, 3), 'activation: expected a callable or one of'),
        ({'kind': 'ranking'}, (2, 3), 'kind: expected'),
        ({'hidden': (4, 0)}, (2, 3), 'hidden, n_out: expected widths >= 1'),
        ({'dropout': 1.0}, (2, 3), 'dropout: expected a rate'),
        ({}, (3,), 'x: expected .* found shape'),
    ],
)
def test_bad_input_says_what_is_wrong(fields, shape, message):
    with pytest.raises(ValueError, match=message):
        MLP(**{'hidden': (4,), 'n_out': 2} | fields).init(jax.random.key(0), jnp.zeros(shape))


def test_bad_states_say_what_is_wrong():
    state = arrays(network((4,), 2, torch.nn.ReLU, torch.float32))
    with pytest.raises(ValueError, match=r'state: expected keys'):
        from_torch({k: v for k, v in state.items() if k != '2.bias'})
    with pytest.raises(ValueError, match="names: expected the layers' names"):
        from_torch({f'net.{k}': v for k, v in state.items()})
    with pytest.raises(ValueError, match='names: expected 2 names'):
        to_torch(from_torch(state), names=('a',))
