"""RNN, GRU and LSTM against torch: 50 steps, outputs, last states and gradients; packed sequences, both directions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from parity_ledger import compare

from levels.level4_sequence.gru import GRU
from levels.level4_sequence.lstm import LSTM, LSTMCarry
from levels.level4_sequence.rnn import RNN
from levels.level4_sequence.torch_weights import from_torch, to_torch
from levels.level4_sequence.unroll import bidirectional, unroll

BATCH, TIME, IN, F, P = 4, 50, 5, 8, 3
LENGTHS = [50, 31, 1, 12]
CASES = {
    'RNN': (RNN(F), lambda **k: torch.nn.RNN(IN, F, **k)),
    'RNN, relu': (RNN(F, activation='relu'), lambda **k: torch.nn.RNN(IN, F, nonlinearity='relu', **k)),
    'GRU': (GRU(F), lambda **k: torch.nn.GRU(IN, F, **k)),
    'LSTM': (LSTM(F), lambda **k: torch.nn.LSTM(IN, F, **k)),
    'LSTM, projection': (LSTM(F, projection=P), lambda **k: torch.nn.LSTM(IN, F, proj_size=P, **k)),
}


def peer(name, dtype, **keywords):
    torch.manual_seed(1)
    return CASES[name][1](batch_first=True, **keywords).to(getattr(torch, dtype))


def arrays(net, pick=lambda p: p):
    return {k: pick(p).detach().numpy() for k, p in net.named_parameters()}


def example(name, dtype):
    """Inputs, a carry to start from, weights of a sum of everything that comes out."""
    rng, out = np.random.default_rng(0), P if 'projection' in name else F
    draw = lambda *shape: rng.normal(size=shape).astype(dtype)
    h, c = draw(BATCH, out), draw(BATCH, F)
    return draw(BATCH, TIME, IN), (LSTMCarry(h, c) if 'LSTM' in name else h), draw(BATCH, TIME, out)


def for_torch(carry):
    """[batch, f] -> [layers, batch, f], with gradients."""
    parts = [torch.tensor(c[None], requires_grad=True) for c in jax.tree.leaves(carry)]
    return parts, tuple(parts) if len(parts) > 1 else parts[0]


def leaves(carry):
    return carry if isinstance(carry, tuple) else (carry,)


@pytest.mark.parametrize('bits', [32, 64])
@pytest.mark.parametrize('name', CASES)
def test_fifty_steps_are_torch_s(name, bits):
    dtype = f'float{bits}'
    net, (xs, carry, weight) = peer(name, dtype), example(name, dtype)
    at, (start, given) = torch.tensor(xs, requires_grad=True), for_torch(carry)
    ys, last = net(at, given)
    total = (ys * torch.tensor(weight)).sum() + sum(c.cos().sum() for c in leaves(last))
    total.backward()
    with jax.enable_x64(bits == 64):
        cell = CASES[name][0]

        def loss(params, xs, carry):
            carry, ys = cell.apply({'params': params}, xs, carry=carry, method=unroll)
            return jnp.sum(weight * ys) + sum(jnp.sum(jnp.cos(c)) for c in jax.tree.leaves(carry)), (ys, carry)

        (_, (got, state)), grads = jax.jit(jax.value_and_grad(loss, (0, 1, 2), has_aux=True))(
            from_torch(arrays(net)), xs, carry)
        component, _, variant = name.partition(', ')
        what, gate = f'f{bits}{variant and ", " + variant}', 1e-6 if bits == 32 else 1e-12
        compare(component, f'torch.nn.{component}', f'50 outputs, {what}', got, ys.detach().numpy(), gate)
        compare(component, f'torch.nn.{component}', f'carry after 50 steps, {what}', jax.tree.leaves(state),
                [c[0].detach().numpy() for c in leaves(last)], gate)
        if bits == 64:
            theirs = from_torch(arrays(net, lambda p: p.grad))
            # Each of torch's two biases has the gradient of their sum, and from_torch added them: all but that of n.
            twice = slice(0, 2 * F) if component == 'GRU' else slice(None)
            theirs['bias'] = theirs['bias'].at[twice].divide(2)
            compare(component, f'torch.nn.{component}', f'gradients after 50 steps, {what}',
                    (grads[0], grads[1], jax.tree.leaves(grads[2])),
                    (theirs, at.grad.numpy(), [c.grad.numpy()[0] for c in start]), 1e-9, relative=True)


@pytest.mark.parametrize('name', ['RNN', 'GRU', 'LSTM', 'LSTM, projection'])
def test_both_directions_are_torch_s_packed_sequences(name):
    net, (xs, _, _) = peer(name, 'float32', bidirectional=True), example(name, 'float32')
    packed = torch.nn.utils.rnn.pack_padded_sequence(torch.tensor(xs), LENGTHS, True, enforce_sorted=False)
    ys, last = net(packed)
    ys, _ = torch.nn.utils.rnn.pad_packed_sequence(ys, batch_first=True)
    cell, xs = CASES[name][0], np.where(np.arange(TIME)[:, None] < np.array(LENGTHS)[:, None, None], xs, np.nan)
    bound = [cell.bind({'params': from_torch(arrays(net), suffix=f'_l0{way}')}) for way in ('', '_reverse')]
    carries, got = jax.jit(lambda xs: bidirectional(*bound, xs, jnp.asarray(LENGTHS)))(xs)
    component, _, variant = name.partition(', ')
    what = f'f32{variant and ", " + variant}'
    compare(component, f'torch.nn.{component}', f'packed, both directions, {what}', got, ys.detach().numpy(), 1e-6)
    states = [[np.asarray(c) for c in jax.tree.leaves(carry)] for carry in carries]
    compare(component, f'torch.nn.{component}', f'carries, packed, both directions, {what}',
            [np.stack(way) for way in zip(*states)], [c.detach().numpy() for c in leaves(last)], 1e-6)


def test_two_layers_are_torch_s():
    net, (xs, _, _) = peer('GRU', 'float32', num_layers=2), example('GRU', 'float32')
    lower, upper = (GRU(F).bind({'params': from_torch(arrays(net), suffix=f'_l{i}')}) for i in range(2))
    got = jax.jit(lambda xs: unroll(upper, unroll(lower, xs)[1])[1])(xs)
    compare('GRU', 'torch.nn.GRU', 'two layers, f32', got, net(torch.tensor(xs))[0].detach().numpy(), 1e-6)


@pytest.mark.parametrize('name', ['RNN', 'GRU', 'LSTM'])
def test_one_step_is_torch_s_cell(name):
    cell = getattr(torch.nn, f'{name}Cell')(IN, F)
    xs, carry, _ = example(name, 'float32')
    want = cell(torch.tensor(xs[:, 0]), jax.tree.map(torch.tensor, carry if name != 'LSTM' else tuple(carry)))
    got, y = CASES[name][0].apply({'params': from_torch(arrays(cell), suffix='')}, carry, xs[:, 0])
    compare(name, f'torch.nn.{name}Cell', 'one step, f32', [*jax.tree.leaves(got), y],
            [c.detach().numpy() for c in (*leaves(want), leaves(want)[0])], 1e-6)


@pytest.mark.parametrize('name', ['RNN', 'GRU', 'LSTM', 'LSTM, projection'])
def test_weights_go_there_and_back(name):
    cell, (xs, _, _) = CASES[name][0], example(name, 'float32')
    shapes = jax.eval_shape(lambda key: cell.init(key, xs, method=unroll), jax.random.key(0))['params']
    rng = np.random.default_rng(5)
    params = jax.tree.map(lambda s: rng.normal(size=s.shape).astype('f') / 3, shapes)
    state, net = to_torch(params), peer(name, 'float32')
    net.load_state_dict({k: torch.tensor(v) for k, v in state.items()})
    back = from_torch(state)
    assert jax.tree.structure(back) == jax.tree.structure(params)
    assert all(np.array_equal(back[k], params[k]) for k in params)
    want = net(torch.tensor(xs))[0].detach().numpy()
    assert np.abs(cell.apply({'params': params}, xs, method=unroll)[1] - want).max() < 2e-6
    bare = {k: v for k, v in state.items() if 'bias' not in k}
    assert not from_torch(bare)['bias'].any()
    with pytest.raises(ValueError, match=r'^state: expected keys weight_ih_l0, .*; found no weight_hh_l0$'):
        from_torch({k: v for k, v in state.items() if 'weight_hh' not in k})


def by_numpy(name, params, xs):
    """The variants that torch does not have, by their formulas, in float64."""
    w, r, b = (np.asarray(params[k], np.float64) for k in ('kernel', 'recurrent_kernel', 'bias'))
    sigmoid, h, c, ys = lambda a: 1 / (1 + np.exp(-a)), np.zeros((BATCH, F)), np.zeros((BATCH, F)), []
    for t in range(TIME):
        x = xs[:, t].astype(np.float64) @ w + b
        if name == 'GRU':
            reset, keep = sigmoid(x[:, :F] + h @ r[:, :F]), sigmoid(x[:, F:2 * F] + h @ r[:, F:2 * F])
            h = (1 - keep) * np.tanh(x[:, 2 * F:] + (reset * h) @ r[:, 2 * F:]) + keep * h
        else:
            see, gates = np.asarray(params['peephole'], np.float64), x + h @ r
            i, f = sigmoid(gates[:, :F] + see[0] * c), sigmoid(gates[:, F:2 * F] + see[1] * c)
            c = f * c + i * np.tanh(gates[:, 2 * F:3 * F])
            h = sigmoid(gates[:, 3 * F:] + see[2] * c) * np.tanh(c)
        ys.append(h)
    return np.stack(ys, 1)


@pytest.mark.parametrize(('cell', 'plain', 'apart'), [
    (GRU(F, variant='reset_before'), GRU(F), 0.05), (LSTM(F, peephole=True), LSTM(F), 0.05)], ids=['GRU', 'LSTM'])
def test_variants_that_torch_lacks_are_their_formulas_and_not_the_common_ones(cell, plain, apart):
    name, (xs, _, _) = type(cell).__name__, example('GRU', 'float32')
    shapes = jax.eval_shape(lambda key: cell.init(key, xs, method=unroll), jax.random.key(0))['params']
    rng = np.random.default_rng(5)
    params = jax.tree.map(lambda s: rng.normal(size=s.shape).astype('f') / 2, shapes)
    got = cell.apply({'params': params}, xs, method=unroll)[1]
    variant = 'reset_before' if name == 'GRU' else 'peephole'
    compare(name, 'the formula in NumPy', f'50 outputs, f32, {variant}', got, by_numpy(name, params, xs), 1e-6)
    common = {k: v for k, v in params.items() if k != 'peephole'}
    common |= {'recurrent_bias': np.zeros(F, 'f')} if name == 'GRU' else {}
    assert np.abs(plain.apply({'params': common}, xs, method=unroll)[1] - got).max() > apart
    with pytest.raises(ValueError, match='^params: expected a layer that torch has; found'):
        to_torch(params)


def test_the_forget_bias_is_an_initial_value():
    init = lambda **k: LSTM(F, **k).init(jax.random.key(0), jnp.zeros((1, 1, IN)), method=unroll)['params']
    want = np.zeros(4 * F)
    want[F:2 * F] = 1
    assert np.array_equal(init()['bias'], want) and np.array_equal(init(forget_bias=3.0)['bias'], 3 * want)
    blocks = np.asarray(init()['recurrent_kernel']).reshape(F, 4, F)
    for gate in range(4):
        product = blocks[:, gate].T @ blocks[:, gate]
        assert np.abs(product - np.eye(F)).max() < 1e-5, 'each gate has its own orthogonal matrix'
    assert np.abs(blocks[:, 0] - blocks[:, 1]).max() > 0.1
    with pytest.raises(ValueError, match='variant: expected one of reset_after, reset_before; found'):
        GRU(F, variant='reset').init(jax.random.key(0), jnp.zeros((1, 1, IN)), method=unroll)
