"""Distributions on the line: normal, Laplace, uniform, exponential, Student's t.

Every distribution of this package is made by a function that checks its parameters and returns a NamedTuple of arrays,
a pytree: jit, vmap and grad take it as it is. Its methods, as far as the mathematics has them:

    sample(key, shape=())  -> [*shape, *batch]      the key is explicit; equal keys, equal samples
    log_prob(x), cdf(x), sf(x), icdf(p)             x, p broadcast against the batch of parameters; sf = 1 - cdf
    mean(), variance(), entropy()  -> [*batch]      natural logarithms

sf is not computed as 1 - cdf, so that both tails keep their digits. Discrete ones (`distributions_discrete`): icdf(p)
is the smallest value with cdf >= p. `distributions_gamma` has gamma, beta, Dirichlet; `distributions_mvn` the
multivariate normal. It and the Dirichlet have no cdf in closed form and offer none.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import ndtr, ndtri
from jaxtyping import Array, Float, Key

from levels.level0_foundations.probability.checks import floats, numbers, repeated, times, together
from levels.level0_foundations.probability.special import HALF_LOG_TAU, half_step
from levels.level0_foundations.probability.tails import beta_logit, beta_tails, polish

Batch = Float[Array, '*batch']


class Normal(NamedTuple):
    """See `normal`."""

    loc: Batch
    scale: Batch

    def sample(self, key: Key[Array, ''], shape: tuple[int, ...] = ()) -> Float[Array, '...']:
        return times(jax.random.normal(key, (*shape, *self.loc.shape), self.loc.dtype), self.scale, self.loc)

    def log_prob(self, x: Batch) -> Batch:
        x, loc, scale = together(x, *self)
        return -0.5 * ((x - loc) / scale) ** 2 - jnp.log(scale) - HALF_LOG_TAU

    def cdf(self, x: Batch) -> Batch:
        x, loc, scale = together(x, *self)
        return ndtr((x - loc) / scale)

    def sf(self, x: Batch) -> Batch:
        x, loc, scale = together(x, *self)
        return ndtr((loc - x) / scale)

    def icdf(self, p: Batch) -> Batch:
        p, loc, scale = together(p, *self)
        return loc + scale * ndtri(p)

    def mean(self) -> Batch:
        return self.loc

    def variance(self) -> Batch:
        return self.scale ** 2

    def entropy(self) -> Batch:
        return 0.5 + HALF_LOG_TAU + jnp.log(self.scale)


def normal(loc: Batch = 0.0, scale: Batch = 1.0) -> Normal:
    """The normal distribution: what sums of many small independent parts tend to.

    Formula: density exp(-z^2 / 2) / (scale sqrt(2 pi)), z = (x - loc) / scale; entropy log(2 pi e scale^2) / 2.
    Paper: Gauss 1809, Theoria motus corporum coelestium; the inverse is Cephes' (Moshier 1989).
    Shapes: loc, scale broadcast to [*batch]; methods as in the module's docstring.
    Errors: ValueError for scale <= 0, values that are not finite, shapes that do not broadcast.
    Example:
        d = normal(1.0, 2.0)
        assert d.cdf(1.0) == 0.5 and d.variance() == 4
        x = d.sample(jax.random.key(0), (5,))
        slope = jax.grad(lambda loc: normal(loc, 2.0).log_prob(x).sum())(1.0)
        assert jnp.allclose(slope, (x - 1).sum() / 4, atol=1e-5)
    """
    return Normal(*together(numbers('loc', loc), numbers('scale', scale, 0, edges=False)))


class Laplace(NamedTuple):
    """See `laplace`."""

    loc: Batch
    scale: Batch

    def sample(self, key: Key[Array, ''], shape: tuple[int, ...] = ()) -> Float[Array, '...']:
        return times(jax.random.laplace(key, (*shape, *self.loc.shape), self.loc.dtype), self.scale, self.loc)

    def log_prob(self, x: Batch) -> Batch:
        x, loc, scale = together(x, *self)
        return -jnp.abs(x - loc) / scale - jnp.log(2 * scale)

    def cdf(self, x: Batch) -> Batch:
        x, loc, scale = together(x, *self)
        z = (x - loc) / scale
        tail = 0.5 * jnp.exp(-jnp.abs(z))
        return jnp.where(z < 0, tail, 1 - tail)

    def sf(self, x: Batch) -> Batch:
        return Laplace(-self.loc, self.scale).cdf(-floats('x', x))

    def icdf(self, p: Batch) -> Batch:
        p, loc, scale = together(p, *self)
        return loc + scale * jnp.where(p < 0.5, jnp.log(2 * p), -jnp.log(2 * (1 - p)))

    def mean(self) -> Batch:
        return self.loc

    def variance(self) -> Batch:
        return 2 * self.scale ** 2

    def entropy(self) -> Batch:
        return 1 + jnp.log(2 * self.scale)


def laplace(loc: Batch = 0.0, scale: Batch = 1.0) -> Laplace:
    """The Laplace distribution: two exponentials back to back; its likelihood is the absolute error.

    Formula: density exp(-|x - loc| / scale) / (2 scale); variance 2 scale^2; entropy 1 + log(2 scale).
    Paper: Laplace 1774, Memoire sur la probabilite des causes par les evenements.
    Shapes: loc, scale broadcast to [*batch]; methods as in the module's docstring.
    Errors: ValueError for scale <= 0, values that are not finite, shapes that do not broadcast.
    Example:
        d = laplace(0.0, jnp.array([1.0, 2.0]))
        assert d.cdf(0.0).tolist() == [0.5, 0.5] and d.variance().tolist() == [2.0, 8.0]
        x = d.sample(jax.random.key(0), (10,))                     # [10, 2]
        assert jnp.allclose(d.icdf(d.cdf(-3.0)), -3.0)
    """
    return Laplace(*together(numbers('loc', loc), numbers('scale', scale, 0, edges=False)))


class Uniform(NamedTuple):
    """See `uniform`."""

    low: Batch
    high: Batch

    def sample(self, key: Key[Array, ''], shape: tuple[int, ...] = ()) -> Float[Array, '...']:
        return times(jax.random.uniform(key, (*shape, *self.low.shape), self.low.dtype), self.high - self.low, self.low)

    def log_prob(self, x: Batch) -> Batch:
        x, low, high = together(x, *self)
        return jnp.where((x >= low) & (x <= high), -jnp.log(high - low), -jnp.inf)

    def cdf(self, x: Batch) -> Batch:
        x, low, high = together(x, *self)
        return jnp.clip((x - low) / (high - low), 0, 1)

    def sf(self, x: Batch) -> Batch:
        x, low, high = together(x, *self)
        return jnp.clip((high - x) / (high - low), 0, 1)

    def icdf(self, p: Batch) -> Batch:
        p, low, high = together(p, *self)
        return jnp.where((p >= 0) & (p <= 1), low + (high - low) * p, jnp.nan)

    def mean(self) -> Batch:
        return self.low + 0.5 * (self.high - self.low)

    def variance(self) -> Batch:
        return (self.high - self.low) ** 2 / 12

    def entropy(self) -> Batch:
        return jnp.log(self.high - self.low)


def uniform(low: Batch = 0.0, high: Batch = 1.0) -> Uniform:
    """The uniform distribution on an interval.

    Formula: density 1 / (high - low) on low <= x <= high; variance (high - low)^2 / 12; entropy log(high - low).
    Paper: Bayes 1763, An essay towards solving a problem in the doctrine of chances, where it is the prior.
    Shapes: low, high broadcast to [*batch]; methods as in the module's docstring.
    Errors: ValueError for low >= high, values that are not finite, shapes that do not broadcast.
    Example:
        d = uniform(-1.0, 3.0)
        assert d.mean() == 1 and d.icdf(0.25) == 0
        assert d.log_prob(4.0) == -jnp.inf and d.cdf(4.0) == 1
        x = d.sample(jax.random.key(0), (10,))
    """
    low, high = together(numbers('low', low), numbers('high', high))
    numbers('high - low', high - low, 0, edges=False)
    return Uniform(low, high)


class Exponential(NamedTuple):
    """See `exponential`."""

    rate: Batch

    def sample(self, key: Key[Array, ''], shape: tuple[int, ...] = ()) -> Float[Array, '...']:
        return times(jax.random.exponential(key, (*shape, *self.rate.shape), self.rate.dtype), 1 / self.rate)

    def log_prob(self, x: Batch) -> Batch:
        x, rate = together(x, *self)
        return jnp.where(x >= 0, jnp.log(rate) - rate * x, -jnp.inf)

    def cdf(self, x: Batch) -> Batch:
        x, rate = together(x, *self)
        return -jnp.expm1(-rate * jnp.maximum(x, 0))

    def sf(self, x: Batch) -> Batch:
        x, rate = together(x, *self)
        return jnp.exp(-rate * jnp.maximum(x, 0))

    def icdf(self, p: Batch) -> Batch:
        p, rate = together(p, *self)
        return -jnp.log1p(-jnp.where(p < 0, jnp.nan, p)) / rate

    def mean(self) -> Batch:
        return 1 / self.rate

    def variance(self) -> Batch:
        return self.rate ** -2

    def entropy(self) -> Batch:
        return 1 - jnp.log(self.rate)


def exponential(rate: Batch = 1.0) -> Exponential:
    """The exponential distribution: waiting for an event that does not age.

    Formula: density rate exp(-rate x) for x >= 0; mean 1 / rate; entropy 1 - log(rate).
    Paper: Feller 1966, An introduction to probability theory and its applications II, chapter I.
    Shapes: rate [*batch]; methods as in the module's docstring.
    Errors: ValueError for a rate <= 0 or not finite, shapes that do not broadcast.
    Example:
        d = exponential(2.0)
        assert jnp.allclose(d.sf(3.0), d.sf(1.0) * d.sf(2.0))      # no memory
        assert d.mean() == 0.5
        x = d.sample(jax.random.key(0), (10,))
    """
    return Exponential(*together(numbers('rate', rate, 0, edges=False)))


class StudentT(NamedTuple):
    """See `student_t`."""

    df: Batch
    loc: Batch
    scale: Batch

    def sample(self, key: Key[Array, ''], shape: tuple[int, ...] = ()) -> Float[Array, '...']:
        return times(jax.random.t(key, repeated(self.df, shape), dtype=self.df.dtype), self.scale, self.loc)

    def log_prob(self, x: Batch) -> Batch:
        x, df, loc, scale = together(x, *self)
        z = (x - loc) / scale
        top = half_step(df / 2)[0] - 0.5 * jnp.log(df * math.pi) - jnp.log(scale)
        return top - 0.5 * (df + 1) * jnp.log1p(z * z / df)

    def cdf(self, x: Batch) -> Batch:
        x, df, loc, scale = together(x, *self)
        z = (x - loc) / scale
        z2 = jnp.minimum(z * z, jnp.finfo(z.dtype).max / 2)
        tail = 0.5 * beta_tails(df / 2, jnp.full_like(df, 0.5), df / (df + z2), z2 / (df + z2))[0]
        return jnp.where(z < 0, tail, 1 - tail)

    def sf(self, x: Batch) -> Batch:
        return StudentT(self.df, -self.loc, self.scale).cdf(-floats('x', x))

    def icdf(self, p: Batch) -> Batch:
        p, df, loc, scale = together(p, *self)
        tail = jnp.minimum(p, 1 - p)
        half = jnp.full_like(df, 0.5)
        x = -jnp.sqrt(df) * jnp.exp(-0.5 * beta_logit(df / 2, half, 2 * tail, 1 - 2 * tail))
        alone = StudentT(jax.lax.stop_gradient(df), jnp.zeros_like(df), jnp.ones_like(df))
        x = polish(x, (alone.cdf(x), 1 - tail), jnp.exp(alone.log_prob(x)), tail, 1 - tail)
        return loc + scale * jnp.where((p >= 0) & (p <= 1), jnp.where(p < 0.5, x, -x), jnp.nan)

    def mean(self) -> Batch:
        return jnp.where(self.df > 1, self.loc, jnp.nan)

    def variance(self) -> Batch:
        some = self.scale ** 2 * self.df / jnp.where(self.df > 2, self.df - 2, 1)
        return jnp.where(self.df > 2, some, jnp.where(self.df > 1, jnp.inf, jnp.nan))

    def entropy(self) -> Batch:
        value, slope = half_step(self.df / 2)
        return 0.5 * (self.df + 1) * slope + 0.5 * jnp.log(self.df * math.pi) - value + jnp.log(self.scale)


def student_t(df: Batch, loc: Batch = 0.0, scale: Batch = 1.0) -> StudentT:
    """Student's t: a normal variable over the estimate of its own spread; heavy tails for few degrees of freedom.

    Formula: density proportional to (1 + z^2 / df)^(-(df + 1) / 2), z = (x - loc) / scale. The mean is NaN for df <= 1,
        where there is none; the variance infinite for 1 < df <= 2. The derivatives of cdf and icdf by df are not known
        here: NaN and 0.
    Paper: Student 1908, The probable error of a mean, Biometrika 6.
    Shapes: df, loc, scale broadcast to [*batch]; methods as in the module's docstring.
    Errors: ValueError for df <= 0, scale <= 0, values that are not finite, shapes that do not broadcast.
    Example:
        d = student_t(jnp.array([1.0, 3.0]))
        assert jnp.allclose(d.cdf(1.0)[0], 0.75)                   # Cauchy: 1/2 + atan(1) / pi
        assert d.variance()[1] == 3
        x = d.sample(jax.random.key(0), (10,))                     # [10, 2]
    """
    return StudentT(*together(numbers('df', df, 0, edges=False), numbers('loc', loc),
                              numbers('scale', scale, 0, edges=False)))
