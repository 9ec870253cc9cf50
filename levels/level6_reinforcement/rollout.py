"""Environments and a policy, on the device: what every on-policy agent shares.

    agent.task       a Task whose batch is None; its state keeps the environments under `actors`
    collect          a piece of experience from environments that go on where they stopped
    play             whole episodes from fresh environments: evaluation
    record           one episode, step by step: for people

Every number is drawn for the environments of all replicas, and each replica takes its own (`parallel.rows`), so that
jit, pmap and a mesh play the same games.  All draws of a rollout are made in one call before its scan: inside, they
would cost more than the environments.
"""
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P
from jaxtyping import Array, Bool, Float, Key

from common import parallel
from common.errors import ConfigError
from common.evaluate import EVALUATION
from common.metrics import Mean
from common.task import Carry, Task
from levels.level6_reinforcement import actions
from levels.level6_reinforcement.envs import env as envs
from levels.level6_reinforcement.envs.env import Env
from levels.level6_reinforcement.recurrent import forget

PyTree = Any
RULES = ((r'(^|/)actors/', P('data')),)     # each device steps environments of its own; the rest is replicated


class Agent(NamedTuple):
    """What a factory such as `ppo` returns: a Task without a batch, and what acts with the state it learns.

    params(state) -> what acts: the part of the task's state that `policy` and `value` take
    policy(params, obs [n, *obs], key) -> actions [n];  key None: the most likely action
    value(params, obs [n, *obs]) -> [n]
    rules: how a state is split over devices
    memory(n) -> what it remembers at the beginning of n episodes; None (the whole field) where it remembers nothing

    With a memory, `policy` and `value` take one as their last argument, and without it an observation is the first of
    its episode.  `act(params, obs, key, memory) -> (actions, memory)` is the policy that goes on.
    """
    env: Env
    task: Task
    params: Callable[[PyTree], PyTree]
    policy: Callable[[PyTree, jax.Array, jax.Array | None], jax.Array]
    value: Callable[[PyTree, jax.Array], jax.Array]
    rules: tuple = RULES
    memory: Callable[[int], PyTree] | None = None
    act: Callable[[PyTree, jax.Array, jax.Array | None, PyTree], tuple[jax.Array, PyTree]] | None = None


class Actors(NamedTuple):
    """n environments and the episodes they are in; split over devices by `RULES`."""
    env: PyTree
    obs: Float[Array, 'n *obs']
    episode_return: Float[Array, 'n']
    episode_length: Float[Array, 'n']
    discounted: Float[Array, 'n']           # discounted sum of rewards so far, for reward scaling
    memory: PyTree = None                   # what a recurrent agent remembers of its episodes


class Rollout(NamedTuple):
    """What was seen, one row per environment: [env, time, ...].  `final_obs` is what followed, before any reset.

    `outputs`, what the actor put out, is kept for agents with a memory only."""
    obs: Float[Array, 'env time *obs']
    action: Array
    reward: Float[Array, 'env time']
    final_obs: Float[Array, 'env time *obs']
    terminated: Bool[Array, 'env time']
    ended: Bool[Array, 'env time']          # terminated or truncated
    outputs: Array | None = None


def start(env: Env, key: Key[Array, ''], n: int, memory: PyTree = None) -> Actors:
    """n environments at the beginning of an episode."""
    state, obs = envs.reset(env, key, n)
    return Actors(state, obs, *(jnp.zeros(n) for _ in range(3)), memory)


def check_replicas(actors: Actors, n_envs: int) -> None:
    """Raises ConfigError unless each replica holds its share of the environments, and no other."""
    axis = parallel.axis()
    if parallel.micro_batches():
        raise ConfigError('reduction: expected fast for an RL agent, found ordered, which splits batches of a source; '
                          'environments have none')
    if len(actors.obs) * (axis.size if axis else 1) != n_envs:
        raise ConfigError(f'rules: expected the {n_envs} environments split over {axis.size} replicas (rollout.RULES), '
                          f'found {len(actors.obs)} on each')


def collect(env: Env, actor: Callable, key: Key[Array, ''], actors: Actors, horizon: int
            ) -> tuple[Actors, Rollout, dict[str, Mean]]:
    """`horizon` steps of every environment, actions drawn from what `actor` puts out (`actions.of(env)`).

    actor(obs) -> outputs; where `actors` have a memory, actor(obs, memory) -> (outputs, memory).  It is forgotten where
    an episode ends.  Also the mean return and length of the episodes that ended meanwhile (weight 0 when none did).
    """
    n, head, recurrent = len(actors.obs), actions.of(env), actors.memory is not None
    act_key, env_key, reset_key = jax.random.split(key, 3)
    draw = lambda fn: jnp.swapaxes(parallel.rows(fn, n), 0, 1)      # [env, time, ...] -> [time, env, ...]
    noise = draw(lambda whole: head.noise(act_key, (whole, horizon)))
    keys = draw(lambda whole: jax.random.split(env_key, (whole, horizon)))
    fresh = jax.vmap(jax.vmap(env.reset))(draw(lambda whole: jax.random.split(reset_key, (whole, horizon))))

    def one(actors: Actors, drawn):
        noise, keys, fresh = drawn
        outputs, memory = actor(actors.obs, actors.memory) if recurrent else (actor(actors.obs), None)
        action = head.draw(outputs, noise)
        state, seen = envs.step(env, keys, actors.env, action, fresh)
        ended = seen.terminated | seen.truncated
        total, length = actors.episode_return + seen.reward, actors.episode_length + 1
        over = lambda x: jnp.where(ended, 0, x)
        row = Rollout(actors.obs, action, seen.reward, seen.final_obs, seen.terminated, ended,
                      outputs if recurrent else None)
        finished = jnp.stack([total, length, jnp.ones_like(total)]) * ended[None]
        return Actors(state, seen.obs, over(total), over(length), actors.discounted, forget(memory, ended)), (
            row, finished.sum(1))

    actors, (rollout, finished) = jax.lax.scan(one, actors, (noise, keys, fresh))
    total, length, count = finished.sum(0)
    rollout = jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), rollout)
    return actors, rollout, {'return': Mean(total, count), 'length': Mean(length, count)}


