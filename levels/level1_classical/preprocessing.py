"""What comes before a model, as estimators: filling gaps, clipping, scaling, polynomials; chains of them; fewer rows.

Their `fit` honours weights, so a fold is a vector of zeros and ones: rows of weight 0 have no part in any mean or
scale, and nothing of them can leak.

Example:
    from levels.level1_classical.preprocessing import chain, polynomial, scaler
    model = chain(scaler(), polynomial(), scaler(), ridge(alpha=1.0))
    state = model.fit(key, X, y, weight)
    model.predict(state, X)
"""

import itertools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from levels.level1_classical.estimator import Estimator, floats, hyper, rows, weighted_mean


class Scale(NamedTuple):
    """Column means and standard deviations."""

    mean: Float[Array, ' features']
    std: Float[Array, ' features']


class Fill(NamedTuple):
    """What stands for a value that is missing."""

    value: Float[Array, ' features']


class Range(NamedTuple):
    """What values are brought back to."""

    low: Float[Array, ' features']
    high: Float[Array, ' features']


class Nothing(NamedTuple):
    """The state of what learns nothing."""


def scaler() -> Estimator:
    """Columns of mean 0 and (population) variance 1; a constant column becomes 0.

    Formula: (x - mean) / std, weighted.  Paper: Hastie, Tibshirani, Friedman 2009, section 3.4.
    Shapes: X [rows, features] -> [rows, features].  Errors: ValueError as `estimator.rows`.
    Example:
        state = scaler().fit(key, X, weight=weight)
        scaler().transform(state, X)
    """
    def fit(key, X, y=None, weight=None) -> Scale:
        X, _, weight = rows(X, None, weight, need_y=False)
        mean = weighted_mean(X, weight)
        variance = weighted_mean((X - mean[None]) ** 2, weight)
        # the mean of a constant column is off by its rounding: that is no spread
        flat = variance <= (8 * jnp.finfo(X.dtype).eps * mean) ** 2
        return Scale(mean, jnp.where(flat, 1, jnp.sqrt(variance)))

    return Estimator(fit, transform=lambda state, X: (floats(X) - state.mean[None]) / state.std[None])


def imputer() -> Estimator:
    """NaN becomes the mean of what is there in that column (0 where nothing is).

    Formula: sum w x / sum w over the values that are there.  Paper: Little, Rubin 2019, Statistical Analysis with
        Missing Data, section 4.2.
    Shapes: X [rows, features] -> [rows, features].  Errors: ValueError as `estimator.rows`, but NaN is welcome.
    Example:
        state = imputer().fit(key, X, weight=weight)
        imputer().transform(state, X)
    """
    def fit(key, X, y=None, weight=None) -> Fill:
        X, _, weight = rows(X, None, weight, need_y=False, allow_nan=True)
        there = ~jnp.isnan(X) * weight[:, None]
        total = jnp.sum(there, 0)
        return Fill(jnp.sum(there * jnp.nan_to_num(X), 0) / jnp.where(total > 0, total, 1))

    return Estimator(fit, transform=lambda state, X: jnp.where(jnp.isnan(floats(X)), state.value[None], floats(X)))


def clipper(*, share: float = 0.005) -> Estimator:
    """Values beyond the outermost `share` of a column, on either side, become the last ones within (winsorising).

    One far-off row pulls a plane, and a row farther out than any that was seen is met by products that explode.

    Formula: min(max(x, q(share)), q(1 - share)), q(p) the least value with a share of at least p of the weight at or
        below it.  Paper: Tukey 1962, The future of data analysis, Annals of Mathematical Statistics 33, section 14.
    Shapes: X [rows, features] -> [rows, features].  Errors: ValueError as `estimator.rows`, share outside [0, 0.5).
    Example:
        state = clipper(share=0.01).fit(key, X, weight=weight)
        clipper().transform(state, X)
    """
    hyper('share', share, 0, 0.499)

    def fit(key, X, y=None, weight=None) -> Range:
        X, _, weight = rows(X, None, weight, need_y=False)
        order = jnp.argsort(X, axis=0)      # of X alone: under vmap over folds there is one sort for all
        upto = jnp.cumsum(weight[order], axis=0)
        total = upto[-1:]

        def quantile(p):
            # a hair less than p: 0.005 of 400 is not 2 in float32; and above 0, where rows of weight 0 are
            at = jnp.argmax(upto >= jnp.maximum(p * (1 - 1e-6) * total, jnp.finfo(X.dtype).tiny), axis=0)
            return jnp.take_along_axis(X, jnp.take_along_axis(order, at[None], 0), 0)[0]

        return Range(quantile(share), quantile(1 - share))

    return Estimator(fit, transform=lambda state, X: jnp.clip(floats(X), state.low[None], state.high[None]))


