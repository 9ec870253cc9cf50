"""What the naive Bayes classifiers share: their states, which are sums over the rows, and what is done with them.

Formula: p(k | x) proportional to p(k) prod_j p(x_j | k).
Paper: Manning, Raghavan, Schuetze 2008, Introduction to Information Retrieval, chapter 13; Rennie, Shih, Teevan, Karger
    2003, Tackling the poor assumptions of naive Bayes text classifiers, ICML; merging: Chan, Golub, LeVeque 1983,
    Algorithms for computing the sample variance, The American Statistician 37.
Shapes: X [rows, features], y [rows] of classes.  Work: one product [classes, rows] x [rows, features], for Gaussian
    two and a copy of X; nothing is iterated.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from levels.level1_classical.estimator import concrete, exact, features, holds, in_parts, labelled, summed

MILD = 64.0     # squared distance of a class's mean from the middle, in its variances, up to which products are exact


class Gaussian(NamedTuple):
    """Moments of each class. `var` is without the smoothing."""

    count: Float[Array, ' classes']
    mean: Float[Array, 'classes features']
    var: Float[Array, 'classes features']
    log_prior: Float[Array, ' classes']
    given: Bool[Array, '']                  # whether the priors were given, or follow from the counts
    var_smoothing: Float[Array, '']


class Multinomial(NamedTuple):
    """Sums of each class, and the linear rule that they make: log p(k, x) = x @ coef + intercept, up to a number that
    is the same for all classes."""

    count: Float[Array, ' classes']
    total: Float[Array, 'classes features']
    log_prior: Float[Array, ' classes']
    given: Bool[Array, '']
    alpha: Float[Array, '*features']
    coef: Float[Array, 'features classes']
    intercept: Float[Array, ' classes']


class Bernoulli(NamedTuple):
    """As `Multinomial`, of features that are 1 above `binarize`, else 0."""

    count: Float[Array, ' classes']
    total: Float[Array, 'classes features']
    log_prior: Float[Array, ' classes']
    given: Bool[Array, '']
    alpha: Float[Array, '*features']
    coef: Float[Array, 'features classes']
    intercept: Float[Array, ' classes']
    binarize: Float[Array, '']


class Complement(NamedTuple):
    """As `Multinomial`; `norm` whether the rule of each class is divided by its length."""

    count: Float[Array, ' classes']
    total: Float[Array, 'classes features']
    log_prior: Float[Array, ' classes']
    given: Bool[Array, '']
    alpha: Float[Array, '*features']
    coef: Float[Array, 'features classes']
    intercept: Float[Array, ' classes']
    norm: Bool[Array, '']


def with_priors(state):
    """`state` with the log priors of its counts, unless they were given."""
    share = state.count / jnp.sum(state.count)
    return state._replace(log_prior=jnp.where(state.given, state.log_prior, jnp.log(share)))


def compared(theta):
    """The log of theta over its mean over classes: logs near 0 keep digits that large ones lose to counts in the
    thousands."""
    return jnp.log(theta / jnp.mean(theta, 0, keepdims=True))


@exact
def with_sums(state, count: Float[Array, ' classes'], total: Float[Array, 'classes features']):
    """A discrete state whose counts and sums have grown by these, with its rule made anew."""
    state = with_priors(state._replace(count=state.count + count, total=state.total + total))
    alpha = jnp.broadcast_to(state.alpha, state.total.shape[1:])[None]
    if isinstance(state, Bernoulli):
        off = jnp.log(jnp.maximum(state.count[:, None] - state.total, 0) + alpha)
        rule = jnp.log(state.total + alpha) - off
        base = jnp.sum(off - jnp.log(state.count[:, None] + 2 * alpha), 1) + state.log_prior
    elif isinstance(state, Complement):
        rest = jnp.sum(state.total, 0)[None] - state.total + alpha
        theta = rest / jnp.sum(rest, 1, keepdims=True)
        rule = jnp.where(state.norm, jnp.log(theta) / jnp.sum(jnp.log(theta), 1, keepdims=True), -compared(theta))
        base = jnp.zeros_like(state.count)
    else:
        smooth = state.total + alpha
        rule = compared(smooth / jnp.sum(smooth, 1, keepdims=True))
        base = state.log_prior
    return state._replace(coef=rule.T, intercept=base)


def seen(state, X):
    """What the state sees of X: for Bernoulli, whether a value is above `binarize`."""
    return (state.binarize < X).astype(X.dtype) if isinstance(state, Bernoulli) else X


@exact
def update(state, X: Float[Array, 'rows features'], y: Int[Array, ' rows'], weight=None):
    """The state after these rows as well: that of all rows together, whatever the parts.

    Shapes: X [rows, features], y, weight [rows].
    Errors: ValueError as `estimator.labelled`, for another number of features, for negative X where sums are counts.
    """
    X, y, weight = labelled(X, y, weight, n_classes=len(state.count))
    if X.shape[1] != state[1].shape[1]:
        raise ValueError(f'X: expected {state[1].shape[1]} features as in fit, found {X.shape[1]}')
    member = weight[None] * (y[None] == jnp.arange(len(state.count))[:, None])
    count = jnp.sum(member, 1)
    if not isinstance(state, Gaussian):
        if not isinstance(state, Bernoulli) and concrete(X) and holds(lambda: jnp.min(X) < 0):
            raise ValueError('X: expected counts or other numbers >= 0, found negative values in data')
        return with_sums(state, count, member @ seen(state, X))
    safe = jnp.where(count > 0, count, 1)[:, None]
    # about the middle, so that numbers far from zero lose nothing; then about the means
    near = summed(lambda w, x: w @ x, weight, X) / jnp.sum(weight)
    mean = near[None] + summed(lambda m, x: m.T @ (x - near[None]), member.T, X) / safe
    var = summed(lambda m, x, y: m.T @ (x - mean[y]) ** 2, member.T, X, y) / safe
    both = state.count + count
    share = (count / jnp.where(both > 0, both, 1))[:, None]
    apart = mean - state.mean
    return with_priors(state._replace(count=both, mean=state.mean + share * apart, var=(
        1 - share) * state.var + share * var + share * (1 - share) * apart**2))


def log_joint(state, X: Float[Array, 'rows features']) -> Float[Array, 'rows classes']:
    """log p(k, x), up to a number that is the same for all classes.  Errors: ValueError for other features."""
    X = features(X)
    if X.shape[1] != state[1].shape[1]:
        raise ValueError(f'X: expected {state[1].shape[1]} features as in fit, found {X.shape[1]}')
    if not isinstance(state, Gaussian):
        # less the mean over classes, for that is where most digits would go
        centre = lambda v: v - jnp.mean(jnp.where(jnp.isfinite(v), v, 0), -1, keepdims=True)
        return seen(state, X) @ centre(state.coef) + centre(state.intercept)[None]
    share = state.count / jnp.sum(state.count)
    middle = share @ state.mean
    whole = share @ (state.var + (state.mean - middle[None])**2)
    var = state.var + state.var_smoothing * jnp.max(whole)
    mean = state.mean - middle[None]
    first = state.log_prior - jnp.sum(jnp.log(var), 1) / 2

    def differences(X):
        ones = jnp.ones(X.shape[1], X.dtype)

        def one(k):
            mean, spread, first = k
            return first - ((X - middle[None] - mean[None]) * jax.lax.rsqrt(spread)[None]) ** 2 @ ones / 2

        return jax.lax.map(one, (mean, var, first)).T

    def product(X):
        rule = jnp.concatenate([-1 / (2 * var), mean / var], 1)
        base = first - jnp.sum(mean**2 / var, 1) / 2

        def some(x):
            x = x - middle[None]
            return jnp.concatenate([x * x, x], 1) @ rule.T + base[None]

        return in_parts(some, X)

    # x^2 - 2 x m + m^2 cancels where a class hardly varies: only then is the difference taken before the square
    return jax.lax.cond(jnp.max(mean**2 / var) <= MILD, product, differences, X)


@exact
def log_proba(state, X: Float[Array, 'rows features']) -> Float[Array, 'rows classes']:
    """The log of the probability of each class."""
    return jax.nn.log_softmax(log_joint(state, X), 1)


def proba(state, X: Float[Array, 'rows features']) -> Float[Array, 'rows classes']:
    """The probability of each class."""
    return jnp.exp(log_proba(state, X))


@exact
def predict(state, X: Float[Array, 'rows features']) -> Int[Array, ' rows']:
    """The class of the largest probability."""
    return jnp.argmax(log_joint(state, X), 1).astype(jnp.int32)


def score(state, X, y=None, weight=None) -> Float[Array, '']:
    """The weighted share of rows that predict gets right."""
    X, y, weight = labelled(X, y, weight, n_classes=len(state.count))
    return jnp.sum(weight * (predict(state, X) == y)) / jnp.sum(weight)
