"""Ridge regression by Cholesky, SVD, eigendecomposition or conjugate gradients, and leave-one-out in closed form.

Formula: minimise sum_i w_i ||y_i - x_i' B - b||^2 + sum_t alpha_t ||B_t||^2; the intercept b is not penalised.
Paper: Hoerl, Kennard 1970, Ridge regression, Technometrics 12; leave-one-out: Allen 1974, The relationship between
    variable selection and data augmentation and a method for prediction, Technometrics 16.
Shapes: X [rows, features], y [rows] or [rows, targets]; alpha [] or [targets].

Example:
    from levels.level1_classical.regression.ridge import ridge, ridge_loo
    state = ridge(alpha=0.1).fit(key, X, y)
    states = jax.vmap(lambda a: ridge(alpha=a).fit(key, X, y))(alphas)      # all of them in one program
    errors = ridge_loo(X, y, alphas=alphas)                                  # [alphas, rows]
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from common import lapack
from common.task import Task, solve
from levels.level1_classical.estimator import Estimator, centred, choice, exact, hyper, rows
from levels.level1_classical.regression.gram import moments, pull
from levels.level1_classical.regression.linear import predict, score, uncentred


class Ridge(NamedTuple):
    """A fitted plane; `steps` and `converged` speak of `cg` (0 and True for the direct solvers)."""

    coef: Float[Array, 'features *targets']
    intercept: Float[Array, '*targets']
    steps: Int[Array, '']
    converged: Bool[Array, '']


def by_cholesky(X, y, weight, alpha, fit_intercept):
    """(coef, x_mean, y_mean): (A'A + alpha) w = A'b, or (A A' + alpha) c = b and w = A'c where that is smaller, refined
    once by the residual of the data.

    The residual is taken of A and not of the Gram matrix, so this wins back digits that squaring A has lost.
    """
    price = alpha.reshape(1, -1)
    if X.shape[1] <= X.shape[0]:
        m = moments(X, y, weight, fit_intercept)
        solve_all = _solver(m.G, alpha)
        coef = solve_all(m.c)
        left = pull(X, y, weight, m, coef) - price * coef
        return coef + solve_all(left), m.x_mean, m.y_mean
    A, b, x_mean, y_mean = centred(X, y, weight, fit_intercept)
    solve_all = _solver(A @ A.T, alpha)
    c = solve_all(b)
    return A.T @ (c + solve_all(b - A @ (A.T @ c) - price * c)), x_mean, y_mean


def _solver(G, alpha):
    """v [n, targets] -> (G + alpha)^-1 v; alpha is a number, or one for each target."""
    factor = lambda a: lapack.cholesky(G + a * jnp.eye(len(G), dtype=G.dtype))
    if alpha.ndim == 0:
        one = factor(alpha)
        return lambda v: lapack.cho_solve(one, v)
    several = jax.vmap(factor)(alpha)
    each = jax.vmap(lapack.cho_solve, (0, 1), 1)
    return lambda v: each(several, v)


def by_svd(A, b, alpha):
    """coef = V s / (s^2 + alpha) U' b; for alpha = 0 directions without any spread count nothing: least squares."""
    U, s, Vt = lapack.svd(A)
    s = s[:, None]
    kept = (s > max(A.shape[1], 10) * jnp.finfo(A.dtype).eps * s[:1]) | (alpha > 0)
    return Vt.T @ (jnp.where(kept, s / jnp.where(kept, s**2 + alpha, 1), 0) * (U.T @ b))


def by_eigh(X, y, weight, alpha, fit_intercept):
    """From the eigenvectors of A'A, which do not depend on alpha: under vmap over alphas they are found once."""
    m = moments(X, y, weight, fit_intercept)
    values, V = lapack.eigh(m.G)
    values = jnp.maximum(values, 0)[:, None]
    # any penalty takes care of the small ones itself; a cut beside it would make jumps in the path
    kept = (values > max(len(V), 10) * jnp.finfo(V.dtype).eps * values[-1:]) | (alpha > 0)
    return V @ jnp.where(kept, (V.T @ m.c) / jnp.where(kept, values + alpha, 1), 0), m.x_mean, m.y_mean


class Search(NamedTuple):
    """Where conjugate gradients stand."""

    coef: Float[Array, ' d']
    residual: Float[Array, ' d']
    direction: Float[Array, ' d']
    size: Float[Array, '']      # residual' M^-1 residual, M the diagonal of A'A + alpha


def by_cg(A, b, alpha, tol, max_iter):
    """Conjugate gradients on (A'A + alpha) w = A'b, scaled by the diagonal; the Gram matrix is never formed.

    Stops when the residual, in the norm of the scaling, is tol times that of w = 0. b is [rows].
    """
    diagonal = jnp.sum(A**2, 0) + alpha
    scale = 1 / jnp.where(diagonal > 0, diagonal, 1)
    ratio = lambda a, b: jnp.where(b > 0, a / jnp.where(b > 0, b, 1), 0)

    def init(key, rhs):
        return Search(jnp.zeros_like(rhs), rhs, scale * rhs, rhs @ (scale * rhs))

    def step(key, s, rhs):
        image = A.T @ (A @ s.direction) + alpha * s.direction
        length = ratio(s.size, s.direction @ image)
        residual = s.residual - length * image
        size = residual @ (scale * residual)
        direction = scale * residual + ratio(size, s.size) * s.direction
        return Search(s.coef + length * s.direction, residual, direction, size), {}

    rhs = A.T @ b
    goal = tol**2 * (rhs @ (scale * rhs))
    found = solve(Task(init, step), jax.random.key(0), rhs, max_steps=max_iter, done=lambda old, new: new.size <= goal)
    return found.state.coef, found.steps, found.converged


SOLVERS = {'cholesky': by_cholesky, 'svd': by_svd, 'eigh': by_eigh, 'cg': by_cg}


def ridge(*, alpha=1.0, fit_intercept: bool = True, solver: str = 'cholesky', tol: float = 1e-6,
          max_iter: int | None = None) -> Estimator:
    """Ridge regression; `alpha` is one number, or one for each target, and may be traced.

    Formula: coef = (Xc' W Xc + alpha I)^-1 Xc' W yc, intercept = mean(y) - mean(X)' coef. `cholesky` is the fastest
        (with more features than rows it solves the dual); `svd` the most exact, and right for alpha = 0; `eigh` pays
        once for any number of alphas under vmap; `cg` never forms the Gram matrix.
    Paper: Hoerl, Kennard 1970, Ridge regression: biased estimation for nonorthogonal problems, Technometrics 12.
    Shapes: fit X [rows, features], y [rows, *targets], weight [rows] -> Ridge(coef [features, *targets], intercept
        [*targets], steps [], converged []); predict [rows, *targets].
    tol, max_iter: of `cg`: relative residual, and steps (default 10 times the features, at least 100).
    Cost: time grows with rows x features^2 (the smaller of the two squared), for `cg` rows x features for each step;
        memory is a copy of X and, but for `cg`, a matrix of that smaller size squared; `svd` holds a second copy of X.
    Errors: ValueError for bad shapes or values (`estimator.rows`), alpha < 0 or of another length than the targets, an
        unknown solver. `cholesky` with alpha = 0 and dependent columns gives NaN: use `svd` or `ols`.
    Example:
        X = jnp.array([[-1.0], [0.0], [1.0]])
        y = jnp.array([1.0, 3.0, 5.0])
        state = ridge(alpha=2.0).fit(jax.random.key(0), X, y)
        assert jnp.allclose(state.coef, jnp.array([1.0])) and state.intercept == 3.0      # 4 / (2 + 2)
    """
    choice('solver', solver, SOLVERS)
    hyper('alpha', alpha, 0)
    hyper('tol', tol, 0)
    hyper('max_iter', 1 if max_iter is None else max_iter, 1)

    @exact
    def fit(key, X, y=None, weight=None) -> Ridge:
        X, y, weight = rows(X, y, weight)
        Y = y.reshape(len(y), -1)
        penalty = jnp.asarray(alpha, X.dtype)
        if penalty.shape not in ((), Y.shape[1:]):
            raise ValueError(f'alpha: expected a number or one for each of {Y.shape[1]} targets, '
                             f'found shape {penalty.shape}')
        steps, converged = jnp.zeros((), jnp.int32), jnp.asarray(True)
        if solver in ('cholesky', 'eigh'):
            each = penalty if solver == 'cholesky' else penalty.reshape(1, -1)
            coef, x_mean, y_mean = SOLVERS[solver](X, Y, weight, each, fit_intercept)
            return Ridge(*uncentred(coef, x_mean, y_mean, y.ndim == 1), steps, converged)
        A, b, x_mean, y_mean = centred(X, Y, weight, fit_intercept)
        if solver == 'cg':
            limit = max(100, 10 * A.shape[1]) if max_iter is None else max_iter
            each = lambda b, a: by_cg(A, b, a, tol, limit)
            coef, steps, converged = jax.vmap(each, (1, 0), (1, 0, 0))(b, jnp.broadcast_to(penalty, b.shape[1:]))
            steps, converged = steps.max(), converged.all()
        else:
            coef = by_svd(A, b, penalty.reshape(1, -1))
        return Ridge(*uncentred(coef, x_mean, y_mean, y.ndim == 1), steps, converged)

    return Estimator(fit, predict, score=score)


@exact
def ridge_loo(X: Float[Array, 'rows features'], y: Float[Array, 'rows *targets'], *, alphas: Float[Array, ' k'],
              weight=None, fit_intercept: bool = True) -> Float[Array, 'k rows *targets']:
    """What ridge would get wrong on each row had it not seen that row, for every alpha, from one SVD.

    Formula: e_i = (y_i - p_i) / (1 - h_i), h_i = sum_j u_ij^2 s_j^2 / (s_j^2 + alpha) + w_i / sum(w), where U s V' is
        the SVD of the centred rows times the root of their weights; the last term is the free intercept's.
    Paper: Allen 1974, The relationship between variable selection and data augmentation, Technometrics 16;
        Golub, Heath, Wahba 1979, Generalized cross-validation, Technometrics 21.
    Shapes: X [rows, features], y [rows, *targets], alphas [k] -> errors y - prediction [k, rows, *targets]; a row is
        left out with its whole weight.
    Errors: ValueError for bad shapes or values, alphas that are not [k] or not above 0.
    Example:
        X = jnp.array([[0.0], [1.0], [2.0], [3.0]])
        y = jnp.array([0.0, 1.0, 2.0, 9.0])
        errors = ridge_loo(X, y, alphas=jnp.array([0.1, 10.0]))
        assert errors.shape == (2, 4)
        jnp.mean(errors ** 2, axis=1)                        # one score for each alpha
    """
    X, y, weight = rows(X, y, weight)
    alphas = jnp.asarray(hyper('alphas', alphas, 0, open_low=True), X.dtype)
    if alphas.ndim != 1:
        raise ValueError(f'alphas: expected [k], found shape {alphas.shape}')
    A, b, _, _ = centred(X, y.reshape(len(y), -1), weight, fit_intercept)
    U, s, _ = lapack.svd(A)
    root = jnp.sqrt(weight)
    own = weight / jnp.sum(weight) if fit_intercept else jnp.zeros_like(weight)

    def one(alpha):
        shrunk = U * (s**2 / (s**2 + alpha))[None]
        error = (b - shrunk @ (U.T @ b)) / (1 - jnp.sum(shrunk * U, 1) - own)[:, None]
        return error / jnp.where(root > 0, root, jnp.nan)[:, None]     # of a row without weight nothing is known here

    return jax.vmap(one)(alphas).reshape(len(alphas), *y.shape)
