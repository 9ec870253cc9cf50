"""Logistic regression, binary and multinomial, with L1, L2, elastic or no penalty.

Formula: minimise C sum_i w_i c(y_i) loss_i + (1 - r) / 2 ||W||^2 + r |W|_1, r = 0 for l2, 1 for l1, c class weights;
    loss_i = -log p(y_i | x_i), p = softmax(x' W + b), of two classes sigmoid(x' w + b). The intercept is not penalised.
Paper: Cox 1958, The regression analysis of binary sequences, JRSS B 20; Hastie, Tibshirani, Friedman 2009, The Elements
    of Statistical Learning, section 4.4; solvers: see `logistic_solvers`.
Shapes: X [rows, features], y [rows] of classes -> coef [features, outputs], outputs 1 for two classes, else n_classes.

Example:
    from levels.level1_classical.classification.logistic import logistic
    model = logistic(C=0.5, n_classes=3)
    state = model.fit(key, X, y)
    model.proba(state, X), state.converged, state.separable
"""

import warnings
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from levels.level1_classical.classification.logistic_proximal import fista, proximal_newton
from levels.level1_classical.classification.logistic_solvers import Problem, lbfgs, lead, newton, objective, sketched
from levels.level1_classical.estimator import (
    Estimator,
    choice,
    concrete,
    exact,
    features,
    floats,
    hyper,
    labelled,
    summed,
)

SOLVERS = {'newton': newton, 'lbfgs': lbfgs, 'sketched': sketched, 'fista': fista}
PENALTIES = ('l2', 'l1', 'elastic', 'none')


class Logistic(NamedTuple):
    """A fitted model; `residual` is the largest entry of the smallest subgradient of the mean loss with its penalty,
    columns being measured in standard deviations."""

    coef: Float[Array, 'features outputs']
    intercept: Float[Array, ' outputs']
    loss: Float[Array, '']          # what was minimised, divided by C and the sum of the weights
    residual: Float[Array, '']
    steps: Int[Array, '']
    converged: Bool[Array, '']
    separable: Bool[Array, '']      # a plane that puts every row on its class's side was found


def class_weights(class_weight, y, weight, n_classes: int):
    """The rows' weights times those of their classes.

    class_weight: None, 'balanced' (total weight / (classes times the class's weight)), or [n_classes].
    Errors: ValueError for another string, or another shape.
    """
    if class_weight is None:
        return weight
    if isinstance(class_weight, str):
        choice('class_weight', class_weight, ('balanced',))
        count = jnp.zeros(n_classes, weight.dtype).at[y].add(weight)
        return weight * (jnp.sum(weight) / (n_classes * jnp.where(count > 0, count, 1)))[y]
    each = floats(class_weight).astype(weight.dtype)
    if each.shape != (n_classes,):
        raise ValueError(f'class_weight: expected None, balanced or [{n_classes}], found shape {each.shape}')
    hyper('class_weight', each, 0)
    return weight * each[y]


def margins(state, X: Float[Array, 'rows features']) -> Float[Array, 'rows outputs']:
    """X @ coef + intercept.  Errors: ValueError for another number of features."""
    X = features(X)
    if X.shape[1] != state.coef.shape[0]:
        raise ValueError(f'X: expected {state.coef.shape[0]} features as in fit, found {X.shape[1]}')
    return X @ state.coef + state.intercept[None]


@exact
def decision(state, X: Float[Array, 'rows features']) -> Float[Array, 'rows *outputs']:
    """Margins: [rows] for two classes (class 1 where positive), else [rows, classes]."""
    z = margins(state, X)
    return z[:, 0] if z.shape[1] == 1 else z


@exact
def predict(state, X: Float[Array, 'rows features']) -> Int[Array, ' rows']:
    """The class of the largest margin."""
    z = margins(state, X)
    return (z[:, 0] > 0).astype(jnp.int32) if z.shape[1] == 1 else jnp.argmax(z, 1).astype(jnp.int32)


