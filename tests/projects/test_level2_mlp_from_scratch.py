"""The MLP by hand: equal to autodiff and to Linen with optax, no derivative by JAX, killed and resumed, its results."""
import ast
import contextlib
import functools
from unittest import mock

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from common import metrics, optim, tasks
from common.runs import read_metrics
from common.task import Task, train_fn
from common.wrappers import with_transform
from levels.level2_neural import backprop_task
from projects.level2_mlp_from_scratch import config as config_lib
from projects.level2_mlp_from_scratch import experiment
from tests.faults import processes
from tests.faults.processes import result

MODULE = 'projects.level2_mlp_from_scratch.main'
SMOKE = ('--config=smoke', '--config.baseline_rows=0')
KEY = jax.random.key(1)
finish = functools.partial(processes.finish, module=MODULE)


def config(**more):
    c = config_lib.get_config('smoke')
    with c.unlocked():
        c.update(more)
    return c


def digits(rows=40):
    rng = np.random.default_rng(0)
    return {'image': rng.integers(0, 256, (rows, 6, 6, 1)).astype(np.uint8), 'label': (np.arange(rows) % 10).astype(
        np.int32)}


def by_autodiff(net, tx) -> Task:
    """The same network and optimiser, its gradients taken by JAX through the way forward."""

    def loss_fn(params, stats, batch, key, train):
        output, _, _, stats = net.forward(params, stats, backprop_task.flat(batch['image']), train=train, key=key)
        loss = metrics.mean(net.head.value(output, batch['label']), batch.get('mask'))
        return loss, (stats, {'loss': loss})

    init = lambda key, batch: net.init(key, features=36)
    return with_transform(optim.gradient_task(init, loss_fn, tx), experiment.scaled)


@pytest.fixture(scope='module')
def smoke(tmp_path_factory):
    folder = tmp_path_factory.mktemp('smoke')
    finish(folder, '--config=smoke')
    return folder


@pytest.mark.parametrize('more', [{'norm': 'batch', 'dropout': 0.3}, {'norm': 'layer', 'activation': 'gelu_erf'},
                                  {'norm': 'none', 'dropout': 0.0, 'activation': 'tanh'}])
def test_training_by_hand_is_training_by_autodiff(more):
    """Twenty steps on the core, dropout and batch norm included: the same parameters, velocities, running numbers."""
    c, batch = config(hidden=(9, 7), steps=20, **more), digits()
    net, task = experiment.build(c)
    run = lambda task: jax.jit(train_fn(task, 20))(KEY, batch)
    (ours, seen), (theirs, peer) = run(task), run(by_autodiff(net, experiment.descent(c)))
    for a, b in zip(jax.tree.leaves(ours.state), jax.tree.leaves(theirs.state), strict=True):
        assert a.dtype == b.dtype and jnp.abs(a - b).max() < 2e-5 * max(1, float(jnp.abs(b).max()))
    assert jnp.abs(seen['loss'].value - peer['loss'].value).max() < 2e-5
    assert seen['loss'].value[-1] < seen['loss'].value[0] - 0.3
    moved = jnp.abs(ours.state.params['0 dense']['kernel'] - task.init(jax.random.split(KEY)[0], batch).params[
        '0 dense']['kernel']).max()
    assert moved > 1e-2


def test_it_is_the_mlp_of_linen_trained_with_optax():
    """Somebody else's layers, gradients and optimiser, from the same start."""
    c, batch = config(hidden=(9, 7), norm='none', dropout=0.0, rate=0.05, steps=20), digits()
    _, task = experiment.build(c)
    names = ['0 dense', '2 dense', '4 dense']

    class Peer(nn.Module):
        @nn.compact
        def __call__(self, x, *, train=False):
            x = x.reshape(len(x), -1)
            for i, width in enumerate((9, 7, 10)):
                x = nn.Dense(width, name=names[i])(x)
                x = nn.relu(x) if i < 2 else x
            return x

    rate = optax.cosine_decay_schedule(c.rate, c.steps)
    peer = with_transform(tasks.classifier(Peer(), optax.sgd(rate, momentum=c.momentum)), experiment.scaled)

    def begin(key, batch):
        start = task.init(key, batch).params
        params = {name: start[name] for name in names}
        return peer.init(key, batch)._replace(params=params)

    ours, _ = jax.jit(train_fn(task, 15))(KEY, batch)
    theirs, _ = jax.jit(train_fn(peer._replace(init=begin), 15))(KEY, batch)
    for name in names:
        for part in ('kernel', 'bias'):
            assert jnp.abs(ours.state.params[name][part] - theirs.state.params[name][part]).max() < 2e-5


def test_no_derivative_is_taken_by_jax():
    """A step is traced while differentiation is out of order; the same step by autodiff fails then."""
    c = config(hidden=(9, 7))
    net, task = experiment.build(c)
    batch = digits()
    state = task.init(KEY, batch)
    jax.clear_caches()
    with contextlib.ExitStack() as stack:
        for trace in ('JVPTrace', 'LinearizeTrace'):
            stack.enter_context(mock.patch(f'jax._src.interpreters.ad.{trace}.process_primitive',
                                           side_effect=AssertionError('autodiff')))
        assert len(jax.make_jaxpr(task.step)(KEY, state, batch).eqns) > 50
        with pytest.raises(AssertionError, match='autodiff'):
            jax.make_jaxpr(by_autodiff(net, experiment.descent(c)).step)(KEY, state, batch)
    for path in ('projects/level2_mlp_from_scratch/experiment.py', 'levels/level2_neural/backprop_task.py'):
        tree = ast.parse((processes.ROOT / path).read_text())
        names = {n.attr for n in ast.walk(tree) if isinstance(n, ast.Attribute)}
        assert not names & {'grad', 'value_and_grad', 'vjp', 'jvp', 'linearize', 'jacrev', 'jacfwd', 'hessian'}


