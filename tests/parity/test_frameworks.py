"""One weight file, five frameworks: the same logits, and the same weights after ten steps; weights in and out of files.

TensorFlow is in test_tensorflow.py.  Running variances are those of torch's convention for torch, else of the others'.
"""

import functools
import io
import json
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from flax import nnx
from framework_cases import GATE, NETS, OURS, RATE, batches, bits, drawn, with_task
from parity_ledger import compare
from safetensors.torch import load_file as load_torch

from common import torch_files
from levels.level2_neural.frameworks import keras_net, nnx_net, torch_net, weights
from levels.level2_neural.mlp import MLP


@pytest.fixture(scope='module')
def keras(tmp_path_factory):
    """Keras on JAX, which leaves nothing in anybody's home."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('KERAS_BACKEND', 'jax')
        patch.setenv('KERAS_HOME', str(tmp_path_factory.mktemp('keras')))
        import keras
    assert keras.backend.backend() == 'jax'
    return keras


# ---- the same ten steps in each: variables -> variables


def with_linen(net, variables, optimiser, data):
    """Linen and optax, as their manuals have it."""
    tx = OURS[optimiser]()

    @jax.jit
    def step(variables, opt, x, y):
        params, extra = variables['params'], {k: v for k, v in variables.items() if k != 'params'}

        def loss(params):
            logits, after = net.apply({'params': params, **extra}, x, train=True, mutable=list(extra))
            return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean(), after

        grads, after = jax.grad(loss, has_aux=True)(params)
        updates, opt = tx.update(grads, opt, params)
        return {'params': optax.apply_updates(params, updates), **after}, opt

    opt = tx.init(variables['params'])
    for x, y in zip(*data):
        variables, opt = step(variables, opt, x, y)
    return variables


def with_nnx(net, variables, optimiser, data):
    module = nnx_net.put(nnx_net.build(net), net, variables)
    optimizer = nnx.Optimizer(module, OURS[optimiser](), wrt=nnx.Param)

    @nnx.jit
    def step(module, optimizer, x, y):
        loss = lambda module: optax.softmax_cross_entropy_with_integer_labels(module(x, train=True), y).mean()
        optimizer.update(module, nnx.grad(loss)(module))

    for x, y in zip(*data):
        step(module, optimizer, x, y)
    return nnx_net.take(module, net)


def with_torch(net, variables, optimiser, data):
    module = torch_net.put(torch_net.build(net, dtype=getattr(torch, str(data[0].dtype))), net, variables).train()
    opt = (torch.optim.SGD(module.parameters(), RATE, momentum=0.9) if optimiser == 'sgd' else
           torch.optim.Adam(module.parameters(), RATE))
    for t, (x, y) in enumerate(zip(*data), 1):
        if optimiser == 'keras adam':
            opt.param_groups[0]['eps'] = 1e-7 / (1 - 0.999**t) ** 0.5
        opt.zero_grad()
        torch.nn.functional.cross_entropy(module(torch_net.images(x)), torch.tensor(y, dtype=torch.long)).backward()
        opt.step()
    return torch_net.take(module, net)


def with_keras(net, variables, optimiser, data):
    import keras
    model = keras_net.put(keras_net.build(net), net, variables)
    opt = (keras.optimizers.SGD(RATE, momentum=0.9) if optimiser == 'sgd' else keras.optimizers.Adam(RATE))
    model.compile(opt, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    for x, y in zip(*data):
        model.train_on_batch(x, y)
    return keras_net.take(model, net)


PEERS = {   # component, peer, the function
    'linen': ('SharedNet', 'flax.linen, optax', with_linen),
    'nnx': ('SharedNet', 'flax.nnx', with_nnx),
    'torch': ('to_torch', 'torch.nn.Sequential', with_torch),
    'keras': ('to_keras', 'keras.Sequential on JAX', with_keras),
}
STEPPED = [
    ('linen', 'mlp', 'keras adam', 64), ('linen', 'cnn', 'sgd', 64),
    ('nnx', 'mlp', 'adam', 64), ('nnx', 'cnn', 'keras adam', 64), ('nnx', 'cnn', 'sgd', 32),
    ('torch', 'mlp', 'sgd', 64), ('torch', 'mlp', 'adam', 64), ('torch', 'cnn', 'keras adam', 64),
    ('torch', 'cnn', 'sgd', 32), ('torch', 'cnn', 'adam', 32),
    # Keras on JAX computes tanh and more in float32, whatever the type (3.15)
    ('keras', 'mlp', 'sgd', 32), ('keras', 'mlp', 'keras adam', 32), ('keras', 'cnn', 'sgd', 32),
    ('keras', 'cnn', 'keras adam', 32),
]


@functools.cache
def reference(case, torch_var, optimiser, width):
    """(net, variables, batches, variables after ten steps of ours), in the batch norm convention that is asked for."""
    net = NETS[case].clone(torch_var=torch_var)
    variables, data = drawn(net, f'float{width}'), batches(net, f'float{width}')
    return net, variables, data, with_task(net, variables, optimiser, data)


@pytest.mark.parametrize(('peer', 'case', 'optimiser', 'width'), STEPPED)
def test_ten_steps(peer, case, optimiser, width, keras):
    component, name, steps = PEERS[peer]
    with jax.enable_x64(width == 64), jax.numpy_rank_promotion('allow'):
        net, variables, data, ours = reference(case, (peer, case) == ('torch', 'cnn'), optimiser, width)
        moved = jax.tree.map(lambda a, b: float(jnp.abs(a - b).max()), ours, variables)
        assert min(jax.tree.leaves(moved)) > 1e-3
        compare(component, name, f'weights after ten steps of {optimiser}, {case}, f{width}', ours,
                steps(net, variables, optimiser, data), GATE[width])


# ---- outputs from one file


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    """{case: the one file that all frameworks read}."""
    folder = tmp_path_factory.mktemp('weights')
    for case, net in NETS.items():
        weights.save(folder / f'{case}.safetensors', net, drawn(net))
    return {case: folder / f'{case}.safetensors' for case in NETS}


@pytest.mark.parametrize('case', NETS)
def test_one_file_gives_the_same_logits_everywhere(case, files, keras):
    net, x = NETS[case], batches(NETS[case])[0][0]
    ours = jax.jit(net.apply)(weights.load(files[case], net), x)
    assert float(jnp.ptp(ours)) > 0.5
    variables = weights.load(files[case], net)
    compare('SharedNet', 'flax.nnx', f'logits from one file, {case}',
            ours, nnx_net.put(nnx_net.build(net), net, variables)(jnp.asarray(x)), 1e-5, relative=True)

    module = torch_net.build(net)
    module.load_state_dict(load_torch(files[case]), strict=True)        # the file as it is, and no code of ours
    with torch.no_grad():
        compare('to_torch', 'torch.nn.Sequential', f'logits from one file, {case}', ours,
                module(torch_net.images(x)).numpy(), 1e-5, relative=True)

    model = keras_net.put(keras_net.build(net), net, variables)
    with jax.numpy_rank_promotion('allow'):
        compare('to_keras', 'keras.Sequential on JAX', f'logits from one file, {case}', ours,
                keras.ops.convert_to_numpy(model(x, training=False)), 1e-5, relative=True)


def test_without_convolutions_it_is_the_mlp(files):
    net, x = NETS['mlp'], batches(NETS['mlp'])[0][0]
    variables = weights.load(files['mlp'], net)
    mlp = MLP(net.hidden, net.n_out, activation=net.activation)
    compare('SharedNet', 'levels.level2_neural.mlp.MLP', 'logits', net.apply(variables, x), mlp.apply(variables, x), 0)


def test_a_wrong_order_of_flattening_is_seen(files):
    """What a bridge that only transposes would give: the right shapes and wrong logits."""
    net, x = NETS['cnn'], batches(NETS['cnn'])[0][0]
    variables = weights.load(files['cnn'], net)
    module = torch_net.put(torch_net.build(net), net, variables)
    with torch.no_grad():
        module.dense_0.weight[:] = torch.tensor(np.asarray(variables['params']['dense_0']['kernel']).T)
        wrong = module(torch_net.images(x)).numpy()
    assert np.abs(wrong - net.apply(variables, x)).max() > 0.1


# ---- files


@pytest.mark.parametrize('case', NETS)
def test_every_file_goes_there_and_back_bit_for_bit(case, tmp_path, keras):
    net = NETS[case]
    variables = drawn(net, seed=3)
    paths = {weights: tmp_path / 'net.safetensors', torch_net: tmp_path / 'net.pt', keras_net: tmp_path / 'net.keras'}
    for module, path in paths.items():
        module.save(path, net, variables)
        assert bits(module.load(path, net)) == bits(variables), path.name
    for module in (nnx_net, torch_net, keras_net):
        assert bits(module.take(module.put(module.build(net), net, variables), net)) == bits(variables)
    theirs = {name: torch.tensor(x) for name, x in torch_files.state_dict(paths[torch_net]).items()}
    torch_net.build(net).load_state_dict(theirs, strict=True)
    model = keras.saving.load_model(paths[keras_net])
    assert bits(keras_net.take(model, net)) == bits(variables)


def test_a_keras_file_of_others_is_read(tmp_path, keras):
    """Functional models, compiled, with the state of their optimiser, layers without bias or scale."""
    L = keras.layers
    x = keras.Input((6, 6, 1))
    y = L.Conv2D(2, 3, use_bias=False, name='first')(x)
    y = L.Conv2D(3, 3, name='second')(L.BatchNormalization(scale=False, name='bn')(y))
    model = keras.Model(x, L.Dense(2, name='out')(L.Flatten()(y)))
    model.compile('adam', 'mse')
    with jax.numpy_rank_promotion('allow'):
        model.train_on_batch(np.ones((2, 6, 6, 1), 'float32'), np.ones((2, 2), 'float32'))
    model.save(tmp_path / 'other.keras')
    found = keras_net.read(tmp_path / 'other.keras')
    expected = {f'{layer.name}/{v.name}': keras.ops.convert_to_numpy(v) for layer in model.layers
                for v in layer.weights}
    assert sorted(found) == sorted(expected) and len(found) == 8
    assert all(np.array_equal(found[k], expected[k]) for k in expected)


def rewritten(source, path, **entries):
    """A copy of a zip with other bytes in some entries, and without those that are None."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, 'w') as new:
        for name in old.namelist():
            data = entries.get(name.replace('.', '_'), old.read(name))
            if data is not None:
                new.writestr(name, data)
    return path


