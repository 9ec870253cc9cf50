"""Maximum likelihood: closed forms, the same by Newton's method, and how far the estimates can be trusted.

Example:
    from levels.level0_foundations.probability.mle import fit_mle, interval
    fit = fit_mle(gamma, {'shape': 1.0, 'rate': 1.0}, x, positive=('shape', 'rate'))
    low, high = interval(fit, level=0.95)
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jax.scipy.special import logit, ndtri
from jaxtyping import Array, Bool, Float, Int

from levels.level0_foundations.optimisation.minimise import newton
from levels.level0_foundations.probability.checks import floats, numbers
from levels.level0_foundations.probability.distributions import Exponential, Laplace, Normal, exponential, normal
from levels.level0_foundations.probability.distributions_discrete import Bernoulli, Poisson, poisson
from levels.level0_foundations.probability.distributions_gamma import gamma
from levels.level0_foundations.probability.moments import pairwise

Params = dict[str, Float[Array, '*shape']]


def _sample(x: Any) -> Float[Array, ' n']:
    x = numbers('x', x)
    if x.ndim != 1 or len(x) == 0:
        raise ValueError(f'x: expected [n] with n > 0; found shape {x.shape}')
    return x


def _normal(x):
    m = pairwise(x)
    return Normal(m.mean, jnp.sqrt(m.variance()))


def _laplace(x):
    middle = jnp.median(x)
    return Laplace(middle, jnp.mean(jnp.abs(x - middle)))


CLOSED = {
    'normal': _normal,
    'laplace': _laplace,
    'exponential': lambda x: Exponential(1 / jnp.mean(numbers('x', x, 0))),
    'poisson': lambda x: Poisson(jnp.mean(numbers('x', x, 0, whole=True))),
    'bernoulli': lambda x: Bernoulli(jnp.mean(numbers('x', x, 0, 1, whole=True))),
}


def closed_form(family: str, x: Float[Array, ' n']) -> Any:
    """The distribution of a family under which the sample is most likely.

    Formula: normal: mean, root of the mean squared deviation (divided by n); Laplace: median, mean absolute deviation;
        exponential: 1 / mean; Poisson and Bernoulli: mean.
    Paper: Fisher 1922, On the mathematical foundations of theoretical statistics, Phil. Trans. A 222.
    Shapes: x [n] -> a distribution of []; vmap over samples.
    Errors: ValueError for an unknown family, an x that is not [n], values that the family does not have.
    Example:
        x = jnp.array([1.0, 2.0, 3.0, 6.0])
        assert closed_form('normal', x).loc == 3
        assert jnp.allclose(closed_form('exponential', x).rate, 1 / 3)
        many = jax.vmap(lambda x: closed_form('poisson', x))(jnp.ones((5, 4)))
        assert many.rate.shape == (5,)
    """
    if family not in CLOSED:
        raise ValueError(f'family: expected one of {", ".join(CLOSED)}; found {family!r}')
    return CLOSED[family](_sample(x))


def observed_information(make: Callable[..., Any], params: Params, x: Float[Array, ' n']) -> Float[Array, 'd d']:
    """How sharply the likelihood of this sample is curved: the negative Hessian of its logarithm.

    Formula: J = -d^2 / dtheta^2 sum_i log p(x_i; theta); its inverse estimates the covariance of the estimate.
    Paper: Efron, Hinkley 1978, Assessing the accuracy of the maximum likelihood estimator: observed versus expected
        Fisher information, Biometrika 65.
    Shapes: make(**params) -> a distribution; params name -> array, d numbers in all, in the order of
        `ravel_pytree`: names sorted; x [n, *event] -> [d, d].
    Errors: what `make` refuses, where values can be read.
    Example:
        x = jnp.array([1.0, 2.0, 6.0])
        J = observed_information(exponential, {'rate': jnp.asarray(1 / 3)}, x)
        assert jnp.allclose(J, 27.0)                         # n / rate^2
        assert J.shape == (1, 1)
    """
    flat, back = ravel_pytree(jax.tree.map(lambda v: floats('params', v), params))
    return -jax.hessian(lambda v: jnp.sum(make(**back(v)).log_prob(x)))(flat)


class Fit(NamedTuple):
    """Estimates, their standard errors (like params), covariance [d, d], log likelihood, and how the search went."""

    params: Params
    errors: Params
    covariance: Float[Array, 'd d']
    log_likelihood: Float[Array, '']
    steps: Int[Array, '']
    converged: Bool[Array, '']


def uncertainty(make: Callable[..., Any], params: Params, x: Float[Array, ' n'], *, steps: Array = 0,
                converged: Array = True) -> Fit:
    """A Fit of estimates that are there already: those of a closed form, say.

    Formula: covariance = J^-1, J the observed information; errors are the roots of its diagonal.
    Paper: Fisher 1925, Theory of statistical estimation; Efron, Hinkley 1978, Biometrika 65.
    Shapes: as in `observed_information` -> Fit.
    Errors: what `make` refuses. NaN errors: these params are no maximum of the likelihood.
    Example:
        x = jnp.array([1.0, 2.0, 6.0])
        fit = uncertainty(exponential, closed_form('exponential', x)._asdict(), x)
        assert jnp.allclose(fit.errors['rate'], 1 / jnp.sqrt(27.0))
        low, high = interval(fit)
        assert low['rate'] < 1 / 3 < high['rate']
    """
    params = jax.tree.map(lambda v: floats('params', v), params)
    flat, back = ravel_pytree(params)
    information = observed_information(make, params, x)
    # scaled to a diagonal of ones, for parameters of unlike sizes
    size = jnp.sqrt(jnp.diagonal(information))
    covariance = jnp.linalg.inv(information / (size[:, None] * size[None])) / (size[:, None] * size[None])
    errors = jnp.sqrt(jnp.diagonal(covariance))
    value = jnp.sum(make(**params).log_prob(x))
    return Fit(params, back(errors.astype(flat.dtype)), covariance, value, jnp.asarray(steps, jnp.int32),
               jnp.asarray(converged))


def fit_mle(make: Callable[..., Any], start: Params, x: Float[Array, 'n *event'], *, positive: tuple[str, ...] = (),
            unit: tuple[str, ...] = (), tol: float | None = None, max_steps: int = 100) -> Fit:
    """Maximum likelihood for any family with a smooth log_prob, by Newton's method.

    Formula: maximise the mean of log p(x_i; theta) over theta, or over log theta where it must be positive and logit
        theta where it must lie between 0 and 1; errors by the observed information, in theta itself.
    Paper: Fisher 1922, On the mathematical foundations of theoretical statistics; Efron, Hinkley 1978.
    Shapes: make(**params) -> a distribution; start name -> array; x [n, *event] -> Fit; vmap over samples.
    Errors: ValueError for names that start lacks, a start outside its range. Not `converged`: no maximum was reached.
    Example:
        x = jnp.array([0.5, 1.5, 2.5, 1.0, 3.0])
        fit = fit_mle(gamma, {'shape': 1.0, 'rate': 1.0}, x, positive=('shape', 'rate'))
        assert fit.converged
        assert jnp.allclose(fit.params['shape'] / fit.params['rate'], x.mean(), rtol=1e-4)     # as the theory says
    """
    for name in (*positive, *unit):
        if name not in start:
            raise ValueError(f'positive, unit: expected names among {", ".join(start)}; found {name!r}')
    start = {k: numbers(k, v, *((0, 1) if k in unit else (0,) if k in positive else ()),
                        edges=k not in (*positive, *unit)) for k, v in start.items()}
    x = floats('x', x)
    start = {k: v.astype(jnp.result_type(v, x)) for k, v in start.items()}
    free = {k: logit(v) if k in unit else jnp.log(v) if k in positive else v for k, v in start.items()}
    bound = lambda z: {k: jax.nn.sigmoid(v) if k in unit else jnp.exp(v) if k in positive else v
                       for k, v in z.items()}
    found = newton(lambda z: -jnp.mean(make(**bound(z)).log_prob(x)), free, tol=tol, max_steps=max_steps)
    return uncertainty(make, bound(found.x), x, steps=found.steps, converged=found.converged)


def interval(fit: Fit, *, level: float = 0.95) -> tuple[Params, Params]:
    """Where the true parameters are believed to be: estimates +- a multiple of their standard errors.

    Formula: theta +- z error, z the normal quantile of (1 + level) / 2; covers in about `level` of all samples when
        these are large.
    Paper: Wald 1943, Tests of statistical hypotheses concerning several parameters, Transactions of the AMS 54.
    Shapes: Fit -> (lower ends, upper ends), each like fit.params.
    Errors: ValueError for a level outside 0 < level < 1.
    Example:
        x = jnp.array([3.0, 5.0, 4.0, 8.0])
        fit = uncertainty(poisson, closed_form('poisson', x)._asdict(), x)
        low, high = interval(fit, level=0.95)
        assert jnp.allclose(high['rate'] - 5, 1.959964 * jnp.sqrt(5 / 4), rtol=1e-4)
    """
    numbers('level', level, 0, 1, edges=False)
    z = ndtri(0.5 + level / 2)
    return (jax.tree.map(lambda p, e: p - z * e, fit.params, fit.errors),
            jax.tree.map(lambda p, e: p + z * e, fit.params, fit.errors))


__all__ = ['Fit', 'closed_form', 'exponential', 'fit_mle', 'gamma', 'interval', 'normal', 'observed_information',
           'poisson', 'uncertainty']
