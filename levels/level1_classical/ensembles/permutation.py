"""How much a fitted model leans on each feature, whatever the model.

Formula: importance of feature j = score(X, y) - score(X with column j shuffled, y), of several shuffles.
Paper: Breiman 2001, Random forests, Machine Learning 45, section 10; Fisher, Rudin, Dominici 2019, All models are
    wrong, but many are useful, JMLR 20.
Shapes: X [rows, features] -> drops [features, repeats].

Example:
    drops = permutation_importance(model, state, X_test, y_test, key=key)
    drops.mean(1), drops.std(1)
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from levels.level1_classical.ensembles.tree import whole
from levels.level1_classical.estimator import Estimator, rows


def permutation_importance(model: Estimator, state, X, y=None, *, key, n_repeats: int = 5,
                           weight=None) -> Float[Array, 'features repeats']:
    """What the score loses when a column is shuffled, of any estimator that has a score.

    Formula: score(X, y) - score(X with column j in random order, y). Take rows that were not trained on: of training
        rows it says what the model remembers. Features that stand for each other share their importance.
    Paper: Breiman 2001, Random forests, Machine Learning 45, section 10.
    Shapes: X [rows, features], y [rows], weight [rows] -> [features, n_repeats]; one pass of `score` for each entry.
    Errors: ValueError for an estimator without a score, fewer than one repeat, bad shapes or values.
    Example:
        from levels.level1_classical.regression.ridge import ridge
        X = jax.random.normal(jax.random.key(1), (50, 2))
        model, y = ridge(alpha=0.1), 3 * X[:, 0]
        state = model.fit(jax.random.key(0), X, y)
        drops = permutation_importance(model, state, X, y, key=jax.random.key(2))
        assert drops.shape == (2, 5) and drops[0].min() > 0.5 and abs(drops[1]).max() < 0.1
    """
    if model.score is None:
        raise ValueError('model: expected an estimator with a score, found none')
    whole('n_repeats', n_repeats, 1, none=False)
    X, y, weight = rows(X, y, weight, need_y=False, allow_nan=True)
    n, d = X.shape
    best = model.score(state, X, y, weight)

    def one(at):
        j, key = at
        return best - model.score(state, X.at[:, j].set(X[jax.random.permutation(key, n), j]), y, weight)

    columns = jnp.repeat(jnp.arange(d), n_repeats)
    return jax.lax.map(one, (columns, jax.random.split(key, d * n_repeats))).reshape(d, n_repeats)
