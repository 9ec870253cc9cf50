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
from jaxtyping import Array, Bool, Float, Int, Key

from common import parallel
from common.errors import ConfigError
from common.evaluate import EVALUATION
from common.metrics import Mean
from common.task import Carry, Task
from levels.level6_reinforcement.envs import env as envs
from levels.level6_reinforcement.envs.env import Env

PyTree = Any
RULES = ((r'(^|/)actors/', P('data')),)     # each device steps environments of its own; the rest is replicated


class Agent(NamedTuple):
    """What a factory such as `ppo` returns: a Task without a batch, and what acts with the state it learns.

    params(state) -> what acts: the part of the task's state that `policy` and `value` take
    policy(params, obs [n, *obs], key) -> actions [n];  key None: the most likely action
    value(params, obs [n, *obs]) -> [n]
    rules: how a state is split over devices
    """
    env: Env
    task: Task
    params: Callable[[PyTree], PyTree]
    policy: Callable[[PyTree, jax.Array, jax.Array | None], jax.Array]
    value: Callable[[PyTree, jax.Array], jax.Array]
    rules: tuple = RULES


class Actors(NamedTuple):
    """n environments and the episodes they are in; split over devices by `RULES`."""
    env: PyTree
    obs: Float[Array, 'n *obs']
    episode_return: Float[Array, 'n']
    episode_length: Float[Array, 'n']
    discounted: Float[Array, 'n']           # discounted sum of rewards so far, for reward scaling


class Rollout(NamedTuple):
    """What was seen, one row per environment: [env, time, ...].  `final_obs` is what followed, before any reset."""
    obs: Float[Array, 'env time *obs']
    action: Int[Array, 'env time']
    reward: Float[Array, 'env time']
    final_obs: Float[Array, 'env time *obs']
    terminated: Bool[Array, 'env time']
    ended: Bool[Array, 'env time']          # terminated or truncated


def start(env: Env, key: Key[Array, ''], n: int) -> Actors:
    """n environments at the beginning of an episode."""
    state, obs = envs.reset(env, key, n)
    return Actors(state, obs, *(jnp.zeros(n) for _ in range(3)))


def check_replicas(actors: Actors, n_envs: int) -> None:
    """Raises ConfigError unless each replica holds its share of the environments, and no other."""
    axis = parallel.axis()
    if parallel.micro_batches():
        raise ConfigError('reduction: expected fast for an RL agent, found ordered, which splits batches of a source; '
                          'environments have none')
    if len(actors.obs) * (axis.size if axis else 1) != n_envs:
        raise ConfigError(f'rules: expected the {n_envs} environments split over {axis.size} replicas (rollout.RULES), '
                          f'found {len(actors.obs)} on each')


def collect(env: Env, logits: Callable[[jax.Array], jax.Array], key: Key[Array, ''], actors: Actors, horizon: int
            ) -> tuple[Actors, Rollout, dict[str, Mean]]:
    """`horizon` steps of every environment, actions drawn from softmax(logits(obs)).

    Also the mean return and length of the episodes that ended meanwhile (weight 0 when none did).
    """
    n = len(actors.obs)
    act_key, env_key, reset_key = jax.random.split(key, 3)
    draw = lambda fn: jnp.swapaxes(parallel.rows(fn, n), 0, 1)      # [env, time, ...] -> [time, env, ...]
    noise = draw(lambda whole: jax.random.gumbel(act_key, (whole, horizon, env.n_actions)))
    keys = draw(lambda whole: jax.random.split(env_key, (whole, horizon)))
    fresh = jax.vmap(jax.vmap(env.reset))(draw(lambda whole: jax.random.split(reset_key, (whole, horizon))))

    def one(actors: Actors, drawn):
        noise, keys, fresh = drawn
        action = jnp.argmax(logits(actors.obs) + noise, axis=-1)    # the Gumbel trick: a draw from the softmax
        state, seen = envs.step(env, keys, actors.env, action, fresh)
        ended = seen.terminated | seen.truncated
        total, length = actors.episode_return + seen.reward, actors.episode_length + 1
        over = lambda x: jnp.where(ended, 0, x)
        row = Rollout(actors.obs, action, seen.reward, seen.final_obs, seen.terminated, ended)
        finished = jnp.stack([total, length, jnp.ones_like(total)]) * ended[None]
        return actors._replace(env=state, obs=seen.obs, episode_return=over(total), episode_length=over(length)), (
            row, finished.sum(1))

    actors, (rollout, finished) = jax.lax.scan(one, actors, (noise, keys, fresh))
    total, length, count = finished.sum(0)
    rollout = jax.tree.map(lambda x: jnp.swapaxes(x, 0, 1), rollout)
    return actors, rollout, {'return': Mean(total, count), 'length': Mean(length, count)}


