"""What an environment is, and how many of them are reset and stepped at once.

An `Env` describes one environment by two pure functions, without automatic resets; `reset` and `step` here act on
rows of them.  The end of an episode is one of two things that a learner must tell apart: `terminated`, after which
there is no reward to come, and `truncated`, where only the recording ends and the value of the last observation
stands for the rest (Pardo et al. 2018, Time limits in reinforcement learning, section 3).
"""
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from common import parallel

PyTree = Any


class Env(NamedTuple):
    """One environment.  `state` is any pytree of arrays.

    reset(key) -> (state, obs)
    transition(key, state, action) -> (state, obs, reward, terminated, truncated), and no reset

    An action is one of `n_actions`; where that is a tuple, one of each; where there are `bounds`, `n_actions` real
    numbers, of which `transition` takes any and clips them to the bounds itself (`clipped`).
    """
    name: str
    n_actions: int | tuple[int, ...]
    obs_shape: tuple[int, ...]
    max_steps: int              # no episode is longer
    reset: Callable
    transition: Callable
    bounds: tuple[float, float] | None = None


class Step(NamedTuple):
    """What a step of n environments shows.  Where an episode ended `obs` begins the next one, and `final_obs` is the
    last of the old one; elsewhere the two are the same."""
    obs: Float[Array, 'n *obs']
    final_obs: Float[Array, 'n *obs']
    reward: Float[Array, 'n']
    terminated: Bool[Array, 'n']
    truncated: Bool[Array, 'n']


def clipped(transition: Callable, bounds: tuple[float, float]) -> Callable:
    """A transition that takes any real numbers as its action, and acts on the nearest that are legal."""
    return lambda key, state, action: transition(key, state, jnp.clip(action, *bounds))


def reset(env: Env, key: Key[Array, ''], n: int) -> tuple[PyTree, Float[Array, 'n *obs']]:
    """(state, obs) of this replica's n environments, each with a key of its own, whatever the number of replicas."""
    return jax.vmap(env.reset)(parallel.rows(lambda whole: jax.random.split(key, whole), n))


def step(env: Env, keys: Key[Array, 'n'], state: PyTree, action: Array, fresh: tuple) -> tuple[PyTree, Step]:
    """One step of n environments; those that end continue from `fresh`, the (state, obs) of n resets.

    Resets come as an argument because they can be drawn for a whole rollout in one call, outside of its scan.
    """
    state, obs, reward, terminated, truncated = jax.vmap(env.transition)(keys, state, action)
    ended = terminated | truncated
    pick = lambda new, old: jnp.where(ended.reshape(-1, *(1,) * (old.ndim - 1)), new, old)
    return jax.tree.map(pick, fresh[0], state), Step(pick(fresh[1], obs), obs, reward, terminated, truncated)
