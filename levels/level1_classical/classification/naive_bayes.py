"""Naive Bayes: Gaussian, multinomial, Bernoulli and complement. A state is sums over the rows, so it takes more rows.

Formula: p(k | x) proportional to p(k) prod_j p(x_j | k).
Paper: Manning, Raghavan, Schuetze 2008, Introduction to Information Retrieval, chapter 13.
Shapes: X [rows, features], y [rows] of classes.

Example:
    from levels.level1_classical.classification.naive_bayes import gaussian_nb, update
    state = gaussian_nb(n_classes=3).fit(key, X, y)
    state = update(state, more_X, more_y)           # as if all rows had been given at once
    log_proba(state, X)
"""

import jax.numpy as jnp

from levels.level1_classical.classification.naive_bayes_states import (
    Bernoulli,
    Complement,
    Gaussian,
    Multinomial,
    log_proba,
    predict,
    proba,
    score,
    update,
)
from levels.level1_classical.estimator import Estimator, concrete, floats, holds, hyper, labelled

__all__ = ['bernoulli_nb', 'complement_nb', 'gaussian_nb', 'log_proba', 'multinomial_nb', 'update']


def estimator(start, n_classes: int, given) -> Estimator:
    """fit is `update` of the state without rows, start(empty, features, type)."""
    hyper('n_classes', n_classes, 2)
    if given is not None:
        hyper('priors', given, 0, 1)
        if jnp.shape(given) != (n_classes,):
            raise ValueError(f'priors: expected [{n_classes}], found shape {jnp.shape(given)}')
        total = jnp.sum(jnp.asarray(given, float)) if concrete(given) else 1.0
        if concrete(given) and not holds(lambda: jnp.abs(total - 1) < 1e-5):
            raise ValueError(f'priors: expected a sum of 1, found {float(total):g}')

    def fit(key, X, y=None, weight=None):
        X, y, weight = labelled(X, y, weight, n_classes=n_classes)
        return update(start(X.shape[1], X.dtype), X, y, weight)

    return Estimator(fit, predict, proba=proba, score=score, start=start, update=update)


def _prior(given, n_classes: int, dtype):
    flat = jnp.zeros(n_classes, dtype)
    return (flat if given is None else jnp.log(jnp.asarray(given, dtype))), jnp.asarray(given is not None)


def gaussian_nb(*, priors=None, var_smoothing=1e-9, n_classes: int = 2) -> Estimator:
    """Naive Bayes with a normal distribution for each feature in each class.

    Formula: log p(k, x) = log p(k) - sum_j log(2 pi v_kj) / 2 + (x_j - m_kj)^2 / (2 v_kj), v = var + s, s =
        var_smoothing times the largest variance of a feature over all rows.
    Paper: Hastie, Tibshirani, Friedman 2009, The Elements of Statistical Learning, section 6.6.3.
    Shapes: fit X [rows, features], y, weight [rows] -> Gaussian(count [classes], mean, var [classes, features], ...);
        predict [rows] int32, proba [rows, classes]. `update(state, X, y, weight)` adds rows.
    priors: [classes] of sum 1, or None: the shares of the classes. var_smoothing may be traced.
    Cost: time rows x features x classes, memory a copy of X; `update` needs no more than its own rows.
    Errors: ValueError for bad shapes or values (`estimator.labelled`), priors that are not [classes] or do not sum to
        1, var_smoothing < 0.
    Example:
        X = jnp.array([[0.0], [1.0], [10.0], [12.0]])
        state = gaussian_nb().fit(jax.random.key(0), X, jnp.array([0, 0, 1, 1]))
        assert (state.mean[:, 0] == jnp.array([0.5, 11.0])).all() and (state.var[:, 0] == jnp.array([0.25, 1.0])).all()
        predict(state, jnp.array([[2.0], [9.0]]))            # [0, 1]
    """
    hyper('var_smoothing', var_smoothing, 0)

    def start(d, dtype):
        empty = jnp.zeros((n_classes, d), dtype)
        return Gaussian(empty[:, 0], empty, empty, *_prior(priors, n_classes, dtype), jnp.asarray(var_smoothing, dtype))

    return estimator(start, n_classes, priors)


def _discrete(kind, alpha, class_prior, n_classes: int, *more) -> Estimator:
    hyper('alpha', alpha, 0)

    def start(d, dtype):
        a = jnp.maximum(floats(alpha).astype(dtype), 1e-10)
        if a.shape not in ((), (d,)):
            raise ValueError(f'alpha: expected a number or one for each of {d} features, found shape {a.shape}')
        empty = jnp.zeros((n_classes, d), dtype)
        return kind(empty[:, 0], empty, *_prior(class_prior, n_classes, dtype), a, empty.T, empty[:, 0],
                    *(jnp.asarray(m, bool if isinstance(m, bool) else dtype) for m in more))

    return estimator(start, n_classes, class_prior)


