"""LeNet-5, both variants, against the same networks in torch with copied weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from parity_ledger import compare

from levels.level3_vision import lenet_torch
from levels.level3_vision.lenet import LeNet5, LeNet5Original, rbf_map_loss, scaled_tanh
from levels.level3_vision.lenet_codes import C3_INPUTS, DIGITS, digit_codes

PEER = 'torch, same network'
BATCH = 3
SHAPES = {'conv1': (6, 1, 5, 5), 'conv2': (16, 6, 5, 5), 'fc1': (120, 400), 'fc2': (84, 120), 'fc3': (10, 84)}
ORIGINAL_SHAPES = {
    'c1': (6, 1, 5, 5),
    's2': (6,),
    'c3': (16, 6, 5, 5),
    's4': (16,),
    'c5': (120, 16, 5, 5),
    'f6': (84, 120),
}
LAYERS = ('C1', 'S2', 'C3', 'S4', 'C5', 'F6')

# Table I row by row as printed in the paper: the S2 map of the row feeds the C3 maps marked X.
TABLE_I = """
X . . . X X X . . X X X X . X X
X X . . . X X X . . X X X X . X
X X X . . . X X X . . X . X X X
. X X X . . X X X X . . X . X X
. . X X X . . X X X X . X X . X
. . . X X X . . X X X X . X X X
"""
MASK = np.array([[cell == 'X' for cell in line.split()] for line in TABLE_I.split('\n')[1:-1]])


def weights(shapes, dtype):
    """Random torch-named weights of a size that keeps every layer in its curved range."""
    rng = np.random.default_rng(0)
    state = {}
    for name, shape in shapes.items():
        fan_in = np.prod(shape[1:]) if len(shape) > 1 else 4
        state[f'{name}.weight'] = (rng.normal(size=shape) * 1.5 / fan_in**0.5).astype(dtype)
        state[f'{name}.bias'] = (0.1 * rng.normal(size=shape[0])).astype(dtype)
    if 'c3.weight' in state:
        state['c3.weight'] *= MASK.T[:, :, None, None]
    return state


def images(side, dtype):
    return np.random.default_rng(1).normal(size=(BATCH, side, side, 1)).astype(dtype)


def torch_common(w, x, act, pool):
    pool = {'max': F.max_pool2d, 'avg': F.avg_pool2d}[pool]
    x = F.pad(x, (2, 2, 2, 2)) if x.shape[-1] == 28 else x
    x = pool(act(F.conv2d(x, w['conv1.weight'], w['conv1.bias'])), 2)
    x = pool(act(F.conv2d(x, w['conv2.weight'], w['conv2.bias'])), 2)
    x = act(F.linear(x.flatten(1), w['fc1.weight'], w['fc1.bias']))
    x = act(F.linear(x, w['fc2.weight'], w['fc2.bias']))
    return F.linear(x, w['fc3.weight'], w['fc3.bias'])


def torch_original(w, x):
    def f(a):
        return 1.7159 * torch.tanh(2 / 3 * a)

    def subsample(x, name):
        total = x[:, :, ::2, ::2] + x[:, :, 1::2, ::2] + x[:, :, ::2, 1::2] + x[:, :, 1::2, 1::2]
        return f(total * w[f'{name}.weight'][:, None, None] + w[f'{name}.bias'][:, None, None])

    x = F.pad(x, (2, 2, 2, 2), value=-0.1) if x.shape[-1] == 28 else x
    x = subsample(f(F.conv2d(x, w['c1.weight'], w['c1.bias'])), 's2')
    mask = torch.tensor(MASK.T[:, :, None, None])
    x = subsample(f(F.conv2d(x, w['c3.weight'] * mask, w['c3.bias'])), 's4')
    x = f(F.conv2d(x, w['c5.weight'], w['c5.bias'])).flatten(1)
    x = f(F.linear(x, w['f6.weight'], w['f6.bias']))
    return -((x[:, None] - torch.tensor(np.asarray(digit_codes()), dtype=x.dtype)) ** 2).sum(-1)


def check(name, model, shapes, from_torch, theirs, side, bits, gate, case):
    """Logits, and in f64 the gradients of every parameter and of the images, of a curved function of the logits."""
    dtype = f'float{bits}'
    state, x = weights(shapes, dtype), images(side, dtype)
    tw = {k: torch.tensor(v, requires_grad=True) for k, v in state.items()}
    tx = torch.tensor(x.transpose(0, 3, 1, 2), requires_grad=True)
    y = theirs(tw, tx)
    (y / 10).sin().sum().backward()
    with jax.enable_x64(bits == 64):

        def loss(params, x):
            y = model.apply({'params': params}, x)
            return jnp.sum(jnp.sin(y / 10)), y

        (_, logits), (grads, dx) = jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))(from_torch(state), x)
        assert logits.dtype == dtype
        # an RBF logit sums 84 squares to about 100, so its error is relative to that
        compare(name, PEER, f'logits, {case}, f{bits}', logits, y.detach().numpy(), gate, relative=bits == 32)
        if bits == 64:
            theirs = from_torch({k: v.grad.numpy() for k, v in tw.items()})
            compare(name, PEER, f'parameter gradients, {case}, f64', grads, theirs, 1e-9, relative=True)
            compare(
                name,
                PEER,
                f'input gradient, {case}, f64',
                dx,
                tx.grad.numpy().transpose(0, 2, 3, 1),
                1e-9,
                relative=True,
            )


@pytest.mark.parametrize('bits', [32, 64])
@pytest.mark.parametrize(
    ('side', 'activation', 'act', 'pool'),
    [(28, 'relu', torch.relu, 'max'), (28, 'tanh', torch.tanh, 'avg'), (32, 'sigmoid', torch.sigmoid, 'max')],
)
def test_common_variant_equals_torch(side, activation, act, pool, bits):
    check(
        'LeNet5',
        LeNet5(activation=activation, pool=pool, param_dtype=f'float{bits}'),
        SHAPES,
        lenet_torch.from_torch,
        lambda w, x: torch_common(w, x, act, pool),
        side,
        bits,
        1e-6 if bits == 32 else 1e-10,
        f'{activation} {pool} {side}',
    )


@pytest.mark.parametrize('bits', [32, 64])
@pytest.mark.parametrize('side', [28, 32])
def test_original_equals_torch(side, bits):
    check(
        'LeNet5Original',
        LeNet5Original(param_dtype=f'float{bits}'),
        ORIGINAL_SHAPES,
        lenet_torch.original_from_torch,
        torch_original,
        side,
        bits,
        1e-6 if bits == 32 else 1e-10,
        f'{side}',
    )


@pytest.mark.parametrize(
    ('model', 'shapes', 'there', 'back'),
    [
        (LeNet5(), SHAPES, lenet_torch.to_torch, lenet_torch.from_torch),
        (LeNet5Original(), ORIGINAL_SHAPES, lenet_torch.original_to_torch, lenet_torch.original_from_torch),
    ],
)
def test_weights_go_there_and_back_bit_for_bit(model, shapes, there, back):
    params = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 28, 28, 1)))['params']
    state = there(params)
    assert {k: v.shape for k, v in state.items() if k.endswith('weight')} == {
        f'{k}.weight': s for k, s in shapes.items()
    }
    again = back(state)
    assert jax.tree.structure(again) == jax.tree.structure(params)
    assert jax.tree.all(jax.tree.map(lambda a, b: a.shape == b.shape and bool((a == b).all()), params, again))
    given = weights(shapes, 'float32')
    returned = there(back(given))
    assert set(returned) == set(given)
    assert all(np.array_equal(returned[k], given[k]) and returned[k].dtype == given[k].dtype for k in given)


def test_converters_refuse_what_is_not_theirs():
    with pytest.raises(ValueError, match='state: expected keys'):
        lenet_torch.from_torch({k: v for k, v in weights(SHAPES, 'float32').items() if k != 'fc3.bias'})
    with pytest.raises(ValueError, match=r'fc1.weight: expected 16'):
        lenet_torch.from_torch(weights(SHAPES | {'fc1': (120, 401)}, 'float32'))
    state = weights(ORIGINAL_SHAPES, 'float32')
    state['c3.weight'][0, 5, 0, 0] = 1.0
    with pytest.raises(ValueError, match=r'c3.weight: expected zeros outside Table I'):
        lenet_torch.original_from_torch(state)


def test_parameter_counts_are_the_papers():
    def counts(model):
        params = model.init(jax.random.key(0), jnp.zeros((1, 32, 32, 1)))['params']
        return {k: sum(leaf.size for leaf in jax.tree.leaves(v)) for k, v in params.items()}

    original = counts(LeNet5Original())
    assert original == {'c1': 156, 's2': 12, 'c3': 1516, 's4': 32, 'c5': 48120, 'f6': 10164}
    assert sum(original.values()) == 60_000
    assert sum(counts(LeNet5()).values()) == 61_706


def test_connection_table_is_the_papers():
    assert MASK.shape == (6, 16) and MASK.sum() == 60
    assert [tuple(np.flatnonzero(column)) for column in MASK.T] == list(C3_INPUTS)


def test_a_c3_map_sees_its_inputs_and_no_other():
    model = LeNet5Original()
    x = jax.random.normal(jax.random.key(1), (1, 32, 32, 1))
    params = model.init(jax.random.key(0), x)['params']

    def c3_maps(scale):
        """The C3 maps as a function of S2's coefficients, one per S2 map."""
        moved = params | {'s2': params['s2'] | {'scale': scale}}
        return model.apply({'params': moved}, x, mutable='intermediates')[1]['intermediates']['C3'][0].sum((0, 1, 2))

    assert np.array_equal(np.asarray(jax.jacobian(c3_maps)(params['s2']['scale'])) != 0, MASK.T)


