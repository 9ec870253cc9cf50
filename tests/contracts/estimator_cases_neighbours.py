"""The cases of nearest neighbours and of support vector machines."""
import jax.numpy as jnp
import numpy as np
from estimator_case import LABELS, Case, D, X, Y

from levels.level1_classical.classification.smo import Kernel

NEW = np.linspace(-1, 1, 7 * D, dtype=np.float32).reshape(7, D)      # rows that are none of X
KEPT = 'fit keeps the rows as they are'
COUNTED = 'a number of neighbours, and names of weights and metrics'


def squared_hinge(state, x, y):
    margin = (2 * y - 1) * (x @ state.coef[:, 0] + state.intercept)
    return (state.coef**2).sum() / 2 + (state.intercept**2).sum() / 2 + (jnp.maximum(0, 1 - margin) ** 2).sum()


def dual(state, target, epsilon=0.0):
    beta = state.beta[0]
    K = Kernel('rbf', 3, state.gamma, 0.0)(state.X, state.X)
    return beta @ K @ beta / 2 - target @ beta + epsilon * jnp.abs(beta).sum()


def on_new_rows(model, state):
    return model.decision(state, NEW) if model.decision else model.predict(state, NEW)


CASES = {
    'knn_classifier': Case({'weights': 'distance'}, {}, X, LABELS, direct=KEPT, discrete=COUNTED,
                           summary=lambda model, s: model.proba(s, NEW)),
    'knn_regressor': Case({}, {}, direct=KEPT, discrete=COUNTED, summary=lambda model, s: model.predict(s, NEW)),
    'linear_svc': Case({}, {'C': (0.1, 10.0), 'intercept_scaling': (1.0, 3.0)}, X, LABELS, squared_hinge, 'max_iter'),
    'svc': Case({'tol': 1e-5}, {'C': (0.1, 10.0), 'gamma': (0.1, 2.0)}, X, LABELS, lambda s, x, y: dual(s, 2 * y - 1),
                'max_iter', summary=on_new_rows),
    'svr': Case({'tol': 1e-5, 'C': 2.0}, {'C': (0.1, 10.0), 'epsilon': (0.1, 0.5)}, X, Y,
                lambda s, x, y: dual(s, y, 0.1), 'max_iter', summary=on_new_rows),
}
