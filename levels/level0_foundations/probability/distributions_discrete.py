"""Bernoulli, categorical, binomial, Poisson.

The methods are those that the docstring of `distributions` lists; values are whole numbers, as floating point (the
categorical takes and gives indices). Elsewhere log_prob is -inf; icdf(p) is the smallest value with cdf >= p.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.scipy.special import entr, xlog1py, xlogy
from jaxtyping import Array, Float, Int, Key

from levels.level0_foundations.probability.checks import floats, numbers, repeated, together, vectors
from levels.level0_foundations.probability.special import log_binomial_pmf, log_gamma_pdf
from levels.level0_foundations.probability.tails import beta_tails, gamma_tails

Batch = Float[Array, '*batch']


def _reach(mean: Batch, variance: Batch, depth: Batch) -> Batch:
    """How far from the mean less than exp(-depth) of the distribution is left (Bernstein's inequality)."""
    return depth / 3 + jnp.sqrt(depth ** 2 / 9 + 2 * variance * depth) + 1


def _search(tails: Callable, low: Batch, high: Batch, p: Batch) -> Batch:
    """The smallest whole number in low ... high whose cdf is at least p, high if there is none, by bisection."""
    size = int(jnp.finfo(p.dtype).nmant) + 1           # of whole numbers with exact neighbours
    q = 1 - p

    def step(_, ends):
        low, high = ends
        middle = jnp.floor(low + 0.5 * (high - low))
        below, above = tails(middle)
        enough = jnp.where(p <= 0.5, below >= p, above <= q)
        return jnp.where(enough, low, jnp.minimum(middle + 1, high)), jnp.where(enough, middle, high)

    return jax.lax.fori_loop(0, size, step, (low, high))[1]


def _summed_entropy(log_prob: Callable, low: Batch, high: Batch) -> Batch:
    """-sum p log p over the whole numbers low ... high, with Kahan's correction: there may be thousands of terms."""
    def step(j, sums):
        total, lost = sums
        k = low + j
        logs = log_prob(k)
        term = jnp.where((k <= high) & (logs > -jnp.inf), -jnp.exp(logs) * jnp.maximum(logs, -1e30), 0) - lost
        new = total + term
        return new, (new - total) - term

    zero = jnp.zeros_like(low)
    return jax.lax.fori_loop(0, jnp.max(high - low).astype(jnp.int32) + 1, step, (zero, zero))[0]


class Bernoulli(NamedTuple):
    """See `bernoulli`."""

    p: Batch

    def sample(self, key: Key[Array, ''], shape: tuple[int, ...] = ()) -> Float[Array, '...']:
        return jax.random.bernoulli(key, repeated(self.p, shape)).astype(self.p.dtype)

    def log_prob(self, x: Batch) -> Batch:
        x, p = together(x, *self)
        return jnp.where((x == 0) | (x == 1), xlogy(x, p) + xlog1py(1 - x, -p), -jnp.inf)

    def cdf(self, x: Batch) -> Batch:
        return 1 - self.sf(x)

    def sf(self, x: Batch) -> Batch:
        x, p = together(x, *self)
        return jnp.where(x < 0, 1, jnp.where(x < 1, p, jnp.where(x >= 1, 0, x)))      # a NaN stays one

    def icdf(self, p: Batch) -> Batch:
        level, p = together(p, *self)
        return jnp.where((level >= 0) & (level <= 1), jnp.where(level <= 1 - p, 0, 1), jnp.nan)

    def mean(self) -> Batch:
        return self.p

    def variance(self) -> Batch:
        return self.p * (1 - self.p)

    def entropy(self) -> Batch:
        return entr(self.p) - xlog1py(1 - self.p, -self.p)


def bernoulli(p: Batch) -> Bernoulli:
    """One yes (1) or no (0).

    Formula: P(1) = p, P(0) = 1 - p; variance p (1 - p); entropy -p log p - (1 - p) log(1 - p).
    Paper: Bernoulli 1713, Ars conjectandi.
    Shapes: p [*batch]; methods as in the docstring of `distributions`.
    Errors: ValueError for p outside 0 <= p <= 1, shapes that do not broadcast.
    Example:
        d = bernoulli(jnp.array([0.25, 1.0]))
        assert d.log_prob(0)[1] == -jnp.inf
        assert d.icdf(0.75).tolist() == [0.0, 1.0]
        x = d.sample(jax.random.key(0), (10,))                     # [10, 2]
    """
    return Bernoulli(*together(numbers('p', p, 0, 1)))


class Categorical(NamedTuple):
    """See `categorical`; `logs` are logarithms of probabilities."""

    logs: Float[Array, '*batch k']

    def sample(self, key: Key[Array, ''], shape: tuple[int, ...] = ()) -> Int[Array, '...']:
        return jax.random.categorical(key, repeated(self.logs, shape))

    def _at(self, table: Float[Array, '*batch k'], x: Batch) -> Batch:
        """table[x] where x is an index; x broadcasts against the batch."""
        x = jnp.asarray(x)
        batch = jnp.broadcast_shapes(x.shape, table.shape[:-1])
        table = jnp.broadcast_to(table, (*batch, table.shape[-1]))
        i = jnp.clip(jnp.broadcast_to(x, batch), 0, table.shape[-1] - 1).astype(jnp.int32)
        return jnp.where(jnp.isnan(x), jnp.nan, jnp.take_along_axis(table, i[..., None], -1)[..., 0])

    def log_prob(self, x: Int[Array, '*batch']) -> Batch:
        x = jnp.asarray(x)
        inside = (x >= 0) & (x < self.logs.shape[-1]) & (x == jnp.floor(x))
        found = self._at(self.logs, x)
        return jnp.where(jnp.broadcast_to(inside, found.shape), found, -jnp.inf)

    def cdf(self, x: Batch) -> Batch:
        below = jnp.cumsum(jnp.exp(self.logs), -1)
        below = jnp.minimum(below / below[..., -1:], 1)
        found = self._at(below, jnp.floor(floats('x', x)))
        return jnp.where(jnp.broadcast_to(jnp.asarray(x) < 0, found.shape), 0, found)

    def sf(self, x: Batch) -> Batch:
        chances = jnp.exp(self.logs)
        above = jnp.cumsum(chances[..., ::-1], -1)[..., ::-1]                # of this one and all behind it
        above = jnp.concatenate([above[..., 1:], jnp.zeros_like(chances[..., :1])], -1)
        found = self._at(above, jnp.floor(floats('x', x)))
        return jnp.where(jnp.broadcast_to(jnp.asarray(x) < 0, found.shape), 1, found)

    def icdf(self, p: Batch) -> Int[Array, '*batch']:
        below = jnp.cumsum(jnp.exp(self.logs), -1)
        below = below / below[..., -1:]
        p = jnp.asarray(p)
        batch = jnp.broadcast_shapes(p.shape, below.shape[:-1])
        wide = jnp.broadcast_to(below, (*batch, below.shape[-1]))
        # cdf rises in the index, so the answer is the number of indices that are still too small.
        count = jnp.sum(wide < jnp.broadcast_to(p, batch)[..., None], -1)
        return jnp.minimum(count, below.shape[-1] - 1)

    def mean(self) -> Batch:
        return jnp.sum(jnp.exp(self.logs) * self._index(), -1)

    def variance(self) -> Batch:
        return jnp.sum(jnp.exp(self.logs) * (self._index() - self.mean()[..., None]) ** 2, -1)

    def entropy(self) -> Batch:
        return jnp.sum(entr(jnp.exp(self.logs)), -1)

    def _index(self) -> Float[Array, '*batch k']:
        return jnp.broadcast_to(jnp.arange(self.logs.shape[-1], dtype=self.logs.dtype), self.logs.shape)


def categorical(logits: Float[Array, '*batch k']) -> Categorical:
    """One of k, with probabilities softmax(logits); `jnp.log(p)` are logits too. Indices are 0 ... k - 1.

    Formula: P(i) = exp(logits_i) / sum_j exp(logits_j); cdf, mean and variance are those of the index.
    Paper: Gumbel 1954, Statistical theory of extreme values, for the way samples are drawn: argmax of logits + noise.
    Shapes: logits [*batch, k], -inf for what never happens; sample [*shape, *batch] integers; log_prob [*batch].
    Errors: ValueError for logits that are not [*batch, k], NaN, infinite, or -inf everywhere.
    Example:
        d = categorical(jnp.log(jnp.array([0.5, 0.25, 0.25])))
        assert jnp.allclose(d.mean(), 0.75)
        assert d.icdf(0.6) == 1
        x = d.sample(jax.random.key(0), (10,))
    """
    logits = vectors('logits', floats('logits', logits))
    logs = jax.nn.log_softmax(logits, -1)
    numbers('logits', jnp.exp(logs), 0, 1)     # a NaN, an infinity and nothing but -inf all end in a NaN here
    return Categorical(logs)


class Binomial(NamedTuple):
    """See `binomial`."""

    n: Batch
    p: Batch

    def sample(self, key: Key[Array, ''], shape: tuple[int, ...] = ()) -> Float[Array, '...']:
        return jax.random.binomial(key, repeated(self.n, shape), repeated(self.p, shape), dtype=self.p.dtype)

    def log_prob(self, x: Batch) -> Batch:
        x, n, p = together(x, *self)
        inside = (x >= 0) & (x <= n) & (x == jnp.floor(x))
        k = jnp.where(inside, x, 0)
        return jnp.where(inside, log_binomial_pmf(n, k, p), -jnp.inf)

    def _tails(self, x: Batch) -> tuple[Batch, Batch]:
        x, n, p = together(x, *self)
        k = jnp.clip(jnp.floor(x), 0, jnp.maximum(n - 1, 0))
        above, below = beta_tails(k + 1, jnp.maximum(n - k, 1), p, 1 - p)
        inside = ~((x < 0) | (x >= n))
        return jnp.where(inside, below, jnp.where(x < 0, 0, 1)), jnp.where(inside, above, jnp.where(x < 0, 1, 0))

    def cdf(self, x: Batch) -> Batch:
        return self._tails(x)[0]

    def sf(self, x: Batch) -> Batch:
        return self._tails(x)[1]

    def icdf(self, p: Batch) -> Batch:
        level, n, p = together(p, *self)
        found = _search(Binomial(n, p)._tails, jnp.zeros_like(n), n, level)
        return jnp.where((level >= 0) & (level <= 1), found, jnp.nan)

    def mean(self) -> Batch:
        return self.n * self.p

    def variance(self) -> Batch:
        return self.n * self.p * (1 - self.p)

    def entropy(self) -> Batch:
        reach = _reach(self.mean(), self.variance(), jnp.full_like(self.p, 45.0))
        low = jnp.maximum(jnp.floor(self.mean() - reach), 0)
        return _summed_entropy(self.log_prob, low, jnp.minimum(jnp.ceil(self.mean() + reach), self.n))


def binomial(n: Batch, p: Batch) -> Binomial:
    """How many of n independent tries succeed.

    Formula: P(k) = n! / (k! (n - k)!) p^k (1 - p)^(n - k); cdf(k) = I_(1-p)(n - k, k + 1). The entropy has no closed
        form: it is summed where the probability is.
    Paper: Bernoulli 1713, Ars conjectandi; in floating point: Loader 2000; samples: Kachitvichyanukul, Schmeiser 1988.
    Shapes: n, p broadcast to [*batch]; methods as in the docstring of `distributions`.
    Errors: ValueError for n that is not a whole number >= 0, p outside 0 <= p <= 1, shapes that do not broadcast.
    Example:
        d = binomial(4, 0.5)
        assert jnp.allclose(jnp.exp(d.log_prob(2)), 6 / 16)
        assert jnp.allclose(d.cdf(1), 5 / 16) and d.icdf(0.5) == 2
        x = d.sample(jax.random.key(0), (10,))
    """
    return Binomial(*together(numbers('n', n, 0, whole=True), numbers('p', p, 0, 1)))


class Poisson(NamedTuple):
    """See `poisson`."""

    rate: Batch

    def sample(self, key: Key[Array, ''], shape: tuple[int, ...] = ()) -> Float[Array, '...']:
        return jax.random.poisson(key, repeated(self.rate, shape)).astype(self.rate.dtype)

    def log_prob(self, x: Batch) -> Batch:
        x, rate = together(x, *self)
        inside = (x >= 0) & (x == jnp.floor(x))
        return jnp.where(inside, log_gamma_pdf(jnp.where(inside, x, 0) + 1, rate), -jnp.inf)

    def _tails(self, x: Batch) -> tuple[Batch, Batch]:
        x, rate = together(x, *self)
        above, below = gamma_tails(jnp.where(x == jnp.inf, 0, jnp.maximum(jnp.floor(x), 0)) + 1, rate)
        return tuple(jnp.where(x < 0, out, jnp.where(x == jnp.inf, 1 - out, v)) for v, out in ((below, 0), (above, 1)))

    def cdf(self, x: Batch) -> Batch:
        return self._tails(x)[0]

    def sf(self, x: Batch) -> Batch:
        return self._tails(x)[1]

    def icdf(self, p: Batch) -> Batch:
        p, rate = together(p, *self)
        depth = -jnp.log1p(-jnp.where(p < 1, p, 0))
        high = jnp.ceil(rate + _reach(rate, rate, depth))
        found = _search(Poisson(rate)._tails, jnp.zeros_like(rate), high, jnp.where(p < 1, p, 0))
        return jnp.where((p >= 0) & (p < 1), found, jnp.where(p == 1, jnp.inf, jnp.nan))

    def mean(self) -> Batch:
        return self.rate

    def variance(self) -> Batch:
        return self.rate

    def entropy(self) -> Batch:
        reach = _reach(self.rate, self.rate, jnp.full_like(self.rate, 45.0))
        low = jnp.maximum(jnp.floor(self.rate - reach), 0)
        return _summed_entropy(self.log_prob, low, jnp.ceil(self.rate + reach))


def poisson(rate: Batch) -> Poisson:
    """How many events there are in a span of time where `rate` are expected and none knows of the others.

    Formula: P(k) = rate^k exp(-rate) / k!; cdf(k) = Q(k + 1, rate), the upper tail of a gamma. The entropy is summed.
    Paper: Poisson 1837, Recherches sur la probabilite des jugements; samples: Knuth 1969, Hormann 1993.
    Shapes: rate [*batch]; methods as in the docstring of `distributions`.
    Errors: ValueError for a rate <= 0 or not finite, shapes that do not broadcast.
    Example:
        d = poisson(jnp.array([0.5, 4.0]))
        assert jnp.allclose(d.cdf(0), jnp.exp(-d.rate))
        assert d.icdf(0.5).tolist() == [0.0, 4.0]
        x = d.sample(jax.random.key(0), (10,))                     # [10, 2]
    """
    return Poisson(*together(numbers('rate', rate, 0, edges=False)))