def h5_with(source, change):
    """The HDF5 file of a .keras file after `change(file)`."""
    import h5py
    with zipfile.ZipFile(source) as archive:
        buffer = io.BytesIO(archive.read('model.weights.h5'))
    with h5py.File(buffer, 'r+') as file:
        change(file)
    return buffer.getvalue()


def test_a_keras_file_cannot_reach_out(tmp_path, keras):
    """Arrays that lie in another file, or nowhere, and layers that are code are refused with one line."""
    import h5py
    net = NETS['mlp']
    good = tmp_path / 'good.keras'
    keras_net.save(good, net, drawn(net))
    secret = tmp_path / 'secret.bin'
    secret.write_bytes(bytes(range(192)))
    with h5py.File(tmp_path / 'secret.h5', 'w') as file:
        file['x'] = np.zeros((6, 8), np.float32)
    at = 'layers/dense/vars/0'

    def replaced(make):
        def change(file):
            del file[at]
            make(file)
        return h5_with(good, change)

    config = json.loads(zipfile.ZipFile(good).read('config.json'))
    config['config']['layers'][-1]['class_name'] = 'Lambda'
    source = h5py.VirtualSource(str(tmp_path / 'secret.h5'), 'x', (6, 8))
    layout = h5py.VirtualLayout((6, 8), np.float32)
    layout[:] = source
    bad = {
        'external': {'model_weights_h5': replaced(lambda f: f.create_dataset(
            at, (6, 8), np.float32, external=[(str(secret), 0, 192)]))},
        'link': {'model_weights_h5': replaced(lambda f: f.__setitem__(
            at, h5py.ExternalLink(str(tmp_path / 'secret.h5'), '/x')))},
        'virtual': {'model_weights_h5': replaced(lambda f: f.create_virtual_dataset(at, layout))},
        'nothing stored': {'model_weights_h5': replaced(lambda f: f.create_dataset(at, (6, 8), np.float32))},
        'missing': {'model_weights_h5': replaced(lambda f: None)},
        'code': {'config_json': json.dumps(config)},
        'no config': {'config_json': None},
        'no zip': None,
        'no json': {'config_json': '{'},
        'no h5': {'model_weights_h5': b'nothing'},
        'a list': {'config_json': '[]'},
    }
    for name, entries in bad.items():
        path = tmp_path / f'{name}.keras'
        path.write_bytes(b'nothing') if entries is None else rewritten(good, path, **entries)
        with pytest.raises(ValueError) as error:
            keras_net.load(path, net)
        assert str(error.value).startswith(f'{path}: ') and '\n' not in str(error.value), name
    with pytest.raises(ValueError, match='cannot be read'):
        keras_net.load(tmp_path / 'none.keras', net)
    with zipfile.ZipFile(tmp_path / 'small.keras', 'w', zipfile.ZIP_DEFLATED) as archive:
        archive.writestr('config.json', ' ' * 10_000)
    with pytest.raises(ValueError, match='compressed'):
        keras_net.load(tmp_path / 'small.keras', net)


