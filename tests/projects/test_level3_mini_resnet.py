"""The project as its users run it, killed and resumed; its network against the component; what is measured inside."""
import functools
import json
import signal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from common import trees
from common.config import validate
from common.runs import read_metrics
from levels.level3_vision.resnet import ResNet
from projects.level3_mini_resnet import config as config_lib
from projects.level3_mini_resnet import experiment, training
from projects.level3_mini_resnet.network import Block, MiniResNet, carried
from tests.faults import processes
from tests.faults.processes import result

MODULE = 'projects.level3_mini_resnet.main'
SMOKE = ('--config=smoke', '--config.baseline_rows=0')
NAMES = ('plain_4', 'residual_4', 'plain_6', 'residual_6')
KEY = jax.random.key(0)
QUICK = {'xla_backend_optimization_level': 0}       # half of the compile time, which is all of it at these sizes
finish = functools.partial(processes.finish, module=MODULE, timeout=550)


@pytest.fixture(scope='module')
def smoke(tmp_path_factory):
    folder = tmp_path_factory.mktemp('mini_resnet')
    finish(folder, *SMOKE)
    return folder


def test_the_run_folder(smoke):
    for name in ('config.json', 'env.json', 'metrics.jsonl', *(f'plots/{n}.png' for n in (
            'depths', 'curves', 'signals', 'blocks', 'confusion_plain', 'confusion_residual', 'mistakes_plain',
            'mistakes_residual'))):
        assert (smoke / name).exists(), name
    r = result(smoke)
    assert r['data']['name'] == 'mnist_5k' and r['data']['verified'] and r['seeds'] == [0]
    assert set(r['metrics']) == {f'{m}_{n}' for n in NAMES for m in ('loss', 'accuracy', 'train_loss')} | {
        f'{m}_{kind}' for kind in training.KINDS for m in ('growth', 'degradation')}
    m = {name: np.array(found['values']) for name, found in r['metrics'].items()}
    for kind in training.KINDS:
        assert np.allclose(m[f'degradation_{kind}'], m[f'train_loss_{kind}_6'] - m[f'train_loss_{kind}_4'])
    d = r['comparison']['accuracy: residual - plain at 6']
    assert np.allclose(d['values'], m['accuracy_residual_6'] - m['accuracy_plain_6'])
    assert r['networks']['plain_6']['parameters'] == r['networks']['residual_6']['parameters']
    assert len(r['networks']['plain_6']['blocks']) == 2
    rows = read_metrics(smoke)
    assert [x['step'] for x in rows if x['split'] == 'train'] == [2, 4, 6]
    assert 'is finished' in finish(smoke, *SMOKE)


def test_killed_and_resumed_it_ends_with_the_same_bits(smoke, tmp_path):
    process = processes.start(tmp_path, *SMOKE, module=MODULE)
    processes.wait_for_step(tmp_path, 4)
    processes.kill_after(process, 0, signal.SIGKILL)
    assert not (tmp_path / 'result.json').exists()
    finish(tmp_path, *SMOKE)
    assert processes.fingerprint(tmp_path) == processes.fingerprint(smoke)


@pytest.mark.slow
@pytest.mark.parametrize('flags', [('--strategy=mesh', '--host_devices=2'), ('--strategy=pmap', '--host_devices=2'),
                                   ('--seeds=2', '--seed_mode=vmap')])
def test_other_ways_to_run_give_the_same_numbers(smoke, tmp_path, flags):
    finish(tmp_path, *SMOKE, *flags)
    for name, metric in result(smoke)['metrics'].items():
        other = result(tmp_path)['metrics'][name]['values']
        assert np.allclose(other[0], metric['values'][0], rtol=5e-3, atol=5e-3), name
    assert all(len(d['ci95']) == 2 for d in result(tmp_path)['comparison'].values())


def as_component(variables):
    """Ours -> under the names of `ResNet`."""
    def renamed(path):
        stage, *rest = path
        if stage == 'stem':
            return f'stem_{rest[0]}', *rest[1:]
        if stage == 'head':
            return path
        return stage, rest[1] + {'first': '1', 'second': '2'}[rest[0]], *rest[2:]
    out = {}
    for collection, tree in variables.items():
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
            *folders, last = renamed([p.key for p in path])
            at = out.setdefault(collection, {})
            for name in folders:
                at = at.setdefault(name, {})
            at[last] = leaf
    return out