@exact
def proba(state, X: Float[Array, 'rows features']) -> Float[Array, 'rows classes']:
    """The probability of each class; both tails are exact."""
    z = margins(state, X)
    return jax.nn.sigmoid(jnp.concatenate([-z, z], 1)) if z.shape[1] == 1 else jax.nn.softmax(z, 1)


def score(state, X, y=None, weight=None) -> Float[Array, '']:
    """The weighted share of rows that predict gets right."""
    n_classes = max(2, state.coef.shape[1])
    X, y, weight = labelled(X, y, weight, n_classes=n_classes)
    return jnp.sum(weight * (predict(state, X) == y)) / jnp.sum(weight)


def warn_if_separable(state: Logistic, penalty: str) -> None:
    """Without a penalty separable data have no solution: the coefficients grow until the search stops."""
    if penalty == 'none' and concrete(state.separable) and bool(state.separable):
        warnings.warn('logistic: a plane separates the classes, so that without a penalty no finite coefficients are '
                      'best; those found are where the search stopped', RuntimeWarning, stacklevel=3)


def _columns(X, weight, fit_intercept: bool):
    """(A, mean, unit): X less a mean, and a column of ones where there is an intercept; A unit has spread 1, or 0."""
    share = weight / jnp.sum(weight)
    mean = summed(lambda w, x: w @ x, share, X) if fit_intercept else jnp.zeros(X.shape[1], X.dtype)
    A = jnp.pad(X - mean[None], ((0, 0), (0, int(fit_intercept))), constant_values=1)
    # What is left of the mean is its rounding: the intercept takes care of it; in a constant column it is no spread.
    left, square = (s[:X.shape[1]] for s in summed(lambda w, a: (w @ a, w @ (a * a)), share, A))
    left = left * fit_intercept
    spread = jnp.sqrt(jnp.maximum(square - left**2, 0))
    flat = spread <= 8 * jnp.finfo(X.dtype).eps * jnp.abs(mean) + 1e-2 * jnp.abs(left)
    unit = jnp.where(flat, 0, 1 / jnp.where(flat, 1, spread))
    return A, mean, jnp.append(unit, jnp.ones(int(fit_intercept), X.dtype))


