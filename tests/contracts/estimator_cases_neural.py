"""The cases of the estimators of level 2."""
import jax.numpy as jnp
import numpy as np
from estimator_case import LABELS, Case, X

AXIS = np.float32([1, -1, 0])
SIGN = 2 * LABELS[:, None] - 1
# Classes that a plane tells apart, by a hair: rows on the wrong side are moved across.
APART = X + np.maximum(0, 0.05 - (X @ AXIS)[:, None] * SIGN) * SIGN * AXIS / 2


def wrong(state, x, y):
    return jnp.sum((x @ state.coef[:, 0] + state.intercept > 0) != y)


CASES = {
    # the average has the most to get wrong: every visit counts in it
    'perceptron': Case({'keep': 'average', 'max_iter': 8}, {'rate': (0.5, 2.0)}, y=LABELS,
                       objective=wrong, steps='max_iter', solver={'keep': 'pocket'}, hard=APART.astype(np.float32)),
}
