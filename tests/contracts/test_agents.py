"""The laws of every RL agent in the catalogue, and of its variants.  A new agent must add its case here, or the count
fails."""
import functools
import importlib
import itertools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec as P

from common import data, loop, strategies, trees
from common.checkpoint import Checkpoints
from common.errors import ConfigError
from common.metrics import Mean
from common.task import advance, start, train_fn
from levels.catalogue import load, members
from levels.level6_reinforcement import a2c, ppo, returns, rollout
from levels.level6_reinforcement.envs.probes import PROBES

GAMMA = 0.5         # at which the wrong bootstraps of the chain are 0.5 apart: see envs/probes.py
KEY = jax.random.key(0)


class Case(NamedTuple):
    """Name in the catalogue, fields of the agent's Config with which it learns the probes, and the steps that this
    takes."""
    name: str
    fields: dict[str, Any]
    steps: int


PPO_FIELDS = {'n_envs': 8, 'horizon': 16, 'rate': 1e-2, 'clip_value': 0.0}
CASES = {
    'ppo': Case('ppo', PPO_FIELDS, 60),
    'ppo with lstm': Case('ppo', {**PPO_FIELDS, 'core': 'lstm', 'core_width': 16}, 60),
    'ppo with shared gru': Case('ppo', {**PPO_FIELDS, 'core': 'gru', 'core_width': 16, 'shared': True}, 60),
    'a2c': Case('a2c', {'n_envs': 16, 'horizon': 5, 'rate': 1e-2}, 400),
}
ROWS = {row.name: row for row in members(kind='rl agent')}


def build(case, **fields):
    """The agent of a case, small."""
    row = ROWS[CASES[case].name]
    config = importlib.import_module(row.import_path.rpartition('.')[0]).Config
    return load(row)(config(**CASES[case].fields | {'gamma': GAMMA, 'entropy': 0.0, 'hidden': (16,)} | fields))


# What an agent may have seen when it judges the last of these observations.
PATHS = ((-1.0,), (0.0,), (1.0,), (0.0, 1.0))
FIRST = {-1: 0, 0: 1, 1: 2}         # observation -> its path where it is the first of its episode
SECOND = {0: 1, 1: 3}               # where 1 comes after 0


@functools.cache
def learned(case):
    """probe -> (values, most likely actions) at the end of each of PATHS.  Every probe has an agent of its own; all of
    them are one program, in which the number of the probe is data."""
    environments = [p.env for p in PROBES.values()]

    def one(which, key):
        env = environments[0]._replace(
            reset=lambda k: jax.lax.switch(which, [e.reset for e in environments], k),
            transition=lambda *args: jax.lax.switch(which, [e.transition for e in environments], *args))
        agent = build(case, env=env)
        carry, _ = train_fn(agent.task, CASES[case].steps)(key)
        params = agent.params(carry.state)

        def judge(path):
            *seen, now = (jnp.full((1, 1), obs) for obs in path)
            if agent.memory is None:
                return agent.value(params, now)[0], agent.policy(params, now, None)[0]
            memory = agent.memory(1)
            for obs in seen:
                _, memory = agent.act(params, obs, None, memory)
            return agent.value(params, now, memory)[0], agent.policy(params, now, None, memory)[0]

        return [jnp.stack(x) for x in zip(*map(judge, PATHS))]

    values, actions = jax.jit(jax.vmap(one, (0, None)))(jnp.arange(len(PROBES)), KEY)
    return dict(zip(PROBES, zip(np.asarray(values), np.asarray(actions))))


def answers(case, name, at):
    """(values found, right values, actions) at the observations of a probe, each at the end of its path."""
    values, actions = learned(case)[name]
    right = PROBES[name].values(GAMMA)
    found = [values[at[obs]] for obs in right]
    return np.array(found), np.array([*right.values()]), {obs: int(actions[at[obs]]) for obs in right}


def learns_the_probes(case):
    for name in ('constant', 'observed', 'delayed', 'chosen', 'matched'):
        found, right, actions = answers(case, name, SECOND if name == 'delayed' else FIRST)
        assert np.abs(found - right).max() < 0.1, f'{name}: values {found}, expected {right}'
        assert PROBES[name].best in (None, actions), name


