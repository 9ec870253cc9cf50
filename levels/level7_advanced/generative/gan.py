"""Generative adversarial networks: two players with an optimiser each, as one Task on the common loop.

The discriminator D gives one logit per example; the generator G turns noise z ~ N(0, I) into examples.

| loss             | D minimises                                   | G minimises          | paper                   |
| non_saturating   | E softplus(-D(x)) + E softplus(D(G(z)))       | E softplus(-D(G(z))) | Goodfellow et al. 2014  |
| least_squares    | E (D(x) - 1)^2 / 2 + E D(G(z))^2 / 2          | E (D(G(z)) - 1)^2 /2 | Mao et al. 2017         |
| hinge            | E relu(1 - D(x)) + E relu(1 + D(G(z)))        | -E D(G(z))           | Lim and Ye 2017         |
| wasserstein      | -E D(x) + E D(G(z))                           | -E D(G(z))           | Arjovsky et al. 2017    |

Added to D's loss where asked for, both on gradients by the input:
    r1:       r1 / 2 E |grad D(x)|^2                                                    Mescheder et al. 2018, eq. 9
    penalty:  penalty E (|grad D(x')| - 1)^2, x' between a real and a made one          Gulrajani et al. 2017, eq. 3
"""
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from common import metrics as M
from common import parallel
from common.optim import Fit, descend
from common.task import Task
from common.wrappers import with_ema
from levels.level7_advanced.generative.contract import Generative

softplus = jax.nn.softplus
LOSSES: dict[str, tuple[Callable, Callable, Callable]] = {      # of D on real and on made examples, of G; per example
    'non_saturating': (lambda r: softplus(-r), softplus, lambda f: softplus(-f)),
    'least_squares': (lambda r: (r - 1) ** 2 / 2, lambda f: f ** 2 / 2, lambda f: (f - 1) ** 2 / 2),
    'hinge': (lambda r: jax.nn.relu(1 - r), lambda f: jax.nn.relu(1 + f), lambda f: -f),
    'wasserstein': (lambda r: -r, lambda f: f, lambda f: -f),
}


class Players(NamedTuple):
    """The state of a GAN: `params` of G in g, of D in d, each with its collections and its optimiser's state."""
    g: Fit
    d: Fit


def gan(generator: nn.Module, discriminator: nn.Module, g_tx: optax.GradientTransformation,
        d_tx: optax.GradientTransformation, *, latent: int, loss: str = 'non_saturating', r1: float = 0.0,
        penalty: float = 0.0, d_steps: int = 1, ema: float = 0.0, x: str = 'x') -> Generative:
    """A GAN of two Linen networks: `generator(z, train=)`, `discriminator(x, train=)` -> [batch] or [batch, 1].

    Formula: each step, D descends d_steps times on its loss, each time with fresh noise, then G once on its own, with
        the D of now; see the module's table.  Two time scales are two learning rates (Heusel et al. 2017).
    Paper: Goodfellow et al. 2014, Generative adversarial nets, algorithm 1; others in the module's table.
    Shapes: batch[x] [batch, *shape] -> sample(key, state, n) [n, *shape], from the average of G's parameters if
        ema > 0, the decay (Yazici et al. 2019); the state then is `WithEma(Players, ema)`, else `Players`.
    Errors: ValueError for an unknown loss, latent or d_steps < 1, negative r1 or penalty; ema as `with_ema`.
    Metrics: d_loss (penalties left out), g_loss, d_real and d_fake (mean logits), penalty.
    Networks may have collections (batch norm, spectral norm); D's change in D's steps only, G's in its own.
    Example:
        from levels.level2_neural.mlp import MLP
        net = lambda n: MLP((16,), n, kind='regression')
        model = gan(net(2), net(1), optax.adam(1e-3), optax.adam(1e-3), latent=4, r1=0.1, ema=0.9)
        state = model.task.init(jax.random.key(0), {'x': jnp.zeros((8, 2))})
        state, metrics = model.task.step(jax.random.key(1), state, {'x': jnp.ones((8, 2))})
        model.sample(jax.random.key(2), state, 5).shape                         # (5, 2)
    """
    if loss not in LOSSES:
        raise ValueError(f'loss: expected one of {", ".join(LOSSES)}; found {loss!r}')
    if latent < 1 or d_steps < 1 or r1 < 0 or penalty < 0:
        raise ValueError('latent, d_steps, r1, penalty: expected at least 1, 1, 0 and 0, found '
                         f'{latent}, {d_steps}, {r1} and {penalty}')
    on_real, on_fake, on_made = LOSSES[loss]

    def make(params, extra, key, n, train=True):
        return _apply(generator, params, extra, _noise(key, n, latent), train)

    def judge(params, extra, examples, train=True):
        out, extra = _apply(discriminator, params, extra, examples, train)
        return out.reshape(len(examples)), extra

    def init(key, batch):
        g_key, d_key = jax.random.split(key)
        g, g_extra = _init(generator, g_key, jnp.zeros((1, latent)))
        d, d_extra = _init(discriminator, d_key, jnp.asarray(batch[x])[:1])
        return Players(Fit(g, g_extra, g_tx.init(g)), Fit(d, d_extra, d_tx.init(d)))

    def step(key, state, batch):
        g, d = state
        rows = len(batch[x])

        def d_loss(params, extra, batch, key):
            noise, between = jax.random.split(key)
            fake, _ = make(g.params, g.extra, noise, rows)
            real, extra = judge(params, extra, batch[x])
            made, extra = judge(params, extra, fake)
            value = M.mean(on_real(real) + on_fake(made))
            # Penalties look at D as it is: with the collections it has, changing none.
            logit = lambda points: judge(params, extra, points, False)[0]
            extra_loss = jnp.zeros(rows)
            if r1:
                extra_loss += r1 / 2 * _squared_slope(logit, batch[x])
            if penalty:
                extra_loss += penalty * (_norm(_squared_slope(logit, _blend(between, batch[x], fake))) - 1) ** 2
            added = M.mean(extra_loss)
            metrics = {'d_loss': value, 'd_real': M.mean(real), 'd_fake': M.mean(made), 'penalty': added}
            return M.Mean(value.total + added.total, value.weight), (extra, metrics)

        d_key, g_key = jax.random.split(key)
        for i in range(d_steps):
            d, d_metrics = descend(d_loss, d_tx, d, batch, jax.random.fold_in(d_key, i))

        def g_loss(params, extra, batch, key):
            fake, extra = make(params, extra, key, rows)
            value = M.mean(on_made(judge(d.params, d.extra, fake)[0]))
            return value, (extra, {'g_loss': value})

        g, g_metrics = descend(g_loss, g_tx, g, batch, g_key)
        return Players(g, d), {**d_metrics, **g_metrics}

    def evaluate(key, state, batch):
        fake = make(state.g.params, state.g.extra, key, len(batch[x]), False)[0]
        real, made = (judge(state.d.params, state.d.extra, e, False)[0] for e in (batch[x], fake))
        mean = lambda values: M.mean(values, batch.get('mask'))
        return {'d_loss': mean(on_real(real) + on_fake(made)), 'g_loss': mean(on_made(made)), 'd_real': mean(real),
                'd_fake': mean(made)}

    task = Task(init, step, evaluate)
    if ema:
        task = with_ema(task, ema, get=lambda s: s.g.params, put=lambda s, p: s._replace(g=s.g._replace(params=p)))

    def sample(key: Array, state, n: int) -> Float[Array, 'n *shape']:
        params, fit = (state.ema, state.inner.g) if ema else (state.g.params, state.g)
        return make(params, fit.extra, key, n, False)[0]

    return Generative(task, sample)


