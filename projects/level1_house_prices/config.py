"""House price prediction: what can be set, and what to expect."""
from common import config as config_lib
from common.config import TRAINING, field

MODELS = ('ols', 'ridge', 'lasso', 'elastic', 'sgd', 'knn', 'svr', 'tree', 'forest', 'boosting')
FIELDS = {
    'seed': TRAINING['seed'],
    'data': field('hprice2', 'data set', choices=('hprice2', 'california_housing')),
    'models': field(MODELS, 'which models are compared', choices=MODELS),
    'degree': field(2, 'ridge, lasso, elastic and sgd see all products of up to so many features', low=1, high=3),
    'folds': field(10, 'folds that measure', low=2, high=100),
    'inner_folds': field(3, 'folds within each of them that choose the hyperparameters', low=2, high=100),
    'alphas': field(25, 'penalties of ridge, lasso and elastic that are tried', low=2, high=1000),
    'tol': field(1e-4, 'duality gap of lasso and elastic, as a share of the variance', low=1e-6, high=0.1),
    'trees': field(100, 'trees of the forest', low=1, high=10_000),
    'rounds': field(200, 'rounds of boosting', low=1, high=10_000),
    'rows': field(3000, 'rows at most that svr is fitted on: its time grows with their square', low=10, high=10**6),
}
VARIANTS = {
    'full': {},
    'california': {'data': 'california_housing', 'folds': 5, 'inner_folds': 2, 'alphas': 15, 'trees': 50},
    'smoke': {'models': ('ols', 'ridge', 'lasso', 'knn'), 'folds': 3, 'inner_folds': 2, 'alphas': 4, 'degree': 1},
}
HARMLESS = ()


def get_config(size: str = 'full'):
    return config_lib.pick(FIELDS, VARIANTS, size)


def check(config) -> None:
    """ValueError for no model, or one that is there twice."""
    if not config.models or len(set(config.models)) < len(config.models):
        raise ValueError(f'models={tuple(config.models)}: expected one or more, each once')


def expected(config) -> dict[str, tuple[float, str]]:
    """What every correct run of a recipe reaches; `gain` is the share of the mean predictor's RMSE that goes away."""
    for size, values in (('full', {'cv_r2_ridge': 0.77, 'cv_r2_ols': 0.60, 'gain_ridge': 0.50, 'gain_lasso': 0.50,
                                   'gain_sgd': 0.50, 'gain_svr': 0.53, 'gain_forest': 0.55, 'gain_boosting': 0.57}),
                         ('california', {'cv_r2_ridge': 0.70, 'gain_ridge': 0.45, 'cv_r2_forest': 0.75,
                                         'cv_r2_boosting': 0.79})):
        recipe = get_config(size)
        if all(config[k] == recipe[k] for k in recipe if k != 'seed'):
            return {name: (value, '>=') for name, value in values.items()}
    return {}
