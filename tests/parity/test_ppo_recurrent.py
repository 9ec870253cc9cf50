"""The memory of a recurrent PPO: beside torch's cells run episode by episode, and the same in rollout and update."""
import functools
import inspect
import itertools
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from parity_ledger import compare

from common.task import start
from levels.level4_sequence import torch_weights
from levels.level6_reinforcement import networks, ppo, recurrent, rollout
from levels.level6_reinforcement.envs.probes import recall

N, T, F, WIDTH = 3, 12, 2, 5
ENDED = np.zeros((N, T), bool)
ENDED[0, [3, 4, 9]] = ENDED[1, 11] = True       # an episode of one step; an end at the last step; none at all
PLAYED = (('lstm', False), ('gru', True))
CASES = [(core, shared) for core in recurrent.CORES for shared in (True, False)]


def case(core, shared):
    """(network, weights, memory before the first step, observations, what followed), in float64."""
    net = recurrent.RecurrentActorCritic(2, (4,), orthogonal=False, shared=shared, core=core, width=WIDTH)
    x, final = np.random.default_rng(0).normal(size=(2, N, T, F))
    params = net.init(jax.random.key(0), net.initial(N), jnp.asarray(x[:, 0], jnp.float32))['params']
    rng = np.random.default_rng(1)
    double = lambda tree: jax.tree.map(lambda p: jnp.asarray(rng.normal(size=p.shape), jnp.float64), tree)
    return net, double(params), double(net.initial(N)), x, np.where(ENDED[..., None], final, np.roll(x, -1, 1))


def torch_tower(core, params, memory, x, final):
    """(outputs of the cell [N, T, WIDTH], its outputs at `final` after each step), each episode on its own."""
    layer = {'lstm': torch.nn.LSTM, 'gru': torch.nn.GRU}[core](4, WIDTH, batch_first=True, dtype=torch.float64)
    layer.load_state_dict({k: torch.tensor(v) for k, v in torch_weights.to_torch(params['core']).items()})
    dense = {k: torch.tensor(np.asarray(v)) for k, v in params['torso']['dense_0'].items()}
    torso = lambda x: torch.tanh(x @ dense['kernel'] + dense['bias'])
    seen, after = [], []
    for i in range(N):
        h = tuple(m[i][None, None] for m in memory) if core == 'lstm' else memory[i][None, None]
        for t in range(T):
            _, nxt = layer(torso(x[i, t])[None, None], h)
            seen.append((nxt[0] if core == 'lstm' else nxt)[0, 0])
            _, peek = layer(torso(final[i, t])[None, None], nxt)
            after.append((peek[0] if core == 'lstm' else peek)[0, 0])
            h = None if ENDED[i, t] else nxt
    return [torch.stack(rows).reshape(N, T, WIDTH) for rows in (seen, after)]


@pytest.mark.parametrize(('core', 'shared'), CASES)
def test_equals_torch_run_episode_by_episode(core, shared):
    """Outputs, values, values of what followed, and the gradient with respect to observations and first memory."""
    with jax.enable_x64(True):
        net, params, memory, x, final = case(core, shared)

        def ours(x, memory):
            state, outputs, value = net.apply({'params': params}, memory, x, jnp.asarray(ENDED), method=net.unroll)
            return outputs, value, net.apply({'params': params}, state, jnp.asarray(final), method=net.after)

        total = lambda parts: sum((part * (i + 1)).sum() for i, part in enumerate(parts))
        found = jax.jit(ours)(jnp.asarray(x), memory)
        gradient = jax.jit(jax.grad(lambda *a: total(ours(*a)), (0, 1)))(jnp.asarray(x), memory)
        tensor = lambda a: torch.tensor(np.asarray(a), requires_grad=True)
        tx, tmemory = tensor(x), jax.tree.map(tensor, memory)
        tower = lambda name, m: torch_tower(core, params[name], m, tx, torch.tensor(final))
        actor = tower('actor_tower', tmemory[0])
        critic = actor if shared else tower('critic_tower', tmemory[1])
        head = lambda name, h: (h @ torch.tensor(np.asarray(params[name]['kernel']))
                                + torch.tensor(np.asarray(params[name]['bias'])))
        theirs = [head('actor_head', actor[0]), *(head('critic_head', h)[..., 0] for h in critic)]
        total(theirs).backward()
        name = f'{core}, {"shared" if shared else "two towers"}'
        peer = f'torch.nn.{core.upper()} by episodes'
        compare('RecurrentActorCritic', peer, f'outputs and values, {name}, f64', found,
                [t.detach().numpy() for t in theirs], 1e-12)
        compare('RecurrentActorCritic', peer, f'gradients, {name}, f64', gradient,
                [tx.grad.numpy(), *(m.grad.numpy() for m in jax.tree.leaves(tmemory))], 1e-11)


@functools.cache
def samples(core, shared):
    """What three steps of PPO learn from, (weights before, sample) each, in an environment whose episodes of 5 steps
    go across the rollouts of 16."""
    seen = []
    learn = ppo._learn
    agent = ppo.ppo(ppo.Config(env=recall(5), n_envs=4, horizon=16, hidden=(8,), core=core, core_width=8, rate=0.02,
                               orthogonal=False, shared=shared, epochs=1, minibatches=1))

    def spy(config, net, tx, fit, sample, key):
        seen.append((net, fit.params, sample))
        return learn(config, net, tx, fit, sample, key)

    carry = start(agent.task, jax.random.key(0), None)
    state, kls = carry.state, []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ppo, '_learn', spy)
        for i in range(3):
            state, metrics = agent.task.step(jax.random.key(i), state, None)
            kls.append(float(metrics['kl'].value))
    return seen, kls


