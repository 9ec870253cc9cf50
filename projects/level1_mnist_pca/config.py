"""PCA of MNIST: what can be set, and what to expect."""
from common import config as config_lib
from common.config import TRAINING, field

FIELDS = {
    'seed': TRAINING['seed'],
    'data': field('mnist_5k', 'data set', choices=('mnist_5k', 'mnist')),
    'rows': field(0, 'training digits in the folds, the same number for the null of the scree; 0: all', low=0),
    'folds': field(5, 'folds that measure', low=2, high=100),
    'keep': field(0.9, 'share of the variance that the saved components keep', low=0.01, high=0.999),
    'nulls': field(5, 'shuffled copies of the data that the scree is compared with, for each seed', low=1, high=1000),
    'ranks': field((1, 2, 5, 10, 20, 50, 100, 200, 400), 'numbers of components that digits are rebuilt from', low=1,
                   high=784),
    'dims': field((2, 5, 10, 20, 40, 80), 'numbers of components that digits are told apart by', low=1, high=784),
    'shown': field(20, 'the one of dims that models are compared and sliced at', low=1, high=784),
    'neighbors': field(5, 'neighbours that vote', low=1, high=100),
    'C': field(1.0, 'inverse penalty of logistic regression', low=1e-6, high=1e6),
    'map_rows': field(2000, 'training digits in a map, drawn anew for each seed', low=30, high=70000),
    'placed': field(500, 'test digits that are placed in finished maps; 0: none', low=0, high=10000),
    'map_steps': field(750, 'steps of t-SNE; UMAP takes two thirds of it in epochs', low=3, high=100000),
}
VARIANTS = {
    'full': {},
    'full_mnist': {'data': 'mnist', 'rows': 10000, 'map_rows': 5000, 'placed': 2000},
    'smoke': {'rows': 200, 'folds': 2, 'nulls': 1, 'ranks': (2, 10), 'dims': (2, 10), 'shown': 10, 'map_rows': 90,
              'placed': 0, 'map_steps': 100},
}
HARMLESS = ()


def get_config(size: str = 'full'):
    return config_lib.pick(FIELDS, VARIANTS, size)


def check(config) -> None:
    if config.shown not in config.dims:
        raise ValueError(f'shown={config.shown}: expected one of dims={config.dims}')
    for name in ('ranks', 'dims'):
        if list(config[name]) != sorted(set(config[name])):
            raise ValueError(f'{name}={config[name]}: expected growing numbers')


def expected(config) -> dict[str, tuple[float, str]]:
    """What every correct run of a recipe reaches."""
    values = {'full': {'margin_random': (0.12, '>='), 'margin_raw': (0.0, '>='), 'accuracy_knn_pca_20': (0.92, '>='),
                       'mse_pca_50': (0.013, '<='), 'test_accuracy_reader': (0.9, '>='), 'trust_tsne': (0.96, '>='),
                       'trust_umap': (0.95, '>='), 'map_accuracy_tsne': (0.85, '>='),
                       'map_accuracy_umap': (0.85, '>=')},
              'full_mnist': {'test_accuracy_reader': (0.9, '>='), 'accuracy_knn_pca_20': (0.92, '>='),
                             'trust_tsne': (0.96, '>='), 'trust_umap': (0.94, '>=')}}
    for size, value in values.items():
        recipe = get_config(size)
        if all(config[k] == recipe[k] for k in recipe if k != 'seed'):
            return value
    return {}