class Episodes(NamedTuple):
    """Sums over whole episodes."""
    returns: Float[Array, 'n']
    lengths: Float[Array, 'n']


def _remembering(act: Callable, memory: PyTree) -> Callable:
    """act(obs, key, memory) -> (actions, memory), of an `act` that has no memory too."""
    return act if memory is not None else lambda obs, key, memory: (act(obs, key), None)


def play(env: Env, act: Callable, key: Key[Array, ''], n: int, memory: PyTree = None) -> Episodes:
    """n whole episodes from n fresh environments; act(obs [n, *obs], key) -> actions [n], or with a memory
    act(obs, key, memory) -> (actions, memory)."""
    reset_key, run_key = jax.random.split(key)
    state, obs = jax.vmap(env.reset)(jax.random.split(reset_key, n))
    act = _remembering(act, memory)

    def go_on(loop):
        _, _, _, alive, _, t = loop
        return alive.any() & (t < env.max_steps)

    def one(loop):
        state, obs, memory, alive, sums, t = loop
        act_key, env_key = jax.random.split(jax.random.fold_in(run_key, t))
        action, memory = act(obs, act_key, memory)
        state, obs, reward, terminated, truncated = jax.vmap(env.transition)(
            jax.random.split(env_key, n), state, action)
        sums = Episodes(sums.returns + jnp.where(alive, reward, 0), sums.lengths + alive)
        return state, obs, memory, alive & ~(terminated | truncated), sums, t + 1

    zero = Episodes(jnp.zeros(n), jnp.zeros(n))
    begin = (state, obs, memory, jnp.ones(n, bool), zero, jnp.zeros((), jnp.int32))
    return jax.lax.while_loop(go_on, one, begin)[4]


def record(env: Env, act: Callable, key: Key[Array, ''], memory: PyTree = None) -> dict[str, jax.Array]:
    """One episode from a fresh environment, padded to `env.max_steps`: obs, action, reward, and `alive`, which is
    False after its end.  `act` and `memory` (of one row) as in `play`."""
    reset_key, run_key = jax.random.split(key)
    state, obs = env.reset(reset_key)
    act = _remembering(act, memory)

    def one(loop, t):
        state, obs, memory, alive = loop
        act_key, env_key = jax.random.split(jax.random.fold_in(run_key, t))
        action, memory = act(obs[None], act_key, memory)
        action = action[0]
        state, after, reward, terminated, truncated = env.transition(env_key, state, action)
        return (state, after, memory, alive & ~(terminated | truncated)), {
            'obs': obs, 'action': action, 'reward': reward, 'alive': alive}

    return jax.lax.scan(one, (state, obs, memory, jnp.asarray(True)), jnp.arange(env.max_steps))[1]


def evaluator(agent: Agent, *, episodes: int, greedy: bool = True) -> Callable[[Carry], Episodes]:
    """carry -> Episodes [episodes] of the agent as it stands, or [seeds, episodes] for a carry of several seeds.

    The episodes begin in the same states at every call of one run.
    """
    def one(key, params):
        key = jax.random.fold_in(key, EVALUATION)
        if agent.memory is None:
            return play(agent.env, lambda obs, k: agent.policy(params, obs, None if greedy else k), key, episodes)
        act = lambda obs, k, memory: agent.act(params, obs, None if greedy else k, memory)
        return play(agent.env, act, key, episodes, agent.memory(episodes))

    run = jax.jit(lambda key, params: (jax.vmap(one) if key.ndim else one)(key, params))
    return lambda carry: run(carry.key, agent.params(carry.state))


def random_policy(env: Env) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """(obs [n, *obs], key) -> actions [n], each as likely as any other."""
    if env.bounds is not None:
        return lambda obs, key: jax.random.uniform(key, (len(obs), env.n_actions), minval=env.bounds[0],
                                                   maxval=env.bounds[1])
    if isinstance(env.n_actions, int):
        return lambda obs, key: jax.random.randint(key, (len(obs),), 0, env.n_actions)
    return lambda obs, key: jax.random.randint(key, (len(obs), len(env.n_actions)), 0, jnp.array([env.n_actions]))
