"""The laws of every generative model in the catalogue.  A new model must add its case here, or the count fails.

Every case learns the normal distribution N(MEAN, SD^2) with a generator a z + b, whose best parameters are known.
"""

import inspect
from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from common import loop, trees
from common.data import Source, constant
from common.task import train_fn
from levels.catalogue import load, members
from levels.level2_neural.mlp import MLP
from levels.level7_advanced.generative import gan as gan_lib
from levels.level7_advanced.generative.contract import Generative

MEAN, SD = 1.5, 0.5


class Affine(nn.Module):
    """z -> a z + b, one number per example."""

    @nn.compact
    def __call__(self, z, *, train=False):
        del train
        return nn.Dense(1)(z)


class Quadratic(nn.Module):
    """Logits from 1, x and x^2: all that tells two normal distributions apart."""

    @nn.compact
    def __call__(self, x, *, train=False):
        del train
        return nn.Dense(1, kernel_init=nn.initializers.zeros_init())(jnp.concatenate([x, x**2], axis=1))[:, 0]


class Case(NamedTuple):
    build: Callable         # row's factory -> Generative
    steps: int              # until the toy is learned
    learned: Callable       # state -> the generator's (a, b)
    still: set = frozenset()        # parameters that the loss does not see
    metrics: set = frozenset({'d_loss', 'g_loss'})      # what `evaluate` gives at least; those of two players


def parameters(state):
    p = getattr(state, 'ema', None)
    p = state.g.params if p is None else p
    return abs(float(p['Dense_0']['kernel'][0, 0])), float(p['Dense_0']['bias'][0])


def critic():
    return MLP((32, 32), 1, kind='regression', activation='leaky_relu')


CASES = {
    'gan': Case(lambda f, **kw: f(Affine(), Quadratic(), optax.adam(5e-3, 0.0), optax.adam(2e-2, 0.0), latent=1,
                                  **{'ema': 0.99, 'r1': 0.5} | kw), 1500, parameters),
    # A constant added to a critic changes nothing: its last bias has no gradient.
    'wgan_gp': Case(lambda f, **kw: f(Affine(), critic(), optax.adam(3e-3, 0.0, 0.9), optax.adam(5e-3, 0.0, 0.9),
                                      latent=1, **{'ema': 0.99, 'penalty': 0.1, 'd_steps': 3} | kw), 1500, parameters,
                    {'dense_2/bias'}),
}


def build(row, **kwargs) -> Generative:
    return CASES[row.name].build(load(row), **kwargs)


def batch(key, n=256):
    return {'x': MEAN + SD * jax.random.normal(key, (n, 1))}


def learns_the_toy(row):
    model = build(row)
    fresh = lambda data, step: batch(jax.random.fold_in(data, step))
    run = jax.jit(train_fn(model.task, CASES[row.name].steps, fresh))
    state = run(jax.random.key(0), jax.random.key(1))[0].state
    a, b = CASES[row.name].learned(state)
    assert abs(a - SD) < 0.12 and abs(b - MEAN) < 0.12, (a, b)
    x = jax.jit(model.sample, static_argnums=2)(jax.random.key(5), state, 4000)
    assert abs(x.mean() - MEAN) < 0.15 and abs(x.std() - SD) < 0.15


def samples(row):
    """[n, ...] of the data's shape, a function of its key, the same under jit, and finite before any training."""
    model = build(row)
    state = jax.jit(model.task.init)(jax.random.key(0), batch(jax.random.key(1)))
    x = model.sample(jax.random.key(2), state, 7)
    assert x.shape == (7, 1) and jnp.isfinite(x).all() and len(np.unique(x)) == 7
    assert np.array_equal(x, model.sample(jax.random.key(2), state, 7))
    assert not np.array_equal(x, model.sample(jax.random.key(3), state, 7))
    assert jnp.abs(jax.jit(model.sample, static_argnums=2)(jax.random.key(2), state, 7) - x).max() < 1e-6
    assert list(inspect.signature(model.sample).parameters) == ['key', 'state', 'n']


