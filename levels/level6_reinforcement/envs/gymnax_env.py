"""The environments of gymnax; the only file that imports it, and only when one is made (the import takes seconds)."""
import functools

import jax
import jax.numpy as jnp

from levels.level6_reinforcement.envs.env import Env


def _strong(tree):
    """Leaves as arrays of a definite type: gymnax counts time in Python ints, which a scan would refuse."""
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.result_type(x)), tree)


@functools.cache
def make(name: str, max_steps: int = 0) -> Env:
    """The gymnax environment of that name as an `Env`; `max_steps` > 0 replaces its time limit.

    Gymnax's own `step` resets inside and returns six values; here its two halves `step_env` and `is_truncated` are
    used, so that resets can be drawn elsewhere.  A step may be both terminated and truncated: termination counts.

    Raises ValueError for a name that gymnax does not know, or actions that are not discrete.
    """
    import gymnax
    if name not in gymnax.registered_envs:
        raise ValueError(f'env: expected one of {", ".join(gymnax.registered_envs)}; found {name!r}')
    env, params = gymnax.make(name)
    if max_steps:
        params = params.replace(max_steps_in_episode=max_steps)
    actions = env.action_space(params)
    if not hasattr(actions, 'n'):
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
    return Env(name, int(actions.n), shape, int(params.max_steps_in_episode), reset, transition)
