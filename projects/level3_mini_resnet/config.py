"""A mini-ResNet: what can be set, and what to expect."""
from common import config as config_lib
from common.config import TRAINING, field

FIELDS = {
    **TRAINING,
    'data': field('mnist_5k', 'data set', choices=('mnist_5k', 'animals', 'photo_patches', 'mnist', 'cifar10_subset',
                                                'cifar10')),
    'depths': field((8, 20, 44), 'layers of the networks: 2 n for each of the stages, and 2', low=4, high=1000),
    'widths': field((8, 16, 32), 'channels of each stage', low=1, high=4096),
    'pool': field(2, 'side of the squares of pixels that are averaged before the first layer', low=1, high=8),
    'crop': field(0, 'pixels of padding before a random crop of the training images; 0: none', low=0, high=16),
    'flip': field(False, 'mirrors half of the training images'),
    'rate': field(0.05, 'peak learning rate (SGD with momentum, linear warm-up, cosine decay)', low=0.0, high=10.0),
    'momentum': field(0.9, 'share of the velocity that is kept', low=0.0, high=0.999),
    'warmup': field(50, 'steps of warm-up', low=0),
    'weight_decay': field(1e-4, 'weight decay of the kernels, as part of the loss', low=0.0, high=1.0),
    'baseline_rows': field(4000, 'training rows that the classical baselines see; 0: no baselines', low=0),
}
VARIANTS = {        # at rate 0.1 after 20 steps of warm-up, one of three residual networks of 44 layers began late
    'full': {'batch_size': 64, 'steps': 200, 'steps_per_call': 10, 'log_every': 10, 'eval_every': 50,
             'checkpoint_every': 50},
    'full_mnist': {'data': 'mnist', 'pool': 1, 'widths': (16, 32, 64), 'crop': 2, 'batch_size': 128, 'steps': 4000,
                   'steps_per_call': 50, 'log_every': 50, 'eval_every': 500, 'checkpoint_every': 500, 'warmup': 200,
                   'rate': 0.1},
    'cifar10': {'data': 'cifar10', 'pool': 1, 'widths': (16, 32, 64), 'crop': 4, 'flip': True, 'batch_size': 128,
                'steps': 20_000, 'steps_per_call': 100, 'log_every': 100, 'eval_every': 1000, 'checkpoint_every': 1000,
                'warmup': 400, 'rate': 0.1},
    'smoke': {'batch_size': 20, 'steps': 6, 'steps_per_call': 2, 'log_every': 2, 'eval_every': 6,
              'checkpoint_every': 2, 'warmup': 2, 'depths': (4, 6), 'widths': (3,), 'pool': 4,
              'baseline_rows': 200},
}
HARMLESS = ()       # fields whose change does not stop a resume


def get_config(size: str = 'full'):
    return config_lib.pick(FIELDS, VARIANTS, size)


def check(config) -> None:
    stages = len(config.widths)
    if not stages or list(config.widths) != sorted(config.widths):
        raise ValueError(f'widths={config.widths}: expected one or more, none below the one before it')
    if len(config.depths) < 2 or list(config.depths) != sorted(set(config.depths)):
        raise ValueError(f'depths={config.depths}: expected two or more, each above the one before it')
    if wrong := [d for d in config.depths if d <= 2 or (d - 2) % (2 * stages)]:
        raise ValueError(f'depths: expected {2 * stages} n + 2 layers for {stages} stages, found {wrong[0]}')
    if config.warmup >= config.steps:
        raise ValueError(f'warmup={config.warmup}: expected fewer than steps={config.steps}')


def expected(config) -> dict[str, tuple[float, str]]:
    """What every correct run of the full recipe reaches; none for shorter or changed ones."""
    full = get_config()
    if any(config[k] != full[k] for k in full if k not in ('seed', 'baseline_rows')):
        return {}
    return {'accuracy_residual_44': (0.9, '>='), 'degradation_plain': (0.4, '>='), 'degradation_residual': (0.15, '<='),
            'growth_plain': (50.0, '>='), 'growth_residual': (15.0, '<=')}
