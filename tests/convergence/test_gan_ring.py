"""The ring of eight Gaussians: a GAN that drops modes shows it at once.  Ten seeds in one program."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from common.task import train_fn
from levels.level2_neural.mlp import MLP
from levels.level7_advanced.generative.gan import gan

RADIUS, SD, SEEDS = 2.0, 0.05, 10
ANGLES = np.arange(8) * np.pi / 4
CENTRES = RADIUS * np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1)


def ring(key, n):
    which, noise = jax.random.split(key)
    centres = jnp.asarray(CENTRES, jnp.float32)[jax.random.randint(which, (n,), 0, 8)]
    return centres + SD * jax.random.normal(noise, (n, 2))


def modes(x):
    """(how many of the eight have at least 2 % of the samples within 4 standard deviations, share of those at any)."""
    near = np.linalg.norm(x[:, None] - CENTRES[None], axis=-1) < 4 * SD
    return int((near.mean(0) >= 0.02).sum()), float(near.any(1).mean())


def found(steps, *, mapped=True, **kwargs):
    """(modes [seeds], quality [seeds]) after training: two optimisers, two learning rates, one Task."""
    net = lambda n: MLP((64, 64), n, kind='classification', activation='leaky_relu')
    rates = (1e-3, 2e-3) if mapped else (0.0, 2e-3)
    model = gan(net(2), net(1), *(optax.adam(r, 0.5) for r in rates), latent=8, **{'r1': 0.3, 'ema': 0.99} | kwargs)
    fresh = lambda data, step: {'x': ring(jax.random.fold_in(data, step), 128)}

    def one(key):
        state = train_fn(model.task, steps, fresh)(key, jax.random.fold_in(key, 5))[0].state
        return model.sample(jax.random.fold_in(key, 1), state, 1000)

    samples = np.asarray(jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(0), SEEDS)))
    return tuple(np.array(v) for v in zip(*map(modes, samples)))


def test_seven_modes_on_eight_of_ten_seeds():
    count, quality = found(2500)
    assert (count >= 7).sum() >= 8, count
    assert quality.mean() > 0.45, quality


def test_the_count_can_fail():
    """Data have eight modes, one mode is one, noise is none; and a generator that does not learn has few."""
    assert modes(np.asarray(ring(jax.random.key(0), 1000))) == (8, pytest.approx(1, abs=0.01))
    assert modes(np.tile(CENTRES[:1], (1000, 1)))[0] == 1
    assert modes(np.random.default_rng(0).normal(size=(1000, 2)) * 3)[0] <= 1
    count, quality = found(30, mapped=False)
    assert (count < 7).all() and quality.max() < 0.3


@pytest.mark.slow
@pytest.mark.parametrize(('kwargs', 'steps'), [
    ({'loss': 'hinge'}, 3000),
    ({'loss': 'least_squares'}, 3000),
    ({'loss': 'wasserstein', 'r1': 0.0, 'penalty': 0.1, 'd_steps': 3}, 1500),
])
def test_the_other_losses_find_them_too(kwargs, steps):
    count, quality = found(steps, **kwargs)
    assert (count >= 7).sum() >= 8 and quality.mean() > 0.3, (count, quality)