@pytest.mark.parametrize('residual', [True, pytest.param(False, marks=pytest.mark.slow)])
def test_the_network_is_the_component(residual):
    """Logits, gradients and running means in training, float64, on odd sides; the component keeps torch's variances."""
    with jax.enable_x64(True):
        net = MiniResNet(1, 3, (4, 8), residual, jnp.float64)
        peer = ResNet(blocks=(1, 1), width=4, n_classes=3, stem='cifar', zero_init=False, dtype=jnp.float64,
                      shortcut='pad' if residual else 'none', param_dtype=jnp.float64)
        x = jax.random.normal(KEY, (6, 7, 7, 2), jnp.float64)
        variables = jax.jit(net.init)(jax.random.key(1), x)
        variables = jax.tree.map(lambda v: v + 0.1 * jax.random.normal(KEY, v.shape, jnp.float64), variables)

        def run(model, variables):
            def loss(params):
                y, new = model.apply({**variables, 'params': params}, x, train=True, mutable=['batch_stats'])
                return jnp.sum(jnp.sin(y)), (y, new)
            return jax.jit(jax.value_and_grad(loss, has_aux=True), compiler_options=QUICK)(variables['params'])
        (_, (y, new)), grads = run(net, variables)
        (_, (z, peer_new)), peer_grads = run(peer, as_component(variables))
        assert np.abs(y).max() > 0.1 and np.abs(y - z).max() < 1e-12
        ours = as_component({'params': grads, **new})
        theirs = trees.named_leaves({'params': peer_grads, **peer_new})
        assert trees.named_leaves(ours).keys() == theirs.keys()
        for name, leaf in trees.named_leaves(ours).items():
            if not name.endswith('var'):
                assert np.abs(leaf - theirs[name]).max() < 1e-10 * (1 + np.abs(leaf).max()), name


def test_plain_and_residual_networks_begin_alike_and_differ_in_one_sum():
    c = config_lib.get_config('smoke')
    nets = training.networks(c, 10)
    assert list(nets) == list(NAMES)
    rows = {'image': np.arange(20 * 28 * 28, dtype=np.uint8).reshape(20, 28, 28, 1), 'label': np.arange(20) % 10}
    scaled = training.ready(c, rows['image'])
    task = training.build(c, nets, scaled)
    state = jax.jit(task.init)(KEY, rows)
    for depth in (4, 6):
        plain, residual = (state[f'{kind}_{depth}'].params for kind in training.KINDS)
        assert trees.sha256(plain) == trees.sha256(residual)
    assert trees.sha256(state['plain_4'].params) != trees.sha256(state['plain_6'].params)
    assert np.allclose(np.asarray(scaled(rows)['image']).mean(), 0, atol=1e-5) and scaled(rows)['image'].shape[1] == 7
    x = jax.random.normal(KEY, (1, 5, 5, 2))
    assert np.array_equal(carried(x, 2, 1), x) and carried(x, 3, 2).shape == (1, 3, 3, 3)
    assert np.array_equal(carried(x, 3, 2)[0, 1, 2, :2], x[0, 2, 4]) and not carried(x, 3, 2)[..., 2].any()


def test_signals_and_slopes_inside():
    """As applied block by block, each by itself: outputs, and the loss as a function of one block's output."""
    net = MiniResNet(1, 3, (2, 3), True)
    x, labels = jax.random.normal(KEY, (5, 6, 6, 1)), jnp.array([0, 1, 2, 0, 1])
    variables = jax.jit(net.init)(jax.random.key(2), x)
    found = training.inside(net)(variables, x, labels)
    logits, sown = jax.jit(functools.partial(net.apply, train=True, mutable=['batch_stats', 'intermediates'],
                                             capture_intermediates=True))(variables, x)
    outputs = [sown['intermediates'][name]['__call__'][0] for name in net.blocks]
    assert np.allclose(found.signal, [np.sqrt(np.mean(np.square(y))) for y in outputs], rtol=1e-5)
    back = (jax.nn.softmax(logits) - jax.nn.one_hot(labels, 3)) @ variables['params']['head']['kernel'].T
    area = outputs[-1].shape[1] * outputs[-1].shape[2]
    assert np.allclose(found.slope[-1], np.sqrt(np.mean(np.square(back / area))), rtol=1e-4)

    def rest(y):
        for name, (width, stride) in list(net.blocks.items())[1:]:
            own = {collection: variables[collection][name] for collection in variables}
            y, _ = Block(width, stride).apply(own, y, train=True, mutable=['batch_stats'])
        y = nn.Dense(3).apply({'params': variables['params']['head']}, y.mean((1, 2)))
        return optax.softmax_cross_entropy_with_integer_labels(y, labels).sum()
    first = jax.jit(jax.grad(rest))(outputs[0])
    assert np.allclose(found.slope[0], np.sqrt(np.mean(np.square(first))), rtol=1e-4)


