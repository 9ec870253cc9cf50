"""Titanic survival classification: what can be set, and what to expect."""
from common import config as config_lib
from common.config import TRAINING, field

MODELS = ('logistic', 'bayes', 'knn', 'svm', 'tree', 'forest', 'boosting')
FIELDS = {
    'seed': TRAINING['seed'],
    'data': field('titanic', 'data set', choices=('titanic', 'titanic_891')),
    'models': field(MODELS, 'which models are compared', choices=MODELS),
    'folds': field(5, 'folds that measure', low=2, high=50),
    'inner_folds': field(4, 'folds within each of them that choose the hyperparameters', low=2, high=50),
    'trees': field(100, 'trees of the forest', low=1, high=10_000),
    'rounds': field(100, 'rounds of boosting', low=1, high=10_000),
    'shuffles': field(20, 'shuffles of each column, for its importance', low=2, high=1000),
}
VARIANTS = {
    'full': {},
    'fares': {'data': 'titanic_891'},
    'smoke': {'models': ('bayes', 'boosting'), 'folds': 3, 'inner_folds': 2, 'rounds': 20, 'shuffles': 3},
}
HARMLESS = ()


def get_config(size: str = 'full'):
    return config_lib.pick(FIELDS, VARIANTS, size)


def check(config) -> None:
    """ValueError for no model, or one that is there twice."""
    if not config.models or len(set(config.models)) < len(config.models):
        raise ValueError(f'models={tuple(config.models)}: expected one or more, each once')


def expected(config) -> dict[str, tuple[float, str]]:
    """What every correct run of a recipe reaches; `gain` is accuracy above that of 'women survive'."""
    for size, values in (('full', {'gain_logistic': 0.02, 'gain_forest': 0.02, 'gain_boosting': 0.02,
                                   'cv_auc_logistic': 0.83, 'cv_auc_boosting': 0.82}),
                         ('fares', {'gain_forest': 0.005, 'gain_boosting': 0.005, 'cv_auc_logistic': 0.84,
                                    'cv_auc_forest': 0.85, 'cv_auc_boosting': 0.845})):
        recipe = get_config(size)
        if all(config[k] == recipe[k] for k in recipe if k != 'seed'):
            return {name: (value, '>=') for name, value in values.items()}
    return {}
