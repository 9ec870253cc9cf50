"""What needs a memory: a cue that is seen once and asked for four steps later.  And real numbers and several choices
as actions: probes whose best reward is known."""
import functools

import jax
import numpy as np
import pytest

from common.task import train_fn
from levels.level6_reinforcement import a2c, ppo, rollout
from levels.level6_reinforcement.envs import probes

SEEDS, EPISODES = 4, 256
FIELDS = {'n_envs': 16, 'horizon': 32, 'rate': 1e-2, 'entropy': 0.0, 'hidden': (16,), 'clip_value': 0.0}
CORES = {'': {}, 'lstm': {'core': 'lstm', 'core_width': 16}, 'shared gru': {
    'core': 'gru', 'core_width': 16, 'shared': True}}


def returns(agent, steps, greedy=True):
    """Mean return of fresh episodes after training, of each seed."""
    def one(key):
        params = agent.params(train_fn(agent.task, steps)(key)[0].state)
        choose = lambda key: None if greedy else key
        if agent.memory is None:
            return rollout.play(agent.env, lambda obs, k: agent.policy(params, obs, choose(k)), key, EPISODES)
        return rollout.play(agent.env, lambda obs, k, memory: agent.act(params, obs, choose(k), memory), key, EPISODES,
                            agent.memory(EPISODES))

    return np.asarray(jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(0), SEEDS)).returns).mean(1)


@functools.cache
def recalled(core):
    return returns(ppo.ppo(ppo.Config(env=probes.recall(5), **FIELDS, **CORES[core])), 80)


@pytest.mark.parametrize('core', ['lstm', 'shared gru'])
def test_with_a_memory_every_seed_recalls_the_cue(core):
    assert recalled(core).min() > 0.98, recalled(core)


def test_without_a_memory_it_stays_at_chance():
    """0 in expectation for any policy; the deviation of a mean of 256 coins is 1/16."""
    assert np.abs(recalled('')).max() < 0.25, recalled('')


def test_every_policy_without_a_memory_is_at_chance():
    """By counting: at the last step it sees the same for both cues, so it names each with the same probability."""
    env = probes.recall(5)
    for p in (0.0, 0.3, 1.0):
        act = lambda obs, key, p=p: jax.random.bernoulli(key, p, (len(obs),)).astype(int)
        assert abs(float(rollout.play(env, act, jax.random.key(1), 4000).returns.mean())) < 0.08


def test_real_actions_are_learned_within_their_bounds():
    """At best 0 within reach, and -1/48 over all observations; the mean of the interval everywhere has -1/6."""
    found = returns(ppo.ppo(ppo.Config(env=probes.aimed(), **FIELDS)), 100)
    assert (found > -0.06).all() and (found < -1 / 48 + 0.01).all(), found


def test_a2c_learns_real_actions_too():
    found = returns(a2c.a2c(a2c.Config(env=probes.aimed(), n_envs=32, horizon=4, rate=5e-3, entropy=0.0, hidden=(16,))),
                    400)
    assert (found > -0.06).all() and (found < -1 / 48 + 0.01).all(), found


def test_several_choices_are_learned_together():
    found = returns(ppo.ppo(ppo.Config(env=probes.both(), **FIELDS)), 60)
    assert found.min() > 0.98, found
