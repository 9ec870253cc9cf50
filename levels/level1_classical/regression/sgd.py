"""Linear regression and classification by gradient descent, stochastic or on all rows.

Formula: see `descent`.
Paper: Robbins, Monro 1951, A stochastic approximation method, Annals of Mathematical Statistics 22.
Shapes: X [rows, features], y [rows].  Work: rows features outputs for each epoch, in one scan; memory: one shuffled
    copy of X.

Example:
    from levels.level1_classical.regression.sgd import sgd_classifier, sgd_regressor
    state = sgd_regressor(loss='huber', average=True).fit(key, X, y)        # the same key, the same bits
    exact = sgd_regressor(batch_size=None, schedule='constant', rate=0.5).fit(key, X, y)      # plain gradient descent
"""

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from levels.level1_classical.classification import logistic
from levels.level1_classical.estimator import Estimator, exact, hyper, labelled, rows
from levels.level1_classical.regression import linear
from levels.level1_classical.regression.descent import CLASSIFICATION, REGRESSION, SGD, descent


def checked_width(state: SGD, X) -> None:
    if X.shape[1] != state.coef.shape[0]:
        raise ValueError(f'X: expected {state.coef.shape[0]} features as in fit, found {X.shape[1]}')


def sgd_regressor(*, loss: str = 'squared', penalty: str = 'l2', alpha=1e-4, l1_ratio=0.15,
                  schedule: str = 'invscaling', rate=0.01, power=0.25, epsilon=0.1, average=False,
                  batch_size: int | None = 1, max_iter: int = 1000, tol=1e-3, patience: int = 5,
                  early_stopping: bool = False, validation_fraction=0.1, fit_intercept: bool = True) -> Estimator:
    """Linear regression by (stochastic) gradient descent; `batch_size=None` takes all rows in each step.

    Formula: minimise mean loss + alpha ((1 - r) ||w||^2 / 2 + r |w|_1), r = l1_ratio for elastic, 1 for l1, 0 for l2.
        Losses of e = p - y: squared e^2 / 2; huber e^2 / 2 up to epsilon, then straight; epsilon_insensitive
        max(|e| - epsilon, 0), and its square. Rates: constant; invscaling rate / t^power; optimal 1 / (alpha (t0 + t));
        adaptive: a fifth as large after `patience` epochs without gain, until it is below 1e-6.
    Paper: Robbins, Monro 1951, A stochastic approximation method; Polyak, Juditsky 1992, Acceleration of stochastic
        approximation by averaging; Bottou 2012, Stochastic gradient descent tricks (optimal).
    Shapes: fit X [rows, features], y, weight [rows] -> SGD(coef [features], intercept [], ...); predict [rows].
        `update(state, X, y, weight)` is one more epoch over these rows, in their order.
    average: False; True or 1: predict with the mean of all steps; k: of those after a weight of k has been seen.
    tol, patience: stops when the loss has not been tol better than the best for `patience` epochs; with early_stopping
        it is that of a random validation_fraction of the rows, which are not learned from. One key, one result.
        Scale the columns of X first: rates fit columns of spread about 1.
    Cost: time rows x features for each epoch, memory one shuffled copy of X; `update` needs no more than its own rows.
    Errors: ValueError for bad shapes or values (`estimator.rows`), an unknown loss, penalty or schedule, alpha of 0 for
        the optimal schedule, rate not above 0, other numbers out of range.
    Example:
        X = jnp.array([[-1.0], [0.0], [1.0]])
        model = sgd_regressor(batch_size=None, schedule='constant', rate=0.5, alpha=0.0, tol=0.0)
        state = model.fit(jax.random.key(0), X, jnp.array([1.0, 3.0, 5.0]))
        assert jnp.allclose(state.coef, 2.0, atol=1e-3) and jnp.allclose(state.intercept, 3.0, atol=1e-3)
    """
    fit, start, update = descent(
        losses=REGRESSION, loss=loss, penalty=penalty, alpha=alpha, l1_ratio=l1_ratio, schedule=schedule, rate=rate,
        power=power, epsilon=epsilon, average=average, batch_size=batch_size, max_iter=max_iter, tol=tol,
        patience=patience, early_stopping=early_stopping, validation_fraction=validation_fraction,
        fit_intercept=fit_intercept)

    def one_target(X, y, weight):
        X, y, weight = rows(X, y, weight)
        if y.ndim != 1:
            raise ValueError(f'y: expected [{len(X)}], found shape {y.shape}')
        return X, y[:, None], weight

    def more(state, X, y, weight=None):
        X, T, weight = one_target(X, y, weight)
        checked_width(state, X)
        return update(state, X, T, weight)

    return Estimator(lambda key, X, y=None, weight=None: fit(key, *one_target(X, y, weight), True), linear.predict,
                     score=linear.score, start=lambda d, dtype: start(d, dtype, 1, True), update=more)