def wgan_gp(generator: nn.Module, discriminator: nn.Module, g_tx: optax.GradientTransformation,
            d_tx: optax.GradientTransformation, *, latent: int, penalty: float = 10.0, d_steps: int = 5,
            **kwargs) -> Generative:
    """The Wasserstein GAN with gradient penalty: `gan` with its paper's loss, penalty and steps of the critic.

    Formula: D minimises E D(G(z)) - E D(x) + penalty E (|grad D(x')| - 1)^2, G minimises -E D(G(z)),
        x' = u x + (1 - u) G(z), u ~ U(0, 1) for each example.
    Paper: Gulrajani, Ahmed, Arjovsky, Dumoulin, Courville 2017, Improved training of Wasserstein GANs, algorithm 1.
    Shapes: as `gan`.  D should have no batch norm: the penalty is meant for each example by itself.
    Errors: those of `gan`.
    Example:
        from levels.level2_neural.mlp import MLP
        net = lambda n: MLP((16,), n, kind='regression')
        model = wgan_gp(net(2), net(1), optax.adam(1e-4, 0.0, 0.9), optax.adam(1e-4, 0.0, 0.9), latent=4)
        state = model.task.init(jax.random.key(0), {'x': jnp.zeros((8, 2))})
        model.sample(jax.random.key(2), state, 5).shape                         # (5, 2)
    """
    return gan(generator, discriminator, g_tx, d_tx, latent=latent, loss='wasserstein', penalty=penalty,
               d_steps=d_steps, **kwargs)


def _noise(key: Array, n: int, latent: int) -> Float[Array, 'n latent']:
    """Drawn for the whole batch: the same rows on any number of devices."""
    return parallel.rows(lambda whole: jax.random.normal(key, (whole, latent)), n)


def _init(net: nn.Module, key: Array, example: Array) -> tuple[Any, dict]:
    """(parameters, other collections)."""
    variables = dict(net.init({'params': key}, example, train=False))
    params = variables.pop('params')
    variables.pop('intermediates', None)
    return params, variables


def _apply(net: nn.Module, params: Any, extra: dict, inputs: Array, train: bool) -> tuple[Array, dict]:
    """(output, collections after it)."""
    if train and extra:
        return net.apply({'params': params, **extra}, inputs, train=True, mutable=list(extra))
    return net.apply({'params': params, **extra}, inputs, train=train), extra


def _blend(key: Array, real: Float[Array, 'batch *shape'], fake: Float[Array, 'batch *shape']) -> Array:
    """A random point between each pair."""
    u = parallel.rows(lambda n: jax.random.uniform(key, (n, *(1,) * (real.ndim - 1))), len(real))
    return u * real + (1 - u) * fake


def _squared_slope(logit: Callable, points: Float[Array, 'batch *shape']) -> Float[Array, ' batch']:
    """|grad logit|^2 at each point; the points do not look at each other, so one gradient of the sum has them all."""
    slopes = jax.grad(lambda p: jnp.sum(logit(p)))(points)
    return jnp.sum(slopes.reshape(len(points), -1) ** 2, axis=1)


def _norm(squared: Float[Array, ' batch']) -> Float[Array, ' batch']:
    """Square root whose gradient at 0 is 0 and not NaN (a critic that starts out flat)."""
    some = squared > 0
    return jnp.where(some, jnp.sqrt(jnp.where(some, squared, 1)), 0)
