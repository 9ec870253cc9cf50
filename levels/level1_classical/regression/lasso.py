"""Lasso and elastic net by coordinate descent on the Gram matrix, stopped by the duality gap; paths; stability.

Formula: minimise ||y - X w - b||^2 / (2 n) + alpha r |w|_1 + alpha (1 - r) / 2 ||w||^2, r = l1_ratio (lasso: 1);
    with weights n = sum of the weights and the squares are weighted.
Paper: Tibshirani 1996, Regression shrinkage and selection via the lasso, JRSS B 58; Zou, Hastie 2005, JRSS B 67;
    Friedman, Hastie, Tibshirani 2010, Regularization paths for generalized linear models, J. Stat. Software 33;
    stability: Meinshausen, Buehlmann 2010, Stability selection, JRSS B 72.
Shapes: X [rows, features], y [rows] or [rows, targets] (each target is a lasso of its own).

Example:
    from levels.level1_classical.regression.lasso import lasso, lasso_path
    state = lasso(alpha=0.1).fit(key, X, y)
    (state.coef != 0).sum(), state.converged, state.gap
    path = lasso_path(X, y, n_alphas=50)                      # path.coef [50, features]
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from common import lapack
from common.task import Task, solve
from levels.level1_classical.estimator import Estimator, exact, hyper, rows
from levels.level1_classical.regression.gram import moments, pull
from levels.level1_classical.regression.linear import predict, score, uncentred


class Lasso(NamedTuple):
    """A fitted plane. `gap` bounds how far the objective is from its minimum, as a share of the objective at w = 0."""

    coef: Float[Array, 'features *targets']
    intercept: Float[Array, '*targets']
    gap: Float[Array, '*targets']
    steps: Int[Array, '']
    converged: Bool[Array, '']


class Path(NamedTuple):
    """Lassos from the largest alpha to the smallest, each started from the one before."""

    alphas: Float[Array, ' k']
    coef: Float[Array, 'k features']
    intercept: Float[Array, ' k']
    gap: Float[Array, ' k']
    steps: Int[Array, ' k']
    converged: Bool[Array, ' k']


class Sums(NamedTuple):
    """All that coordinate descent needs to know of the data: G = A'A / n, c = A'b / n, yy = b'b / n."""

    G: Float[Array, 'd d']
    c: Float[Array, ' d']
    yy: Float[Array, '']


TARGETS = Sums(None, 0, 0)      # the axes of several targets' sums


class Point(NamedTuple):
    """Coefficients and their duality gap."""

    coef: Float[Array, ' d']
    gap: Float[Array, '']


def duality_gap(sums: Sums, w, image, l1, l2):
    """Objective minus dual objective at the scaled residual; `image` is G w.

    Every term of this form is >= 0, so nothing cancels; the textbook difference of two objectives would be rounding.
    """
    slope = sums.c - image - l2 * w
    steepest = jnp.max(jnp.abs(slope))
    c = jnp.where(steepest > l1, l1 / jnp.where(steepest > 0, steepest, 1), 1)
    squares = jnp.maximum(sums.yy - 2 * (sums.c @ w) + w @ image, 0) + l2 * (w @ w)
    return (1 - c) ** 2 * squares / 2 + jnp.sum(jnp.maximum(l1 * jnp.abs(w) - c * w * slope, 0))


def descend(sums: Sums, l1, l2, start, tol, max_iter):
    """Sweeps over the coordinates until the gap is tol times half of yy; (Point, steps, converged)."""
    def sweep(key, point, sums):
        def one(j, now):
            w, image = now
            old, curve = w[j], sums.G[j, j]
            pull = sums.c[j] - image[j] + curve * old
            new = jnp.sign(pull) * jnp.maximum(jnp.abs(pull) - l1, 0) / jnp.where(curve + l2 > 0, curve + l2, 1)
            new = jnp.where(curve > 0, new, 0)       # a constant column
            return w.at[j].set(new), image + (new - old) * sums.G[j]

        # G w is made anew in each sweep: thousands of updates would let rounding pile up
        w, _ = jax.lax.fori_loop(0, len(sums.c), one, (point.coef, sums.G @ point.coef))
        return Point(w, duality_gap(sums, w, sums.G @ w, l1, l2)), {}

    goal = tol * sums.yy / 2
    task = Task(lambda key, sums: Point(start, jnp.full_like(sums.yy, jnp.inf)), sweep)
    found = solve(task, jax.random.key(0), sums, max_steps=max_iter, done=lambda old, new: new.gap <= goal)
    return found.state, found.steps, found.converged


