"""Actions of PPO: log-probabilities, entropies and draws beside torch.distributions; real actions and their bounds."""
import inspect
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from parity_ledger import compare
from torch.distributions import Categorical, Normal

from levels.level6_reinforcement import actions, networks, ppo, rollout
from levels.level6_reinforcement.envs import env as envs
from levels.level6_reinforcement.envs import gymnax_env, probes

N = 50
KEY = jax.random.key(0)


def torch_gaussian(outputs, action):
    mean, log_std = outputs.chunk(2, -1)
    d = Normal(mean, log_std.exp())
    return d.log_prob(action).sum(-1), d.entropy().sum(-1)


def torch_choices(sizes):
    def score(outputs, action):
        heads = [Categorical(logits=part) for part in outputs.split(sizes, -1)]
        actions = action.unbind(-1) if len(sizes) > 1 else [action]
        return (sum(d.log_prob(a) for d, a in zip(heads, actions)), sum(d.entropy() for d in heads))
    return score


CASES = {
    'categorical': (actions.categorical(4), torch_choices([4])),
    'multi_categorical': (actions.multi_categorical((2, 3, 4)), torch_choices([2, 3, 4])),
    'gaussian': (actions.gaussian(3), torch_gaussian),
}


@pytest.mark.parametrize('name', CASES)
def test_equals_torch_distributions(name):
    """Log-probabilities, entropies and the gradient of their sum, of actions drawn from wide and narrow ones."""
    head, peer = CASES[name]
    outputs = (np.random.default_rng(0).normal(size=(N, head.width)) * 2).astype(np.float32).astype(np.float64)
    drawn = head.draw(jnp.asarray(outputs, jnp.float32), head.noise(KEY, (N,)))
    theirs_in = torch.tensor(outputs, requires_grad=True)
    action = torch.tensor(np.asarray(drawn, np.float64 if name == 'gaussian' else np.int64))
    theirs = peer(theirs_in, action)
    (theirs[0] - 2 * theirs[1]).sum().backward()
    numbers = [t.detach().numpy() for t in theirs]
    compare(f'actions.{name}', 'torch.distributions', 'log-probability and entropy, float32',
            jax.jit(head.score)(jnp.asarray(outputs, jnp.float32), drawn), numbers, 1e-6, relative=True)
    with jax.enable_x64(True):
        exact = jnp.asarray(action.numpy())
        ours = jax.jit(head.score)(jnp.asarray(outputs), exact)
        compare(f'actions.{name}', 'torch.distributions', 'log-probability and entropy, float64', ours, numbers, 1e-11)

        def total(z):
            log_prob, entropy = head.score(z, exact)
            return (log_prob - 2 * entropy).sum()

        gradient = jax.jit(jax.grad(total))(jnp.asarray(outputs))
        compare(f'actions.{name}', 'torch.distributions', 'gradient, float64', gradient, theirs_in.grad.numpy(), 1e-9)
    assert jnp.array_equal(head.log_prob(jnp.asarray(outputs, jnp.float32), drawn),
                           head.score(jnp.asarray(outputs, jnp.float32), drawn)[0])


@pytest.mark.parametrize('name', CASES)
def test_draws_have_the_frequencies_of_the_head(name):
    """20,000 draws from the same outputs: mean and deviation of a Gaussian, frequencies of every choice."""
    head, _ = CASES[name]
    outputs = np.random.default_rng(1).normal(size=head.width).astype(np.float32)
    many = 20_000
    drawn = np.asarray(head.draw(jnp.broadcast_to(outputs[None], (many, head.width)), head.noise(KEY, (many,))))
    if name == 'gaussian':
        mean, std = outputs[:3], np.exp(outputs[3:])
        assert np.abs((drawn.mean(0) - mean) / std).max() < 5 / np.sqrt(many)
        assert np.abs(drawn.std(0) / std - 1).max() < 5 / np.sqrt(2 * many)
        assert np.abs(np.corrcoef(drawn.T) - np.eye(3)).max() < 5 / np.sqrt(many)
        return
    sizes = [4] if name == 'categorical' else [2, 3, 4]
    for part, column in zip(np.split(outputs, np.cumsum(sizes)[:-1]), drawn.reshape(many, -1).T, strict=True):
        p = np.exp(part) / np.exp(part).sum()
        found = np.bincount(column, minlength=len(p)) / many
        assert np.abs((found - p) / np.sqrt(p * (1 - p) / many)).max() < 5
        assert np.asarray(head.mode(outputs[None])).reshape(-1)[sizes.index(len(part))] == p.argmax()