@pytest.mark.parametrize(('core', 'shared'), PLAYED)
def test_the_update_finds_the_log_probabilities_of_the_rollout(core, shared):
    """Across the ends of episodes and from the middle of one: the memory that a rollout begins with is the one that its
    update begins with."""
    def log_probs(net, weights, sample, memory, ended):
        outputs = net.apply({'params': weights}, memory, sample.obs, ended, method=net.unroll)[1]
        return np.asarray(net.head.log_prob(outputs, sample.action))

    for i, (net, weights, sample) in enumerate(samples(core, shared)[0]):
        again = functools.partial(log_probs, net, weights, sample)
        error = np.abs(again(sample.memory, sample.ended) - sample.log_prob).max()
        compare('ppo, recurrent', 'its own rollout', f'log-probabilities, {core}, shared={shared}, step {i}',
                again(sample.memory, sample.ended), sample.log_prob, 1e-6)
        assert sample.ended.sum() >= 4 * 3 and sample.ended[:, :-1].any(1).all()
        forgets_nothing = np.abs(again(sample.memory, jnp.zeros_like(sample.ended)) - sample.log_prob).max()
        forgets_all = np.abs(again(net.initial(4), sample.ended) - sample.log_prob).max()
        assert forgets_nothing > 1e3 * error and forgets_nothing > 1e-3
        assert (forgets_all > 1e-3) == (i > 0), 'the first rollout begins with an empty memory, and only that one'


@pytest.mark.parametrize(('core', 'shared'), PLAYED)
def test_with_one_update_the_ratio_is_one(core, shared):
    assert max(map(abs, samples(core, shared)[1])) < 1e-6


def test_minibatches_are_whole_environments_and_all_of_them():
    """Each epoch deals every environment once; neighbours go to different minibatches."""
    seen = []
    config = ppo.Config(env=recall(5), n_envs=8, horizon=5, hidden=(4,), core='gru', core_width=4, epochs=3,
                        minibatches=4, normalise_advantage=False)
    loss = ppo.loss

    def spy(config, net, weights, sample):
        jax.debug.callback(lambda obs, ended: seen.append((np.asarray(obs), np.asarray(ended))), sample.obs,
                           sample.ended, ordered=True)
        return loss(config, net, weights, sample)

    def reset(key):                     # the first observation of an episode tells it from all others
        state, obs = config.env.reset(key)
        return state, obs.at[0].set(jax.random.uniform(key))

    agent = ppo.ppo(config._replace(env=config.env._replace(reset=reset)))
    state = start(agent.task, jax.random.key(0), None).state
    tags = np.asarray(state.actors.obs[:, 0]).tolist()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ppo, 'loss', spy)
        jax.block_until_ready(agent.task.step(jax.random.key(1), state, None))
    jax.effects_barrier()
    dealt = [[tags.index(row[0, 0]) for row in obs] for obs, _ in seen]
    assert len(dealt) == 12 and {obs.shape for obs, _ in seen} == {(2, 5, 2)}
    epochs = [dealt[i:i + 4] for i in (0, 4, 8)]
    for epoch in epochs:
        assert sorted(itertools.chain(*epoch)) == list(range(8))
        assert all([i // 4 for i in part] == [0, 1] for part in epoch)
    assert epochs[0] != epochs[1], 'nothing is shuffled'


def test_evaluation_remembers_and_forgets():
    """Whole episodes: what `play` and `record` do with a memory is what unrolling over the episode does."""
    env = recall(5)
    agent = ppo.ppo(ppo.Config(env=env, n_envs=4, horizon=16, hidden=(8,), core='lstm', core_width=8, orthogonal=False))
    params = agent.params(start(agent.task, jax.random.key(3), None).state)
    net = recurrent.RecurrentActorCritic(2, (8,), orthogonal=False, core='lstm', width=8)
    seen = rollout.record(env, lambda obs, key, memory: agent.act(params, obs, None, memory), jax.random.key(0),
                          agent.memory(1))
    _, outputs, value = net.apply({'params': params.net}, net.initial(1), seen['obs'][None], jnp.zeros((1, 5), bool),
                                  method=net.unroll)
    assert jnp.array_equal(jnp.argmax(outputs[0], -1), seen['action']) and seen['alive'].all()
    memory = agent.memory(1)
    for t in range(5):
        assert abs(float(agent.value(params, seen['obs'][t][None], memory)[0] - value[0, t])) < 1e-6
        _, memory = agent.act(params, seen['obs'][t][None], None, memory)
    assert jnp.array_equal(agent.value(params, seen['obs']), agent.value(params, seen['obs'], agent.memory(5)))
    probe = lambda obs, key, memory: (jnp.zeros(len(obs), int), jax.tree.map(lambda m: m + 1, memory))
    assert rollout.play(env, probe, jax.random.key(0), 3, agent.memory(3)).lengths.tolist() == [5, 5, 5]


@pytest.mark.parametrize('value', [recurrent.RecurrentActorCritic, networks.ActorCritic], ids=lambda v: v.__name__)
def test_the_example_of_the_card_runs(value):
    example = textwrap.dedent(inspect.getdoc(value).partition('Example:\n')[2])
    exec(compile(example, value.__name__, 'exec'), {**vars(inspect.getmodule(value)), 'jax': jax, 'jnp': jnp})


def test_an_unknown_core_is_refused():
    with pytest.raises(ValueError, match="core: expected one of lstm, gru; found 'rnn'"):
        recurrent.RecurrentActorCritic(2, core='rnn').init(jax.random.key(0), None, jnp.ones((1, 2)))
