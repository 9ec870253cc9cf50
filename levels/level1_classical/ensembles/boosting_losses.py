"""Losses of gradient boosting: value, first and second derivative by the margin, where to begin.

Formula: squared (y - f)^2 / 2; logistic log(1 + exp f) - y f; softmax log sum exp f - f_y; quantile
    max(a (y - f), (a - 1)(y - f)), whose leaves take the a-quantile of what is left, as its curvature is none.
Paper: Friedman 2001, Greedy function approximation: a gradient boosting machine, Annals of Statistics 29; second
    derivatives: Chen, Guestrin 2016, XGBoost, KDD; quantiles: Koenker, Bassett 1978, Regression quantiles.
Shapes: margins f [rows, outputs], y [rows].

Example:
    loss = make('logistic')
    g, h = loss.derivatives(f, y)
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from levels.level1_classical.estimator import weighted_mean

REGRESSION = ('squared', 'quantile')


class Loss(NamedTuple):
    """What boosting asks of a loss; `value` is what its curve shows (squared: without the half)."""

    value: Callable         # (f, y) -> [rows]
    derivatives: Callable   # (f, y) -> (g, h), each [rows, outputs]
    base: Callable          # (y, weight) -> [outputs]
    leaf: Callable | None = None        # (left over [rows], weight, leaf [rows], nodes) -> [nodes], instead of -G / H


def quantile_by(x: Float[Array, ' rows'], weight, group, groups: int, a) -> Float[Array, ' groups']:
    """The smallest value of each group with at least a share `a` of its weight at or below, by bisection.

    Halving costs a pass over the rows each time, and there are as many as a number has bits of precision; sorting
    costs several times that on a CPU.
    """
    by = jnp.zeros(groups, x.dtype).at[group].add
    there = weight > 0
    high = jnp.full(groups, -jnp.inf, x.dtype).at[group].max(jnp.where(there, x, -jnp.inf))
    low = jnp.full(groups, jnp.inf, x.dtype).at[group].min(jnp.where(there, x, jnp.inf))
    some = jnp.isfinite(high)
    high, low = jnp.where(some, high, 0), jnp.where(some, low, 0)
    goal = a * by(weight) * (1 - 4 * jnp.finfo(x.dtype).eps)

    def halve(_, ends):
        low, high = ends
        middle = low + (high - low) / 2
        enough = by(jnp.where(x <= middle[group], weight, 0)) >= goal
        return jnp.where(enough, low, middle), jnp.where(enough, middle, high)

    steps = jnp.finfo(x.dtype).nmant + 8
    low, high = jax.lax.fori_loop(0, steps, halve, (low - (high - low) - 1e-6 * (1 + abs(low)), high))
    # the answer is a value of the group: the largest one that is not above the upper end
    return jnp.full(groups, -jnp.inf, x.dtype).at[group].max(
        jnp.where(there & (x <= high[group]), x, -jnp.inf)).clip(jnp.where(some, -jnp.inf, 0))


def make(name: str, *, quantile=0.5, n_classes: int = 2) -> Loss:
    """The loss of that name."""
    if name == 'squared':
        return Loss(lambda f, y: (f[:, 0] - y) ** 2, lambda f, y: (f - y[:, None], jnp.ones_like(f)),
                    lambda y, w: weighted_mean(y[:, None], w))
    if name == 'quantile':
        def pinball(f, y):
            return jnp.maximum(quantile * (y - f[:, 0]), (quantile - 1) * (y - f[:, 0]))

        all_in_one = lambda x, w: quantile_by(x, w, jnp.zeros(len(x), jnp.int32), 1, quantile)
        return Loss(pinball, lambda f, y: (jnp.where(f >= y[:, None], 1 - quantile, -quantile), jnp.ones_like(f)),
                    all_in_one, lambda x, w, leaf, nodes: quantile_by(x, w, leaf, nodes, quantile))
    tiny = 1e-16
    if name == 'logistic':
        def curvature(f, y):
            p = jax.nn.sigmoid(f)
            return p - y[:, None], jnp.maximum(p * (1 - p), tiny)

        def odds(y, w):
            share = jnp.clip(weighted_mean(y[:, None].astype(w.dtype), w), 1e-6, 1 - 1e-6)
            return jnp.log(share) - jnp.log1p(-share)

        return Loss(lambda f, y: jax.nn.softplus(f[:, 0]) - y * f[:, 0], curvature, odds)

    def derivatives(f, y):      # the diagonal of the curvature, doubled: then it bounds the whole
        p = jax.nn.softmax(f, 1)
        return p - jax.nn.one_hot(y, n_classes, dtype=f.dtype), jnp.maximum(2 * p * (1 - p), tiny)

    def shares(y, w):
        p = weighted_mean(jax.nn.one_hot(y, n_classes, dtype=w.dtype), w)
        return jnp.log(jnp.clip(p, 1e-6))

    pick = lambda f, y: jnp.take_along_axis(f, y[:, None], 1)[:, 0]
    return Loss(lambda f, y: jax.nn.logsumexp(f, 1) - pick(f, y), derivatives, shares)