def test_the_run_folder(smoke):
    for name in ('curves', 'confusion', 'mistakes', 'layers', 'weights'):
        assert (smoke / f'plots/{name}.png').stat().st_size > 5000, name
    r = result(smoke)
    assert r['project'] == 'level2_mlp_from_scratch' and r['data']['name'] == 'mnist_5k' and r['data']['verified']
    assert 0 < r['metrics']['accuracy']['mean'] < 1 and set(r['baseline']) == {
        'logistic regression', 'MLP of scikit-learn'}
    assert not r['expected'] and [x['step'] for x in read_metrics(smoke) if x['split'] == 'test'] == [30, 60]
    before = (smoke / 'result.json').read_bytes()
    assert 'is finished' in finish(smoke, '--config=smoke') and (smoke / 'result.json').read_bytes() == before


@pytest.mark.parametrize('flags', [
    ('--strategy=pmap', '--host_devices=2'),
    pytest.param(('--strategy=mesh', '--host_devices=4'), marks=pytest.mark.slow)])
def test_every_strategy_gives_the_same_numbers(smoke, tmp_path, flags):
    """Batch norm's own sums over the batch, forwards and back, are taken over all devices."""
    finish(tmp_path, *SMOKE, *flags)
    for a, b in zip(read_metrics(smoke), read_metrics(tmp_path), strict=True):
        assert a.keys() == b.keys() and abs(a['loss'] - b['loss']) < 2e-4 * a['loss']


@pytest.mark.slow
def test_the_ordered_reduction_gives_the_same_bits_on_any_number_of_devices(tmp_path):
    for n in (1, 4):
        finish(tmp_path / str(n), *SMOKE, '--strategy=pmap', f'--host_devices={n}', '--reduction=ordered',
               '--micro_batches=4')
    assert processes.fingerprint(tmp_path / '1') == processes.fingerprint(tmp_path / '4')


def test_a_killed_run_resumes_and_ends_with_the_same_bits(smoke, tmp_path):
    process = processes.start(tmp_path, *SMOKE, module=MODULE)
    processes.wait_for_step(tmp_path, 15)
    process.kill()
    process.communicate(timeout=60)
    assert not (tmp_path / 'result.json').exists()
    finish(tmp_path, *SMOKE)
    assert processes.fingerprint(tmp_path) == processes.fingerprint(smoke)


def test_micro_batches_are_one_batch_where_nothing_is_normalised():
    c, batch = config(hidden=(9,), norm='none', dropout=0.0), digits()
    run = lambda c: jax.jit(train_fn(experiment.build(c)[1], 5))(KEY, batch)[0].state.params
    for a, b in zip(*map(jax.tree.leaves, (run(c), run(config(**{**c.to_dict(), 'accum': 4})))), strict=True):
        assert jnp.abs(a - b).max() < 1e-6


def test_rows_that_do_not_count_have_no_part():
    net = experiment.network(config(hidden=(9,), norm='none', dropout=0.0))
    task = backprop_task.chain_task(net, experiment.descent(config()), x='image', y='label')
    batch = experiment.scaled(digits(8))
    short = {k: v[:5] for k, v in batch.items()}
    state = task.init(KEY, short)
    step = jax.jit(lambda state, batch: task.step(KEY, state, batch))
    a, b = step(state, {**batch, 'mask': np.arange(8) < 5}), step(state, short)
    for u, v in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert jnp.abs(u - v).max() < 1e-6


def test_what_is_expected_is_for_the_whole_recipe_only():
    full = config_lib.get_config()
    assert config_lib.expected(full)['accuracy'][0] > 0.9 and config_lib.expected(config_lib.get_config('plain'))
    assert not config_lib.expected(config_lib.get_config('smoke'))
    with full.unlocked():
        full.steps = 800
    assert not config_lib.expected(full)
    for change, message in (({'hidden': ()}, 'hidden'), ({'accum': 3}, 'batch_size=40: expected a multiple')):
        with pytest.raises(ValueError, match=message):
            config_lib.check(config(**change))


def assert_expected(folder, seeds, beaten=()):
    r = result(folder)
    (value, _), = r['expected'].values()
    assert r['passed'] and len(r['metrics']['accuracy']['values']) == seeds
    assert min(r['metrics']['accuracy']['values']) >= value, r['metrics']
    assert r['metrics']['accuracy']['mean'] > max([r['baseline'][name] for name in beaten], default=0)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize(('size', 'beaten'), [
    ('full', ('logistic regression', 'MLP of scikit-learn')),
    ('plain', ('logistic regression',))])       # without norm and dropout it is what scikit-learn's is
def test_every_recipe_reaches_what_is_expected(tmp_path, size, beaten):
    finish(tmp_path, f'--config={size}', '--seeds=5', timeout=1100)
    assert_expected(tmp_path, 5, beaten)


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_full_mnist(tmp_path, shared_file):
    finish(tmp_path, '--config=full_mnist', '--config.baseline_rows=0',
           f'--data_dir={shared_file("mnist.npz").parent}', timeout=1400)
    assert_expected(tmp_path, 1)
