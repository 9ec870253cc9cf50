"""Bayes' rule: conjugate updates, posteriors on a grid, what they predict, and why base rates matter.

An update is a function of a prior, which is a distribution, and of what was seen; it returns the posterior, a
distribution of the same family, so that today's posterior is tomorrow's prior.

Example:
    from levels.level0_foundations.probability.bayes import beta_binomial
    from levels.level0_foundations.probability.distributions_gamma import beta
    belief = beta_binomial(beta(1.0, 1.0), successes=7, trials=10)
    belief.mean(), belief.icdf(0.025), belief.icdf(0.975)
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from levels.level0_foundations.probability.checks import numbers, readable, together
from levels.level0_foundations.probability.distributions import Normal, normal
from levels.level0_foundations.probability.distributions_discrete import Categorical, categorical
from levels.level0_foundations.probability.distributions_gamma import Beta, Dirichlet, Gamma, beta, dirichlet, gamma
from levels.level0_foundations.probability.special import log_beta_pdf

Batch = Float[Array, '*batch']


def beta_binomial(prior: Beta, *, successes: Batch, trials: Batch) -> Beta:
    """What is believed of a probability after some tries.

    Formula: Beta(a, b) and s successes in n tries -> Beta(a + s, b + n - s).
    Paper: Bayes 1763, An essay towards solving a problem in the doctrine of chances.
    Shapes: prior [*batch], successes, trials broadcast with it -> Beta of [*batch].
    Errors: ValueError for counts below 0, more successes than trials.
    Example:
        posterior = beta_binomial(beta(1.0, 1.0), successes=7, trials=10)
        assert posterior.a == 8 and posterior.b == 4
        again = beta_binomial(posterior, successes=0, trials=2)
        assert jnp.allclose(again.mean(), 8 / 14)
    """
    s, n = together(numbers('successes', successes, 0), numbers('trials', trials, 0))
    numbers('trials - successes', n - s, 0)
    a, b, s, n = together(*prior, s, n)
    return Beta(a + s, b + (n - s))


def normal_normal(prior: Normal, *, mean: Batch, count: Batch, scale: Batch) -> Normal:
    """What is believed of a mean after `count` measurements with this mean and an error of known scale.

    Formula: precisions add: 1 / s1^2 = 1 / s0^2 + n / scale^2; the new loc is the average by precision.
    Paper: Gauss 1809, Theoria motus; Gelman et al. 2013, Bayesian data analysis, section 2.5.
    Shapes: prior [*batch], mean, count, scale broadcast with it -> Normal of [*batch].
    Errors: ValueError for a count below 0, scale <= 0.
    Example:
        posterior = normal_normal(normal(0.0, 1.0), mean=3.0, count=2, scale=1.0)
        assert jnp.allclose(posterior.loc, 2.0)              # (0 + 3 + 3) / 3
        assert jnp.allclose(posterior.variance(), 1 / 3)
        same = normal_normal(normal(5.0, 2.0), mean=0.0, count=0, scale=1.0)
        assert same.loc == 5 and same.scale == 2
    """
    scale = numbers('scale', scale, 0, edges=False)
    loc, s0, mean, n, scale = together(*prior, numbers('mean', mean), numbers('count', count, 0), scale)
    new = n * (s0 / scale) ** 2             # how many priors the measurements are worth
    return Normal(loc + (mean - loc) * (new / (1 + new)), s0 / jnp.sqrt(1 + new))


def dirichlet_categorical(prior: Dirichlet, *, counts: Float[Array, '*batch k']) -> Dirichlet:
    """What is believed of k probabilities after each was seen so many times.

    Formula: Dirichlet(a) and counts n -> Dirichlet(a + n).
    Paper: Laplace 1774 for a = 1, the rule of succession; Ferguson 1973, Annals of Statistics 1.
    Shapes: prior [*batch, k], counts [*batch, k] -> Dirichlet of [*batch, k].
    Errors: ValueError for counts below 0, shapes that do not broadcast.
    Example:
        posterior = dirichlet_categorical(dirichlet(jnp.ones(3)), counts=jnp.array([2.0, 0.0, 5.0]))
        assert posterior.concentration.tolist() == [3.0, 1.0, 6.0]
        next_one = predict_categorical(posterior)
        assert jnp.allclose(jnp.exp(next_one.log_prob(1)), 0.1)
    """
    a, n = together(prior.concentration, numbers('counts', counts, 0))
    return Dirichlet(a + n)


def gamma_poisson(prior: Gamma, *, total: Batch, exposure: Batch) -> Gamma:
    """What is believed of a rate after `total` events in a time (or on an area) of this size.

    Formula: Gamma(shape, rate) -> Gamma(shape + total, rate + exposure).
    Paper: Greenwood, Yule 1920, An inquiry into the nature of frequency distributions; Gelman et al. 2013, section 2.6.
    Shapes: prior [*batch], total, exposure broadcast with it -> Gamma of [*batch].
    Errors: ValueError for a total or an exposure below 0.
    Example:
        posterior = gamma_poisson(gamma(2.0, 1.0), total=10, exposure=3.0)
        assert posterior.shape == 12 and posterior.rate == 4
        assert posterior.mean() == 3
        chance = jnp.exp(predict_poisson(posterior, jnp.arange(60.0)))
        assert jnp.allclose(chance.sum(), 1)
    """
    shape, rate, total, exposure = together(*prior, numbers('total', total, 0), numbers('exposure', exposure, 0))
    return Gamma(shape + total, rate + exposure)


def predict_binomial(belief: Beta, successes: Batch, trials: Batch) -> Batch:
    """log P(s of the next n tries succeed): the binomial averaged over the belief.

    Formula: C(n, s) B(a + s, b + n - s) / B(a, b), by Bayes' rule at p = a / (a + b): prior times likelihood over
        posterior is the same at every p.
    Paper: Skellam 1948, A probability distribution derived from the binomial, JRSS B 10.
    Shapes: belief [*batch], successes, trials broadcast with it -> [*batch]; -inf outside 0 ... n.
    Errors: ValueError for trials that are not whole numbers >= 0.
    Example:
        belief = beta(1.0, 1.0)
        chance = jnp.exp(predict_binomial(belief, jnp.arange(5.0), 4))
        assert jnp.allclose(chance, 0.2)                     # before any try, all counts are as likely
        assert predict_binomial(belief, 5, 4) == -jnp.inf
    """
    a, b, s, n = together(*belief, successes, numbers('trials', trials, 0, whole=True))
    inside = (s >= 0) & (s <= n) & (s == jnp.floor(s))
    s = jnp.where(inside, s, 0)
    p, q = a / (a + b), b / (a + b)
    # the likelihood as a density over p: C(n, s) p^s q^(n - s) = Beta(s + 1, n - s + 1) at p, over n + 1
    likelihood = log_beta_pdf(s + 1, n - s + 1, p, q) - jnp.log(n + 1)
    logs = log_beta_pdf(a, b, p, q) + likelihood - log_beta_pdf(a + s, b + n - s, p, q)
    return jnp.where(inside, logs, -jnp.inf)


def predict_normal(belief: Normal, *, scale: Batch) -> Normal:
    """The distribution of the next measurement: its own error on top of what is not known of the mean.

    Formula: Normal(loc, s) of the mean and an error of this scale -> Normal(loc, sqrt(s^2 + scale^2)).
    Paper: Gelman et al. 2013, Bayesian data analysis, section 2.5.
    Shapes: belief [*batch], scale broadcast with it -> Normal of [*batch].
    Errors: ValueError for a scale <= 0 or not finite, shapes that do not broadcast.
    Example:
        belief = normal_normal(normal(0.0, 100.0), mean=20.0, count=4, scale=6.0)
        ahead = predict_normal(belief, scale=6.0)
        assert ahead.loc == belief.loc
        assert ahead.scale > 6                               # known for sure, the mean would leave 6
    """
    loc, s, scale = together(*belief, numbers('scale', scale, 0, edges=False))
    return Normal(loc, jnp.hypot(s, scale))


def predict_categorical(belief: Dirichlet) -> Categorical:
    """The distribution of the next of the k.

    Formula: P(i) = a_i / sum_j a_j, the mean of the belief.
    Paper: Laplace 1774, Memoire sur la probabilite des causes par les evenements: the rule of succession.
    Shapes: belief [*batch, k] -> Categorical of [*batch, k].
    Errors: none; a Dirichlet is checked when it is made.
    Example:
        belief = dirichlet_categorical(dirichlet(jnp.ones(2)), counts=jnp.array([9.0, 0.0]))
        chance = jnp.exp(predict_categorical(belief).log_prob(jnp.arange(2)))
        assert jnp.allclose(chance, jnp.array([10 / 11, 1 / 11]))
        assert chance[1] > 0                                 # never seen is not impossible
    """
    return categorical(jnp.log(belief.mean()))


def predict_poisson(belief: Gamma, events: Batch, exposure: Batch = 1.0) -> Batch:
    """log P(so many events in the next exposure): the Poisson averaged over the belief, a negative binomial.

    Formula: Gamma(k + r) / (k! Gamma(r)) p^r (1 - p)^k, r the belief's shape, p = rate / (rate + exposure).
    Paper: Greenwood, Yule 1920, An inquiry into the nature of frequency distributions, JRSS 83.
    Shapes: belief [*batch], events, exposure broadcast with it -> [*batch]; -inf where events are no count.
    Errors: ValueError for an exposure <= 0 or not finite, shapes that do not broadcast.
    Example:
        belief = gamma(1.0, 1.0)
        chance = jnp.exp(predict_poisson(belief, jnp.arange(4.0)))
        assert jnp.allclose(chance, jnp.array([1 / 2, 1 / 4, 1 / 8, 1 / 16]))
        assert predict_poisson(belief, 0.5) == -jnp.inf
    """
    shape, rate, k, exposure = together(*belief, events, numbers('exposure', exposure, 0, edges=False))
    inside = (k >= 0) & (k == jnp.floor(k))
    k = jnp.where(inside, k, 0)
    p = rate / (rate + exposure)
    # Gamma(k + r) / (k! Gamma(r)) p^r q^k is the Beta(r, k + 1) density at p, times p q^0 / (r + k)
    logs = log_beta_pdf(shape, k + 1, p, exposure / (rate + exposure)) + jnp.log(p) - jnp.log(shape + k)
    return jnp.where(inside, logs, -jnp.inf)


class Grid(NamedTuple):
    """A posterior on a grid: log density at the points, weights of the trapezoid rule, log of the evidence."""

    points: Float[Array, ' n']
    log_density: Float[Array, ' n']
    weights: Float[Array, ' n']
    log_evidence: Float[Array, '']

    def expect(self, fun: Callable[[Array], Array]) -> Float[Array, '']:
        """The posterior mean of fun(points) [n]; with a likelihood of new data for fun, their predictive density."""
        return jnp.sum(fun(self.points) * jnp.exp(self.log_density) * self.weights)


def grid_posterior(log_prior: Callable, log_likelihood: Callable, points: Float[Array, ' n']) -> Grid:
    """Bayes' rule for any prior and likelihood of one parameter, by brute force.

    Formula: posterior_i = prior_i likelihood_i / sum_j w_j prior_j likelihood_j, w of the trapezoid rule; in
        logarithms, so that a thousand observations do not underflow.
    Paper: Laplace 1774, Memoire sur la probabilite des causes; McElreath 2020, Statistical rethinking, section 2.4.
    Shapes: points [n] rising; log_prior, log_likelihood: [n] -> [n]; the rest as in Grid.
    Errors: ValueError for points that are not [n] with n >= 2, or that do not rise; functions that change the shape.
    Example:
        prior = beta(2.0, 2.0)
        seen = lambda p: 7 * jnp.log(p) + 3 * jnp.log1p(-p)
        grid = grid_posterior(prior.log_prob, seen, jnp.linspace(0.001, 0.999, 999))
        assert abs(grid.expect(lambda p: p) - 9 / 14) < 1e-5
    """
    points = numbers('points', points)
    if points.ndim != 1 or len(points) < 2 or (readable(points) and (np.diff(np.asarray(points)) <= 0).any()):
        raise ValueError(f'points: expected [n] with n >= 2 that rise; found shape {points.shape}, or some that do not')
    logs = [f(points) for f in (log_prior, log_likelihood)]
    if any(v.shape != points.shape for v in logs):
        raise ValueError(f'log_prior, log_likelihood: expected values {points.shape}; found '
                         f'{logs[0].shape} and {logs[1].shape}')
    gaps = jnp.diff(points)
    none = jnp.zeros(1, gaps.dtype)
    weights = 0.5 * (jnp.concatenate([gaps, none]) + jnp.concatenate([none, gaps]))
    joint = logs[0] + logs[1]
    top = jnp.max(joint)
    evidence = top + jnp.log(jnp.sum(weights * jnp.exp(joint - top)))
    return Grid(points, joint - evidence, weights, evidence)


class Answers(NamedTuple):
    """What a test's answers mean: P(ill | positive), P(well | negative), P(positive)."""

    ill_if_positive: Batch
    well_if_negative: Batch
    positive: Batch


