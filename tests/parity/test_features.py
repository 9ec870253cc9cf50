"""Captured feature maps against torch's forward hooks, receptive fields against gradients and torch-counted pixels."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from parity_ledger import compare

from levels.level3_vision import features
from levels.level3_vision.cnn import CNN
from levels.level3_vision.features import Window, feature_maps, layer_shapes, map_gradients, measured_field
from levels.level3_vision.features import receptive_field as field_of
from levels.level3_vision.lenet import LeNet5
from levels.level3_vision.pooling import avg_pool, max_pool


def torch_twin(variables, pool=torch.nn.MaxPool2d):
    """`CNN` in torch, weights and running statistics copied: blocks, pooling between them, mean, linear."""
    params, stats = variables['params'], variables['batch_stats']
    layers, kind = [], {'dtype': getattr(torch, str(params['head']['kernel'].dtype))}
    for i in range(len(params) - 1):
        kernel, norm, run = (tree[f'block_{i}'] for tree in (params, params, stats))
        conv = torch.nn.Conv2d(*kernel['conv']['kernel'].shape[2:], kernel['conv']['kernel'].shape[0], padding='same',
                               bias=False, **kind)
        bn = torch.nn.BatchNorm2d(conv.out_channels, **kind)
        with torch.no_grad():
            conv.weight.copy_(torch.tensor(np.asarray(kernel['conv']['kernel']).transpose(3, 2, 0, 1)))
            for ours, theirs in ((norm['norm']['scale'], bn.weight), (norm['norm']['bias'], bn.bias),
                                 (run['norm']['mean'], bn.running_mean), (run['norm']['var'], bn.running_var)):
                theirs.copy_(torch.tensor(np.asarray(ours)))
        layers += [pool(2)] if i else []
        layers += [conv, bn, torch.nn.ReLU()]
    head = torch.nn.Linear(*params['head']['kernel'].shape, **kind)
    with torch.no_grad():
        head.weight.copy_(torch.tensor(np.asarray(params['head']['kernel']).T))
        head.bias.copy_(torch.tensor(np.asarray(params['head']['bias'])))
    return torch.nn.Sequential(*layers, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), head).eval()


def small_cnn(dtype=jnp.float32, **fields):
    """A CNN with statistics and biases that are not their initial ones, and an image."""
    model = CNN(**{'widths': (4, 6, 8), 'n_classes': 3, 'param_dtype': dtype} | fields)
    rng = np.random.default_rng(1)
    x = jnp.asarray(rng.normal(size=(2, 12, 12, 3)), dtype)
    shapes = jax.eval_shape(model.init, jax.random.key(0), x)

    def draw(path, leaf):
        """Kernels and biases of both signs; scales and variances, in the statistics' dtype too, from 0.5 on."""
        noise = rng.normal(size=leaf.shape)
        return jnp.asarray(0.5 + np.abs(noise) if path[-1].key in ('scale', 'var') else 0.3 * noise, dtype)

    return model, jax.tree_util.tree_map_with_path(draw, {k: shapes[k] for k in ('params', 'batch_stats')}), x


def channels_last(t):
    return t.detach().numpy().transpose(0, 2, 3, 1)


@pytest.mark.parametrize('bits', [32, 64])
def test_maps_and_their_gradients_equal_torchs_hooks(bits):
    with jax.enable_x64(bits == 64):
        # mean pooling: a maximum of equal zeros has other subgradients in torch (pooling.py)
        model, variables, x = small_cnn(f'float{bits}', pool='avg')
        net, seen = torch_twin(variables, torch.nn.AvgPool2d), {}
        for name, i in (('block_0', 2), ('block_1/conv', 4), ('block_1', 6), ('block_2', 10)):
            net[i].register_forward_hook(lambda m, a, y, name=name: (seen.setdefault(name, y), y.retain_grad())[0])
        logits = net(torch.tensor(np.array(x)).permute(0, 3, 1, 2).requires_grad_())
        labels = jnp.array([2, 0])
        logits[[0, 1], [2, 0]].sum().backward()
        tapped = lambda v, x: {name: map_gradients(model, v, x, labels=labels, layer=name) for name in seen}
        mapped = lambda v, x: feature_maps(model, v, x, layers=list(seen))
        (y, maps), found = jax.jit(lambda v, x: (mapped(v, x), tapped(v, x)))(variables, x)
        forward, backward = (1e-5, 1e-5) if bits == 32 else (1e-10, 1e-10)
        compare('CNN', 'torch.nn.Sequential', f'logits, f{bits}', y, logits.detach().numpy(), forward)
        for name, theirs in seen.items():
            compare('feature_maps', 'torch forward hooks', f'{name}, f{bits}', maps[name], channels_last(theirs),
                    forward)
            assert jnp.abs(found[name].maps - maps[name]).max() < 1e-5 and jnp.abs(found[name].logits - y).max() < 1e-5
            compare('map_gradients', 'torch retain_grad', f'{name}, f{bits}', found[name].gradients,
                    channels_last(theirs.grad), backward, relative=True)