@exact
def proba(state: SGD, X: Float[Array, 'rows features'], *, loss: str) -> Float[Array, 'rows classes']:
    """For log the logistic function of each margin, for modified_huber (margin + 1) / 2 within 0 and 1; of more than
    two classes those divided by their sum."""
    z = logistic.margins(state, X)
    p = jax.nn.sigmoid(z) if loss == 'log' else (jnp.clip(z, -1, 1) + 1) / 2
    if z.shape[1] == 1:
        return jnp.concatenate([1 - p, p], 1)
    total = jnp.sum(p, 1, keepdims=True)
    return jnp.where(total > 0, p / jnp.where(total > 0, total, 1), 1 / z.shape[1])


def sgd_classifier(*, loss: str = 'hinge', penalty: str = 'l2', alpha=1e-4, l1_ratio=0.15, schedule: str = 'optimal',
                   rate=0.01, power=0.5, average=False, class_weight=None, batch_size: int | None = 1,
                   max_iter: int = 1000, tol=1e-3, patience: int = 5, early_stopping: bool = False,
                   validation_fraction=0.1, fit_intercept: bool = True, n_classes: int = 2) -> Estimator:
    """Linear classification by (stochastic) gradient descent; of more than two classes each against the rest.

    Formula: minimise mean loss + alpha penalty, as `sgd_regressor`. Losses of the margin m = (2 y - 1) (x' w + b):
        hinge max(1 - m, 0); squared_hinge its square; log log(1 + exp(-m)); modified_huber max(1 - m, 0)^2 down to
        m = -1, then -4 m.
    Paper: Zhang 2004, Solving large scale linear prediction problems using stochastic gradient descent algorithms,
        ICML; Bottou 2012, Stochastic gradient descent tricks.
    Shapes: fit X [rows, features], y of classes, weight [rows] -> SGD(coef [features, outputs], intercept [outputs],
        ...), outputs 1 for two classes, else n_classes; predict [rows] int32, decision [rows] or [rows, n_classes],
        proba [rows, n_classes] for log and modified_huber.
    class_weight: as in `logistic`. The other numbers: as in `sgd_regressor`.
    Cost: time rows x features x outputs for each epoch, memory one shuffled copy of X.
    Errors: ValueError for bad shapes or values (`estimator.labelled`), and as `sgd_regressor`.
    Example:
        X = jnp.array([[-2.0], [-1.0], [1.0], [2.0]])
        state = sgd_classifier(loss='log', alpha=0.01).fit(jax.random.key(0), X, jnp.array([0, 0, 1, 1]))
        assert state.converged and state.coef[0, 0] > 0
        logistic.predict(state, X)                           # [0, 0, 1, 1]
    """
    hyper('n_classes', n_classes, 2)
    fit, start, update = descent(
        losses=CLASSIFICATION, loss=loss, penalty=penalty, alpha=alpha, l1_ratio=l1_ratio, schedule=schedule, rate=rate,
        power=power, epsilon=0.0, average=average, batch_size=batch_size, max_iter=max_iter, tol=tol, patience=patience,
        early_stopping=early_stopping, validation_fraction=validation_fraction, fit_intercept=fit_intercept)
    outputs = 1 if n_classes == 2 else n_classes

    def signs(X, y, weight):
        X, y, weight = labelled(X, y, weight, n_classes=n_classes)
        own = y[:, None] == (jnp.arange(n_classes) if outputs > 1 else jnp.ones(1, int))[None]
        return X, jnp.where(own, 1, -1).astype(X.dtype), logistic.class_weights(class_weight, y, weight, n_classes)

    def more(state, X, y, weight=None):
        X, T, weight = signs(X, y, weight)
        checked_width(state, X)
        return update(state, X, T, weight)

    return Estimator(lambda key, X, y=None, weight=None: fit(key, *signs(X, y, weight), False), logistic.predict,
                     score=logistic.score, decision=logistic.decision,
                     proba=functools.partial(proba, loss=loss) if loss in ('log', 'modified_huber') else None,
                     start=lambda d, dtype: start(d, dtype, outputs, False), update=more)
