"""Trains PPO on CartPole, compares it with a random policy, and shows an episode of what it learned."""
from importlib import metadata

import jax
import numpy as np

from common import data, experiment, plots, results
from common.runs import Run, read_metrics
from levels.level6_reinforcement import ppo, report, rollout
from levels.level6_reinforcement.rollout import Agent
from projects.level6_cartpole import config as config_lib
from projects.level6_cartpole import draw


def build(c) -> Agent:
    """The agent of a config."""
    fields = {name: c[name] for name in ppo.Config._fields if name in c}
    return ppo.ppo(ppo.Config(**{**fields, 'anneal': c.steps if c.anneal else 0}))


def evaluation(c, agent: Agent):
    """carry -> mean return and shortest length of `episodes` greedy episodes, and whether that solves the task."""
    episodes = rollout.evaluator(agent, episodes=c.episodes)

    def evaluate(carry) -> dict:
        host = jax.device_get(episodes(carry))      # [episodes], or [seeds, episodes]
        mean = host.returns.mean(-1)
        found = {'return': mean, 'shortest': host.lengths.min(-1), 'solved': (mean >= config_lib.SOLVED) * 1.0}
        return {k: float(v) if np.ndim(v) == 0 else v for k, v in found.items()}

    return evaluate


def chance(c, agent: Agent) -> float:
    """Mean return of the policy that draws every action with the same probability."""
    play = jax.jit(lambda key: rollout.play(agent.env, rollout.random_policy(agent.env), key, max(c.episodes, 100)))
    return float(play(jax.random.key(c.seed)).returns.mean())


def main(run: Run) -> None:
    c = run.config
    agent = build(c)
    steps = c.n_envs * c.horizon
    trained = experiment.train(run, agent.task, lambda seed: data.constant(None), evaluate=evaluation(c, agent),
                               vmap_helps=True, units={'env_steps': steps}, rules=agent.rules)
    base = {'random policy': chance(c, agent)}
    scores = np.array(trained.metrics['return'])
    low, high = report.iqm_interval(scores)
    if run.writes:
        show(run, agent, trained, base['random policy'], steps)
    seen = {'name': c.env, 'source': f'gymnax {metadata.version("gymnax")}', 'train': c.steps * steps,
            'test': c.episodes, 'unit': 'environment steps of training, episodes of testing'}
    results.finish(run, trained, data=seen, expected=config_lib.expected(c), baseline=base,
                   iqm={'return': {'value': report.iqm(scores), 'ci95': [low, high], 'over': 'seeds'}})


def show(run: Run, agent: Agent, trained: experiment.Trained, random: float, steps: int) -> None:
    """The learning curve over seeds, and one greedy episode of the first seed as a GIF."""
    c = run.config
    figure = draw.learning_curve(read_metrics(run.dir), steps, {'random policy': random, 'solved': config_lib.SOLVED},
                                 f'PPO on {c.env}')
    plots.save(figure, run.plots / 'curve.png')
    frames = episode(agent, agent.params(trained.carries[0].state), jax.random.key(c.seed))
    draw.gif(frames, f'{c.env}, seed {c.seed}: {len(frames)} steps', run.samples / 'episode.gif')


def episode(agent: Agent, params, key) -> np.ndarray:
    """The observations [time, 4] of one greedy episode."""
    seen = jax.jit(lambda params, key: rollout.record(agent.env, lambda obs, k: agent.policy(params, obs, None), key))
    seen = jax.device_get(seen(params, key))
    return seen['obs'][seen['alive']]