def polished(slope, sums: Sums, point: Point, l1, l2):
    """One Newton step on the coefficients that are not zero, from A'(b - A w) / n of the rows themselves (`slope`).

    Where signs hold, the objective is a parabola in them: the step goes to its bottom, and wins back the digits that
    the Gram matrix has lost. Taken only if no sign changes and the gap does not grow.
    """
    w = point.coef
    on = w != 0
    H = jnp.where(on[:, None] & on[None], sums.G, 0) + jnp.diag(jnp.where(on, l2, 1))
    slope = jnp.where(on, slope - l2 * w - l1 * jnp.sign(w), 0)
    new = w + lapack.cho_solve(lapack.cholesky(H), slope)
    gap = duality_gap(sums, new, sums.G @ new, l1, l2)
    # in float32 the gap itself is known to a few roundings of yy
    better = (jnp.sign(new) == jnp.sign(w)).all() & (gap <= point.gap + 8 * jnp.finfo(w.dtype).eps * sums.yy)
    return jax.tree.map(lambda a, b: jnp.where(better, a, b), Point(new, jnp.minimum(gap, point.gap)), point)


def relative(point: Point, sums: Sums):
    """The gap as a share of the objective at w = 0."""
    return 2 * point.gap / jnp.where(sums.yy > 0, sums.yy, 1)


def elastic_net(*, alpha=1.0, l1_ratio=0.5, fit_intercept: bool = True, tol: float = 1e-6,
                max_iter: int = 10_000) -> Estimator:
    """Elastic net: some coefficients exactly zero, and related columns share theirs.

    Formula: minimise ||y - X w - b||^2 / (2 n) + alpha l1_ratio |w|_1 + alpha (1 - l1_ratio) / 2 ||w||^2.
    Paper: Zou, Hastie 2005, Regularization and variable selection via the elastic net, JRSS B 67.
    Shapes: fit X [rows, features], y [rows, *targets], weight [rows] -> Lasso(coef [features, *targets], intercept
        [*targets], gap [*targets], steps [], converged []); predict [rows, *targets].
    tol: the gap to stop at, as a share of the objective at w = 0; max_iter: sweeps. alpha and l1_ratio may be traced.
    Cost: time rows x features^2 once, then features^2 for each sweep, whatever the rows; memory a copy of X, and
        features^2 for each target.
    Errors: ValueError for bad shapes or values (`estimator.rows`), alpha not above 0 (that is `ols`), l1_ratio outside
        (0, 1] (0 is `ridge`), tol < 0, max_iter < 1.
    Example:
        X = jnp.array([[1.0, 1.0], [-1.0, -1.0], [2.0, 2.0], [-2.0, -2.0]])
        state = elastic_net(alpha=0.1).fit(jax.random.key(0), X, X[:, 0])
        assert state.converged and jnp.allclose(state.coef[0], state.coef[1], atol=1e-2)   # twins share
        state.gap <= 1e-6                                    # True
    """
    hyper('alpha', alpha, 0, open_low=True)
    hyper('l1_ratio', l1_ratio, 0, 1, open_low=True)
    hyper('tol', tol, 0)
    hyper('max_iter', max_iter, 1)

    @exact
    def fit(key, X, y=None, weight=None) -> Lasso:
        X, y, weight = rows(X, y, weight)
        Y, n = y.reshape(len(y), -1), jnp.sum(weight)
        m = moments(X, Y, weight, fit_intercept)
        l1, l2 = (jnp.asarray(alpha * r, X.dtype) for r in (l1_ratio, 1 - l1_ratio))
        sums = Sums(m.G / n, m.c.T / n, m.yy / n)
        each = jax.vmap(lambda sums: descend(sums, l1, l2, jnp.zeros_like(sums.c), tol, max_iter), (TARGETS,))
        point, steps, converged = each(sums)
        slopes = pull(X, Y, weight, m, point.coef.T).T / n
        point = jax.vmap(lambda *now: polished(*now, l1, l2), (0, TARGETS, 0))(slopes, sums, point)
        gap = relative(point, sums)
        gap = gap[0] if y.ndim == 1 else gap
        return Lasso(*uncentred(point.coef.T, m.x_mean, m.y_mean, y.ndim == 1), gap, steps.max(), converged.all())

    return Estimator(fit, predict, score=score)


def lasso(*, alpha=1.0, fit_intercept: bool = True, tol: float = 1e-6, max_iter: int = 10_000) -> Estimator:
    """Lasso: least squares with a price on the absolute coefficients, which makes many of them exactly zero.

    Formula: minimise ||y - X w - b||^2 / (2 n) + alpha |w|_1.
    Paper: Tibshirani 1996, Regression shrinkage and selection via the lasso, JRSS B 58.
    Shapes: fit X [rows, features], y [rows, *targets], weight [rows] -> Lasso(coef [features, *targets], intercept
        [*targets], gap [*targets], steps [], converged []); predict [rows, *targets].
    tol, max_iter: as in `elastic_net`. alpha may be traced.
    Cost: time and memory as `elastic_net`.
    Errors: ValueError for bad shapes or values (`estimator.rows`), alpha not above 0 (that is `ols`).
    Example:
        X = jnp.array([[1.0, 0.1], [-1.0, 0.1], [1.0, -0.1], [-1.0, -0.1]])
        state = lasso(alpha=0.5).fit(jax.random.key(0), X, 2 * X[:, 0] + X[:, 1])
        assert state.coef[1] == 0 and state.converged
        state.coef[0]                                        # 1.5: shrunk by alpha
    """
    return elastic_net(alpha=alpha, l1_ratio=1.0, fit_intercept=fit_intercept, tol=tol, max_iter=max_iter)