def polynomial(*, degree: int = 2) -> Estimator:
    """All products of up to `degree` columns, in scikit-learn's order, without the constant.

    Formula: x_a x_b ... for a <= b <= ...  Paper: Hastie, Tibshirani, Friedman 2009, section 5.1.
    Shapes: X [rows, features] -> [rows, C(features + degree, degree) - 1].  Errors: ValueError for degree < 1.
    Example:
        polynomial(degree=2).transform(polynomial().fit(key, X), X)      # a, b -> a, b, aa, ab, bb
    """
    hyper('degree', degree, 1)

    def transform(state, X):
        X = floats(X)
        return jnp.stack([jnp.prod(X[:, jnp.array(of)], 1) for n in range(1, degree + 1)
                          for of in itertools.combinations_with_replacement(range(X.shape[1]), n)], 1)

    return Estimator(lambda key, X, y=None, weight=None: Nothing(), transform=transform)


def thinned(model: Estimator, *, rows: int) -> Estimator:
    """The model fitted on a random part of the rows, for methods whose time or memory grows with rows squared.

    Formula: fit(X[s], y[s]), s the `rows` rows that a random order of those with weight puts first; all if there are
        no more.  Paper: none.
    Shapes: those of the model, with `rows` rows where its state has rows.  Errors: ValueError for rows < 1.
    Example:
        model = thinned(svr(), rows=2000)
        model.predict(model.fit(key, X, y, weight), X)
    """
    hyper('rows', rows, 1)

    def fit(key, X, y=None, weight=None):
        n = len(X)
        if rows >= n:
            return model.fit(key, X, y, weight)
        own, draw = jax.random.split(key)
        weight = jnp.ones(n, floats(X).dtype) if weight is None else floats(weight)
        order = jnp.where(weight > 0, jax.random.uniform(draw, (n,)), 2)
        take = jax.lax.top_k(-order, rows)[1]
        return model.fit(own, floats(X)[take], None if y is None else jnp.asarray(y)[take], weight[take])

    return model._replace(fit=fit, start=None, update=None)


def chain(*steps: Estimator) -> Estimator:
    """Each step is fitted on what the ones before it make of X; the last one predicts.

    Formula: f_n(... f_2(f_1(X))).  Paper: none.
    Shapes: those of the steps; the state is a tuple of theirs.  Errors: ValueError when a step but the last has no
        transform.
    Example:
        model = chain(scaler(), ridge(alpha=1.0))
        model.predict(model.fit(key, X, y), X)
    """
    *before, last = steps
    if any(step.transform is None for step in before):
        raise ValueError('steps: expected all but the last to have a transform')

    def through(state, X):
        for step, s in zip(before, state):
            X = step.transform(s, X)
        return X

    def fit(key, X, y=None, weight=None):
        states = []
        for i, step in enumerate(steps):
            states.append(step.fit(jax.random.fold_in(key, i), X, y, weight))
            X = X if step is last else step.transform(states[-1], X)
        return tuple(states)

    after = lambda fn: None if fn is None else lambda state, X, *more: fn(state[-1], through(state, X), *more)
    return Estimator(fit, *(after(fn) for fn in last[1:7]))     # rows in parts would change what comes before