def is_a_task(row):
    """Runs on the common loop and vmaps over seeds; each array moves, and nothing else than arrays is in the state."""
    model = build(row)
    b = batch(jax.random.key(1), 16)
    carry = loop.fit(model.task, constant(b), steps=4, steps_per_call=2, key=jax.random.key(0)).carry
    again = loop.fit(model.task, constant(b), steps=4, steps_per_call=2, key=jax.random.key(0)).carry
    assert all(np.array_equal(x, y) for x, y in zip(jax.tree.leaves(carry.state), jax.tree.leaves(again.state)))
    first = model.task.init(jax.random.split(jax.random.key(0))[0], b)
    new, old = trees.named_leaves(carry.state), trees.named_leaves(first)
    still = {name for name in old if 'params' in name and np.array_equal(old[name], new[name])}
    assert {name.rpartition('params/')[2] for name in still} == CASES[row.name].still
    assert all(isinstance(x, jax.Array) for x in jax.tree.leaves(carry.state))
    many = jax.jit(jax.vmap(train_fn(model.task, 3), (0, None)))(jax.random.split(jax.random.key(7), 3), b)[0].state
    assert all(len(x) == 3 for x in jax.tree.leaves(many)) and len(np.unique(jax.vmap(
        lambda s: model.sample(jax.random.key(0), s, 1))(many))) == 3
    evaluated = model.task.evaluate(jax.random.key(0), carry.state, {**b, 'mask': jnp.ones(16)})
    assert CASES[row.name].metrics <= set(evaluated) and evaluated
    assert all(jnp.isfinite(m.value) for m in evaluated.values())


def devices_change_nothing(row):
    """Noise belongs to rows of the whole batch: two replicas learn what one learns."""
    from common import strategies
    model, b = build(row), batch(jax.random.key(1), 16)
    rows = Source(lambda step, part: {'x': np.asarray(b['x'])[part]}, lambda _, host: host, rows=16)
    one, two = (loop.fit(model.task, rows, steps=3, key=jax.random.key(0), strategy=s).carry.state
                for s in (strategies.jit(), strategies.pmap(devices=2)))
    for x, y in zip(jax.tree.leaves(one), jax.tree.leaves(two)):
        assert jnp.abs(x - y).max() < 1e-5


LAWS = (learns_the_toy, samples, is_a_task, devices_change_nothing)
PAIRS = [(row, law) for row in members(kind='generative') for law in LAWS]
RAN = set()


@pytest.mark.parametrize(('row', 'law'), [pytest.param(r, law, id=f'{r.name}-{law.__name__}') for r, law in PAIRS])
def test_law(row, law):
    law(row)
    RAN.add((row.name, law.__name__))


# ---- closed forms of the adversarial losses

@pytest.mark.parametrize(('name', 'd', 'g'), [('non_saturating', 2 * np.log(2), np.log(2)), ('least_squares', 0.5, 0.5),
                                              ('hinge', 2.0, 0.0), ('wasserstein', 0.0, 0.0)])
def test_losses_of_a_discriminator_that_knows_nothing(name, d, g):
    real, fake, made = gan_lib.LOSSES[name]
    zero = jnp.zeros(())
    assert real(zero) + fake(zero) == pytest.approx(d) and made(zero) == pytest.approx(g)
    assert jax.grad(real)(0.1) < 0 < jax.grad(fake)(0.1) and jax.grad(made)(0.1) < 0       # who wants what


@pytest.mark.parametrize(('kwargs', 'expected'), [     # for slopes of length 1 and 3
    ({'r1': 0.4}, (0.4 / 2, 0.4 / 2 * 9)), ({'penalty': 3.0}, (0.0, 3.0 * 4)), ({}, (0.0, 0.0))])
def test_penalties_of_a_linear_discriminator(kwargs, expected):
    """w = (1/2, 1/2, 1/2, 1/2) has length 1; three times that has length 3."""
    class Wide(nn.Module):
        @nn.compact
        def __call__(self, z, *, train=False):
            return nn.Dense(4)(z)

    class Linear(nn.Module):
        weight: float

        @nn.compact
        def __call__(self, x, *, train=False):
            return nn.Dense(1, kernel_init=nn.initializers.constant(self.weight))(x)

    b = {'x': jax.random.normal(jax.random.key(0), (32, 4))}
    for weight, value in zip((0.5, 1.5), expected):
        model = gan_lib.gan(Wide(), Linear(weight), optax.sgd(0.0), optax.sgd(0.1), latent=2, **kwargs)
        state = model.task.init(jax.random.key(1), b)
        after, metrics = model.task.step(jax.random.key(2), state, b)
        assert metrics['penalty'].value == pytest.approx(value, abs=1e-5)
        plain = gan_lib.gan(Wide(), Linear(weight), optax.sgd(0.0), optax.sgd(0.1), latent=2)
        other, _ = plain.task.step(jax.random.key(2), state, b)
        differs = not np.allclose(after.d.params['Dense_0']['kernel'], other.d.params['Dense_0']['kernel'], atol=1e-5)
        assert differs == (value > 1e-5), 'the penalty must move D exactly where it is not zero'


