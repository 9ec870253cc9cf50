"""The cases of logistic regression, naive Bayes, simple regression and the gradient methods."""
import jax.numpy as jnp
from estimator_case import LABELS, Case, X


def logistic_loss(state, x, y):
    z = (x @ state.coef + state.intercept[None])[:, 0]
    return jnp.sum(jnp.logaddexp(0, z) - y * z) + jnp.sum(state.coef**2) / 2


def ridge_loss(state, x, y):
    return jnp.mean((y - x @ state.coef - state.intercept[None]) ** 2) / 2 + 1e-4 / 2 * jnp.sum(state.coef**2)


def log_loss(state, x, y):
    z = (x @ state.coef + state.intercept[None])[:, 0]
    return jnp.mean(jnp.logaddexp(0, z) - y * z) + 0.1 / 2 * jnp.sum(state.coef**2)


mean_coef = lambda model, states: states.coef.mean(0)
DESCENT = {'batch_size': None, 'schedule': 'constant', 'rate': 0.5, 'tol': 1e-5, 'patience': 1}
SUMS = 'sums over the rows of each class'
# Long columns that are much alike: a step of L-BFGS is soon not enough.
CASES = {
    'logistic': Case({}, {'C': (0.1, 10.0)}, y=LABELS, objective=logistic_loss, steps='max_iter',
                     solver={'solver': 'lbfgs', 'tol': 1e-5},
                     hard=5 * X @ jnp.float32([[0.9, 0.9, 0.9], [0.1, -0.4, -0.4], [0.2, 0.2, 0.7]])),
    'sgd_regressor': Case({'rate': 0.01, 'max_iter': 60, 'tol': 0.0, 'patience': 60}, {'alpha': (1e-3, 0.5), 'rate': (
        0.003, 0.02)}, objective=ridge_loss, steps='max_iter', solver=DESCENT, random_rows=True, summary=mean_coef),
    'sgd_classifier': Case({'loss': 'log', 'alpha': 0.1, 'max_iter': 60, 'patience': 60}, {'alpha': (0.05, 0.5)},
                           y=LABELS, objective=log_loss, steps='max_iter', solver=DESCENT | {'alpha': 0.1, 'rate': 1.0},
                           random_rows=True, summary=mean_coef),
    'gaussian_nb': Case({}, {'var_smoothing': (1e-9, 0.5)}, y=LABELS, direct=SUMS),
    'multinomial_nb': Case({}, {'alpha': (0.1, 10.0)}, X**2, LABELS, direct=SUMS),
    'bernoulli_nb': Case({}, {'alpha': (0.1, 10.0), 'binarize': (0.0, 0.5)}, y=LABELS, direct=SUMS),
    'complement_nb': Case({}, {'alpha': (0.1, 10.0)}, X**2, LABELS, direct=SUMS),
}
