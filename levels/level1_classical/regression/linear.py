"""Ordinary least squares, by QR or SVD; what the linear regressions share.

Formula: minimise sum_i w_i ||y_i - x_i' B - b||^2; of all minimisers the one with the smallest ||B||.
Paper: Golub, Van Loan 2013, Matrix Computations, sections 5.3 and 5.5; Hastie, Tibshirani, Friedman 2009, The Elements
    of Statistical Learning, section 3.2.
Shapes: X [rows, features], y [rows] or [rows, targets] -> coef [features] or [features, targets].

Example:
    from levels.level1_classical.regression.linear import ols
    model = ols()
    state = model.fit(jax.random.key(0), X, y)
    model.predict(state, X)
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from common import lapack
from levels.level1_classical import metrics
from levels.level1_classical.estimator import Estimator, centred, choice, exact, features, rows

SOLVERS = ('qr', 'svd', 'lstsq')


class Linear(NamedTuple):
    """A fitted plane: prediction = X @ coef + intercept."""

    coef: Float[Array, 'features *targets']
    intercept: Float[Array, '*targets']
    rank: Int[Array, '']


@exact
def predict(state, X: Float[Array, 'rows features']) -> Float[Array, 'rows *targets']:
    """X @ coef + intercept, for any state that has these two.

    Shapes: X [rows, features] -> [rows], or [rows, targets].  Errors: ValueError for another number of features.
    """
    X = features(X)
    if X.shape[1] != state.coef.shape[0]:
        raise ValueError(f'X: expected {state.coef.shape[0]} features as in fit, found {X.shape[1]}')
    return X @ state.coef + state.intercept[None]


def score(state, X: Float[Array, 'rows features'], y=None, weight=None) -> Float[Array, '']:
    """R2 of the predictions, mean over targets.  Errors: ValueError as `rows`."""
    X, y, weight = rows(X, y, weight)
    return metrics.r2(y, predict(state, X), weight=weight)


def uncentred(coef, x_mean, y_mean, one_target: bool):
    """(coef, intercept) in the shapes of the caller's y, from a coef [features, targets] of centred data."""
    intercept = y_mean - x_mean @ coef
    return (coef[:, 0], intercept[0]) if one_target else (coef, intercept)


def ols(*, fit_intercept: bool = True, solver: str = 'qr', rcond: float | None = None) -> Estimator:
    """Ordinary least squares with weights, several targets, and the minimum-norm answer when columns are dependent.

    Formula: coef = pinv(sqrt(W) (X - mean)) sqrt(W) (y - mean), intercept = mean(y) - mean(X)' coef. `qr` reduces to
        the triangle R first and inverts that by its SVD: for tall X about a third of the work of `svd`, and no squared
        condition number as in the normal equations; `lstsq` is jax.numpy's.
    Paper: Golub, Van Loan 2013, Matrix Computations, sections 5.3 and 5.5.
    Shapes: fit X [rows, features], y [rows, *targets], weight [rows] -> Linear(coef [features, *targets], intercept
        [*targets], rank []); predict [rows, *targets].
    rcond: singular values below rcond times the largest count as zero; default max(features, 10) roundings. (NumPy's
        default grows with the rows, which for float32 and 10,000 rows would drop directions that matter.)
    Cost: time grows with rows x features^2 (the smaller of the two squared), memory is that of two copies of X.
    Errors: ValueError for bad shapes or values (`estimator.rows`), an unknown solver.
    Example:
        X = jnp.array([[0.0, 1.0], [1.0, 0.0], [2.0, 2.0], [3.0, 1.0]])
        state = ols().fit(jax.random.key(0), X, 3 * X[:, 0] - X[:, 1] + 5)
        assert jnp.allclose(state.coef, jnp.array([3.0, -1.0]), atol=1e-5) and state.rank == 2
        state.intercept                                      # 5.0
    """
    choice('solver', solver, SOLVERS)

    @exact
    def fit(key, X, y=None, weight=None) -> Linear:
        X, y, weight = rows(X, y, weight)
        A, b, x_mean, y_mean = centred(X, y.reshape(len(y), -1), weight, fit_intercept)
        cut = max(A.shape[1], 10) * jnp.finfo(A.dtype).eps if rcond is None else rcond
        if solver == 'lstsq':
            coef, rank = lapack.lstsq(A, b, cut)
        else:
            if solver == 'qr':
                Q, A = lapack.qr(A)
                b = Q.T @ b
            U, s, Vt = lapack.svd(A)
            kept = s > cut * s[0]
            coef = Vt.T @ (jnp.where(kept, 1 / jnp.where(kept, s, 1), 0)[:, None] * (U.T @ b))
            rank = jnp.sum(kept)
        return Linear(*uncentred(coef, x_mean, y_mean, y.ndim == 1), rank.astype(jnp.int32))

    return Estimator(fit, predict, score=score)
