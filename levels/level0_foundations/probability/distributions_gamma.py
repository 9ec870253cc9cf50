"""Gamma, beta and Dirichlet: positive amounts, and the shares that they have of their sum.

The methods are those that the docstring of `distributions` lists; a Dirichlet has no cdf or icdf.

Example:
    from levels.level0_foundations.probability.distributions_gamma import gamma
    median = gamma(2.0, 1.0).icdf(0.5)
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from levels.level0_foundations.probability.checks import numbers, repeated, times, together, vectors
from levels.level0_foundations.probability.special import (
    digamma,
    gamma_entropy,
    log_beta_pdf,
    log_gamma_pdf,
    log_share_pdf,
)
from levels.level0_foundations.probability.tails import beta_quantile, beta_tails, gamma_quantile, gamma_tails

Batch = Float[Array, '*batch']


class Gamma(NamedTuple):
    """See `gamma`."""

    shape: Batch
    rate: Batch

    def sample(self, key: Key[Array, ''], shape: tuple[int, ...] = ()) -> Float[Array, '...']:
        noise = jax.random.gamma(key, repeated(self.shape, shape), dtype=self.shape.dtype)
        return times(noise, 1 / self.rate)

    def log_prob(self, x: Batch) -> Batch:
        x, a, rate = together(x, *self)
        return jnp.where(x >= 0, log_gamma_pdf(a, rate * jnp.maximum(x, 0)) + jnp.log(rate), -jnp.inf)

    def cdf(self, x: Batch) -> Batch:
        x, a, rate = together(x, *self)
        return gamma_tails(a, rate * jnp.maximum(x, 0))[0]

    def sf(self, x: Batch) -> Batch:
        x, a, rate = together(x, *self)
        return gamma_tails(a, rate * jnp.maximum(x, 0))[1]

    def icdf(self, p: Batch) -> Batch:
        p, a, rate = together(p, *self)
        return gamma_quantile(a, p, 1 - p) / rate

    def mean(self) -> Batch:
        return self.shape / self.rate

    def variance(self) -> Batch:
        return self.shape / self.rate ** 2

    def entropy(self) -> Batch:
        return gamma_entropy(self.shape) - jnp.log(self.rate)


def gamma(shape: Batch, rate: Batch = 1.0) -> Gamma:
    """The gamma distribution: the time until the shape-th event, for any positive shape.

    Formula: density rate^shape x^(shape - 1) exp(-rate x) / Gamma(shape) for x >= 0; entropy
        shape - log(rate) + lgamma(shape) + (1 - shape) digamma(shape).
    Paper: Pearson 1895, Contributions to the mathematical theory of evolution II; samples: Marsaglia, Tsang 2000.
    Shapes: shape, rate broadcast to [*batch]; methods as in the docstring of `distributions`.
    Errors: ValueError for a shape or rate <= 0 or not finite, shapes that do not broadcast.
    Example:
        d = gamma(3.0, 2.0)
        assert d.mean() == 1.5 and d.variance() == 0.75
        assert jnp.allclose(d.cdf(d.icdf(0.9)), 0.9)
        slope = jax.grad(lambda a: gamma(a, 2.0).icdf(0.9))(3.0)   # how the quantile moves with the shape
    """
    return Gamma(*together(numbers('shape', shape, 0, edges=False), numbers('rate', rate, 0, edges=False)))


class Beta(NamedTuple):
    """See `beta`."""

    a: Batch
    b: Batch

    def sample(self, key: Key[Array, ''], shape: tuple[int, ...] = ()) -> Float[Array, '...']:
        return jax.random.beta(key, repeated(self.a, shape), repeated(self.b, shape), dtype=self.a.dtype)

    def log_prob(self, x: Batch) -> Batch:
        x, a, b = together(x, *self)
        inside = jnp.clip(x, 0, 1)
        return jnp.where((x >= 0) & (x <= 1), log_beta_pdf(a, b, inside, 1 - inside), -jnp.inf)

    def cdf(self, x: Batch) -> Batch:
        x, a, b = together(x, *self)
        return beta_tails(a, b, jnp.clip(x, 0, 1), 1 - jnp.clip(x, 0, 1))[0]

    def sf(self, x: Batch) -> Batch:
        x, a, b = together(x, *self)
        return beta_tails(a, b, jnp.clip(x, 0, 1), 1 - jnp.clip(x, 0, 1))[1]

    def icdf(self, p: Batch) -> Batch:
        p, a, b = together(p, *self)
        return beta_quantile(a, b, p, 1 - p)

    def mean(self) -> Batch:
        return self.a / (self.a + self.b)

    def variance(self) -> Batch:
        n = self.a + self.b
        return (self.a / n) * (self.b / n) / (n + 1)

    def entropy(self) -> Batch:
        return gamma_entropy(self.a) + gamma_entropy(self.b) - gamma_entropy(self.a + self.b) - digamma(self.a + self.b)


def beta(a: Batch, b: Batch) -> Beta:
    """The beta distribution: the share that one gamma variable has of the sum of two.

    Formula: density x^(a - 1) (1 - x)^(b - 1) / B(a, b) on 0 <= x <= 1; entropy log B(a, b) - (a - 1) digamma(a)
        - (b - 1) digamma(b) + (a + b - 2) digamma(a + b). cdf is differentiable in x and icdf in p, not in a and b.
    Paper: Bayes 1763, An essay towards solving a problem in the doctrine of chances; Pearson 1895.
    Shapes: a, b broadcast to [*batch]; methods as in the docstring of `distributions`.
    Errors: ValueError for a or b <= 0 or not finite, shapes that do not broadcast.
    Example:
        d = beta(2.0, 1.0)
        assert jnp.allclose(d.cdf(0.5), 0.25)                      # x^2
        assert jnp.allclose(d.icdf(0.25), 0.5)
        x = d.sample(jax.random.key(0), (10,))
    """
    return Beta(*together(numbers('a', a, 0, edges=False), numbers('b', b, 0, edges=False)))


class Dirichlet(NamedTuple):
    """See `dirichlet`."""

    concentration: Float[Array, '*batch k']

    def sample(self, key: Key[Array, ''], shape: tuple[int, ...] = ()) -> Float[Array, '... k']:
        a = repeated(self.concentration, shape)
        return jax.random.dirichlet(key, a, a.shape[:-1], a.dtype)

    def log_prob(self, x: Float[Array, '*batch k']) -> Batch:
        if jnp.shape(x)[-1:] != self.concentration.shape[-1:]:
            raise ValueError(f'x: expected [*batch, {self.concentration.shape[-1]}]; found shape {jnp.shape(x)}')
        x, a = together(x, self.concentration)
        # Off the simplex there is no density; on it, sums of floats are 1 up to rounding.
        near = jnp.abs(jnp.sum(x, -1) - 1) < 16 * a.shape[-1] * jnp.finfo(x.dtype).eps
        on = jnp.all(x >= 0, -1) & near
        value = log_share_pdf(a, jnp.maximum(x, 0))
        return jnp.where(on, value, -jnp.inf)

    def mean(self) -> Float[Array, '*batch k']:
        return self.concentration / jnp.sum(self.concentration, -1, keepdims=True)

    def variance(self) -> Float[Array, '*batch k']:
        mean = self.mean()
        return mean * (1 - mean) / (jnp.sum(self.concentration, -1, keepdims=True) + 1)

    def covariance(self) -> Float[Array, '*batch k k']:
        mean = self.mean()
        outer = mean[..., :, None] * mean[..., None, :]
        total = jnp.sum(self.concentration, -1)[..., None, None]
        return (jnp.where(jnp.eye(mean.shape[-1], dtype=bool), mean[..., None] - outer, -outer)) / (total + 1)

    def entropy(self) -> Batch:
        a = self.concentration
        total = jnp.sum(a, -1)
        return jnp.sum(gamma_entropy(a), -1) - gamma_entropy(total) - (a.shape[-1] - 1) * digamma(total)


def dirichlet(concentration: Float[Array, '*batch k']) -> Dirichlet:
    """The Dirichlet distribution: shares of a whole, those that k gamma variables have of their sum.

    Formula: density Gamma(sum a) prod_i x_i^(a_i - 1) / Gamma(a_i) on the simplex, -inf off it.
    Paper: Wilks 1962, Mathematical statistics, section 7.7; Ferguson 1973, Annals of Statistics 1.
    Shapes: concentration [*batch, k]; sample [*shape, *batch, k], log_prob [*batch]; `covariance` [*batch, k, k].
    Errors: ValueError for a concentration <= 0 or not finite, or that is not [*batch, k].
    Example:
        d = dirichlet(jnp.array([1.0, 2.0, 5.0]))
        x = d.sample(jax.random.key(0), (4,))                      # [4, 3], rows sum to 1
        assert d.log_prob(x).shape == (4,)
        assert jnp.allclose(d.mean(), jnp.array([0.125, 0.25, 0.625]))
    """
    return Dirichlet(vectors('concentration', numbers('concentration', concentration, 0, edges=False)))