@pytest.mark.parametrize('model', [LeNet5(), LeNet5Original()])
def test_intermediates_have_the_papers_sizes(model):
    x = jnp.zeros((2, 28, 28, 1))
    params = model.init(jax.random.key(0), x)
    seen = model.apply({'params': params['params']}, x, mutable='intermediates')[1]['intermediates']
    assert [seen[name][0].shape[1:] for name in LAYERS] == [
        (28, 28, 6),
        (14, 14, 6),
        (10, 10, 16),
        (5, 5, 16),
        (120,),
        (84,),
    ]


def test_initial_weights_fill_the_interval_of_appendix_a():
    params = LeNet5Original().init(jax.random.key(0), jnp.zeros((1, 32, 32, 1)))['params']
    for name, fan_in in (('c1', 25), ('c5', 400), ('f6', 120)):
        largest = jnp.abs(params[name]['kernel']).max() * fan_in / 2.4
        assert 0.95 < largest <= 1.0, name
    maps = [len(inputs) for inputs in C3_INPUTS for _ in inputs]
    largest = jnp.abs(params['c3']['kernel']).max((1, 2)) * jnp.array(maps) * 25 / 2.4
    assert largest.max() <= 1.0 + 1e-6 and largest.min() > 0.7


def test_codes_are_ten_distinct_drawings():
    assert len(DIGITS) == 10 and all(len(d) == 12 and all(len(r) == 7 for r in d) for d in DIGITS)
    codes = np.asarray(digit_codes())
    assert codes.shape == (10, 84) and set(np.unique(codes)) == {-1.0, 1.0}
    apart = (codes[:, None] != codes[None]).sum(-1)
    assert apart[~np.eye(10, dtype=bool)].min() >= 12
    assert scaled_tanh(jnp.array([-1.0, 1.0])) == pytest.approx([-1, 1], abs=1e-4)


