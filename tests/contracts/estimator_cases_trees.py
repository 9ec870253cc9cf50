"""The cases of the decision trees, of boosting and of forests."""
import jax
from estimator_case import LABELS, Case, X, Y

LIMITS = {'ccp_alpha': (0.001, 0.05), 'min_impurity_decrease': (0.0, 0.05)}
# In nodes of two rows all features are equally good, and rounding decides among them: leaves are kept larger.
TREE = {'max_depth': 3, 'min_samples_leaf': 3}
BOOST = {'n_estimators': 4, 'max_depth': 2}
SHRINKAGE = {'learning_rate': (0.1, 0.5), 'reg_lambda': (0.1, 5.0), 'subsample': (0.4, 1.0)}
FOREST = {'n_estimators': 8, 'max_depth': 3}
CASES = {
    'decision_tree_classifier': Case(TREE, LIMITS, y=LABELS),
    'decision_tree_regressor': Case(TREE, LIMITS),
    'gradient_boosting_classifier': Case(BOOST | {'min_child_weight': 0.5}, SHRINKAGE, y=LABELS, allow_nan=True),
    'gradient_boosting_regressor': Case(BOOST, SHRINKAGE, allow_nan=True),
    'random_forest_classifier': Case(FOREST, {'min_samples_leaf': (1, 6)}, y=LABELS, random_rows=True,
                                     summary=lambda model, states: means(model.proba, states)),
    'random_forest_regressor': Case(FOREST | {'n_estimators': 16}, {'min_samples_leaf': (1, 6)}, y=Y / 4,
                                    random_rows=True,
                                    summary=lambda model, states: means(model.predict, states)),
}


def means(method, states):
    """What the forests of many keys say on average: rows are drawn, so single forests differ."""
    return jax.jit(lambda s: jax.vmap(method, (0, None))(s, X).mean(0))(states)