def test_a_training_step_of_the_cnn_equals_torch():
    with jax.enable_x64(True):
        model, variables, x = small_cnn(jnp.float64, dropout=0.0)
        net = torch_twin(variables).train()
        loss = lambda logits: (logits * jnp.arange(6.0).reshape(2, 3)).sum()

        def ours(params):
            y, after = model.apply(variables | {'params': params}, x, train=True, mutable=['batch_stats'])
            return loss(y), after['batch_stats']

        grads, _ = jax.jit(jax.grad(ours, has_aux=True))(variables['params'])
        (net(torch.tensor(np.array(x)).permute(0, 3, 1, 2)) * torch.arange(6.0).reshape(2, 3)).sum().backward()
        for i, at in enumerate((0, 4, 8)):
            block = grads[f'block_{i}']
            compare('ConvBlock', 'torch.nn.Conv2d, BatchNorm2d', 'gradients in training, f64',
                    (block['conv']['kernel'], block['norm']['scale'], block['norm']['bias']),
                    (net[at].weight.grad.numpy().transpose(2, 3, 1, 0), net[at + 1].weight.grad.numpy(),
                     net[at + 1].bias.grad.numpy()), 1e-9, relative=True)
        compare('CNN', 'torch.nn.Sequential', 'gradients of the head, f64', grads['head']['kernel'],
                net[-1].weight.grad.numpy().T, 1e-9, relative=True)


def test_every_layer_has_a_name_and_the_model_is_not_edited():
    model, variables, x = small_cnn()
    shapes = layer_shapes(model, variables, x)
    assert shapes['block_0'] == shapes['block_0/conv'] == (2, 12, 12, 4) and shapes['head'] == (2, 3)
    assert shapes['block_2/norm'] == (2, 3, 3, 8) and shapes['pooled'] == (2, 8)
    y, maps = jax.jit(lambda v, x: feature_maps(model, v, x))(variables, x)
    assert {name: leaf.shape for name, leaf in maps.items()} == shapes
    assert jnp.abs(y - jax.jit(model.apply)(variables, x)).max() < 1e-5 and (maps['head'] == y).all()
    with pytest.raises(ValueError, match="layers: expected some of block_0/conv, .* found 'block_9'"):
        feature_maps(model, variables, x, layers=['block_9'])
    with pytest.raises(ValueError, match="layers: expected some of .* found 'block_9'"):
        map_gradients(model, variables, x, labels=jnp.array([0, 0]), layer='block_9')
    lenet, image = LeNet5(), jax.ShapeDtypeStruct((1, 28, 28, 1), 'float32')
    v = jax.eval_shape(lenet.init, jax.random.key(0), image)
    assert {'C1', 'S2', 'C3', 'S4', 'C5', 'F6', 'out'} <= set(layer_shapes(lenet, v, image))


class Twice(nn.Module):
    """One layer called twice, inside a rematerialised block."""

    @nn.compact
    def __call__(self, x):
        layer = nn.remat(nn.Dense)(x.shape[-1], name='shared')
        return layer(jnp.tanh(layer(x)))


def test_a_layer_that_is_called_twice_has_two_maps():
    x = jax.random.normal(jax.random.key(0), (2, 3))
    variables = Twice().init(jax.random.key(1), x)
    y, maps = feature_maps(Twice(), variables, x)
    assert (maps['shared#1'] == y).all() and not (maps['shared'] == y).all()


