"""Proximal policy optimisation.  One step of the Task is one rollout and all updates from it.

The known details are fields of `Config`; the numbers of the paper's authors are those of `Config()` where there are
any.  Truncated episodes bootstrap from the value of their final observation, terminated ones do not.
"""
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from common import metrics as M
from common import optim, parallel
from common.task import Task
from levels.level6_reinforcement import normalise, returns, rollout
from levels.level6_reinforcement.envs import gymnax_env
from levels.level6_reinforcement.envs.env import Env
from levels.level6_reinforcement.networks import ActorCritic
from levels.level6_reinforcement.rollout import Actors, Agent

PyTree = Any


class Config(NamedTuple):
    """Every detail of PPO that is known to matter.  0 switches off what is a number and optional."""
    env: str | Env = 'CartPole-v1'      # of gymnax, or an Env
    n_envs: int = 8                     # over all devices
    horizon: int = 128                  # steps of each environment between updates
    epochs: int = 4                     # passes over a rollout
    minibatches: int = 4                # updates per pass; divides `horizon`
    shuffle: bool = True                # a new order of each environment's steps in each pass
    gamma: float = 0.99
    lam: float = 0.95
    clip: float = 0.2                   # of the probability ratio; 0: not clipped
    clip_value: float = 0.2             # of the change of the value; 0: not clipped
    value: float = 0.5                  # weight of the value loss
    entropy: float = 0.01               # weight of the entropy bonus
    normalise_advantage: bool = True    # in each minibatch
    target_kl: float = 0.0              # no further update from a rollout once the policy has moved so far; 0: off
    rate: float = 2.5e-4
    anneal: int = 0                     # Task steps over which the rate falls to 0 in a line; 0: constant
    clip_norm: float = 0.5              # of the gradient; 0: not clipped
    optimizer: str = 'adam'             # or 'rmsprop'
    eps: float = 1e-5                   # of the optimizer
    normalise_obs: bool = False         # by running moments, those before the rollout
    normalise_reward: bool = False      # by the deviation of the running discounted return
    hidden: tuple[int, ...] = (64, 64)
    orthogonal: bool = True
    shared: bool = False                # one torso for actor and critic


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
    """What an update learns from."""
    obs: Float[Array, '*rows features']
    action: Int[Array, '*rows']
    log_prob: Float[Array, '*rows']
    value: Float[Array, '*rows']
    advantage: Float[Array, '*rows']
    target: Float[Array, '*rows']


def ppo(config: Config) -> Agent:
    """Clipped-surrogate policy optimisation with an on-device rollout, for discrete actions.

    Formula: with q = pi(a|s) / pi_old(a|s), A the GAE of the rollout and R = A + v_old, each update descends
        mean(-min(q A, clip(q, 1 - eps, 1 + eps) A)) + c_v / 2 mean(max((v - R)^2, (v_old + clip(v - v_old) - R)^2))
        - c_e mean(entropy).
    Paper: Schulman et al. 2017, Proximal policy optimization algorithms, eq. 7 and 9; the details beyond it as listed
        by Huang et al. 2022, The 37 implementation details of proximal policy optimization.
    Shapes: batch None; actions of `policy` [n] for observations [n, *obs], `value` [n].  Minibatches take the same
        number of steps from every environment, so that each device holds its share of each.
    Errors: ValueError for a number out of its range or an unknown environment, ConfigError under an ordered reduction.
    Example:
        from common.task import train_fn
        agent = ppo(Config(n_envs=4, horizon=16))
        carry, metrics = jax.jit(train_fn(agent.task, 2))(jax.random.key(0))
        actions = agent.policy(agent.params(carry.state), jnp.zeros((3, 4)), jax.random.key(1))
        assert actions.shape == (3,) and metrics['loss'].value.shape == (2,)
    """
    _check(config)
    env = gymnax_env.make(config.env) if isinstance(config.env, str) else config.env
    net = ActorCritic(env.n_actions, config.hidden, orthogonal=config.orthogonal, shared=config.shared)
    tx = _optimizer(config)

    def see(moments, obs):
        """[..., *obs] -> [..., features], scaled."""
        if moments is not None:
            obs = normalise.standardise(moments, obs)
        return obs.reshape(*obs.shape[:obs.ndim - len(env.obs_shape)], -1)

    def params(state: State) -> Params:
        return Params(state.fit.params, state.obs_moments)

    def policy(params: Params, obs, key=None):
        logits = net.apply({'params': params.net}, see(params.obs_moments, obs), method=net.actor)
        return jnp.argmax(logits, -1) if key is None else jax.random.categorical(key, logits)

    def value(params: Params, obs):
        return net.apply({'params': params.net}, see(params.obs_moments, obs), method=net.critic)

    def init(key, batch) -> State:
        net_key, env_key = jax.random.split(key)
        actors = rollout.start(env, env_key, config.n_envs)
        weights = net.init(net_key, see(None, actors.obs[:1]))['params']
        return State(optim.Fit(weights, {}, tx.init(weights)), actors,
                     normalise.moments(env.obs_shape) if config.normalise_obs else None,
                     normalise.moments() if config.normalise_reward else None)

    def step(key, state: State, batch):
        rollout.check_replicas(state.actors, config.n_envs)
        play_key, learn_key = jax.random.split(key)
        acting, weights = params(state), {'params': state.fit.params}
        actor = lambda obs: net.apply(weights, see(acting.obs_moments, obs), method=net.actor)
        actors, seen, episodes = rollout.collect(env, actor, play_key, state.actors, config.horizon)
        actors, reward, return_moments = scaled(actors, seen, state.return_moments)

        obs = see(acting.obs_moments, seen.obs)
        logits, old = net.apply(weights, obs)
        after = value(acting, seen.final_obs)
        estimate = lambda *xs: returns.gae(*xs, gamma=config.gamma, lam=config.lam)
        advantage = jax.vmap(estimate)(reward, old, after, seen.terminated, seen.ended)
        sample = Sample(obs, seen.action, _pick(jax.nn.log_softmax(logits), seen.action), old, advantage,
                        advantage + old)
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

    return Agent(env, Task(init, step), params, policy, value)


