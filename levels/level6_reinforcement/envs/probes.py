"""Seven environments small enough that the right values are known, each of which fails for one kind of mistake.

    constant      one step, reward 1                                       is the value learned at all?
    observed      one step, reward = observation                           does the value see the observation?
    delayed       two steps, reward 1 at the second                        is the discount right?
    chosen        one step, reward 1 for action 1, else -1                 is the advantage's sign right?
    matched       one step, reward 1 if the action fits the observation    do observations and actions stay in line?
    truncated     endless reward, cut off after one step                   does truncation bootstrap, from final_obs?
    terminated    the same, and the cut is an end                          does termination not?

Source of the idea: Andy Jones 2021, Debugging reinforcement learning systems, probe environments.
"""
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from levels.level6_reinforcement.envs.env import Env


class Probe(NamedTuple):
    """An environment with its answers: `values(gamma)` maps an observation to its value under the best policy, `best`
    an observation to the best action (None where every action is as good)."""
    env: Env
    values: Callable[[float], dict[float, float]]
    best: dict[float, int] | None = None


def _env(name: str, *, start, move, n_actions: int = 2, max_steps: int = 1) -> Env:
    """An Env whose state is one number, and whose observation is that number.

    start(key) -> state;  move(state, action) -> (state, reward, terminated, truncated)
    """
    def reset(key):
        state = jnp.asarray(start(key), jnp.float32)
        return state, state[None]

    def transition(key, state, action):
        state, reward, terminated, truncated = move(state, action)
        state = jnp.asarray(state, jnp.float32)
        return state, state[None], jnp.asarray(reward, jnp.float32), jnp.asarray(terminated), jnp.asarray(truncated)

    return Env(name, n_actions, (1,), max_steps, reset, transition)


def _coin(low: float, high: float) -> Callable:
    return lambda key: jnp.where(jax.random.bernoulli(key), high, low)


def _zero(key):
    return 0.0


def _sign(hit):
    return jnp.where(hit, 1.0, -1.0)


def _chain(name: str, *, cut: bool) -> Env:
    """0 -> 1 -> 1 -> ... with a reward of 1 for every step from 1, seen one step at a time from a random start.

    The three ways to treat the cut give different values, here for discount 1/2 at (0, 1): bootstrap from the final
    observation (1, 2); from the observation after the reset (0.5, 1.5); not at all (0, 1).
    """
    return _env(name, start=_coin(0.0, 1.0), move=lambda s, a: (jnp.ones_like(s), s, not cut, cut))


PROBES = {
    'constant': Probe(_env('constant', start=_zero, move=lambda s, a: (s, 1.0, True, False)), lambda g: {0: 1}),
    'observed': Probe(_env('observed', start=_coin(-1.0, 1.0), move=lambda s, a: (s, s, True, False)),
                      lambda g: {-1: -1, 1: 1}),
    'delayed': Probe(_env('delayed', start=_zero, move=lambda s, a: (s + 1, s, s > 0, False), max_steps=2),
                     lambda g: {0: g, 1: 1}),
    'chosen': Probe(_env('chosen', start=_zero, move=lambda s, a: (s, _sign(a == 1), True, False)),
                    lambda g: {0: 1}, {0: 1}),
    'matched': Probe(_env('matched', start=_coin(-1.0, 1.0),
                          move=lambda s, a: (s, _sign((a == 1) == (s > 0)), True, False)),
                     lambda g: {-1: 1, 1: 1}, {-1: 0, 1: 1}),
    'truncated': Probe(_chain('truncated', cut=True), lambda g: {0: g / (1 - g), 1: 1 / (1 - g)}),
    'terminated': Probe(_chain('terminated', cut=False), lambda g: {0: 0, 1: 1}),
}