def multinomial_nb(*, alpha=1.0, class_prior=None, n_classes: int = 2) -> Estimator:
    """Naive Bayes for counts, as of words in a text.

    Formula: log p(k, x) = log p(k) + sum_j x_j log theta_kj + const, theta_kj = (N_kj + alpha) / sum_j (N_kj + alpha),
        N the sums of the features over the rows of a class.
    Paper: Manning, Raghavan, Schuetze 2008, Introduction to Information Retrieval, section 13.2.
    Shapes: fit X [rows, features] >= 0, y, weight [rows] -> Multinomial(count [classes], total [classes, features],
        ..., coef [features, classes], intercept [classes]); predict [rows] int32, proba [rows, classes].
    alpha: a number or [features], may be traced; less than 1e-10 counts as that. class_prior: [classes] or None.
    Cost: time rows x features x classes, memory classes x features; `update` needs no more than its own rows.
    Errors: ValueError for bad shapes or values (`estimator.labelled`), negative X, alpha < 0, priors as `gaussian_nb`.
    Example:
        X = jnp.array([[3.0, 0.0], [2.0, 1.0], [0.0, 4.0]])
        state = multinomial_nb().fit(jax.random.key(0), X, jnp.array([0, 0, 1]))
        assert (state.total == jnp.array([[5.0, 1.0], [0.0, 4.0]])).all()
        predict(state, jnp.array([[1.0, 5.0]]))              # [1]
    """
    return _discrete(Multinomial, alpha, class_prior, n_classes)


def bernoulli_nb(*, alpha=1.0, binarize=0.0, class_prior=None, n_classes: int = 2) -> Estimator:
    """Naive Bayes for features that are there or not; what is not there counts as well.

    Formula: log p(k, x) = log p(k) + sum_j log theta_kj where x_j > binarize, log(1 - theta_kj) elsewhere, theta_kj =
        (N_kj + alpha) / (n_k + 2 alpha), N the number of rows of a class of n_k with x_j > binarize.
    Paper: Manning, Raghavan, Schuetze 2008, Introduction to Information Retrieval, section 13.3.
    Shapes: fit X [rows, features], y, weight [rows] -> Bernoulli(count [classes], total [classes, features], ..., coef
        [features, classes], intercept [classes], ...); predict [rows] int32, proba [rows, classes].
    alpha: a number or [features]; alpha and binarize may be traced. class_prior: [classes] or None.
    Cost: time rows x features x classes, memory a copy of X (what is above `binarize`), and classes x features.
    Errors: ValueError for bad shapes or values (`estimator.labelled`), alpha < 0, priors as `gaussian_nb`.
    Example:
        X = jnp.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        state = bernoulli_nb().fit(jax.random.key(0), X, jnp.array([0, 0, 1]))
        assert (state.total == jnp.array([[2.0, 0.0], [0.0, 1.0]])).all()
        log_proba(state, X)                                  # [3, 2]
    """
    hyper('binarize', binarize, -jnp.inf)
    return _discrete(Bernoulli, alpha, class_prior, n_classes, binarize)


def complement_nb(*, alpha=1.0, norm: bool = False, class_prior=None, n_classes: int = 2) -> Estimator:
    """Naive Bayes for counts from all classes but one: steadier where some classes have few rows.

    Formula: class of the largest -sum_j x_j log theta_kj, theta_kj = (sum over other classes of N_j + alpha) / their
        sum over j; with `norm` each class's logs are divided by their sum. Priors have no part in it.
    Paper: Rennie, Shih, Teevan, Karger 2003, Tackling the poor assumptions of naive Bayes text classifiers, ICML.
    Shapes: fit X [rows, features] >= 0, y, weight [rows] -> Complement(count [classes], total [classes, features], ...,
        coef [features, classes], intercept [classes], ...); predict [rows] int32, proba [rows, classes].
    alpha: a number or [features], may be traced; less than 1e-10 counts as that.
    Cost: time rows x features x classes, memory classes x features; `update` needs no more than its own rows.
    Errors: ValueError for bad shapes or values (`estimator.labelled`), negative X, alpha < 0, priors as `gaussian_nb`.
    Example:
        X = jnp.array([[3.0, 0.0], [2.0, 1.0], [0.0, 4.0]])
        state = complement_nb().fit(jax.random.key(0), X, jnp.array([0, 0, 1]))
        assert (state.total == jnp.array([[5.0, 1.0], [0.0, 4.0]])).all()
        predict(state, X)                                    # [0, 0, 1]
    """
    return _discrete(Complement, alpha, class_prior, n_classes, norm)