def truncation_bootstraps_and_termination_does_not(case):
    """Where every episode is cut after one step, what follows 0 is never an observation to act on: an agent with a
    memory cannot learn the value of that path, and is asked where the cut is random."""
    probes = [('terminated', FIRST, ([0.5, 1.5], [1, 2])), ('interrupted', FIRST, ([0.625, 1.625], [1 / 7, 8 / 7])),
              ('interrupted', SECOND, ([0.625, 1.625], [1 / 7, 8 / 7]))]
    if build(case).memory is None:
        probes += [('truncated', FIRST, ([0.5, 1.5], [0, 1]))]
    for name, at, wrong in probes:
        found, right, _ = answers(case, name, at)
        assert np.abs(found - right).max() < 0.1, f'{name}: values {found}, expected {right}'
        assert all(np.abs(right - w).max() > 0.3 for w in wrong), 'the probe cannot tell the mistakes apart'


def fit(agent, steps, strategy=None, key=KEY, source=None, **kwargs):
    return loop.fit(agent.task, source or data.constant(None), steps=steps, key=key, strategy=strategy, **kwargs).carry


def resumes_exactly_with_its_environments(case, tmp_path):
    agent = build(case, env='CartPole-v1')
    whole = fit(agent, 4)
    fit(agent, 2, checkpoints=Checkpoints(tmp_path), checkpoint_every=2)
    resumed = fit(agent, 4, checkpoints=Checkpoints(tmp_path))
    assert trees.sha256(resumed) == trees.sha256(whole)
    names = trees.named_leaves(resumed.state)
    assert {'actors/obs', 'actors/env/theta', 'actors/episode_return'} <= names.keys()
    assert names['actors/episode_length'].max() > 1, 'the checkpoint is between episodes: it shows nothing'
    memory = [x for name, x in names.items() if name.startswith('actors/memory/')]
    assert len(memory) == (0 if agent.memory is None else len(jax.tree.leaves(agent.memory(1))))
    assert all(np.abs(x).max() > 0 for x in memory)


def seeds_run_in_one_program(case):
    agent = build(case, env='CartPole-v1')
    keys = jax.random.split(KEY, 3)
    many = fit(agent, 2, key=keys, source=data.for_seeds([data.constant(None)] * 3))
    for i in (0, 2):
        one = fit(agent, 2, key=keys[i])
        assert distance(one.state, jax.tree.map(lambda x, i=i: x[i], many.state)) < 1e-3
    assert distance(*(jax.tree.map(lambda x, i=i: x[i], many.state) for i in (0, 1))) > 0.1


def devices_agree(case):
    agent = build(case, env='CartPole-v1')
    one = fit(agent, 2)
    for where in (strategies.pmap(agent.rules, devices=2), strategies.mesh({'data': 2}, agent.rules)):
        two = fit(agent, 2, where)
        assert distance(one.state, two.state) < 1e-3, where.name
        assert len(two.state.actors.obs.sharding.device_set) == 2, 'the environments are not spread'


def distance(a, b):
    """Largest difference of two states, leaf by leaf, relative to the leaf's largest value."""
    gaps = jax.tree.map(lambda x, y: np.max(np.abs(x - y)) / max(np.max(np.abs(x)), 1e-3),
                        *(jax.tree.map(lambda x: np.asarray(x, np.float64), trees.to_host(s)) for s in (a, b)))
    return max(jax.tree.leaves(gaps))


LAWS = (learns_the_probes, truncation_bootstraps_and_termination_does_not, resumes_exactly_with_its_environments,
        seeds_run_in_one_program, devices_agree)
PAIRS = [(case, law) for case in CASES for law in LAWS]
RAN = set()


@pytest.mark.parametrize(('case', 'law'), [pytest.param(c, law, id=f'{c}-{law.__name__}') for c, law in PAIRS])
def test_law(case, law, tmp_path):
    law(case, tmp_path) if law is resumes_exactly_with_its_environments else law(case)
    RAN.add((case, law.__name__))


PPO = ppo.Config(env=PROBES['matched'].env, n_envs=4, horizon=8, gamma=GAMMA, hidden=(8,), rate=0.05, anneal=3)


@functools.cache
def steps(config):
    """(states after 0, 1, ... 4 steps of PPO, metrics of the steps)."""
    task = ppo.make_task(config)
    go, carries, seen = jax.jit(functools.partial(advance, task, batch=None)), [start(task, KEY, None)], []
    for _ in range(4):
        carry, metrics = go(carries[-1])
        carries, seen = [*carries, carry], [*seen, metrics]
    return [c.state for c in carries], seen


