"""What can be set of PPO, and where its 37 known details are (Huang et al. 2022, The 37 implementation details of
proximal policy optimization; in their order).  `always` says that there is no other way here.

    13 core    1 vectorised environments     `n_envs`, `horizon`; unfinished episodes go on in the next rollout
               2 orthogonal initialisation   `orthogonal`: gain sqrt 2, actor 0.01, critic 1; biases 0 always
               3 Adam's epsilon              `eps`
               4 annealing of the rate       `anneal`
               5 GAE                         `lam`; bootstraps where the rollout or a time limit cuts, always
               6 minibatches                 `minibatches`, `epochs`, `shuffle`: all of a rollout in each epoch, always
               7 normalised advantages       `normalise_advantage`, in each minibatch
               8 clipped surrogate           `clip`
               9 clipped value loss          `clip_value`
              10 one loss, entropy bonus     `value`, `entropy`
              11 clipping of the gradient    `clip_norm`, the global norm
              12 debug variables             metrics loss, policy_loss, value_loss, entropy, kl, clipped, updates
              13 shared or separate MLP      `shared`, `hidden`
     9 Atari  1-7 noop starts, max and skip, episodic life, fire, 84 x 84 gray, sign of the reward, frame stack:
                                             of an environment and not of the agent: for a wrapper of an `Env`
              8 shared convolutions          none: observations are flat (`networks`)
              9 images scaled to [0, 1]      with 5: the environment's; `normalise_obs` scales any observation
     9 real   1 normal distributions         an `Env` with `bounds`; `actions.gaussian`
    numbers   2 one deviation per number     always: log deviations are parameters, 0 at first
              3 independent numbers          always
              4 separate MLP                 `shared=False`
              5 clipped actions              always, by the environment; what was drawn is stored and learned from
              6, 7 observations              `normalise_obs`: by running moments, then clipped to [-10, 10]
              8, 9 rewards                   `normalise_reward`: by the deviation of the return, clipped to [-10, 10]
     5 LSTM   1 initialisation               `core`, `orthogonal`: orthogonal by gates, biases 0
              2 zeros at first               always
              3 reset at ends of episodes    always, in the rollout and in updates
              4 sequential minibatches       always with a `core`: whole sequences of some of the environments
              5 memory is rebuilt            always: updates start from the memory at the rollout's first step
     1 more   several choices in one action  an `Env` with a tuple of `n_actions`; `actions.multi_categorical`

Beyond them: stop by KL (`target_kl`), and truncation, which bootstraps from the value of the final observation, while
termination does not (their implementation treats the two alike).
"""
from typing import NamedTuple

import optax

from levels.level6_reinforcement.envs.env import Env
from levels.level6_reinforcement.recurrent import CORES


class Config(NamedTuple):
    """What the list above names.  0 switches off what is a number and optional."""
    env: str | Env = 'CartPole-v1'      # of gymnax, or an Env
    n_envs: int = 8                     # over all devices
    horizon: int = 128                  # steps of each environment between updates
    epochs: int = 4                     # passes over a rollout
    minibatches: int = 4                # updates per pass; divides `horizon`, or with a `core` the environments
    shuffle: bool = True                # a new order of each environment's steps (with a `core`: environments) in each
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
    shared: bool = False                # one torso (and core) for actor and critic
    core: str = ''                      # 'lstm' or 'gru': a memory between torso and heads; '': none
    core_width: int = 64


def optimizer(c: Config) -> optax.GradientTransformation:
    """Clipping, then Adam or RMSProp with the rate at each update."""
    rate = optax.linear_schedule(c.rate, 0.0, c.anneal * c.epochs * c.minibatches) if c.anneal else c.rate
    made = {'adam': lambda: optax.adam(rate, eps=c.eps), 'rmsprop': lambda: optax.rmsprop(rate, decay=0.99, eps=c.eps)}
    return optax.chain(optax.clip_by_global_norm(c.clip_norm) if c.clip_norm else optax.identity(),
                       made[c.optimizer]())


def check(c: Config) -> None:
    """Raises ValueError for a number out of its range."""
    for name in ('n_envs', 'horizon', 'epochs', 'minibatches', 'core_width'):
        if getattr(c, name) < 1:
            raise ValueError(f'{name}: expected at least 1, found {getattr(c, name)}')
    for name in ('gamma', 'lam'):
        if not 0 <= getattr(c, name) <= 1:
            raise ValueError(f'{name}: expected 0 to 1, found {getattr(c, name)}')
    for name in ('clip', 'clip_value', 'value', 'entropy', 'target_kl', 'rate', 'anneal', 'clip_norm'):
        if getattr(c, name) < 0:
            raise ValueError(f'{name}: expected 0 or more, found {getattr(c, name)}')
    dealt = 'n_envs' if c.core else 'horizon'
    if getattr(c, dealt) % c.minibatches:
        raise ValueError(f'minibatches: expected a divisor of {dealt}={getattr(c, dealt)}, found {c.minibatches}')
    if c.core and c.core not in CORES:
        raise ValueError(f"core: expected {', '.join(map(repr, CORES))} or '', found {c.core!r}")
    if c.optimizer not in ('adam', 'rmsprop'):
        raise ValueError(f"optimizer: expected 'adam' or 'rmsprop', found {c.optimizer!r}")
