"""Proximal policy optimisation.  One step of the Task is one rollout and all updates from it.

The known details are fields of `Config`, listed in `ppo_config`; the numbers of the paper's authors are those of
`Config()` where there are any.  Truncated episodes bootstrap from the value of their final observation, terminated
ones do not.  Actions are what the environment takes: see `actions`.  With a `core` the agent remembers: `recurrent`.
"""
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from common import metrics as M
from common import optim, parallel
from common.errors import ConfigError
from common.task import Task
from levels.level6_reinforcement import normalise, returns, rollout
from levels.level6_reinforcement.envs import gymnax_env
from levels.level6_reinforcement.networks import ActorCritic
from levels.level6_reinforcement.ppo_config import Config, check, optimizer
from levels.level6_reinforcement.recurrent import RecurrentActorCritic
from levels.level6_reinforcement.rollout import Actors, Agent

PyTree = Any


class State(NamedTuple):
    """The moments are None where nothing is normalised."""
    fit: optim.Fit
    actors: Actors
    obs_moments: normalise.Moments | None
    return_moments: normalise.Moments | None


class Params(NamedTuple):
    """What acts: the network, and the moments its inputs are scaled by."""
    net: PyTree
    obs_moments: normalise.Moments | None


class Sample(NamedTuple):
    """What an update learns from.  With a memory the rows are [env, time], and the memory [env, ...] is that of the
    first step."""
    obs: Float[Array, '*rows features']
    action: Array
    log_prob: Float[Array, '*rows']
    value: Float[Array, '*rows']
    advantage: Float[Array, '*rows']
    target: Float[Array, '*rows']
    ended: Bool[Array, 'env time'] | None = None
    memory: PyTree = None


