"""The cases of the decision trees, of boosting and of forests."""
import jax
from estimator_case import LABELS, Case, X, Y

LIMITS = {'ccp_alpha': (0.001, 0.05), 'min_impurity_decrease': (0.0, 0.05)}
# In nodes of two rows all features are equally good, and rounding decides among them: leaves are kept larger.
TREE = {'max_depth': 3, 'min_samples_leaf': 3}
BOOST = {'n_estimators': 4, 'max_depth': 2}
SHRINKAGE = {'learning_rate': (0.1, 0.5), 'reg_lambda': (0.1, 5.0), 'subsample': (0.4, 1.0)}
FOREST = {'n_estimators': 8, 'max_depth': 3}
ROUNDS = {'n_estimators': (1, 2, 3, 4, 6, 8)}
GREEDY = 'a tree is grown level by level, once'
APART = 'trees that know nothing of each other are averaged'


def last_loss(state, x, y):
    return state.loss[-1]


CASES = {
    'decision_tree_classifier': Case(TREE, LIMITS, y=LABELS, direct=GREEDY),
    'decision_tree_regressor': Case(TREE, LIMITS, direct=GREEDY),
    'gradient_boosting_classifier': Case(BOOST | {'min_child_weight': 0.5}, SHRINKAGE, y=LABELS, allow_nan=True,
                                         objective=last_loss, rounds=ROUNDS),
    'gradient_boosting_regressor': Case(BOOST, SHRINKAGE, allow_nan=True, objective=last_loss, rounds=ROUNDS),
    'random_forest_classifier': Case(FOREST, {'min_samples_leaf': (1, 6)}, y=LABELS, random_rows=True, direct=APART,
                                     summary=lambda model, states: means(model.proba, states)),
    'random_forest_regressor': Case(FOREST | {'n_estimators': 16}, {'min_samples_leaf': (1, 6)}, y=Y / 4,
                                    random_rows=True, direct=APART,
                                    summary=lambda model, states: means(model.predict, states)),
}


def means(method, states):
    """What the forests of many keys say on average: rows are drawn, so single forests differ."""
    return jax.jit(lambda s: jax.vmap(method, (0, None))(s, X).mean(0))(states)