def test_strict(tmp_path):
    net = NETS['cnn']
    variables = drawn(net)
    state = weights.to_names(net, variables, 'torch')
    for changed, text in (
            ({k: v for k, v in state.items() if k != 'norm_1.running_var'}, 'state: missing: norm_1.running_var$'),
            (state | {'dense_2.bias': np.zeros(3)}, 'state: left over: dense_2.bias$'),
            (state | {'dense_1.bias': np.zeros(4, np.float32)},
             r'state: dense_1.bias: expected shape \(3,\), found \(4,\)$'),
            (state | {'dense_1.bias': np.zeros(3)}, 'dense_1.bias: expected a type that JAX keeps, found float64')):
        with pytest.raises(ValueError, match=text):
            weights.from_names(net, changed, 'torch')
    with pytest.raises(ValueError, match="library: expected one of torch, keras, tensorflow; found 'mxnet'"):
        weights.to_names(net, variables, 'mxnet')
    with pytest.raises(ValueError, match='variables: missing: batch_stats/norm_0/mean'):
        weights.save(tmp_path / 'x.safetensors', net, {'params': variables['params']})
    with pytest.raises(ValueError, match='variables: '):
        nnx_net.take(nnx_net.build(NETS['mlp']), net)
    with pytest.raises(ValueError, match=r'x\.safetensors: cannot be read'):
        weights.load(tmp_path / 'x.safetensors', net)