def test_a2c_descends_the_loss_of_its_card():
    """One step against the gradient of the formula, written without ratio, clip or minibatches."""
    config = a2c.Config(n_envs=4, horizon=6, entropy=0.02, hidden=(8,), clip_norm=0.0)
    agent = a2c.a2c(config)
    before, net = start(agent.task, KEY, None).state, ppo.ActorCritic(2, (8,))
    weights, key = {'params': before.fit.params}, jax.random.key(7)
    actor = lambda obs: net.apply(weights, obs, method=net.actor)
    _, seen, _ = rollout.collect(agent.env, actor, jax.random.split(key)[0], before.actors, 6)
    after = net.apply(weights, seen.final_obs)[1]
    target = jax.vmap(lambda *xs: returns.n_step_returns(*xs, gamma=0.99, n=6))(
        seen.reward, after, seen.terminated, seen.ended)

    def loss(params):
        logits, value = net.apply({'params': params}, seen.obs)
        log_probs = jax.nn.log_softmax(logits)
        entropy = -(jnp.exp(log_probs) * log_probs).sum(-1)
        chosen = jnp.where(seen.action == 1, log_probs[..., 1], log_probs[..., 0])
        advantage = jax.lax.stop_gradient(target - value)
        return jnp.mean(-advantage * chosen + 0.25 * (value - target)**2 - 0.02 * entropy)

    tx = optax.rmsprop(config.rate, decay=0.99, eps=config.eps)
    updates, _ = tx.update(jax.grad(loss)(before.fit.params), tx.init(before.fit.params))
    state, metrics = jax.jit(agent.task.step)(key, before, None)
    assert distance(optax.apply_updates(before.fit.params, updates), state.fit.params) < 1e-3
    assert float(metrics['kl'].value) < 1e-6 and isinstance(metrics['return'], Mean)


def test_the_loss_is_that_of_the_card():
    """By hand in NumPy, with ratios and values on both sides of their clips."""
    rng = np.random.default_rng(0)
    net = ppo.ActorCritic(3, (4,))
    obs = rng.normal(size=(40, 2)).astype(np.float32)
    weights = net.init(KEY, obs)['params']
    logits, v = (np.asarray(x, np.float64) for x in net.apply({'params': weights}, obs))
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    action = rng.integers(0, 3, 40)
    old_log_p, old_v, advantage, target = (rng.normal(size=40) * 0.5 + x for x in (
        log_p[np.arange(40), action], v, 0, v))
    q = np.exp(log_p[np.arange(40), action] - old_log_p)
    sample = ppo.Sample(*(jnp.asarray(x) for x in (obs, action)), *(
        jnp.asarray(x, jnp.float32) for x in (old_log_p, old_v, advantage, target)))
    entropy = -(np.exp(log_p) * log_p).sum(-1)
    for clip, clip_value in ((0.2, 0.3), (0.0, 0.3), (0.2, 0.0)):
        gain = np.minimum(q * advantage, np.clip(q, 1 - clip, 1 + clip) * advantage) if clip else q * advantage
        near = old_v + np.clip(v - old_v, -clip_value, clip_value)
        error = np.maximum((v - target)**2, (near - target)**2) if clip_value else (v - target)**2
        config = PPO._replace(clip=clip, clip_value=clip_value, value=0.7, entropy=0.05)
        total, seen = ppo.loss(config, net, weights, sample)
        assert abs(float(total.value) - np.mean(-gain + 0.35 * error - 0.05 * entropy)) < 1e-5
        assert abs(float(seen['kl'].value) - np.mean(q - 1 - np.log(q))) < 1e-5
        assert abs(float(seen['clipped'].value) - (np.mean(np.abs(q - 1) > clip) if clip else 0)) < 1e-6
    assert (np.abs(q - 1) > 0.2).sum() > 5 < (np.abs(v - old_v) > 0.3).sum()


def test_the_rate_anneals_to_zero():
    states, _ = steps(PPO)
    moved = [distance(a.fit.params, b.fit.params) for a, b in itertools.pairwise(states)]
    assert min(moved[:3]) > 1e-4 and moved[3] < 1e-6       # XLA multiplies by 1/48: what is left is no exact zero


