"""Linear support vector machines, one class against the rest: the squared hinge by Newton's method on the primal, the
hinge by coordinate descent on the dual.

Formula: minimise ||v||^2 / 2 + C sum_i w_i max(0, 1 - s_i v' z_i)^2, z = (x, intercept_scaling), s = +1 for the class
    and -1 for the rest. It is piecewise quadratic: with A the rows inside the margin a step solves
    (I + 2 C A' W A) step = -gradient and is halved until the loss falls enough. The dual of the hinge is in the box
    0 <= a_i <= C w_i, v = sum_i a_i s_i z_i, and a_i <- a_i - (s_i v' z_i - 1) / ||z_i||^2, clipped, row by row.
Paper: Keerthi, DeCoste 2005, A modified finite Newton method for fast solution of large scale linear SVMs, JMLR 6;
    Hsieh, Chang, Lin, Keerthi, Sundararajan 2008, A dual coordinate descent method for large-scale linear SVM, ICML.
Shapes: X [rows, features], y [rows] of classes -> coef [features, outputs], outputs 1 for two classes, else n_classes.

Example:
    from levels.level1_classical.classification.linear_svc import linear_svc
    model = linear_svc(C=0.1, n_classes=3)
    state = model.fit(key, X, y)
    model.decision(state, X), state.coef
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from common import lapack
from levels.level1_classical.classification.logistic import class_weights, decision, predict, score
from levels.level1_classical.estimator import Estimator, choice, exact, hyper, labelled

LOSSES = ('squared_hinge', 'hinge')
HALVES = 20


class LinearSVC(NamedTuple):
    """Planes; `residual` is the gradient's length relative to that at zero, or for the hinge how far any row is from
    the conditions of the minimum; of several classes the largest."""

    coef: Float[Array, 'features outputs']
    intercept: Float[Array, ' outputs']
    residual: Float[Array, '']
    steps: Int[Array, '']
    converged: Bool[Array, '']


class _Search(NamedTuple):
    v: Array
    margin: Array       # s_i v' z_i, kept up to date along the step
    gradient: Array
    loss: Array
    steps: Array
    stuck: Array


def _newton(Z, sign, cost, tol, max_iter):
    """(v, |gradient| / |gradient at zero|, steps) of one class."""
    lost = lambda v, margin: v @ v / 2 + cost @ jnp.maximum(1 - margin, 0) ** 2
    slope = lambda v, margin: v - 2 * ((cost * sign * jnp.maximum(1 - margin, 0)) @ Z)
    start = jnp.zeros(Z.shape[1], Z.dtype)
    none = jnp.zeros(len(Z), Z.dtype)
    begin = _Search(start, none, slope(start, none), lost(start, none), jnp.int32(0), jnp.asarray(False))
    first = jnp.linalg.norm(begin.gradient)
    goal = tol * first

    def step(s):
        inside = jnp.where(s.margin < 1, 2 * cost, 0)
        H = Z.T @ (inside[:, None] * Z) + jnp.eye(len(s.v), dtype=Z.dtype)
        move = -lapack.cho_solve(lapack.cholesky(H), s.gradient)
        ahead, fall = sign * (Z @ move), s.gradient @ move

        def too_far(at):
            t, value = at
            return ~(value <= s.loss + 1e-4 * t * fall) & (t > 0.5**HALVES)

        value = lambda t: lost(s.v + t * move, s.margin + t * ahead)
        t, loss = jax.lax.while_loop(too_far, lambda at: (at[0] / 2, value(at[0] / 2)),
                                     (jnp.ones((), Z.dtype), value(1.0)))
        t = jnp.where(loss <= s.loss, t, 0)
        v = s.v + t * move
        margin = sign * (Z @ v)
        return _Search(v, margin, slope(v, margin), jnp.where(t > 0, loss, s.loss), s.steps + 1, t == 0)

    more = lambda s: (jnp.linalg.norm(s.gradient) > goal) & ~s.stuck & (s.steps < max_iter)
    s = jax.lax.while_loop(more, step, begin)
    return s.v, jnp.linalg.norm(s.gradient) / jnp.where(first > 0, first, 1), s.steps


def _coordinates(key, Z, sign, cost, tol, max_iter):
    """(v, largest violation, sweeps) of one class with the hinge; each sweep takes the rows in an order of its own."""
    A = sign[:, None] * Z
    square = jnp.sum(Z**2, 1)
    curve = jnp.where(square > 0, square, 1)

    def row(t, now):
        order, share, v, worst = now
        i = order[t]
        slope = A[i] @ v - 1
        # what is left of the slope at a bound that it pushes against is nothing
        open_ = jnp.where(share[i] <= 0, jnp.minimum(slope, 0), slope)
        open_ = jnp.where(share[i] >= cost[i], jnp.maximum(open_, 0), open_)
        moved = jnp.clip(share[i] - slope / curve[i], 0, cost[i])
        v = v + (moved - share[i]) * A[i]
        worst = jnp.maximum(worst, jnp.where(cost[i] > 0, jnp.abs(open_), 0))
        return order, share.at[i].set(moved), v, worst

    def sweep(s):
        share, v, _, steps = s
        order = jax.random.permutation(jax.random.fold_in(key, steps), len(Z))
        _, share, v, worst = jax.lax.fori_loop(0, len(Z), row, (order, share, v, jnp.zeros((), Z.dtype)))
        return share, v, worst, steps + 1

    start = jnp.zeros(len(Z), Z.dtype), jnp.zeros(Z.shape[1], Z.dtype), jnp.asarray(jnp.inf, Z.dtype), jnp.int32(0)
    _, v, worst, steps = jax.lax.while_loop(lambda s: (s[2] > tol) & (s[3] < max_iter), sweep, start)
    return v, worst, steps


def linear_svc(*, loss: str = 'squared_hinge', C=1.0, fit_intercept: bool = True, intercept_scaling=1.0,
               class_weight=None, tol=1e-6, max_iter: int = 100, n_classes: int = 2) -> Estimator:
    """The linear machine; as in liblinear the intercept is penalised like the other weights.

    Formula: minimise ||v||^2 / 2 + C sum_i w_i c_i max(0, 1 - s_i v'(x_i, intercept_scaling))^2 for each class, with
        `hinge` without the square.
    Paper: Fan, Chang, Hsieh, Wang, Lin 2008, LIBLINEAR: a library for large linear classification, JMLR 9; Keerthi,
        DeCoste 2005, A modified finite Newton method for fast solution of large scale linear SVMs, JMLR 6.
    Shapes: fit X [rows, features], y [rows] of classes 0 ... n_classes - 1, weight [rows] -> LinearSVC(coef [features,
        outputs], intercept [outputs], ...), outputs 1 for two classes, else n_classes; predict [rows] int32; decision
        [rows] or [rows, n_classes].
    class_weight: None, 'balanced' or [n_classes]: c_i is that of the row's class; of more than two classes, as in
        liblinear, only where it is the class against the rest.
    tol: the residual (see `LinearSVC`) to stop at; max_iter: steps for each class, for the hinge sweeps over the rows,
        of which it may take thousands where C is large. C, intercept_scaling and tol may be traced. Features far
        from zero need float64: nothing can be centred where the intercept is penalised.
    Cost: time about ten steps of rows x features^2 for each class, or sweeps of rows x features; memory two copies of
        X, and features^2.
    Errors: ValueError for bad shapes or values (`estimator.labelled`), C not above 0, a wrong class_weight,
        an unknown loss.
    Example:
        X, y = jnp.array([[-2.0], [-1.0], [1.0], [2.0]]), jnp.array([0, 0, 1, 1])
        model = linear_svc(C=0.5)
        state = model.fit(jax.random.key(0), X, y)
        assert state.converged and jnp.allclose(state.coef, 2 / 3) and jnp.allclose(state.intercept, 0, atol=1e-6)
        model.decision(state, X)                             # [-4/3, -2/3, 2/3, 4/3]
    """
    for name, value in (('C', C), ('intercept_scaling', intercept_scaling), ('tol', tol)):
        hyper(name, value, 0, open_low=True)
    hyper('max_iter', max_iter, 1)
    choice('loss', loss, LOSSES)

    @exact
    def fit(key, X, y=None, weight=None) -> LinearSVC:
        X, y, weight = labelled(X, y, weight, n_classes=n_classes)
        scale = jnp.asarray(intercept_scaling, X.dtype)
        Z = jnp.concatenate([X, jnp.broadcast_to(scale, (len(X), 1))], 1) if fit_intercept else X
        heavy = class_weights(class_weight, y, weight, n_classes)

        def against_rest(c):
            mine = y == c
            cost = C * (heavy if n_classes == 2 else jnp.where(mine, heavy, weight))
            sign = jnp.where(mine, 1, -1).astype(Z.dtype)
            if loss == 'hinge':
                return _coordinates(key, Z, sign, cost, tol, max_iter)
            return _newton(Z, sign, cost, tol, max_iter)

        which = jnp.arange(1, 2) if n_classes == 2 else jnp.arange(n_classes)
        v, residual, steps = jax.lax.map(against_rest, which)
        intercept = v[:, -1] * scale if fit_intercept else jnp.zeros(len(v), v.dtype)
        return LinearSVC(v[:, :X.shape[1]].T, intercept, jnp.max(residual), jnp.max(steps), jnp.max(residual) <= tol)

    return Estimator(fit, predict, score=score, decision=decision)