def test_the_deviation_is_a_parameter_that_no_observation_moves():
    net = networks.ActorCritic(3, (8,), continuous=True)
    params = net.init(KEY, jnp.ones((1, 2)))['params']
    assert params['log_std'].shape == (3,) and not params['log_std'].any()
    params['log_std'] = jnp.array([0.5, -1.0, 2.0])
    outputs, _ = net.apply({'params': params}, jax.random.normal(KEY, (5, 2)))
    assert outputs.shape == (5, 6) and jnp.array_equal(outputs[:, 3:], jnp.tile(params['log_std'], (5, 1)))
    assert jnp.abs(outputs[0, :3] - outputs[1, :3]).max() > 1e-4


def test_what_is_drawn_is_stored_and_what_is_clipped_is_done():
    """With a deviation far beyond the bounds: rewards are of clipped actions, and rollouts hold the drawn ones."""
    env = probes.aimed()
    outputs = jnp.array([0.0, 0.0, 2.0, 2.0])
    actors = rollout.start(env, KEY, 8)
    _, seen, _ = rollout.collect(env, lambda obs: jnp.tile(outputs, (len(obs), 1)), KEY, actors, 16)
    assert seen.action.shape == (8, 16, 2) and float(jnp.abs(seen.action).max()) > 3
    goal = seen.obs * jnp.array([[[0.5, -0.5]]])
    squares = lambda action: -jnp.square(action - goal).sum(-1)
    assert jnp.abs(seen.reward - squares(jnp.clip(seen.action, -0.25, 0.25))).max() < 1e-6
    assert jnp.abs(seen.reward - squares(seen.action)).max() > 1
    far = env.transition(KEY, jnp.array([0.3]), jnp.array([9.0, -9.0]))
    assert far[2] == env.transition(KEY, jnp.array([0.3]), jnp.array([0.25, -0.25]))[2]


def test_pendulum_is_taken_where_real_actions_are():
    env = gymnax_env.make('Pendulum-v1', continuous=True)
    assert (env.n_actions, env.bounds, env.max_steps) == (1, (-2.0, 2.0), 200)
    state, _ = envs.reset(env, KEY, 3)
    keys = jax.random.split(KEY, 3)
    runs = [envs.step(env, keys, state, jnp.full((3, 1), a), jax.vmap(env.reset)(keys))[1] for a in (2.0, 7.0, 1.0)]
    assert jnp.array_equal(runs[0].obs, runs[1].obs) and jnp.array_equal(runs[0].reward, runs[1].reward)
    assert not jnp.array_equal(runs[0].obs, runs[2].obs)
    assert gymnax_env.make('CartPole-v1', continuous=True).bounds is None
    agent = ppo.ppo(ppo.Config(env='Pendulum-v1', n_envs=4, horizon=8, hidden=(8,)))
    drawn = rollout.random_policy(agent.env)(jnp.zeros((500, 3)), KEY)
    assert drawn.shape == (500, 1) and -2 <= float(drawn.min()) < -1.9 < 1.9 < float(drawn.max()) <= 2
    with pytest.raises(ValueError, match='env: expected one with discrete actions, found Pendulum-v1'):
        gymnax_env.make('Pendulum-v1')


def test_random_choices_are_all_there():
    drawn = np.asarray(rollout.random_policy(probes.both())(jnp.zeros((300, 1)), KEY))
    assert {tuple(row) for row in drawn.tolist()} == {(a, b) for a in range(2) for b in range(3)}


@pytest.mark.parametrize('make', [actions.categorical, actions.multi_categorical, actions.gaussian],
                         ids=lambda v: v.__name__)
def test_the_example_of_the_card_runs(make):
    example = textwrap.dedent(inspect.getdoc(make).partition('Example:\n')[2])
    exec(compile(example, make.__name__, 'exec'), {**vars(actions), 'jax': jax, 'jnp': jnp})
    with pytest.raises(ValueError, match='expected'):
        make(() if make is actions.multi_categorical else 0)
