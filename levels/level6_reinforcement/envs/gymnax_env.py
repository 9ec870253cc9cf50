"""The environments of gymnax; the only file that imports it, and only when one is made (the import takes seconds)."""
import functools

import jax
import jax.numpy as jnp
import numpy as np

from levels.level6_reinforcement.envs.env import Env, clipped


def _strong(tree):
    """Leaves as arrays of a definite type: gymnax counts time in Python ints, which a scan would refuse."""
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.result_type(x)), tree)


def _bounds(actions) -> tuple[float, float] | None:
    """Of a box [n] of real numbers with the same bounds for each; None for any other set of actions."""
    if not hasattr(actions, 'low') or len(actions.shape) != 1:
        return None
    low, high = ({*np.broadcast_to(side, actions.shape).tolist()} for side in (actions.low, actions.high))
    return (*low, *high) if len(low) == len(high) == 1 else None


@functools.cache
def make(name: str, max_steps: int = 0, *, continuous: bool = False) -> Env:
    """The gymnax environment of that name as an `Env`; `max_steps` > 0 replaces its time limit.

    `continuous` is for callers that can also take real actions, all with the same bounds; their environment is not
    refused then.

    Gymnax's own `step` resets inside and returns six values; here its two halves `step_env` and `is_truncated` are
    used, so that resets can be drawn elsewhere.  A step may be both terminated and truncated: termination counts.

    Raises ValueError for a name that gymnax does not know, or actions of a kind that the caller does not take.
    """
    import gymnax
    if name not in gymnax.registered_envs:
        raise ValueError(f'env: expected one of {", ".join(gymnax.registered_envs)}; found {name!r}')
    env, params = gymnax.make(name)
    if max_steps:
        params = params.replace(max_steps_in_episode=max_steps)
    actions = env.action_space(params)
    bounds = _bounds(actions) if continuous else None
    if not hasattr(actions, 'n') and bounds is None:
        raise ValueError(f'env: expected one with discrete actions, found {name} with {type(actions).__name__}')

    def reset(key):
        obs, state = env.reset_env(key, params)
        return _strong(state), jnp.asarray(obs, jnp.float32)

    def transition(key, state, action):
        obs, state, reward, terminated, _ = env.step_env(key, state, action, params)
        truncated = jnp.asarray(env.is_truncated(state, params))
        return (_strong(state), jnp.asarray(obs, jnp.float32), jnp.asarray(reward, jnp.float32),
                jnp.asarray(terminated), truncated)

    shape = tuple(env.observation_space(params).shape)
    n_actions = int(actions.n) if bounds is None else actions.shape[0]
    return Env(name, n_actions, shape, int(params.max_steps_in_episode), reset,
               transition if bounds is None else clipped(transition, bounds), bounds)