def ppo(config: Config) -> Agent:
    """Clipped-surrogate policy optimisation with an on-device rollout, with or without a memory.

    Formula: with q = pi(a|s) / pi_old(a|s), A the GAE of the rollout and R = A + v_old, each update descends
        mean(-min(q A, clip(q, 1 - eps, 1 + eps) A)) + c_v / 2 mean(max((v - R)^2, (v_old + clip(v - v_old) - R)^2))
        - c_e mean(entropy).
    Paper: Schulman et al. 2017, Proximal policy optimization algorithms, eq. 7 and 9; the details beyond it as listed
        by Huang et al. 2022, The 37 implementation details of proximal policy optimization.
    Shapes: batch None; actions of `policy` [n], or [n, k] for real numbers and several choices, for observations
        [n, *obs]; `value` [n].  Minibatches take the same number of steps from every environment, or with a `core` all
        steps of one in every `minibatches` neighbours, so that each device holds its share of each.
    Errors: ValueError for a number out of its range or an unknown environment, ConfigError under an ordered reduction.
    Example:
        from common.task import train_fn
        agent = ppo(Config(n_envs=4, horizon=16))
        carry, metrics = jax.jit(train_fn(agent.task, 2))(jax.random.key(0))
        actions = agent.policy(agent.params(carry.state), jnp.zeros((3, 4)), jax.random.key(1))
        assert actions.shape == (3,) and metrics['loss'].value.shape == (2,)
    """
    check(config)
    env = gymnax_env.make(config.env, continuous=True) if isinstance(config.env, str) else config.env
    fields = dict(orthogonal=config.orthogonal, shared=config.shared, continuous=env.bounds is not None)
    if config.core:
        net = RecurrentActorCritic(env.n_actions, config.hidden, **fields, core=config.core, width=config.core_width)
    else:
        net = ActorCritic(env.n_actions, config.hidden, **fields)
    head, tx = net.head, optimizer(config)

    def see(moments, obs):
        """[..., *obs] -> [..., features], scaled."""
        if moments is not None:
            obs = normalise.standardise(moments, obs)
        return obs.reshape(*obs.shape[:obs.ndim - len(env.obs_shape)], -1)

    def params(state: State) -> Params:
        return Params(state.fit.params, state.obs_moments)

    def chosen(outputs, key):
        return head.mode(outputs) if key is None else head.draw(outputs, head.noise(key, outputs.shape[:-1]))

    def policy(params: Params, obs, key=None):
        return chosen(net.apply({'params': params.net}, see(params.obs_moments, obs), method=net.actor), key)

    def value(params: Params, obs):
        return net.apply({'params': params.net}, see(params.obs_moments, obs), method=net.critic)

    def recall(params: Params, obs, memory):
        memory = net.initial(len(obs)) if memory is None else memory
        return net.apply({'params': params.net}, memory, see(params.obs_moments, obs))

    def act(params: Params, obs, key, memory):
        memory, outputs, _ = recall(params, obs, memory)
        return chosen(outputs, key), memory

    def init(key, batch) -> State:
        net_key, env_key = jax.random.split(key)
        actors = rollout.start(env, env_key, config.n_envs, net.initial(config.n_envs) if config.core else None)
        first = see(None, actors.obs[:1])
        weights = net.init(net_key, *([net.initial(1), first] if config.core else [first]))['params']
        return State(optim.Fit(weights, {}, tx.init(weights)), actors,
                     normalise.moments(env.obs_shape) if config.normalise_obs else None,
                     normalise.moments() if config.normalise_reward else None)

    def step(key, state: State, batch):
        rollout.check_replicas(state.actors, config.n_envs)
        if config.core and len(state.actors.obs) % config.minibatches:
            raise ConfigError(f'minibatches: expected a divisor of the {len(state.actors.obs)} environments of each '
                              f'replica, found {config.minibatches}')
        play_key, learn_key = jax.random.split(key)
        acting, weights = params(state), {'params': state.fit.params}
        actor = lambda obs: net.apply(weights, see(acting.obs_moments, obs), method=net.actor)
        if config.core:
            actor = lambda obs, memory: recall(acting, obs, memory)[1::-1]
        actors, seen, episodes = rollout.collect(env, actor, play_key, state.actors, config.horizon)
        actors, reward, return_moments = scaled(actors, seen, state.return_moments)

        obs = see(acting.obs_moments, seen.obs)
        if config.core:
            outputs, before = seen.outputs, state.actors.memory
            memory, _, old = net.apply(weights, before, obs, seen.ended, method=net.unroll)
            after = net.apply(weights, memory, see(acting.obs_moments, seen.final_obs), method=net.after)
        else:
            before, (outputs, old) = None, net.apply(weights, obs)
            after = value(acting, seen.final_obs)
        estimate = lambda *xs: returns.gae(*xs, gamma=config.gamma, lam=config.lam)
        advantage = jax.vmap(estimate)(reward, old, after, seen.terminated, seen.ended)
        sample = Sample(obs, seen.action, head.log_prob(outputs, seen.action), old, advantage, advantage + old,
                        seen.ended if config.core else None, before)
        fit, metrics = _learn(config, net, tx, state.fit, sample, learn_key)
        # The moments that the rollout was seen through stay until it is learned from; the next sees through new ones.
        obs_moments = state.obs_moments
        if obs_moments is not None:
            obs_moments = normalise.count(obs_moments, seen.obs)
        return State(fit, actors, obs_moments, return_moments), metrics | episodes

    def scaled(actors: Actors, seen: rollout.Rollout, moments):
        """(actors, rewards over the deviation of the running return, its moments); unchanged where that is off."""
        if moments is None:
            return actors, seen.reward, None
        run = jax.vmap(lambda r, e, before: returns.running_returns(r, e, before, gamma=config.gamma))
        discounted, sums = run(seen.reward, seen.ended, actors.discounted)
        moments = normalise.count(moments, sums)
        reward = jnp.clip(seen.reward / jnp.sqrt(moments.var + 1e-8), -10, 10)
        return actors._replace(discounted=discounted), reward, moments

    if config.core:
        return Agent(env, Task(init, step), params, lambda params, obs, key=None, memory=None: act(
            params, obs, key, memory)[0], lambda params, obs, memory=None: recall(params, obs, memory)[2],
            memory=net.initial, act=act)
    return Agent(env, Task(init, step), params, policy, value)


def make_task(config: Config) -> Task:
    """The Task of `ppo(config)`: its batch is None, and `rollout.RULES` says how its state is split over devices."""
    return ppo(config).task


