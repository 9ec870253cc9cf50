"""The cases of the linear regressions."""
import jax.numpy as jnp
import numpy as np
from estimator_case import Case, X


def squares(state, x, y):
    return jnp.sum((y - x @ state.coef - state.intercept[None]) ** 2)


def penalised(l1, l2):
    def objective(state, x, y):
        return squares(state, x, y) / (2 * len(y)) + l1 * abs(state.coef).sum() + l2 / 2 * (state.coef**2).sum()
    return objective


# Columns much alike, the best one second: the first sweeps give its share to the others and are slow to take it back.
ALIKE = X @ np.float32([[0.9, 0.9, 0.9], [0.1, -0.4, -0.4], [0.2, 0.2, 0.7]])
CASES = {
    'ols': Case({}, {'rcond': (1e-6, 0.95)}, direct='one singular value decomposition'),
    'ridge': Case({}, {'alpha': (0.1, 10.0)}, steps='max_iter', solver={'solver': 'cg', 'tol': 1e-5},
                  objective=lambda s, x, y: squares(s, x, y) + (s.coef**2).sum()),
    'lasso': Case({'alpha': 0.1}, {'alpha': (0.05, 0.5)}, objective=penalised(0.1, 0.0), steps='max_iter',
                  hard=ALIKE),
    'elastic_net': Case({'alpha': 0.1}, {'alpha': (0.05, 0.5), 'l1_ratio': (0.2, 0.9)},
                        objective=penalised(0.095, 0.005), steps='max_iter', solver={'l1_ratio': 0.95}, hard=ALIKE),
}