@pytest.mark.parametrize(('fields', 'shape', 'message'), [
    ({'activation': 'gelu'}, (2, 13, 8, 2), 'activation: expected one of relu, tanh'),
    ({'hidden': (0,)}, (2, 13, 8, 2), 'sizes >= 1'),
    ({'image': (13, 3, 2)}, (2, 13, 3, 2), 'image: expected .* sides >= 4'),
    ({'image': (26,)}, (2, 26), 'image: expected'),
    ({}, (2, 8, 13, 2), r'x: expected \[batch, 13, 8, 2\]'),
])
def test_bad_input_says_what_is_wrong(fields, shape, message):
    net = NETS['cnn'].clone(**fields)
    with pytest.raises(ValueError, match=message):
        net.init(jax.random.key(0), jnp.zeros(shape))


def test_adam_of_keras_is_not_adam_of_optax():
    """With small gradients the two epsilons are far apart, so the ten steps above would not take one for the other."""
    grads, params = jnp.array([1e-6, 1.0]), jnp.zeros(2)
    moved = []
    for tx in (optax.adam(RATE, eps=1e-7), keras_net.adam(RATE)):
        moved.append(tx.update(grads, tx.init(params), params)[0])
    assert np.allclose(moved[0] / -RATE, [1 / 1.1, 1], rtol=1e-4)
    assert np.allclose(moved[1] / -RATE, [1 / (1 + 0.1 / 0.001**0.5), 1], rtol=1e-3)