def test_both_learn_a_batch_by_heart():
    """Ten noise images, one of each class: the loss must fall and the right code must become the nearest."""
    x, labels = jax.random.normal(jax.random.key(1), (10, 28, 28, 1)), jnp.arange(10)

    def cross_entropy(logits, labels):
        return -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=1)[:, 0]

    for model, loss, rate in ((LeNet5(), cross_entropy, 0.1), (LeNet5Original(), rbf_map_loss, 0.002)):
        params = jax.jit(model.init)(jax.random.key(0), x)

        def mean(params, model=model, loss=loss):
            return loss(model.apply(params, x), labels).mean()

        @jax.jit
        def train(params, mean=mean, rate=rate):
            def step(params, _):
                value, grads = jax.value_and_grad(mean)(params)
                return jax.tree.map(lambda p, g: p - rate * g, params, grads), value

            return jax.lax.scan(step, params, None, length=300)

        trained, losses = train(params)
        assert losses[-1] < 0.1 * losses[0], (type(model), losses[0], losses[-1])
        assert (model.apply(trained, x).argmax(-1) == labels).all()


@pytest.mark.parametrize(
    ('model', 'shape', 'message'),
    [
        (LeNet5(), (28, 28, 1), 'x: expected .* found shape'),
        (LeNet5(), (1, 15, 20, 1), 'sides >= 16'),
        (LeNet5(pool='sum'), (1, 28, 28, 1), "pool: expected one of max, avg; found 'sum'"),
        (LeNet5(activation='rleu'), (1, 28, 28, 1), 'activation: expected'),
        (LeNet5Original(), (1, 30, 30, 1), r'x: expected \[batch, 28, 28, 1\]'),
        (LeNet5Original(), (1, 28, 28, 3), 'found shape'),
    ],
)
def test_bad_input_says_what_is_wrong(model, shape, message):
    with pytest.raises(ValueError, match=message):
        model.init(jax.random.key(0), jnp.zeros(shape))
