"""CartPole of gymnax, through our `Env`, against gymnasium's from the same states: one step at a time, as the two
compute in float32 and float64 and long games would drift apart."""
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from parity_ledger import compare

from levels.level6_reinforcement.envs import env as envs
from levels.level6_reinforcement.envs import gymnax_env

N = 2000
ENV = gymnax_env.make('CartPole-v1')


@pytest.fixture(scope='module')
def steps():
    """Random states, a good part of them close to an end, one step from each by both sides."""
    rng = np.random.default_rng(0)
    x = rng.uniform([-2.6, -3, -0.25, -3], [2.6, 3, 0.25, 3], (N, 4)).astype(np.float32)
    inside = (np.abs(x[:, 0]) < 2.4) & (np.abs(x[:, 2]) < 12 * 2 * np.pi / 360)     # no other state is ever stepped
    x = x[inside]
    action = rng.integers(0, 2, len(x))
    state, _ = jax.vmap(ENV.reset)(jax.random.split(jax.random.key(0), len(x)))
    state = state.replace(x=jnp.asarray(x[:, 0]), x_dot=jnp.asarray(x[:, 1]), theta=jnp.asarray(x[:, 2]),
                          theta_dot=jnp.asarray(x[:, 3]))
    ours = jax.jit(jax.vmap(ENV.transition))(jax.random.split(jax.random.key(1), len(x)), state, jnp.asarray(action))
    peer = gymnasium.make('CartPole-v1').unwrapped
    theirs = []
    for row, a in zip(x, action):
        peer.reset(seed=0)
        peer.state = row.astype(np.float64)
        theirs.append(peer.step(int(a))[:3])
    return ours, [np.array(part) for part in zip(*theirs)]


def test_one_step_agrees(steps):
    (_, obs, reward, terminated, truncated), (peer_obs, peer_reward, peer_terminated) = steps
    assert len(obs) >= 500
    compare('gymnax CartPole-v1', 'gymnasium 1.3', 'observation after one step', obs, peer_obs, 1e-5)
    compare('gymnax CartPole-v1', 'gymnasium 1.3', 'reward', reward, peer_reward, 0.0)
    mismatches = int((np.asarray(terminated) != peer_terminated).sum())
    compare('gymnax CartPole-v1', 'gymnasium 1.3', 'terminations that differ', np.float64(mismatches), 0.0, 0.0)
    assert 50 < peer_terminated.sum() < len(obs) - 50, 'both kinds must be among the states'
    assert not np.asarray(truncated).any()


def test_starts_are_drawn_alike():
    starts = np.asarray(jax.vmap(ENV.reset)(jax.random.split(jax.random.key(2), 4000))[1])
    peer = gymnasium.make('CartPole-v1')
    theirs = np.array([peer.reset(seed=i)[0] for i in range(4000)])
    assert starts.min() >= -0.05 and starts.max() <= 0.05 and theirs.min() >= -0.05 and theirs.max() <= 0.05
    assert np.abs(starts.mean(0) - theirs.mean(0)).max() < 3e-3 and np.abs(starts.std(0) - theirs.std(0)).max() < 2e-3


def test_time_limit_truncates_and_the_reset_observation_is_not_the_final_one():
    """The limit is gymnasium's 500, and it is no termination."""
    limit = gymnasium.spec('CartPole-v1').max_episode_steps
    assert ENV.max_steps == limit == 500
    short = gymnax_env.make('CartPole-v1', 3)
    state, _ = envs.reset(short, jax.random.key(0), 5)
    seen = []
    for t in range(4):
        keys = jax.random.split(jax.random.key(t), 5)
        state, now = envs.step(short, keys, state, jnp.full(5, t % 2), jax.vmap(short.reset)(keys))
        seen.append(now)
    assert [bool(s.truncated.all()) for s in seen] == [False, False, True, False]
    assert not any(s.terminated.any() for s in seen)
    assert jnp.array_equal(seen[1].obs, seen[1].final_obs) and not jnp.array_equal(seen[2].obs, seen[2].final_obs)
    assert jnp.abs(seen[2].obs).max() <= 0.05 < jnp.abs(seen[2].final_obs).max()
    assert (state.time == 1).all()


def test_unknown_and_continuous_environments_are_refused():
    with pytest.raises(ValueError, match=r"env: expected one of .*CartPole-v1.*; found 'CartPole'"):
        gymnax_env.make('CartPole')
    with pytest.raises(ValueError, match='env: expected one with discrete actions, found Pendulum-v1 with Box'):
        gymnax_env.make('Pendulum-v1')
