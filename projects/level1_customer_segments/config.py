"""Customer segmentation: what can be set, and what to expect."""
from common import config as config_lib
from common.config import TRAINING, field

FIELDS = {
    'seed': TRAINING['seed'],
    'data': field('cdnow', 'data set', choices=('cdnow', 'transactions')),
    'watched': field(0.5, 'share of the days that make the segments; the rest is what came later', low=0.1, high=0.9),
    'least': field(3, 'fewest segments that are tried: two would only tell good from bad', low=2, high=12),
    'most': field(8, 'most segments that are tried', low=2, high=12),
    'stable': field(0.7, 'adjusted Rand index that refits on resampled customers must agree with', low=0.0, high=1.0),
    'refits': field(20, 'resampled refits for each number of segments', low=2, high=1000),
    'sample': field(3000, 'customers on whom silhouette and stability are measured', low=50, high=20000),
    'small': field(1000, 'customers that ward, spectral clustering and mean shift see: they are quadratic', low=50,
                   high=12000),
    'folds': field(5, 'folds that measure', low=2, high=100),
}
VARIANTS = {
    'full': {},
    'smoke': {'most': 3, 'refits': 3, 'sample': 150, 'small': 100, 'folds': 2},
}
HARMLESS = ()


def get_config(size: str = 'full'):
    return config_lib.pick(FIELDS, VARIANTS, size)


def check(config) -> None:
    if config.most < config.least:
        raise ValueError(f'most={config.most}: expected at least least={config.least}')


def expected(config) -> dict[str, tuple[float, str]]:
    """What every correct run of the recipe reaches; `gain` is the share of the variance of log later spending."""
    recipe = get_config()
    if any(config[k] != recipe[k] for k in recipe if k != 'seed'):
        return {}
    return {'gain_kmeans': (0.2, '>='), 'margin_random': (0.2, '>='), 'margin_rule': (0.01, '>=')}