def make_task(config: Config) -> Task:
    """The Task of `ppo(config)`: its batch is None, and `rollout.RULES` says how its state is split over devices."""
    return ppo(config).task


def _pick(log_probs, action):
    return jnp.take_along_axis(log_probs, action[..., None], -1)[..., 0]


def loss(config: Config, net: ActorCritic, weights: PyTree, sample: Sample) -> tuple[M.Mean, dict[str, M.Mean]]:
    """The loss of `ppo`'s card over the rows of a minibatch, and what there is to see of it."""
    logits, value = net.apply({'params': weights}, sample.obs)
    log_probs = jax.nn.log_softmax(logits)
    log_ratio = _pick(log_probs, sample.action) - sample.log_prob
    ratio = jnp.exp(log_ratio)
    gain = ratio * sample.advantage
    if config.clip:
        gain = jnp.minimum(gain, jnp.clip(ratio, 1 - config.clip, 1 + config.clip) * sample.advantage)
    error = jnp.square(value - sample.target)
    if config.clip_value:
        near = sample.value + jnp.clip(value - sample.value, -config.clip_value, config.clip_value)
        error = jnp.maximum(error, jnp.square(near - sample.target))
    entropy = -(jnp.exp(log_probs) * log_probs).sum(-1)
    total = M.mean(-gain + config.value / 2 * error - config.entropy * entropy)
    # Schulman 2020, Approximating KL divergence: q - 1 - log q, which is never negative and of low variance.
    return total, {'loss': total, 'policy_loss': M.mean(-gain), 'value_loss': M.mean(error / 2),
                   'entropy': M.mean(entropy), 'kl': M.mean(ratio - 1 - log_ratio)}


def _learn(config: Config, net: ActorCritic, tx, fit: optim.Fit, sample: Sample, key) -> tuple[optim.Fit, dict]:
    """All updates from one rollout [env, time, ...].

    Each environment's steps are shuffled and dealt to the minibatches on their own.  So a minibatch holds the same
    rows on any number of devices, and nothing moves between them but gradients.
    """
    n, time = sample.action.shape
    orders = jnp.broadcast_to(jnp.arange(time), (n, config.epochs, time))
    if config.shuffle:
        bits = parallel.rows(lambda whole: jax.random.bits(key, (whole, config.epochs, time)), n)
        orders = jnp.argsort(bits, axis=-1)

    def dealt(x, order):
        """[env, time, ...] -> [minibatch, env * time / minibatches, ...]"""
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


def _optimizer(c: Config) -> optax.GradientTransformation:
    rate = optax.linear_schedule(c.rate, 0.0, c.anneal * c.epochs * c.minibatches) if c.anneal else c.rate
    made = {'adam': lambda: optax.adam(rate, eps=c.eps), 'rmsprop': lambda: optax.rmsprop(rate, decay=0.99, eps=c.eps)}
    return optax.chain(optax.clip_by_global_norm(c.clip_norm) if c.clip_norm else optax.identity(),
                       made[c.optimizer]())


def _check(c: Config) -> None:
    for name in ('n_envs', 'horizon', 'epochs', 'minibatches'):
        if getattr(c, name) < 1:
            raise ValueError(f'{name}: expected at least 1, found {getattr(c, name)}')
    for name in ('gamma', 'lam'):
        if not 0 <= getattr(c, name) <= 1:
            raise ValueError(f'{name}: expected 0 to 1, found {getattr(c, name)}')
    for name in ('clip', 'clip_value', 'value', 'entropy', 'target_kl', 'rate', 'anneal', 'clip_norm'):
        if getattr(c, name) < 0:
            raise ValueError(f'{name}: expected 0 or more, found {getattr(c, name)}')
    if c.horizon % c.minibatches:
        raise ValueError(f'minibatches: expected a divisor of horizon={c.horizon}, found {c.minibatches}')
    if c.optimizer not in ('adam', 'rmsprop'):
        raise ValueError(f"optimizer: expected 'adam' or 'rmsprop', found {c.optimizer!r}")