def logistic(*, penalty: str = 'l2', C=1.0, l1_ratio=0.5, solver: str = 'auto', fit_intercept: bool = True,
             class_weight=None, tol: float = 1e-6, max_iter: int = 1000, n_classes: int = 2) -> Estimator:
    """Logistic regression; C is the inverse of the penalty and multiplies the sum of the losses, as in scikit-learn.

    Formula: minimise C sum w loss + penalty: ||W||^2 / 2 for l2, |W|_1 for l1, (1 - l1_ratio) times the one and
        l1_ratio times the other for elastic.
    Paper: Cox 1958, The regression analysis of binary sequences, JRSS B 20; Hastie, Tibshirani, Friedman 2009, The
        Elements of Statistical Learning, section 4.4.
    Shapes: fit X [rows, features], y [rows] of classes 0 ... n_classes - 1, weight [rows] -> Logistic(coef [features,
        outputs], intercept [outputs], ...), outputs 1 for two classes, else n_classes; predict [rows] int32, proba
        [rows, n_classes], decision [rows] or [rows, n_classes].
    solver: `newton` (for l1 and elastic proximal, by coordinate descent; few steps of rows (features outputs)^2 work),
        `lbfgs` (l2 and none; steps of rows features outputs work), `sketched` (L-BFGS begun by Newton on every 8th
        row), `fista` (any penalty; as lbfgs), `auto`: up to 1,000 coefficients of two classes or 150 of more Newton,
        or sketched for many rows; else L-BFGS or FISTA.
    Cost: time of each step as `solver` says; memory two copies of X, and for Newton the matrix of (features outputs)^2.
    tol: the residual (see `Logistic`) to stop at; max_iter: steps. C, l1_ratio, tol may be traced.
    class_weight: None, 'balanced' or [n_classes].
    With more than two classes coef is the solution whose classes sum to zero where the penalty leaves a choice.
    separable: without a penalty there is then no solution, and outside jit that is a RuntimeWarning. The flag is right
        whenever it is set; separable data that a strong penalty's plane does not separate leave it unset.
    Errors: ValueError for bad shapes or values (`estimator.labelled`), C not above 0, l1_ratio outside [0, 1], an
        unknown penalty or solver, lbfgs for l1 or elastic, class weights of another shape.
    Example:
        X = jnp.array([[-2.0], [-1.0], [0.0], [1.0], [2.0]])
        state = logistic(C=1.0).fit(jax.random.key(0), X, jnp.array([0, 0, 1, 0, 1]))
        assert state.converged and state.coef[0, 0] > 0 and not state.separable
        proba(state, X)[:, 1]                                # grows with x
    """
    choice('penalty', penalty, PENALTIES)
    choice('solver', solver, ('auto', *SOLVERS))
    hyper('C', C, 0, open_low=True)
    hyper('l1_ratio', l1_ratio, 0, 1)
    hyper('tol', tol, 0)
    hyper('max_iter', max_iter, 1)
    hyper('n_classes', n_classes, 2)
    absolute = penalty in ('l1', 'elastic')
    if absolute and solver in ('lbfgs', 'sketched'):
        raise ValueError(f'solver: expected auto, newton or fista for penalty {penalty}, found {solver!r}')

    @exact
    def fit(key, X, y=None, weight=None) -> Logistic:
        X, y, weight = labelled(X, y, weight, n_classes=n_classes)
        weight = class_weights(class_weight, y, weight, n_classes)
        total = jnp.sum(weight)
        A, mean, unit = _columns(X, weight, fit_intercept)
        outputs = 1 if n_classes == 2 else n_classes
        T = (y[:, None] == (jnp.arange(n_classes) if outputs > 1 else jnp.ones(1, int))[None]).astype(A.dtype)
        share = {'l2': 0.0, 'l1': 1.0, 'none': 0.0}.get(penalty, l1_ratio)
        d = X.shape[1]
        price = unit * (jnp.arange(len(unit)) < d) * (0.0 if penalty == 'none' else 1 / (C * total))
        p = Problem(A, unit, T, weight / total, (share * price).astype(A.dtype),
                    ((1 - share) * price * unit).astype(A.dtype))
        way = solver
        if way == 'auto':
            small = d * outputs <= (1000 if outputs == 1 else 150)
            smooth = ('sketched' if len(X) >= max(4000, 40 * d * outputs) else 'newton') if small else 'lbfgs'
            way = smooth if not absolute else 'newton' if small else 'fista'
        found, steps, converged = (proximal_newton if absolute and way == 'newton' else SOLVERS[way])(p, tol, max_iter)
        W = found.at.W
        coef = W[:d] * unit[:d, None]
        intercept = W[d] if fit_intercept else jnp.zeros(outputs, A.dtype)
        if outputs > 1:
            intercept = intercept - jnp.mean(intercept)
        seen = p.v > 0
        right = jnp.where(seen, lead(found.at.z, T), jnp.inf)
        # A step that moves no row away from its class and some towards it separates them too, rows on the plane apart.
        step = lead(found.moved, T)
        far = jnp.max(jnp.where(seen, step, 0))
        growing = (far > 0.1) & (jnp.min(jnp.where(seen, step, 0)) >= -1e-4 * far)
        state = Logistic(coef, intercept - mean @ coef, objective(p, W, found.at.z), found.residual, steps, converged,
                         (jnp.min(right) > 0) | ((penalty == 'none') & growing))
        warn_if_separable(state, penalty)
        return state

    return Estimator(fit, predict, proba=proba, score=score, decision=decision)