def test_configs_that_contradict_themselves():
    def check(**more):
        c = config_lib.get_config()
        c.update(more)
        config_lib.check(c)
    check()
    for more, said in (({'depths': (8, 21)}, 'expected 6 n \\+ 2 layers for 3 stages, found 21'),
                       ({'depths': (20, 8)}, 'each above the one before it'), ({'depths': (8,)}, 'two or more'),
                       ({'widths': (8, 4)}, 'none below'), ({'warmup': 4000}, 'fewer than steps')):
        with pytest.raises(ValueError, match=said):
            check(**more)


def test_comparisons_are_paired():
    c = config_lib.get_config('smoke')
    metrics = {f'{m}_{kind}_{d}': [0.1 * d + i + (kind == 'plain') for i in (0.0, 5.0)]
               for m in ('accuracy', 'train_loss') for kind in training.KINDS for d in c.depths}
    found = experiment.compare(c, metrics)
    d = found['accuracy: residual - plain at 6']
    assert np.isclose(d['mean'], -1) and np.allclose(d['ci95'], -1)     # the seeds' own spread is not in it
    assert np.isclose(found['train_loss: plain, 6 - 4']['mean'], 0.2)


def test_expected_values_are_for_whole_recipes_only():
    assert config_lib.expected(config_lib.get_config())
    for size in ('smoke', 'full_mnist', 'cifar10'):
        assert not config_lib.expected(config_lib.get_config(size))
    for size in config_lib.VARIANTS:
        validate(config_lib.get_config(size), config_lib.FIELDS, config_lib.check)


SMALL = ('--config.depths=(4,6)', '--config.widths=(3,)', '--config.batch_size=20', '--config.steps=6',
         '--config.steps_per_call=2', '--config.log_every=2', '--config.eval_every=6', '--config.checkpoint_every=6',
         '--config.warmup=2', '--config.baseline_rows=0')
FILES = {'full_mnist': ('mnist', 60_000, 10_000), 'cifar10': ('cifar10_subset', 10_000, 2_000)}


@pytest.mark.slow
@pytest.mark.parametrize('size', FILES)
def test_recipes_on_files_run_at_a_small_size(tmp_path, shared_file, size):
    """A few steps of small networks, with the recipe's own pixels, crops and mirrorings; CIFAR-10 by its subset."""
    name, train, test = FILES[size]
    folder = shared_file(f'{name}.npz').parent
    finish(tmp_path, f'--config={size}', f'--config.data={name}', f'--data_dir={folder}', *SMALL)
    r = result(tmp_path)
    assert (r['data']['name'], r['data']['train'], r['data']['test']) == (name, train, test) and r['data']['verified']
    assert set(r['metrics']) >= {f'{m}_{n}' for n in NAMES for m in ('loss', 'accuracy', 'train_loss')}
    assert all(np.isfinite(found['values']).all() for found in r['metrics'].values()) and not r['expected']
    assert [x['step'] for x in read_metrics(tmp_path) if x['split'] == 'train'] == [2, 4, 6]
    used, recipe = json.loads((tmp_path / 'config.json').read_text())['config'], config_lib.get_config(size)
    assert all(used[k] == recipe[k] for k in ('pool', 'crop', 'flip', 'rate')) and used['steps'] == 6


@pytest.mark.parametrize('size', ['full_mnist', 'cifar10'])
def test_recipes_crop_and_mirror_as_they_say(size):
    """Every picture is a crop of the padded one, or its mirror image where the recipe mirrors; both come up."""
    c = config_lib.get_config(size)
    image = np.asarray(jax.random.uniform(KEY, (7, 7, 3)))
    padded = np.pad(image, ((c.crop, c.crop), (c.crop, c.crop), (0, 0)))
    at = range(2 * c.crop + 1)
    crops = {padded[i:i + 7, j:j + 7].tobytes() for i in at for j in at}
    mirrored = {padded[i:i + 7, j:j + 7][:, ::-1].tobytes() for i in at for j in at}
    drawn = jax.jit(jax.vmap(training.moved(c), (0, None)))(jax.random.split(KEY, 100), image)
    found = {np.asarray(x).tobytes() for x in drawn}
    assert found <= (crops | mirrored if c.flip else crops) and len(found) > 15
    assert bool(found & (mirrored - crops)) is c.flip


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_the_recipe_reaches_what_is_expected(tmp_path):
    """Every seed: the plain network of 44 layers is worse on the images that it is trained on, the residual is not."""
    finish(tmp_path, '--seeds=3', timeout=2300)
    r = result(tmp_path)
    assert r['passed'] and r['expected'] and r['baseline']
    for name, (value, op) in r['expected'].items():
        values = r['metrics'][name]['values']
        assert (min(values) >= value) if op == '>=' else (max(values) <= value), name
    assert r['comparison']['train_loss: plain, 44 - 8']['ci95'][0] > 0
    assert r['comparison']['accuracy: residual - plain at 44']['ci95'][0] > 0
