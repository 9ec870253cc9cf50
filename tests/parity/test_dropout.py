"""Dropout in its variants, given the mask that torch drew; and rates, replicas, resumes."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from parity_ledger import compare
from transformers.models.beit.modeling_beit import BeitDropPath

from common import loop, parallel, strategies, tasks, trees
from common.checkpoint import Checkpoints
from levels.level2_neural import dropout as lib
from tests.common.nets import KEY, source

F = torch.nn.functional
RATE = 0.3
FIRST = {'dropout': (0, 1), 'spatial_dropout': (0, 3, 1, 2), 'variational_dropout': (0, 2, 1), 'drop_path': (0, 1, 2)}
PEERS = {       # name: (shape, torch's function on axes in the order of FIRST, its name, axes of one number)
    'dropout': ((40, 30), lambda x: F.dropout(x, RATE), 'torch.nn.functional.dropout', ()),
    'spatial_dropout': ((6, 4, 5, 20), lambda x: F.dropout2d(x, RATE), 'torch.nn.functional.dropout2d', (1, 2)),
    'variational_dropout': ((6, 5, 20), lambda x: F.dropout1d(x, RATE), 'torch.nn.functional.dropout1d', (1,)),
    'drop_path': ((50, 3, 4), BeitDropPath(RATE), 'transformers BeitDropPath', (1, 2)),
}


@pytest.mark.parametrize('name', PEERS)
def test_values_and_gradients_are_the_peer_s_for_its_mask(name):
    """The peer's mask has our shape: one number for all axes that are dropped together."""
    shape, peer, title, together = PEERS[name]
    torch.manual_seed(0)
    x, weight = (np.random.default_rng(i).normal(size=shape) for i in (0, 1))
    at = torch.tensor(np.transpose(x, FIRST[name]).copy(), requires_grad=True)
    y = peer(at)
    (y.sin() * torch.tensor(np.transpose(weight, FIRST[name]).copy())).sum().backward()
    back = np.argsort(FIRST[name])
    theirs, grad = (np.transpose(v.detach().numpy(), back) for v in (y, at.grad))
    mask = (theirs != 0).any(together, keepdims=True)
    assert np.array_equal(np.broadcast_to(mask, shape), theirs != 0) and 0 < mask.mean() < 1
    ours = lib.keep(KEY, shape, RATE, together=together)
    assert ours.shape == mask.shape, 'we draw as many numbers as the peer does'
    with jax.enable_x64(True):
        got, pull = jax.vjp(lambda x: lib.masked(x, mask, RATE), jnp.asarray(x))
        compare(name, title, 'outputs for one mask, f64', got, theirs, 1e-14)
        compare(name, title, 'gradients for one mask, f64', pull(jnp.cos(got) * weight)[0], grad, 1e-14)
    fn = getattr(lib, name)
    assert np.allclose(fn(x, KEY, rate=RATE), lib.masked(x, ours, RATE))


@pytest.mark.parametrize('name', PEERS)
@pytest.mark.parametrize('rate', [0.1, 0.5, 0.9])
def test_the_share_that_is_kept(name, rate):
    """A binomial count, within five standard deviations; and the mean of the output is that of the input."""
    shape = {'dropout': (200, 100), 'spatial_dropout': (200, 2, 100), 'variational_dropout': (200, 2, 100),
             'drop_path': (20_000, 2)}[name]
    y = np.asarray(getattr(lib, name)(jnp.ones(shape), jax.random.key(7), rate=rate), np.float64)
    independent = 20_000
    kept = (y != 0).mean()
    assert abs(kept - (1 - rate)) < 5 * np.sqrt(rate * (1 - rate) / independent)
    assert np.allclose(y[y != 0], 1 / (1 - rate)) and abs(y.mean() - 1) < 5 * np.sqrt(rate / (1 - rate) / independent)


@pytest.mark.parametrize('name', PEERS)
def test_bad_input_is_one_line(name):
    fn, x = getattr(lib, name), jnp.ones((2, 3, 4))
    for rate in (-0.1, 1.0, float('nan')):
        with pytest.raises(ValueError, match='^rate: expected 0 <= rate < 1, found'):
            fn(x, KEY, rate=rate)
    with pytest.raises(ValueError, match='^x: expected'):
        fn(jnp.ones(()), KEY, rate=0.5)
    assert np.array_equal(fn(x, KEY, rate=0.0), x)
    bad = x.at[0, 0, 0].set(jnp.inf)
    assert not jnp.isnan(fn(bad, KEY, rate=0.9)).any()


class Net(nn.Module):
    """Every variant, one after the other."""

    rate: float = 0.25

    @nn.compact
    def __call__(self, x, *, train=False):
        x = lib.SpatialDropout(self.rate)(nn.Dense(6)(x), train=train)                      # [batch, 8, 8, 6]
        x = lib.VariationalDropout(self.rate)(x.reshape(len(x), 8, -1), train=train)        # [batch, 8, 48]
        h = nn.tanh(nn.Dense(16)(x.reshape(len(x), -1)))
        h = h + lib.DropPath(self.rate)(nn.Dense(16)(h), train=train)
        return nn.Dense(10)(lib.Dropout(self.rate)(h, train=train))


TASK = tasks.classifier(Net(), optax.sgd(0.1))


def after(strategy=None, steps=4, checkpoints=None, **kwargs):
    fitted = loop.fit(TASK, source(16), steps=steps, key=KEY, strategy=strategy, checkpoints=checkpoints, **kwargs)
    return trees.to_host(fitted.carry)


def distance(a, b):
    return max(float(np.abs(x - y).max()) for x, y in zip(jax.tree.leaves(a.state), jax.tree.leaves(b.state)))


def test_replicas_drop_what_one_device_drops(monkeypatch):
    one = after(steps=1)
    for name, strategy in (('pmap', strategies.pmap()), ('mesh', strategies.mesh({'data': 2}))):
        assert distance(one, after(strategy, 1)) < 1e-5, name
    monkeypatch.setattr(parallel, 'rows', lambda draw, n: draw(n))      # each replica by itself: far off
    assert distance(one, after(strategies.pmap(), 1)) > 1e-3


def test_a_resumed_run_drops_the_same(tmp_path):
    """Two steps, a stop, two more in a new call: the bits of four in one go.  The mask of each step is another one."""
    whole = after()
    after(steps=2, checkpoints=Checkpoints(tmp_path), checkpoint_every=2)
    resumed = after(checkpoints=Checkpoints(tmp_path), checkpoint_every=2)
    assert trees.sha256(resumed.state) == trees.sha256(whole.state) and int(resumed.step) == 4
    masks = [lib.keep(jax.random.fold_in(KEY, step), (8, 8), 0.5) for step in range(3)]
    assert not np.array_equal(masks[0], masks[1]) and not np.array_equal(masks[1], masks[2])


def test_modules_drop_in_training_only():
    x = jax.random.normal(KEY, (4, 3, 5))
    for module in (lib.SpatialDropout, lib.VariationalDropout, lib.DropPath, lib.Dropout):
        apply = lambda train, seed, module=module: module(0.5).apply({}, x, train=train,
                                                                     rngs={'dropout': jax.random.key(seed)})
        assert np.array_equal(apply(False, 0), x) and np.array_equal(apply(True, 0), apply(True, 0))
        assert not np.array_equal(apply(True, 0), apply(True, 1))
        with pytest.raises(ValueError, match='rate: expected'):
            module(1.0).apply({}, x, train=True, rngs={'dropout': KEY})
