"""Made of others: the exponential of a normal variable, and the number of tries until the first success.

The methods are those that the docstring of `distributions` lists.

Example:
    from levels.level0_foundations.probability.distributions_derived import lognormal
    income = lognormal(10.3, 0.7)
    income.mean(), income.icdf(0.5)
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import xlog1py
from jaxtyping import Array, Float, Key

from levels.level0_foundations.probability.checks import numbers, repeated, together
from levels.level0_foundations.probability.distributions import Normal
from levels.level0_foundations.probability.distributions_discrete import Bernoulli

Batch = Float[Array, '*batch']


class LogNormal(NamedTuple):
    """See `lognormal`."""

    loc: Batch
    scale: Batch

    def sample(self, key: Key[Array, ''], shape: tuple[int, ...] = ()) -> Float[Array, '...']:
        return jnp.exp(Normal(*self).sample(key, shape))

    def log_prob(self, x: Batch) -> Batch:
        x, loc, scale = together(x, *self)
        logs = jnp.log(jnp.where(x > 0, x, 1))
        return jnp.where(x > 0, Normal(loc, scale).log_prob(logs) - logs, -jnp.inf)

    def cdf(self, x: Batch) -> Batch:
        x, loc, scale = together(x, *self)
        return Normal(loc, scale).cdf(jnp.log(jnp.maximum(x, 0)))

    def sf(self, x: Batch) -> Batch:
        x, loc, scale = together(x, *self)
        return Normal(loc, scale).sf(jnp.log(jnp.maximum(x, 0)))

    def icdf(self, p: Batch) -> Batch:
        return jnp.exp(Normal(*self).icdf(p))

    def mean(self) -> Batch:
        return jnp.exp(self.loc + 0.5 * self.scale ** 2)

    def variance(self) -> Batch:
        return jnp.expm1(self.scale ** 2) * self.mean() ** 2

    def entropy(self) -> Batch:
        return self.loc + Normal(*self).entropy()


def lognormal(loc: Batch = 0.0, scale: Batch = 1.0) -> LogNormal:
    """The exponential of a normal variable: what products of many small independent factors tend to.

    Formula: log x is normal(loc, scale); mean exp(loc + scale^2 / 2), median exp(loc); entropy loc + that of log x.
    Paper: Galton 1879, The geometric mean in vital and social statistics; McAlister 1879, Proc. Royal Society 29.
    Shapes: loc, scale broadcast to [*batch]; methods as in the docstring of `distributions`.
    Errors: ValueError for scale <= 0, values that are not finite, shapes that do not broadcast.
    Example:
        d = lognormal(1.0, 0.5)
        assert jnp.allclose(d.icdf(0.5), jnp.e)
        assert d.mean() > d.icdf(0.5) and d.cdf(-1.0) == 0
        x = d.sample(jax.random.key(0), (10,))
    """
    return LogNormal(*together(numbers('loc', loc), numbers('scale', scale, 0, edges=False)))


class Geometric(NamedTuple):
    """See `geometric`."""

    p: Batch

    def sample(self, key: Key[Array, ''], shape: tuple[int, ...] = ()) -> Float[Array, '...']:
        # the smallest k with 1 - (1 - p)^k >= 1 - u; u in (0, 1)
        u = jax.random.uniform(key, (*shape, *self.p.shape), self.p.dtype, jnp.finfo(self.p.dtype).tiny)
        return jnp.maximum(jnp.ceil(jnp.log(u) / jnp.log1p(-repeated(self.p, shape))), 1)

    def log_prob(self, x: Batch) -> Batch:
        x, p = together(x, *self)
        inside = (x >= 1) & (x == jnp.floor(x))
        return jnp.where(inside, xlog1py(jnp.where(inside, x, 1) - 1, -p) + jnp.log(p), -jnp.inf)

    def cdf(self, x: Batch) -> Batch:
        x, p = together(x, *self)
        return -jnp.expm1(xlog1py(jnp.maximum(jnp.floor(x), 0), -p))

    def sf(self, x: Batch) -> Batch:
        x, p = together(x, *self)
        return jnp.exp(xlog1py(jnp.maximum(jnp.floor(x), 0), -p))

    def icdf(self, p: Batch) -> Batch:
        level, p = together(p, *self)
        found = jnp.ceil(jnp.log1p(-level) / jnp.log1p(-p))
        # at the edge of a jump the quotient of rounded logarithms can miss by one
        enough = jnp.where(level < 0.5, Geometric(p).cdf(found - 1) >= level, Geometric(p).sf(found - 1) <= 1 - level)
        found = jnp.where(enough, found - 1, found)
        found = jnp.where(p < 1, jnp.maximum(found, 1), 1)
        return jnp.where((level >= 0) & (level <= 1), found, jnp.nan)

    def mean(self) -> Batch:
        return 1 / self.p

    def variance(self) -> Batch:
        return (1 - self.p) / self.p ** 2

    def entropy(self) -> Batch:
        return Bernoulli(self.p).entropy() / self.p


def geometric(p: Batch) -> Geometric:
    """How many tries it takes until the first success, that one counted.

    Formula: P(k) = p (1 - p)^(k - 1), k = 1, 2, ...; mean 1 / p; entropy that of one try, over p.
    Paper: Feller 1950, An introduction to probability theory and its applications I, chapter VI.
    Shapes: p [*batch]; methods as in the docstring of `distributions`.
    Errors: ValueError for p outside 0 < p <= 1, shapes that do not broadcast.
    Example:
        d = geometric(0.25)
        assert d.mean() == 4 and jnp.allclose(jnp.exp(d.log_prob(2)), 3 / 16)
        assert jnp.allclose(d.sf(5), d.sf(2) * d.sf(3))            # no memory
        x = d.sample(jax.random.key(0), (10,))
    """
    numbers('p', p, 0, edges=False)
    return Geometric(numbers('p', p, 0, 1))