# windows, the same as a function with weights that are not zero, and a size: (kernel, stride, before, dilation)
STACKS = [
    [Window(3, 1, 1), Window(3, 2, 1), Window(3, 1, 1)],
    [Window((3, 5), (2, 1), (1, 0)), Window(2, 2), Window(3, 1, 2, 2)],
    [Window(7, 2, 3), Window(3, 2, 1), Window(1), Window((1, 3))],
]


def stack(windows, pool=avg_pool):
    """Those windows as convolutions; windows of size 2 are poolings."""
    def apply(x):
        for i, window in enumerate(windows):
            size, stride, before, dilation = [(v, v) if isinstance(v, int) else v for v in window]
            pads = tuple((b, b) for b in before)
            if window.size == 2:
                x = pool(x, size, strides=stride, padding=pads)
            else:
                k = jax.random.normal(jax.random.key(i), (*size, x.shape[-1], 2))
                x = jax.lax.conv_general_dilated(x, k, stride, pads, rhs_dilation=dilation,
                                                 dimension_numbers=('NHWC', 'HWIO', 'NHWC'))
        return x
    return apply


@pytest.mark.parametrize('windows', STACKS)
@pytest.mark.parametrize('pool', [avg_pool, max_pool])
def test_the_calculated_field_is_the_measured_one(windows, pool):
    size, fn = (30, 27), jax.jit(stack(windows, pool))
    rows, cols = jax.eval_shape(fn, jnp.zeros((1, *size, 1))).shape[1:3]
    field = field_of(windows)
    border = [(0, 0), (rows - 1, cols - 1), (1, cols - 2)] if dense(windows) else [(rows // 2 - 1, cols // 2 + 1)]
    for at in ((rows // 2, cols // 2), *border):
        assert measured_field(fn, (*size, 1), at=at) == field.box(at, size)
    inner = field.box((rows // 2, cols // 2), (10**6, 10**6))
    ours = [hi - lo for lo, hi in inner]
    grown = torch.zeros(1, 1, 101, 101, requires_grad=True)       # torch counts the pixels of a whole field
    y = grown
    for window in windows:
        k, s, p, d = [(v, v) if isinstance(v, int) else v for v in window]
        y = torch.nn.functional.conv2d(y, torch.ones(1, 1, *k), None, s, p, d)
    y[0, 0, y.shape[2] // 2, y.shape[3] // 2].backward()
    seen = grown.grad[0, 0] != 0
    compare('receptive_field', 'torch.nn.functional.conv2d', 'size', ours,
            [int(seen.any(1).sum()), int(seen.any(0).sum())] if dense(windows) else field.size, 0)
    middle = (rows // 2, 1 + cols // 2)
    compare('measured_field', 'the calculated field', 'boxes', measured_field(fn, (*size, 1), at=middle),
            field.box(middle, size), 0)


def dense(windows):
    """No gaps: without dilation every pixel of the field is seen."""
    return all(w.dilation == 1 for w in windows)


def test_the_field_of_a_model():
    model, variables, _ = small_cnn(norm=True, pool='avg', activation='tanh')
    windows = [Window(3, 1, 1), Window(2, 2), Window(3, 1, 1), Window(2, 2), Window(3, 1, 1)]
    fn = jax.jit(lambda x: feature_maps(model, variables, x, layers=['block_2'])[1]['block_2'])
    for at in ((0, 3), (2, 2), (5, 5)):
        assert measured_field(fn, (24, 24, 3), at=at, draws=2) == field_of(windows).box(at, (24, 24))
    with pytest.raises(ValueError, match=r'windows: expected sizes, strides, dilations >= 1 and pads >= 0'):
        field_of([Window(3, 0)])
    with pytest.raises(ValueError, match='fn: expected an output'):
        measured_field(lambda x: 0 * x, (4, 4, 1), at=(0, 0))
    assert features.Field((3, 3), (1, 1), (-1, -1)).box((0, 3), (4, 4)) == ((0, 2), (2, 4))