def test_kl_stop_refuses_the_update_that_moved_too_far_and_all_after_it():
    (_, free, *_), (metrics, *_) = steps(PPO)
    (_, held, *_), (some, *_) = steps(PPO._replace(target_kl=1e-3))
    share = float(some['updates'].value)
    assert float(metrics['updates'].value) == 1.0 and 1 / 16 <= share < 1.0
    assert int(held.fit.opt[1][0].count) == round(16 * share)
    assert distance(free.fit.params, held.fit.params) > 1e-3 and distance(free.actors, held.actors) == 0.0


@pytest.mark.parametrize('field', ['normalise_advantage', 'clip_norm', 'shuffle'])
def test_every_other_switch_changes_what_is_learned(field):
    other = PPO._replace(**{field: 0.0 if field == 'clip_norm' else False})
    assert distance(steps(PPO)[0][1].fit.params, steps(other)[0][1].fit.params) > 1e-6


def test_networks_differ_as_they_say():
    names = [set(trees.named_leaves(start(ppo.make_task(PPO._replace(shared=s)), KEY, None).state.fit.params))
             for s in (False, True)]
    assert {n.partition('/')[0] for n in names[0] - names[1]} == {'critic_torso'} and names[1] < names[0]
    kernel = lambda **more: start(ppo.make_task(PPO._replace(hidden=(8, 8), **more)), KEY, None).state.fit.params[
        'actor_torso']['dense_1']['kernel']
    turned = lambda k: jnp.abs(k @ k.T - 2 * jnp.eye(8)).max()
    assert turned(kernel()) < 1e-5 and turned(kernel(orthogonal=False)) > 0.1


def test_moments_are_those_of_all_that_was_seen_on_all_devices():
    agent = ppo.ppo(PPO._replace(env='CartPole-v1', normalise_obs=True, normalise_reward=True, rate=1e-3, anneal=0))
    states = [fit(agent, 3, where).state for where in (strategies.jit(), strategies.pmap(agent.rules, devices=2))]
    for s in states:
        assert float(s.obs_moments.count) == float(s.return_moments.count) == 3 * 4 * 8
        assert s.obs_moments.mean.shape == (4,) and (s.obs_moments.var > 0).all() and float(s.return_moments.var) > 0
    assert distance(states[0].obs_moments, states[1].obs_moments) < 1e-3
    params = agent.params(states[0])
    assert not jnp.array_equal(agent.value(params, jnp.ones((1, 4))),
                               agent.value(params._replace(obs_moments=None), jnp.ones((1, 4))))


def test_a_split_that_is_wrong_is_refused():
    agent = ppo.ppo(PPO)
    with pytest.raises(ConfigError, match='minibatches: expected a divisor of the 2 environments of each replica, fou'):
        recurrent = ppo.ppo(PPO._replace(core='gru', core_width=4))
        fit(recurrent, 1, strategies.pmap(recurrent.rules, devices=2))
    with pytest.raises(ConfigError, match='rules: expected the 4 environments split over 2 replicas'):
        fit(agent, 1, strategies.pmap(devices=2))
    with pytest.raises(ConfigError, match='reduction: expected fast'):
        fit(agent, 1, strategies.mesh({'data': 2}, agent.rules, micro=2))
    assert agent.rules == ((r'(^|/)actors/', P('data')),)


@pytest.mark.parametrize(('fields', 'message'), [
    ({'n_envs': 0}, 'n_envs: expected at least 1, found 0'), ({'gamma': 1.5}, 'gamma: expected 0 to 1, found 1.5'),
    ({'minibatches': 3}, 'minibatches: expected a divisor of horizon=8, found 3'),
    ({'clip': -1.0}, 'clip: expected 0 or more, found -1.0'), ({'optimizer': 'sgd'}, "optimizer: .* found 'sgd'"),
    ({'env': 'Cartpole'}, "env: expected one of .* found 'Cartpole'"), ({'core': 'rnn'}, "core: .* found 'rnn'"),
    ({'core': 'gru', 'minibatches': 8}, 'minibatches: expected a divisor of n_envs=4, found 8'),
    ({'core_width': 0}, 'core_width: expected at least 1, found 0')])
def test_wrong_configs_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        ppo.make_task(PPO._replace(**fields))


def test_every_pair_ran(request):
    """Must stand last.  Where a selection (-k) left some out, those that were selected must have run."""
    assert set(ROWS) == {case.name for case in CASES.values()}
    assert len(PAIRS) == len(CASES) * len(LAWS) == 20
    selected = [i for i in request.session.items if i.module is request.module and i.originalname == 'test_law']
    assert len(RAN) == len(selected)
