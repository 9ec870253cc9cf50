"""Eight seeds of PPO in one program balance the pole for all 500 steps."""
import time

import jax
import numpy as np
import pytest

from common.task import train_fn
from levels.level6_reinforcement import ppo, rollout

SEEDS, EPISODES = 8, 100


def returns(agent, steps):
    """Greedy returns [SEEDS, EPISODES] after training, and the seconds of compiling, training and playing."""
    def one(key):
        params = agent.params(train_fn(agent.task, steps)(key)[0].state)
        key = jax.random.fold_in(key, 2**31 - 1)
        return rollout.play(agent.env, lambda obs, _: agent.policy(params, obs, None), key, EPISODES).returns

    began = time.perf_counter()
    run = jax.jit(jax.vmap(one)).lower(jax.random.split(jax.random.key(0), SEEDS)).compile()
    compiled = time.perf_counter()
    found = np.asarray(run(jax.random.split(jax.random.key(0), SEEDS)))
    return found, compiled - began, time.perf_counter() - compiled


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_eight_seeds_in_one_program_reach_500(capsys):
    """The config of projects/level6_cartpole, which is the place for statistics over more seeds."""
    steps = 150
    found, compiling, seconds = returns(ppo.ppo(ppo.Config(n_envs=16, rate=2.5e-3, anneal=steps)), steps)
    with capsys.disabled():
        print(f'\n8 vmapped seeds, {steps * 16 * 128} steps each: {compiling:.1f} s compile, {seconds:.1f} s run; mean '
              f'returns {found.mean(1).round(1).tolist()}')
    assert (found.mean(1) >= 475).all() and np.median(found.mean(1)) >= 499, found.mean(1)
