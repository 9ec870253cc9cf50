"""CIFAR-10 in minutes: what can be set, and what to expect."""
from common import config as config_lib
from common.config import TRAINING, field

FIELDS = {
    **TRAINING,
    'data': field('photo_patches', 'data set', choices=('photo_patches', 'cifar10_subset', 'cifar10')),
    'model': field('resnet9', 'network', choices=('lenet', 'resnet9', 'resnet18', 'mobilenet')),
    'width': field(16, 'channels of the first convolution of the two ResNets', low=1, high=1024),
    'rate': field(0.0, "peak learning rate (SGD, Nesterov momentum); 0: the network's own, in models.py", low=0.0,
                  high=100.0),
    'momentum': field(0.9, 'momentum', low=0.0, high=0.9999),
    'climb': field(0.25, 'share of the steps in which the rate climbs; then it falls in a straight line', low=0.0,
                   high=0.99),
    'weight_decay': field(5e-3, 'decoupled decay, of kernels alone', low=0.0, high=1000.0),
    'smoothing': field(0.1, 'label smoothing', low=0.0, high=0.9),
    'crop': field(4, 'pixels that a training image is shifted by at most, each way', low=0, high=16),
    'flip': field(True, 'half of the training images are mirrored'),
    'cutout': field(8, 'side of the square that is cut out of each training image; 0: none', low=0, high=32),
    'test_flip': field(True, 'logits at test time: the mean of those of an image and of its mirror image'),
    'goal': field(0.6, 'test accuracy whose first passing is timed', low=0.0, high=1.0),
    'race': field(0.0, 'CPU seconds of training for each network of the race; 0: no race but the recipe', low=0.0,
                  high=1e6),
    'racers': field(('lenet', 'resnet9', 'mobilenet'), 'the networks of the race',
                    choices=('lenet', 'resnet9', 'resnet18', 'mobilenet')),
    'baseline_rows': field(10_000, 'training images that the baselines see; 0: no baselines', low=0),
}
VARIANTS = {
    'full': {'batch_size': 32, 'steps': 624, 'steps_per_call': 4, 'log_every': 52, 'eval_every': 156,
             'checkpoint_every': 208, 'rate': 0.06, 'cutout': 0, 'goal': 0.9},
    'subset': {'data': 'cifar10_subset', 'batch_size': 32, 'steps': 1872, 'steps_per_call': 4, 'log_every': 104,
               'eval_every': 312, 'checkpoint_every': 312, 'rate': 0.06, 'cutout': 0},
    'cifar10': {'data': 'cifar10', 'batch_size': 512, 'steps': 2400, 'steps_per_call': 10, 'log_every': 50,
                'eval_every': 200, 'checkpoint_every': 400, 'width': 64, 'goal': 0.93},
    'race': {'race': 60.0, 'batch_size': 64, 'steps_per_call': 4, 'log_every': 100, 'cutout': 0, 'goal': 0.9},
    'smoke': {'batch_size': 16, 'steps': 12, 'steps_per_call': 2, 'log_every': 2, 'eval_every': 6,
              'checkpoint_every': 4, 'width': 2, 'goal': 0.05, 'baseline_rows': 200},
}
HARMLESS = ('goal',)


def get_config(size: str = 'full'):
    return config_lib.pick(FIELDS, VARIANTS, size)


def check(config) -> None:
    if not config.racers or len(set(config.racers)) != len(config.racers):
        raise ValueError(f'racers={config.racers}: expected one network or more, each once')
    if config.race and config.batch_size < 2:
        raise ValueError(f'batch_size={config.batch_size}: expected 2 or more, for batch norm')


def expected(config) -> dict[str, tuple[float, str]]:
    """Test accuracy that every correct run of this recipe reaches; none for changed ones, nor for the race, in which
    the number of steps depends on the machine, nor for all of CIFAR-10, which nobody has measured yet."""
    for size, value in (('full', 0.88), ('subset', 0.7)):
        recipe = get_config(size)
        if all(config[k] == recipe[k] for k in recipe if k not in ('seed', 'goal', 'baseline_rows')):
            return {'accuracy': (value, '>=')}
    return {}
