"""From the numbers that a network puts out to actions: what is drawn, how likely it was, how much is left to chance.

    categorical          n logits; one of n actions
    multi_categorical    the logits of several choices side by side; one of each, independent of each other
    gaussian             a mean and the logarithm of a deviation per number; real numbers, independent of each other

`of(env)` picks the one that fits an environment.  Real actions are not clipped here: what was drawn is what is learned
from, and the environment clips what it is given (`envs.env.Env`).
"""
import itertools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

Outputs = Float[Array, '*rows width']


class Head(NamedTuple):
    """A family of distributions over actions.

    noise(key, rows) -> [*rows, ...], drawn without knowing the outputs, so that a whole rollout's is one call
    draw(outputs, noise) -> actions;  mode(outputs) -> the most likely ones
    score(outputs, actions) -> (log-probability of the actions [*rows], entropy [*rows])
    """
    width: int
    noise: Callable[[Key[Array, ''], tuple[int, ...]], Outputs]
    draw: Callable[[Outputs, Outputs], Array]
    mode: Callable[[Outputs], Array]
    score: Callable[[Outputs, Array], tuple[Float[Array, '*rows'], Float[Array, '*rows']]]

    def log_prob(self, outputs: Outputs, action: Array) -> Float[Array, '*rows']:
        return self.score(outputs, action)[0]


def categorical(n: int) -> Head:
    """One of n actions.

    Formula: log pi(a) = z_a - log sum exp(z); a draw is argmax(z + Gumbel noise).
    Paper: Gumbel 1954; as a way to draw, Maddison, Tarlow, Minka 2014, A* sampling, section 2.
    Shapes: outputs [*rows, n] -> actions [*rows], integers.
    Errors: ValueError for n < 1.
    Example:
        head = categorical(2)
        outputs = jnp.log(jnp.array([[0.25, 0.75]]))
        assert int(head.mode(outputs)[0]) == 1
        assert jnp.allclose(head.log_prob(outputs, jnp.array([0])), jnp.log(0.25))
    """
    if n < 1:
        raise ValueError(f'n: expected at least 1 action, found {n}')

    def score(outputs, action):
        log_probs = jax.nn.log_softmax(outputs)
        return (jnp.take_along_axis(log_probs, action[..., None], -1)[..., 0],
                -(jnp.exp(log_probs) * log_probs).sum(-1))

    return Head(n, lambda key, rows: jax.random.gumbel(key, (*rows, n)),
                lambda outputs, noise: jnp.argmax(outputs + noise, -1), lambda outputs: jnp.argmax(outputs, -1), score)


def multi_categorical(sizes: tuple[int, ...]) -> Head:
    """Several choices at once, each from its own logits and independent of the others given the observation.

    Formula: log pi(a_1 ... a_k) = sum_i log pi_i(a_i); the entropy is the sum of theirs.
    Paper: Huang et al. 2022, The 37 implementation details of proximal policy optimization, MultiDiscrete.
    Shapes: outputs [*rows, sum(sizes)] -> actions [*rows, k], integers.
    Errors: ValueError for no choice, or a choice among fewer than one.
    Example:
        head = multi_categorical((2, 3))
        outputs = jnp.zeros((4, 5))
        assert head.mode(outputs).shape == (4, 2)
        assert jnp.allclose(head.log_prob(outputs, jnp.ones((4, 2), int)), -jnp.log(6.0))
    """
    if not sizes:
        raise ValueError(f'sizes: expected one choice at least, found {sizes}')
    heads, cuts = [categorical(n) for n in sizes], list(itertools.accumulate(sizes))[:-1]

    def each(fn, *xs):
        return [getattr(head, fn)(*parts) for head, *parts in zip(heads, *xs, strict=True)]

    def score(outputs, action):
        log_probs, entropies = zip(*each('score', split(outputs), jnp.unstack(action, axis=-1)))
        return sum(log_probs), sum(entropies)

    split = lambda outputs: jnp.split(outputs, cuts, -1)
    return Head(sum(sizes), lambda key, rows: jax.random.gumbel(key, (*rows, sum(sizes))),
                lambda outputs, noise: jnp.stack(each('draw', split(outputs), split(noise)), -1),
                lambda outputs: jnp.stack(each('mode', split(outputs)), -1), score)


def gaussian(n: int) -> Head:
    """n real numbers, each normal and independent of the others given the observation.

    Formula: log pi(a) = -sum_i ((a_i - m_i)^2 / (2 s_i^2) + log s_i + log(2 pi) / 2);
        entropy = sum_i (log s_i + log(2 pi e) / 2).
    Paper: Williams 1992, Simple statistical gradient-following algorithms, section 6; with a deviation that does not
        depend on the observation, Schulman et al. 2015, Trust region policy optimization, appendix D.
    Shapes: outputs [*rows, 2 n], the means and then the log deviations -> actions [*rows, n].
    Errors: ValueError for n < 1.
    Example:
        head = gaussian(1)
        outputs = jnp.array([[3.0, 0.0]])
        assert float(head.mode(outputs)[0, 0]) == 3.0
        assert jnp.allclose(head.log_prob(outputs, jnp.array([[3.0]])), -0.5 * jnp.log(2 * jnp.pi))
    """
    if n < 1:
        raise ValueError(f'n: expected at least 1 number, found {n}')
    split = lambda outputs: jnp.split(outputs, 2, -1)

    def draw(outputs, noise):
        mean, log_std = split(outputs)
        return mean + jnp.exp(log_std) * noise

    def score(outputs, action):
        mean, log_std = split(outputs)
        z = (action - mean) * jnp.exp(-log_std)
        return (-(0.5 * z**2 + log_std + 0.5 * np.log(2 * np.pi)).sum(-1),
                (log_std + 0.5 * np.log(2 * np.pi * np.e)).sum(-1))

    return Head(2 * n, lambda key, rows: jax.random.normal(key, (*rows, n)), draw, lambda outputs: split(outputs)[0],
                score)


def head(n_actions: int | tuple[int, ...], continuous: bool = False) -> Head:
    """The head for one of n actions, for several choices at once, or for n real numbers."""
    if continuous:
        return gaussian(n_actions)
    return categorical(n_actions) if isinstance(n_actions, int) else multi_categorical(tuple(n_actions))


def of(env) -> Head:
    """The head that fits the actions of an `Env`."""
    return head(env.n_actions, env.bounds is not None)