def base_rate(prevalence: Batch, *, sensitivity: Batch, specificity: Batch) -> Answers:
    """What a positive test says where few are ill: less than the test's quality suggests.

    Formula: P(ill | +) = sens prev / (sens prev + (1 - spec) (1 - prev)), and likewise P(well | -).
    Paper: Casscells, Schoenberger, Graboys 1978, Interpretation by physicians of clinical laboratory results, New
        England Journal of Medicine 299: 1 in 1000 ill, 5 % false alarms; most said 95 %, it is 2 %.
    Shapes: three arrays that broadcast to [*batch] -> Answers of [*batch]; NaN for an answer that never comes.
    Errors: ValueError for a share outside 0 ... 1.
    Example:
        a = base_rate(0.001, sensitivity=1.0, specificity=0.95)
        assert jnp.allclose(a.ill_if_positive, 0.0196, atol=1e-4)
        assert a.well_if_negative == 1
        twice = base_rate(a.ill_if_positive, sensitivity=1.0, specificity=0.95)      # a second, independent test
        assert twice.ill_if_positive < 0.3
    """
    ill, sens, spec = together(numbers('prevalence', prevalence, 0, 1), numbers('sensitivity', sensitivity, 0, 1),
                               numbers('specificity', specificity, 0, 1))
    true, false = sens * ill, (1 - spec) * (1 - ill)
    right, missed = spec * (1 - ill), (1 - sens) * ill
    return Answers(true / (true + false), right / (right + missed), true + false)


__all__ = ['Answers', 'Grid', 'base_rate', 'beta', 'beta_binomial', 'dirichlet', 'dirichlet_categorical', 'gamma',
           'gamma_poisson', 'grid_posterior', 'normal', 'normal_normal', 'predict_binomial', 'predict_categorical',
           'predict_normal', 'predict_poisson']