def test_the_optimal_discriminator_of_two_normal_distributions():
    """G stands still at N(0, 1), data are N(m, 1): the best logit is m x - m^2 / 2, the loss 2 log 2 - 2 JS."""
    class Still(nn.Module):
        @nn.compact
        def __call__(self, z, *, train=False):
            return z * self.param('one', nn.initializers.ones_init(), (1, 1))

    class Linear(nn.Module):
        @nn.compact
        def __call__(self, x, *, train=False):
            return nn.Dense(1)(x)

    m = 1.2
    model = gan_lib.gan(Still(), Linear(), optax.sgd(0.0), optax.adam(optax.cosine_decay_schedule(0.05, 400)), latent=1)
    fresh = lambda data, step: {'x': m + jax.random.normal(jax.random.fold_in(data, step), (2048, 1))}
    state = jax.jit(train_fn(model.task, 400, fresh))(jax.random.key(0), jax.random.key(1))[0].state
    assert state.d.params['Dense_0']['kernel'][0, 0] == pytest.approx(m, abs=0.08)
    assert state.d.params['Dense_0']['bias'][0] == pytest.approx(-m * m / 2, abs=0.08)


def test_collections_change_in_their_own_player_s_steps_only():
    class Normed(nn.Module):
        out: int

        @nn.compact
        def __call__(self, x, *, train=False):
            return nn.Dense(self.out)(nn.BatchNorm(use_running_average=not train, momentum=0.5)(nn.Dense(5)(x)))

    b = {'x': 3 + jax.random.normal(jax.random.key(0), (32, 2))}
    model = gan_lib.gan(Normed(2), Normed(1), optax.sgd(0.1), optax.sgd(0.1), latent=3, r1=0.1)
    state = model.task.init(jax.random.key(1), b)
    after, _ = jax.jit(model.task.step)(jax.random.key(2), state, b)
    for fit, old in zip(after, state):
        assert jax.tree.structure(fit) == jax.tree.structure(old)
        assert not np.array_equal(fit.extra['batch_stats']['BatchNorm_0']['mean'],
                                  old.extra['batch_stats']['BatchNorm_0']['mean'])
    noise = jax.random.normal(jax.random.split(jax.random.key(2))[1], (32, 3))      # of G's step: once, and no other
    dense = jax.tree.map(np.asarray, state.g.params['Dense_1'])     # Linen numbers the outer one first
    seen = (noise @ dense['kernel'] + dense['bias'][None]).mean(0)
    assert np.allclose(after.g.extra['batch_stats']['BatchNorm_0']['mean'], 0.5 * seen, atol=1e-5)
    x = model.sample(jax.random.key(0), after, 3)
    assert np.allclose(x, model.sample(jax.random.key(0), after, 3)) and x.shape == (3, 2)


def test_the_average_is_sampled_and_more_steps_are_taken():
    b = batch(jax.random.key(1), 16)
    gan = next(r for r in members(kind='generative') if r.name == 'gan')
    averaged, plain = build(gan, ema=0.5), build(gan, ema=0.0)
    a, p = (m.task.step(jax.random.key(2), m.task.init(jax.random.key(0), b), b)[0] for m in (averaged, plain))
    middle = jax.tree.map(lambda x, y: (x + y) / 2, plain.task.init(jax.random.key(0), b).g.params, p.g.params)
    assert all(np.allclose(x, y) for x, y in zip(jax.tree.leaves(a.ema), jax.tree.leaves(middle)))
    expected = plain.sample(jax.random.key(3), p._replace(g=p.g._replace(params=middle)), 4)
    assert np.allclose(averaged.sample(jax.random.key(3), a, 4), expected)
    twice = build(gan, ema=0.0, d_steps=2)
    q = twice.task.step(jax.random.key(2), twice.task.init(jax.random.key(0), b), b)[0]
    counts = [int(optax.tree_utils.tree_get(s.opt, 'count')) for s in (p.d, q.d, q.g)]
    assert counts == [1, 2, 1]


@pytest.mark.parametrize(('kwargs', 'message'), [({'loss': 'wassertein'}, "loss: expected one of .*'wassertein'"),
                                                 ({'r1': -1.0}, 'latent, d_steps, r1, penalty'),
                                                 ({'d_steps': 0}, 'latent, d_steps, r1, penalty'),
                                                 ({'ema': 1.0}, 'decay: expected')])
def test_bad_arguments_say_what_is_wrong(kwargs, message):
    with pytest.raises(ValueError, match=message):
        gan_lib.gan(Affine(), Quadratic(), optax.sgd(0.1), optax.sgd(0.1), **{'latent': 1} | kwargs)


def test_every_pair_ran(request):
    """Must stand last.  Where a selection (-k) left some out, those that were selected must have run."""
    assert {row.name for row in members(kind='generative')} == set(CASES)
    assert len(PAIRS) == len(CASES) * len(LAWS) == 8
    selected = [i for i in request.session.items if i.module is request.module and i.originalname == 'test_law']
    assert len(RAN) == len(selected)
