"""Cats against dogs: what can be set, and what to expect."""
from common import config as config_lib
from common.config import TRAINING, field

FIELDS = {
    **TRAINING,
    'data': field('animals', 'data set: silhouettes of ten animals, or photographs of cats and dogs',
                  choices=('animals', 'cats_vs_dogs')),
    'pretext': field('kinds', 'what is learned first: the kinds of the other animals, or how far a picture was turned',
                     choices=('kinds', 'turns')),
    'source_steps': field(600, 'steps of that; the rest of `steps` is shared out to `sizes`', low=1),
    'sizes': field((20, 50, 100, 200, 500, 1000), 'numbers of pictures of cats and dogs to learn from', low=2),
    'blocks': field((1, 1, 1), 'residual blocks of each stage', low=1, high=100),
    'width': field(8, 'channels of the first stage; each next one has twice as many', low=1, high=1024),
    'augment': field(True, 'random mirrorings and shifts of the training pictures'),
    'source_rate': field(5e-3, 'peak learning rate of the source network', low=0.0, high=10.0),
    'rate': field(3e-3, 'peak learning rate from scratch, and of the head when all is tuned', low=0.0, high=10.0),
    'probe_rate': field(1e-2, 'peak learning rate of a new head on a frozen body', low=0.0, high=10.0),
    'layer_decay': field(0.5, 'factor of the rate from each layer to the one below, when all is tuned', low=1e-6,
                         high=1.0),
    'weight_decay': field(1e-2, 'decoupled weight decay', low=0.0, high=1000.0),
    'baseline': field(True, 'logistic regression and an RBF support vector machine on the pixels'),
}
VARIANTS = {
    'full': {'batch_size': 50, 'steps': 1200, 'steps_per_call': 20, 'log_every': 20, 'eval_every': 200,
             'checkpoint_every': 200},
    'photographs': {'data': 'cats_vs_dogs', 'pretext': 'turns', 'batch_size': 64, 'source_steps': 6000, 'steps': 10200,
                    'sizes': (50, 100, 200, 500, 1000, 2000, 10_000), 'blocks': (2, 2, 2, 2), 'width': 32,
                    'steps_per_call': 20, 'log_every': 100, 'eval_every': 600, 'checkpoint_every': 600,
                    'baseline': False},
    'smoke': {'batch_size': 16, 'source_steps': 8, 'steps': 16, 'sizes': (8, 16), 'blocks': (1,), 'width': 2,
              'steps_per_call': 2, 'log_every': 4, 'eval_every': 8, 'checkpoint_every': 4},
}
HARMLESS = ()       # fields whose change does not stop a resume


def get_config(size: str = 'full'):
    return config_lib.pick(FIELDS, VARIANTS, size)


def check(config) -> None:
    left = config.steps - config.source_steps
    if left < len(config.sizes) or left % len(config.sizes):
        raise ValueError(f'steps={config.steps}: expected source_steps={config.source_steps} and a multiple of the '
                         f'{len(config.sizes)} sizes')
    if any(n % 2 for n in config.sizes) or tuple(sorted(set(config.sizes))) != tuple(config.sizes):
        raise ValueError(f'sizes={tuple(config.sizes)}: expected even numbers, ascending: half cats, half dogs')
    if config.data == 'cats_vs_dogs' and config.pretext != 'turns':
        raise ValueError(f'pretext={config.pretext}: expected turns: cats_vs_dogs has no other animals')


def expected(config) -> dict[str, tuple[float, str]]:
    """Test values that every correct run of the whole recipe reaches; none for shorter or changed ones."""
    full = get_config()
    if any(config[k] != full[k] for k in full if k not in ('seed', 'baseline')):
        return {}
    return {'source_accuracy': (0.92, '>='), 'finetune_20': (0.75, '>='), 'finetune_1000': (0.82, '>='),
            'finetune_gain': (0.01, '>=')}
