"""An MLP from scratch: what can be set, and what to expect."""
from common import config as config_lib
from common.config import TRAINING, field

ACTIVATIONS = ('relu', 'tanh', 'sigmoid', 'gelu_erf', 'gelu_tanh', 'silu', 'mish', 'elu', 'leaky_relu')
FIELDS = {
    **{name: rule for name, rule in TRAINING.items() if name != 'dtype'},
    'data': field('mnist_5k', 'data set', choices=('mnist_5k', 'mnist')),
    'hidden': field((256, 128), 'widths of the hidden layers', low=1),
    'activation': field('relu', 'activation of the hidden layers', choices=ACTIVATIONS),
    'norm': field('batch', 'normalisation before each activation', choices=('none', 'batch', 'layer')),
    'dropout': field(0.3, 'share of hidden units dropped in training', low=0.0, high=0.9),
    'rate': field(0.1, 'learning rate at the start; it falls to zero along a cosine', low=0.0, high=10.0),
    'momentum': field(0.9, 'share of the velocity that is kept', low=0.0, high=0.999),
    'accum': field(1, 'micro-batches per step', low=1),
    'baseline_rows': field(4000, 'training rows that the baselines see; 0: no baselines', low=0),
}
VARIANTS = {
    'full': {'batch_size': 100, 'steps': 1600, 'steps_per_call': 40, 'log_every': 40, 'eval_every': 160,
             'checkpoint_every': 400},
    'plain': {'hidden': (128,), 'norm': 'none', 'dropout': 0.0, 'batch_size': 100, 'steps': 1200, 'steps_per_call': 40,
              'log_every': 40, 'eval_every': 120, 'checkpoint_every': 400},
    'full_mnist': {'data': 'mnist', 'batch_size': 100, 'steps': 9600, 'steps_per_call': 120, 'log_every': 120,
                   'eval_every': 1200, 'checkpoint_every': 1200},
    'smoke': {'hidden': (16, 8), 'batch_size': 40, 'steps': 60, 'steps_per_call': 5, 'log_every': 5, 'eval_every': 30,
              'checkpoint_every': 10, 'baseline_rows': 200},
}
HARMLESS = ()       # fields whose change does not stop a resume


def get_config(size: str = 'full'):
    return config_lib.pick(FIELDS, VARIANTS, size)


def check(config) -> None:
    if not config.hidden:
        raise ValueError('hidden=(): expected one width or more')
    if config.batch_size % config.accum:
        raise ValueError(f'batch_size={config.batch_size}: expected a multiple of accum={config.accum}')


def expected(config) -> dict[str, tuple[float, str]]:
    """Test accuracy that every correct run of these recipes reaches; none for shorter or changed ones."""
    for size, value in (('full', 0.94), ('plain', 0.925), ('full_mnist', 0.98)):
        recipe = get_config(size)
        if all(config[k] == recipe[k] for k in recipe if k not in ('seed', 'baseline_rows')):
            return {'accuracy': (value, '>=')}
    return {}