class Episodes(NamedTuple):
    """Sums over whole episodes."""
    returns: Float[Array, 'n']
    lengths: Float[Array, 'n']


def play(env: Env, act: Callable[[jax.Array, jax.Array], jax.Array], key: Key[Array, ''], n: int) -> Episodes:
    """n whole episodes from n fresh environments; act(obs [n, *obs], key) -> actions [n]."""
    reset_key, run_key = jax.random.split(key)
    state, obs = jax.vmap(env.reset)(jax.random.split(reset_key, n))

    def go_on(loop):
        _, _, alive, _, t = loop
        return alive.any() & (t < env.max_steps)

    def one(loop):
        state, obs, alive, sums, t = loop
        act_key, env_key = jax.random.split(jax.random.fold_in(run_key, t))
        state, obs, reward, terminated, truncated = jax.vmap(env.transition)(
            jax.random.split(env_key, n), state, act(obs, act_key))
        sums = Episodes(sums.returns + jnp.where(alive, reward, 0), sums.lengths + alive)
        return state, obs, alive & ~(terminated | truncated), sums, t + 1

    zero = Episodes(jnp.zeros(n), jnp.zeros(n))
    return jax.lax.while_loop(go_on, one, (state, obs, jnp.ones(n, bool), zero, jnp.zeros((), jnp.int32)))[3]


def record(env: Env, act: Callable[[jax.Array, jax.Array], jax.Array], key: Key[Array, '']) -> dict[str, jax.Array]:
    """One episode from a fresh environment, padded to `env.max_steps`: obs, action, reward, and `alive`, which is
    False after its end."""
    reset_key, run_key = jax.random.split(key)
    state, obs = env.reset(reset_key)

    def one(loop, t):
        state, obs, alive = loop
        act_key, env_key = jax.random.split(jax.random.fold_in(run_key, t))
        action = act(obs[None], act_key)[0]
        state, after, reward, terminated, truncated = env.transition(env_key, state, action)
        return (state, after, alive & ~(terminated | truncated)), {
            'obs': obs, 'action': action, 'reward': reward, 'alive': alive}

    return jax.lax.scan(one, (state, obs, jnp.asarray(True)), jnp.arange(env.max_steps))[1]


def evaluator(agent: Agent, *, episodes: int, greedy: bool = True) -> Callable[[Carry], Episodes]:
    """carry -> Episodes [episodes] of the agent as it stands, or [seeds, episodes] for a carry of several seeds.

    The episodes begin in the same states at every call of one run.
    """
    def one(key, params):
        act = lambda obs, k: agent.policy(params, obs, None if greedy else k)
        return play(agent.env, act, jax.random.fold_in(key, EVALUATION), episodes)

    run = jax.jit(lambda key, params: (jax.vmap(one) if key.ndim else one)(key, params))
    return lambda carry: run(carry.key, agent.params(carry.state))


def random_policy(env: Env) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """(obs [n, *obs], key) -> actions [n], each as likely as any other."""
    return lambda obs, key: jax.random.randint(key, (len(obs),), 0, env.n_actions)