def loss(config: Config, net: ActorCritic | RecurrentActorCritic, weights: PyTree, sample: Sample
         ) -> tuple[M.Mean, dict[str, M.Mean]]:
    """The loss of `ppo`'s card over the rows of a minibatch, and what there is to see of it."""
    if sample.memory is None:
        outputs, value = net.apply({'params': weights}, sample.obs)
    else:
        _, outputs, value = net.apply({'params': weights}, sample.memory, sample.obs, sample.ended, method=net.unroll)
    log_prob, entropy = net.head.score(outputs, sample.action)
    log_ratio = log_prob - sample.log_prob
    ratio = jnp.exp(log_ratio)
    gain = ratio * sample.advantage
    if config.clip:
        gain = jnp.minimum(gain, jnp.clip(ratio, 1 - config.clip, 1 + config.clip) * sample.advantage)
    error = jnp.square(value - sample.target)
    if config.clip_value:
        near = sample.value + jnp.clip(value - sample.value, -config.clip_value, config.clip_value)
        error = jnp.maximum(error, jnp.square(near - sample.target))
    total = M.mean(-gain + config.value / 2 * error - config.entropy * entropy)
    # Schulman 2020, Approximating KL divergence: q - 1 - log q, which is never negative and of low variance.
    return total, {'loss': total, 'policy_loss': M.mean(-gain), 'value_loss': M.mean(error / 2),
                   'entropy': M.mean(entropy), 'kl': M.mean(ratio - 1 - log_ratio),
                   'clipped': M.mean(jnp.abs(ratio - 1) > config.clip) if config.clip else M.mean(0 * ratio)}


def _learn(config: Config, net, tx, fit: optim.Fit, sample: Sample, key) -> tuple[optim.Fit, dict]:
    """All updates from one rollout [env, time, ...].

    Each environment's steps are shuffled and dealt to the minibatches on their own; with a memory, whole environments
    are, each few neighbours on their own.  So a minibatch holds the same rows on any number of devices, and nothing
    moves between them but gradients.
    """
    if config.core:     # [env / minibatches, minibatches, time, ...]: the second axis is what is dealt from here on
        sample = jax.tree.map(lambda x: x.reshape(-1, config.minibatches, *x.shape[1:]), sample)
    n, time = sample.log_prob.shape[:2]
    orders = jnp.broadcast_to(jnp.arange(time), (n, config.epochs, time))
    if config.shuffle:
        bits = parallel.rows(lambda whole: jax.random.bits(key, (whole, config.epochs, time)), n)
        orders = jnp.argsort(bits, axis=-1)

    def dealt(x, order):
        """[env, time, ...] -> [minibatches, env * time / minibatches, ...]"""
        x = jax.vmap(lambda row, i: row[i])(x, order)
        x = jnp.moveaxis(x.reshape(n, config.minibatches, -1, *x.shape[2:]), 1, 0)
        return x.reshape(config.minibatches, -1, *x.shape[3:])

    def update(carry, part: Sample):
        fit, stopped = carry
        if config.normalise_advantage:
            mean, var = normalise.of(part.advantage)
            part = part._replace(advantage=(part.advantage - mean) / (jnp.sqrt(var) + 1e-8))

        def loss_fn(weights, extra, part, _):
            total, seen = loss(config, net, weights, part)
            return total, (extra, seen)

        new, metrics = optim.descend(loss_fn, tx, fit, part, key)
        if config.target_kl:
            moved, rows = parallel.psum(tuple(metrics['kl']))
            stopped |= moved / rows > config.target_kl
            new = jax.tree.map(lambda a, b: jnp.where(stopped, a, b), fit, new)
        return (new, stopped), metrics | {'updates': M.mean(~stopped)}

    def epoch(carry, order):
        return jax.lax.scan(update, carry, jax.tree.map(lambda x: dealt(x, order), sample))

    (fit, _), metrics = jax.lax.scan(epoch, (fit, jnp.asarray(False)), jnp.swapaxes(orders, 0, 1))
    return fit, M.sum_leading(M.sum_leading(metrics))