@exact
def lasso_path(X: Float[Array, 'rows features'], y: Float[Array, ' rows'], *, alphas=None, n_alphas: int = 100,
               eps: float = 1e-3, l1_ratio=1.0, weight=None, fit_intercept: bool = True, tol: float = 1e-6,
               max_iter: int = 10_000) -> Path:
    """The whole regularisation path in one program over one Gram matrix, each alpha started from the last.

    Formula: alphas from max|Xc' W yc| / (n l1_ratio), where the first coefficient enters, down to eps times that,
        evenly in the logarithm; or those given, from the largest to the smallest.
    Paper: Friedman, Hastie, Tibshirani 2010, Regularization paths for generalized linear models, J. Stat. Software 33.
    Shapes: X [rows, features], y [rows] -> Path(alphas [k], coef [k, features], intercept, gap, steps, converged [k]).
    Errors: ValueError for bad shapes or values, y of several targets, alphas or l1_ratio out of range.
    Example:
        X = jax.random.normal(jax.random.key(0), (50, 5))
        path = lasso_path(X, X[:, 0] - 2 * X[:, 3], n_alphas=10)
        assert path.coef.shape == (10, 5) and path.converged.all()
        (path.coef != 0).sum(axis=1)                         # 0 at the largest alpha, then more and more
    """
    X, y, weight = rows(X, y, weight)
    hyper('l1_ratio', l1_ratio, 0, 1, open_low=True)
    if y.ndim != 1:
        raise ValueError(f'y: expected one target [{len(X)}], found shape {y.shape}; vmap over targets')
    n = jnp.sum(weight)
    m = moments(X, y[:, None], weight, fit_intercept)
    sums = Sums(m.G / n, m.c[:, 0] / n, m.yy[0] / n)
    if alphas is None:
        top = jnp.max(jnp.abs(sums.c)) / l1_ratio
        alphas = top * jnp.exp(jnp.linspace(0, jnp.log(eps), n_alphas, dtype=X.dtype))
    else:
        alphas = jnp.sort(jnp.asarray(hyper('alphas', alphas, 0, open_low=True), X.dtype))[::-1]

    def one(w, alpha):
        found = descend(sums, alpha * l1_ratio, alpha * (1 - l1_ratio), w, tol, max_iter)
        return found[0].coef, found

    point, steps, converged = jax.lax.scan(one, jnp.zeros_like(sums.c), alphas)[1]
    # one pass over the rows serves all alphas
    slopes = pull(X, y[:, None], weight, m, point.coef.T).T / n
    point = jax.vmap(lambda slope, point, a: polished(slope, sums, point, a * l1_ratio, a * (1 - l1_ratio)))(
        slopes, point, alphas)
    return Path(alphas, point.coef, m.y_mean[0] - point.coef @ m.x_mean, relative(point, sums), steps, converged)


def stability_selection(key, X: Float[Array, 'rows features'], y: Float[Array, ' rows'], *, alphas, draws: int = 100,
                        **options) -> Float[Array, 'k features']:
    """How often each feature is chosen when the lasso sees a random half of the rows: a steadier choice than one lasso.

    Formula: share of `draws` subsamples of floor(n / 2) rows in which w_j(alpha) != 0; keep j if its largest share over
        alphas passes a threshold of 0.6 to 0.9.
    Paper: Meinshausen, Buehlmann 2010, Stability selection, JRSS B 72, section 2.
    Shapes: X [rows, features], y [rows], alphas [k] (used from the largest down) -> shares [k, features].
    options: those of `lasso_path`.
    Errors: ValueError as `lasso_path`, draws < 1.
    Example:
        X = jax.random.normal(jax.random.key(0), (60, 4))
        y = X[:, 1] + 0.1 * jax.random.normal(jax.random.key(1), (60,))
        shares = stability_selection(jax.random.key(2), X, y, alphas=jnp.array([0.5, 0.3]), draws=20)
        assert shares[1, 1] == 1 and shares.shape == (2, 4)
    """
    X, y, _ = rows(X, y)
    hyper('draws', draws, 1)
    half = lambda k: jnp.zeros(len(X), X.dtype).at[jax.random.permutation(k, len(X))[:len(X) // 2]].set(1)
    path = lambda w: lasso_path(X, y, alphas=alphas, weight=w, **options).coef
    return jnp.mean(jax.vmap(path)(jax.vmap(half)(jax.random.split(key, draws))) != 0, axis=0)
