"""Regression metrics: MSE, RMSE, MAE, R2, weighted, of several targets, masked, in parts, inside jit.

Formula: MSE = sum w (y - p)^2 / sum w; RMSE = sqrt(MSE) of each target; MAE = sum w |y - p| / sum w;
    R2 = 1 - sum w (y - p)^2 / sum w (y - mean y)^2, and where y is constant 1 if p = y, else 0.
Paper: Hastie, Tibshirani, Friedman 2009, The Elements of Statistical Learning, section 7.2; merging: Chan, Golub,
    LeVeque 1983, Algorithms for computing the sample variance, The American Statistician 37.
Shapes: y, p [rows] or [rows, targets]; weight, mask [rows]; result [] or, with average='raw', [targets].

Example:
    r2(y, p, weight=w)                              # one number
    parts = [running(y[i], p[i]) for i in batches]  # streaming: the metrics of all rows from those of parts
    summary(functools.reduce(merge, parts))         # {'mse': ..., 'rmse': ..., 'mae': ..., 'r2': ...}
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from levels.level1_classical.estimator import floats

AVERAGES = ('uniform', 'raw', 'variance')


class Running(NamedTuple):
    """What `merge` adds up, and `summary` makes metrics of."""

    rows: Float[Array, '']           # of weight above 0
    weight: Float[Array, '']
    mean: Float[Array, ' targets']   # of y
    spread: Float[Array, ' targets']  # sum w (y - mean)^2: kept about the mean, for sums of y^2 cancel
    squared: Float[Array, ' targets']
    absolute: Float[Array, ' targets']


def running(y, p, *, weight=None, mask=None) -> Running:
    """The sums of one part of the data.

    Shapes: y, p [rows] or [rows, targets]; weight, mask [rows]; rows whose weight or mask is 0 count nothing, even NaN.
    Errors: ValueError when shapes differ, or there are no rows.
    """
    y, p = floats(y), floats(p)
    if y.shape != p.shape or y.ndim not in (1, 2) or 0 in y.shape:
        raise ValueError(f'y, p: expected two arrays [rows] or [rows, targets], found shapes {y.shape} and {p.shape}')
    y, p = y.reshape(len(y), -1), p.reshape(len(y), -1).astype(y.dtype)
    w = jnp.ones(len(y), y.dtype)
    for name, factor in (('weight', weight), ('mask', mask)):
        if factor is not None:
            factor = floats(factor).astype(y.dtype)
            if factor.shape != w.shape:
                raise ValueError(f'{name}: expected [{len(y)}], found shape {factor.shape}')
            w = w * factor
    seen = (w != 0)[:, None]
    y, p, total = jnp.where(seen, y, 0), jnp.where(seen, p, 0), jnp.sum(w)
    safe = jnp.where(total == 0, 1, total)
    # elementwise sums, not products of matrices: accelerators round those
    mean = jnp.sum(w[:, None] * y, 0) / safe
    mean = mean + jnp.sum(w[:, None] * jnp.where(seen, y - mean[None], 0), 0) / safe
    # about a mean that is rounded a constant y would have a spread
    mean = jnp.where(jnp.max(jnp.where(seen, y, -jnp.inf), 0) == jnp.min(jnp.where(seen, y, jnp.inf), 0),
                     jnp.max(jnp.where(seen, y, -jnp.inf), 0), mean)
    sums = [jnp.sum(w[:, None] * jnp.where(seen, v, 0), 0) for v in ((y - mean[None]) ** 2, (y - p) ** 2, abs(y - p))]
    return Running(jnp.sum(seen).astype(y.dtype), total, mean, *sums)


def merge(a: Running, b: Running) -> Running:
    """The sums of both parts."""
    weight = a.weight + b.weight
    step = b.mean - a.mean
    share = b.weight / jnp.where(weight == 0, 1, weight)
    mean = jnp.where(a.weight == 0, b.mean, jnp.where(b.weight == 0, a.mean, a.mean + share * step))
    across = jnp.where((a.weight == 0) | (b.weight == 0), 0, step**2 * share * a.weight)
    return Running(a.rows + b.rows, weight, mean, a.spread + b.spread + across, a.squared + b.squared,
                   a.absolute + b.absolute)


def summary(sums: Running, *, average='uniform') -> dict[str, Float[Array, '*targets']]:
    """mse, rmse, mae and r2 from sums.

    average: 'uniform' over targets, 'raw' for each target, 'variance' (weights targets by the spread of y), or weights.
    r2 is NaN for fewer than two rows.  Errors: ValueError for an unknown average or weights of the wrong shape.
    """
    flat = sums.spread == 0
    r2 = jnp.where(flat, jnp.where(sums.squared == 0, 1.0, 0.0), 1 - sums.squared / jnp.where(flat, 1, sums.spread))
    r2 = jnp.where(sums.rows < 2, jnp.nan, r2)
    mse = sums.squared / sums.weight
    each = {'mse': mse, 'rmse': jnp.sqrt(mse), 'mae': sums.absolute / sums.weight, 'r2': r2}
    if isinstance(average, str):
        if average not in AVERAGES:
            raise ValueError(f'average: expected weights or one of {", ".join(AVERAGES)}; found {average!r}')
        if average == 'raw':
            return each
        w = jnp.where(flat.all(), jnp.ones_like(mse), sums.spread) if average == 'variance' else jnp.ones_like(mse)
    else:
        w = floats(average).astype(mse.dtype)
        if w.shape != mse.shape:
            raise ValueError(f'average: expected weights {mse.shape}, found shape {w.shape}')
    return {name: jnp.sum(w * v) / jnp.sum(w) for name, v in each.items()}


def mse(y, p, *, weight=None, mask=None, average='uniform') -> Float[Array, '*targets']:
    """Mean squared error.

    Formula: sum w (y - p)^2 / sum w.
    Paper: Hastie, Tibshirani, Friedman 2009, The Elements of Statistical Learning, section 7.2.
    Shapes: y, p [rows] or [rows, targets], weight, mask [rows] -> [], or [targets] with average='raw'.
    Errors: ValueError for shapes that differ, an unknown average.
    Example:
        y = jnp.array([1.0, 2.0, 3.0])
        p = jnp.array([1.0, 2.0, 5.0])
        assert mse(y, p) == 4 / 3
        mse(y, p, mask=jnp.array([1, 1, 0]))                 # 0.0
    """
    return summary(running(y, p, weight=weight, mask=mask), average=average)['mse']


def rmse(y, p, *, weight=None, mask=None, average='uniform') -> Float[Array, '*targets']:
    """Root mean squared error: the root is taken of each target, then averaged.

    Formula: sqrt(sum w (y - p)^2 / sum w).
    Paper: Hastie, Tibshirani, Friedman 2009, The Elements of Statistical Learning, section 7.2.
    Shapes: y, p [rows] or [rows, targets], weight, mask [rows] -> [], or [targets] with average='raw'.
    Errors: ValueError for shapes that differ, an unknown average.
    Example:
        y = jnp.array([1.0, 2.0])
        p = jnp.array([4.0, 5.0])
        assert rmse(y, p) == 3
        rmse(y, p, weight=jnp.array([2.0, 1.0]))             # 3.0
    """
    return summary(running(y, p, weight=weight, mask=mask), average=average)['rmse']


def mae(y, p, *, weight=None, mask=None, average='uniform') -> Float[Array, '*targets']:
    """Mean absolute error.

    Formula: sum w |y - p| / sum w.
    Paper: Hastie, Tibshirani, Friedman 2009, The Elements of Statistical Learning, section 10.6.
    Shapes: y, p [rows] or [rows, targets], weight, mask [rows] -> [], or [targets] with average='raw'.
    Errors: ValueError for shapes that differ, an unknown average.
    Example:
        y = jnp.array([[1.0, 0.0], [2.0, 0.0]])
        p = jnp.array([[2.0, 4.0], [3.0, 4.0]])
        assert mae(y, p) == 2.5
        mae(y, p, average='raw')                             # [1.0, 4.0]
    """
    return summary(running(y, p, weight=weight, mask=mask), average=average)['mae']


def r2(y, p, *, weight=None, mask=None, average='uniform') -> Float[Array, '*targets']:
    """Coefficient of determination: 1 is perfect, 0 is the mean of y, and it can be negative.

    Formula: 1 - sum w (y - p)^2 / sum w (y - mean y)^2; for constant y 1 if p = y, else 0; NaN for fewer than two rows.
    Paper: Hastie, Tibshirani, Friedman 2009, The Elements of Statistical Learning, section 3.2.
    Shapes: y, p [rows] or [rows, targets], weight, mask [rows] -> [], or [targets] with average='raw'.
    Errors: ValueError for shapes that differ, an unknown average.
    Example:
        y = jnp.array([1.0, 2.0, 3.0])
        assert r2(y, y) == 1
        assert r2(y, jnp.full(3, 2.0)) == 0
        r2(y, jnp.zeros(3))                                  # -6.0
    """
    return summary(running(y, p, weight=weight, mask=mask), average=average)['r2']
