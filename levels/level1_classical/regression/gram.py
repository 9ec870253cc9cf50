"""Sums of squares and products of rows about their means, some rows at a time: what ridge and lasso solve on.

Formula: with A = sqrt(W) (X - mean), b = sqrt(W) (y - mean): G = A'A, c = A'b, yy = b'b. Rows are centred by a first
    mean; what it missed by, its rounding, comes out of the same product and is put right.
Paper: Chan, Golub, LeVeque 1983, Algorithms for computing the sample variance, The American Statistician 37.
Shapes: X [rows, features], y [rows, targets], weight [rows].  No centred copy of X is made.

Example:
    m = moments(X, y, weight)
    coef = lapack.solve(m.G, m.c)
    pull(X, y, weight, m, coef)         # what of the slope is left, from the rows themselves: digits that G has lost
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from levels.level1_classical.estimator import summed


class Moments(NamedTuple):
    """G = A'A, c = A'b, the squares of b for each target, and the means."""

    G: Float[Array, 'd d']
    c: Float[Array, 'd targets']
    yy: Float[Array, ' targets']
    x_mean: Float[Array, ' d']
    y_mean: Float[Array, ' targets']


def moments(X, y, weight, fit_intercept: bool = True) -> Moments:
    """In two passes over the rows; without an intercept about zero."""
    total, d = jnp.sum(weight), X.shape[1]
    mean = jnp.zeros(d, X.dtype), jnp.zeros(y.shape[1], y.dtype)
    if fit_intercept:
        mean = tuple(s / total for s in summed(lambda w, x, y: (w @ x, w @ y), weight, X, y))

    def products(w, x, y):
        root = jnp.sqrt(w)[:, None]
        A = jnp.concatenate([root * (x - mean[0][None]), root * (y - mean[1][None]), root], 1)
        return A.T @ A

    S = summed(products, weight, X, y)
    off = S[-1, :-1] / total if fit_intercept else jnp.zeros_like(S[-1, :-1])
    P = S[:-1, :-1] - total * off[:, None] * off[None]
    return Moments(P[:d, :d], P[:d, d:], jnp.maximum(jnp.diagonal(P)[d:], 0), mean[0] + off[:d], mean[1] + off[d:])


def pull(X, y, weight, m: Moments, coef: Float[Array, 'd targets']) -> Float[Array, 'd targets']:
    """A'(b - A coef)."""
    def part(w, x, y):
        x = x - m.x_mean[None]
        return ((w[:, None] * (y - m.y_mean[None] - x @ coef)).T @ x).T

    return summed(part, weight, X, y)
