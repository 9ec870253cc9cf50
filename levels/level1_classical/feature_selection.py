"""Choosing features by fitting again and again: forward, backward and recursive, each of them one program.

Formula: a feature that is out is a column of zeros, which has no say in any model here: shapes stay as they are, so
    that every fit of every step is the same program, over candidates and folds side by side.
Paper: Kohavi, John 1997, Wrappers for feature subset selection, Artificial Intelligence 97; Guyon, Weston, Barnhill,
    Vapnik 2002, Gene selection for cancer classification using support vector machines, Machine Learning 46.
Shapes: X [rows, features], y [rows] -> which features came or went, in order, and the score after each step.

Example:
    from levels.level1_classical.feature_selection import recursive_elimination, sequential_selection
    folds = splits('kfold', X, n_splits=5)
    found = sequential_selection(key, ols(), X, y, folds, n_features=4)
    found.order, found.scores                       # which features, and how good the models of 1, 2, 3, 4 are
    rank = recursive_elimination(key, ridge(), X, y).rank
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from levels.level1_classical.estimator import Estimator, choice, features, floats
from levels.level1_classical.model_selection import Splits

DIRECTIONS = ('forward', 'backward')
HELD = 1 << 24      # numbers of X in the fits that run side by side


class Selection(NamedTuple):
    """The features in the order in which they came (forward) or went (backward), and those that are in at the end."""

    order: Int[Array, ' steps']
    scores: Float[Array, ' steps']          # the mean over folds, after each step
    selected: Bool[Array, ' features']


class Elimination(NamedTuple):
    """rank is 1 for the features that stay, 2 for those that went last, and so on; scores begin with all features."""

    rank: Int[Array, ' features']
    sizes: Int[Array, ' fits']
    scores: Float[Array, ' fits']


def _checked(model: Estimator, X, n_features: int, weight):
    X = features(X)
    if model.score is None:
        raise ValueError('model: expected an estimator with a score, found none')
    if not 1 <= n_features <= X.shape[1]:
        raise ValueError(f'n_features: expected 1 to {X.shape[1]}, the features there are, found {n_features}')
    weight = jnp.ones(len(X), X.dtype) if weight is None else floats(weight).astype(X.dtype)
    if weight.shape != X.shape[:1]:
        raise ValueError(f'weight: expected [{len(X)}], found shape {weight.shape}')
    return X, weight


def sequential_selection(key, model: Estimator, X: Float[Array, 'rows features'], y, folds: Splits, *, n_features: int,
                         direction: str = 'forward', weight=None) -> Selection:
    """One feature at a time: in comes the one with which (out goes the one without which) the model is best.

    Formula: forward S <- S + argmax_j score(S + j) from nothing; backward S <- S - argmax_j score(S - j) from all;
        score is the mean over folds of `model.score` on the rows left out. The first of equal ones is taken.
    Paper: Kohavi, John 1997, Wrappers for feature subset selection, Artificial Intelligence 97, section 3.
    Shapes: X [rows, features], y as the model wants it, folds' masks [folds, rows], weight [rows] -> Selection(order,
        scores [steps], selected [features]), steps being n_features, or features - n_features backward.
    model: any estimator with a score; another measure is `model._replace(score=...)`.
    Cost: steps x features x folds fits, all of one shape; memory that of as many fits as hold 2^24 numbers of X.
    Errors: ValueError for bad X, n_features out of range, a model without score, masks of another length, an unknown
        direction.
    Example:
        from levels.level1_classical.model_selection import splits
        from levels.level1_classical.regression.linear import ols
        X = jax.random.normal(jax.random.key(0), (40, 5))
        y = 3 * X[:, 4] - X[:, 1]
        found = sequential_selection(jax.random.key(1), ols(), X, y, splits('kfold', X, n_splits=4), n_features=2)
        assert found.order.tolist() == [4, 1] and found.scores[1] > 0.999
    """
    choice('direction', direction, DIRECTIONS)
    X, weight = _checked(model, X, n_features, weight)
    n, d = X.shape
    train, test = (jnp.asarray(m, X.dtype) for m in folds)
    if train.ndim != 2 or train.shape[1] != n:
        raise ValueError(f'folds: expected masks [folds, {n}], found shape {train.shape}')
    forward = direction == 'forward'

    def measured(inside):
        seen = jnp.where(inside[None], X, 0)

        def fold(train, test):
            return model.score(model.fit(key, seen, y, weight * train), seen, y, weight * test)

        return jnp.mean(jax.vmap(fold)(train, test))

    def step(inside, _):
        tried = inside[None] ^ jnp.eye(d, dtype=bool)
        scores = jax.lax.map(measured, tried, batch_size=max(1, min(d, HELD // (X.size * len(train)))))
        best = jnp.argmax(jnp.where(inside != forward, scores, -jnp.inf)).astype(jnp.int32)
        return tried[best], (best, scores[best])

    begin = jnp.full(d, not forward)
    selected, (order, scores) = jax.lax.scan(step, begin, None, length=n_features if forward else d - n_features)
    return Selection(order, scores, selected)


def _importance(state) -> Float[Array, ' features']:
    """Squares of the coefficients, summed over outputs, or the importances that trees tell."""
    for name in ('coef', 'importances'):
        if hasattr(state, name):
            value = getattr(state, name)
            return jnp.sum(value.reshape(len(value), -1) ** 2, 1)
    raise ValueError(f'model: expected one with coef or importances, found {type(state).__name__} without')


def recursive_elimination(key, model: Estimator, X: Float[Array, 'rows features'], y, *, n_features: int = 1,
                          step: int = 1, weight=None, test=None) -> Elimination:
    """The feature that counts least goes, again and again; scale the columns first, or sizes of coefficients mislead.

    Formula: S <- S less the `step` features of least sum_t coef_jt^2 (or importance) in the model fitted on S, until
        n_features are left.
    Paper: Guyon, Weston, Barnhill, Vapnik 2002, Gene selection for cancer classification using support vector machines,
        Machine Learning 46, section 3.2.
    Shapes: X [rows, features], y as the model wants it, weight, test [rows] -> Elimination(rank [features], sizes,
        scores [fits]): scores are those of each size on the rows of `test` (default: on those of `weight`).
    How many to keep: vmap over folds (weight=train, test=test), and take the size of the best mean score.
    model: one whose state has `coef` or `importances`. Forests that draw features draw those that are gone as well.
    Cost: (features - n_features) / step fits of one shape, one after the other; memory that of one.
    Errors: ValueError for bad X, n_features or step out of range, a model without score, coef and importances.
    Example:
        from levels.level1_classical.regression.linear import ols
        X = jax.random.normal(jax.random.key(0), (40, 4))
        found = recursive_elimination(jax.random.key(1), ols(), X, 3 * X[:, 2] - X[:, 0] + 0.1 * X[:, 3])
        assert found.rank.tolist() == [2, 4, 1, 3] and found.sizes.tolist() == [4, 3, 2, 1]
        found.scores                                         # near 1 until feature 0 is gone
    """
    X, weight = _checked(model, X, n_features, weight)
    d = X.shape[1]
    if not step >= 1:
        raise ValueError(f'step: expected at least 1, found {step}')
    test = weight if test is None else floats(test).astype(X.dtype)
    sizes = jnp.append(jnp.arange(d, n_features, -step), n_features).astype(jnp.int32)

    def fit(inside):
        seen = jnp.where(inside[None], X, 0)
        state = model.fit(key, seen, y, weight)
        return state, model.score(state, seen, y, test)

    def one(now, left):
        inside, rank = now
        state, score = fit(inside)
        order = jnp.argsort(jnp.where(inside, _importance(state), jnp.inf), stable=True)
        goes = jnp.zeros(d, bool).at[order].set(jnp.arange(d) < jnp.sum(inside) - left)
        return (inside & ~goes, rank + ~(inside & ~goes)), score

    begin = jnp.ones(d, bool), jnp.ones(d, jnp.int32)
    (inside, rank), scores = jax.lax.scan(one, begin, sizes[1:])
    return Elimination(rank, sizes, jnp.append(scores, fit(inside)[1]))
