"""MNIST digit recognition: what can be set, and what to expect."""
from common import config as config_lib
from common.config import TRAINING, field

FIELDS = {
    **TRAINING,
    'data': field('mnist_5k', 'data set', choices=('mnist_5k', 'mnist')),
    'source': field('resident', 'resident: images stay on the device; stream: read by index on host threads',
                    choices=('resident', 'stream')),
    'model': field('lenet', 'network', choices=('mlp', 'lenet', 'lenet_original')),
    'hidden': field((256, 256), 'widths of the hidden layers of the MLP', low=1),
    'dropout': field(0.2, 'share of hidden units dropped in training', low=0.0, high=0.9),
    'augment': field(True, 'random shifts, turns and scalings of the training images'),
    'rate': field(3e-3, 'peak learning rate (AdamW, linear warm-up, cosine decay)', low=0.0, high=10.0),
    'warmup': field(50, 'steps of warm-up', low=0),
    'weight_decay': field(1e-2, 'decoupled weight decay', low=0.0),
    'smoothing': field(0.05, 'label smoothing', low=0.0, high=0.9),
    'ema': field(0.99, 'decay of the averaged parameters that are evaluated', low=0.0, high=0.99999),
    'accum': field(1, 'micro-batches per step', low=1),
    'baseline_rows': field(4000, 'training rows that the classical baselines see; 0: no baselines', low=0),
}
VARIANTS = {
    'full': {'batch_size': 100, 'steps': 1000, 'steps_per_call': 40, 'log_every': 40, 'eval_every': 120,
             'checkpoint_every': 200},
    'mlp': {'model': 'mlp', 'batch_size': 100, 'steps': 1200, 'steps_per_call': 40, 'log_every': 40, 'eval_every': 120,
            'checkpoint_every': 200},
    'original': {'model': 'lenet_original', 'batch_size': 100, 'steps': 4000, 'steps_per_call': 40, 'log_every': 40,
                 'eval_every': 400, 'checkpoint_every': 400, 'rate': 1e-3, 'weight_decay': 0.0, 'smoothing': 0.0,
                 'ema': 0.995},
    'full_mnist': {'data': 'mnist', 'batch_size': 128, 'steps': 3600, 'steps_per_call': 60, 'log_every': 60,
                   'eval_every': 600, 'checkpoint_every': 600, 'ema': 0.995},
    'smoke': {'batch_size': 40, 'steps': 20, 'steps_per_call': 5, 'log_every': 5, 'eval_every': 10,
              'checkpoint_every': 10, 'warmup': 5, 'baseline_rows': 200},
}
HARMLESS = ()


def get_config(size: str = 'full'):
    return config_lib.pick(FIELDS, VARIANTS, size)


def check(config) -> None:
    if config.warmup >= config.steps:
        raise ValueError(f'warmup={config.warmup}: expected fewer than steps={config.steps}')
    if config.batch_size % config.accum:
        raise ValueError(f'batch_size={config.batch_size}: expected a multiple of accum={config.accum}')


def expected(config) -> dict[str, tuple[float, str]]:
    """Test accuracy that every correct run of this recipe reaches; none for shorter or changed ones."""
    recipes = {('mnist_5k', 'lenet'): ('full', 0.97), ('mnist_5k', 'mlp'): ('mlp', 0.96),
               ('mnist_5k', 'lenet_original'): ('original', 0.95), ('mnist', 'lenet'): ('full_mnist', 0.99)}
    size, value = recipes.get((config.data, config.model), (None, 0))
    if size is None or config.steps < get_config(size).steps:
        return {}
    return {'accuracy': (value, '>=')}
