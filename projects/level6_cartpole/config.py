"""CartPole balancing with PPO: what can be set, and what to expect."""
from common import config as config_lib
from common.config import TRAINING, field

SOLVED = 475.0      # mean return over 100 episodes, of 500 at most: gymnasium's threshold for CartPole-v1

FIELDS = {
    **{name: f for name, f in TRAINING.items() if name not in ('batch_size', 'dtype')},
    'env': field('CartPole-v1', 'environment, of gymnax', choices=('CartPole-v1',)),
    'n_envs': field(16, 'environments, over all devices', low=1),
    'horizon': field(128, 'steps of each environment in one training step', low=1),
    'epochs': field(4, 'passes over each rollout', low=1),
    'minibatches': field(4, 'updates per pass', low=1),
    'shuffle': field(True, 'a new order of the steps in each pass'),
    'gamma': field(0.99, 'discount', low=0.0, high=1.0),
    'lam': field(0.95, 'lambda of the advantage estimates', low=0.0, high=1.0),
    'clip': field(0.2, 'clipping of the probability ratio; 0: off', low=0.0),
    'clip_value': field(0.2, 'clipping of the change of the value; 0: off', low=0.0),
    'value': field(0.5, 'weight of the value loss', low=0.0),
    'entropy': field(0.01, 'weight of the entropy bonus', low=0.0),
    'normalise_advantage': field(True, 'in each minibatch'),
    'target_kl': field(0.0, 'no further update from a rollout once the policy has moved so far; 0: off', low=0.0),
    'rate': field(2.5e-3, 'learning rate (Adam)', low=0.0, high=10.0),
    'anneal': field(True, 'the learning rate falls to 0 over the run'),
    'clip_norm': field(0.5, 'clipping of the norm of the gradient; 0: off', low=0.0),
    'normalise_obs': field(False, 'by running moments'),
    'normalise_reward': field(False, 'by the deviation of the running return'),
    'hidden': field((64, 64), 'widths of the hidden layers', low=1),
    'orthogonal': field(True, 'orthogonal initial weights'),
    'shared': field(False, 'one set of hidden layers for policy and value'),
    'episodes': field(100, 'episodes of an evaluation', low=1),
}
VARIANTS = {
    'full': {'steps': 150, 'steps_per_call': 10, 'log_every': 10, 'eval_every': 10, 'checkpoint_every': 30},
    'smoke': {'steps': 12, 'steps_per_call': 2, 'log_every': 2, 'eval_every': 6, 'checkpoint_every': 4, 'n_envs': 8,
              'horizon': 32, 'hidden': (16,), 'episodes': 8},
}
HARMLESS = ()


def get_config(size: str = 'full'):
    return config_lib.pick(FIELDS, VARIANTS, size)


def check(config) -> None:
    if config.horizon % config.minibatches:
        raise ValueError(f'minibatches={config.minibatches}: expected a divisor of horizon={config.horizon}')


def expected(config) -> dict[str, tuple[float, str]]:
    """Solved on nine of ten seeds, and the mean over seeds as well; nothing for shorter or changed runs."""
    full = get_config()
    same = all(config[name] == full[name] for name in full if name not in ('seed', 'eval_every', 'log_every',
                                                                           'checkpoint_every', 'steps_per_call'))
    return {'solved': (0.9, '>='), 'return': (SOLVED, '>=')} if same else {}
