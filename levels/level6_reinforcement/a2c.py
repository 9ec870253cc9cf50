"""Advantage actor-critic, synchronous: PPO's rollout and loss with one update from each rollout.

With one update the probability ratio is 1 when its gradient is taken, and the gradient of the ratio times the
advantage is that of the log-probability times the advantage: PPO without its clips is A2C (Huang et al. 2022, A2C is a
special case of PPO).  So there is nothing here but another set of numbers.
"""
from typing import NamedTuple

from levels.level6_reinforcement import ppo
from levels.level6_reinforcement.envs.env import Env
from levels.level6_reinforcement.rollout import Agent


class Config(NamedTuple):
    """The fields of `ppo.Config` that mean something here, with the usual numbers of A2C."""
    env: str | Env = 'CartPole-v1'
    n_envs: int = 16
    horizon: int = 5
    gamma: float = 0.99
    lam: float = 1.0                    # 1: n-step advantages, n up to `horizon`
    value: float = 0.5
    entropy: float = 0.01
    normalise_advantage: bool = False
    rate: float = 7e-4
    anneal: int = 0
    clip_norm: float = 0.5
    optimizer: str = 'rmsprop'
    eps: float = 1e-5
    normalise_obs: bool = False
    normalise_reward: bool = False
    hidden: tuple[int, ...] = (64, 64)
    orthogonal: bool = True
    shared: bool = False


def a2c(config: Config) -> Agent:
    """Policy gradient with a learned baseline, one update per short rollout of many environments.

    Formula: with R_t the n-step return of the rollout and A_t = R_t - v(s_t), each step descends
        mean(-A_t log pi(a_t|s_t)) + c_v / 2 mean((v(s_t) - R_t)^2) - c_e mean(entropy), A_t held constant.
    Paper: Mnih et al. 2016, Asynchronous methods for deep reinforcement learning, section 4, run synchronously.
    Shapes: batch None; actions of `policy` [n] for observations [n, *obs], `value` [n].
    Errors: ValueError for a number out of its range or an unknown environment, ConfigError under an ordered reduction.
    Example:
        from common.task import train_fn
        agent = a2c(Config(n_envs=4))
        carry, metrics = jax.jit(train_fn(agent.task, 2))(jax.random.key(0))
        actions = agent.policy(agent.params(carry.state), jnp.zeros((3, 4)), None)
        assert actions.shape == (3,) and metrics['loss'].value.shape == (2,)
    """
    return ppo.ppo(ppo.Config(**config._asdict(), epochs=1, minibatches=1, shuffle=False, clip=0.0, clip_value=0.0))
