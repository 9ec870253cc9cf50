"""Means and variances that survive large means, of streams and of arrays; averages of simulations with their errors.

Example:
    from levels.level0_foundations.probability.moments import merge, pairwise, update
    whole = merge(pairwise(morning), pairwise(evening))
    whole.mean, whole.variance()
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from levels.level0_foundations.probability.checks import floats

LANES = 1024        # of `pairwise`: wide enough for vector units, few enough to stay in a cache


class Moments(NamedTuple):
    """What is kept of the values seen: `origin` is one of them, `offset` their mean less it, `m2` their sum of squared
    deviations, and `rest`, `rest2` what rounding took from offset and m2."""

    count: Int[Array, '*batch']
    origin: Float[Array, '*batch']
    offset: Float[Array, '*batch']
    m2: Float[Array, '*batch']
    rest: Float[Array, '*batch']
    rest2: Float[Array, '*batch']

    @property
    def mean(self) -> Float[Array, '*batch']:
        return jnp.where(self.count > 0, self.origin + (self.offset + self.rest), jnp.nan)

    def variance(self, ddof: int = 0) -> Float[Array, '*batch']:
        """NaN for ddof values or fewer."""
        free = self.count - ddof
        return jnp.where(free > 0, (self.m2 + self.rest2) / jnp.maximum(free, 1), jnp.nan)


def empty(like: Float[Array, '*batch']) -> Moments:
    """The moments of no values, one for each entry of `like`."""
    like = floats('like', like)
    zero = jnp.zeros_like(like)
    return Moments(jnp.zeros(like.shape, jnp.int32), zero, zero, zero, zero, zero)


def _of_one(x: Float[Array, '*batch']) -> Moments:
    return empty(x)._replace(count=jnp.ones(x.shape, jnp.int32), origin=x)


def _add(a: Array, rest: Array, b: Array) -> tuple[Array, Array]:
    """a + b, and rest with what the sum's rounding lost (Knuth's two-sum)."""
    total = a + b
    part = total - a
    return total, rest + ((a - (total - part)) + (b - part))


def merge(a: Moments, b: Moments) -> Moments:
    """The moments of all values that a and b have seen.

    Formula: d = mean_b - mean_a; mean = mean_a + d n_b / n; m2 = m2_a + m2_b + d^2 n_a n_b / n. Means are kept as
        distances from one of the values, and both sums with what their rounding lost, so that in float32 a standard
        deviation of 1 around 1e6 keeps its digits: there neighbouring numbers are 1/16 apart.
    Paper: Chan, Golub, LeVeque 1983, Algorithms for computing the sample variance, The American Statistician 37;
        with one value for b: Welford 1962, Technometrics 4.
    Shapes: Moments of [*batch] and [*batch] -> Moments of [*batch]. Counts are int32: up to 2e9 values.
    Errors: ValueError for batches of two shapes.
    Example:
        a, b = pairwise(jnp.arange(4.0)), pairwise(jnp.arange(4.0, 10.0))
        both = merge(a, b)
        assert both.count == 10 and both.mean == 4.5
        assert jnp.allclose(both.variance(), 8.25)
    """
    if a.origin.shape != b.origin.shape:
        raise ValueError(f'a, b: expected Moments of one shape; found {a.origin.shape} and {b.origin.shape}')
    return _merged(a, b)


@jax.jit
def _merged(a: Moments, b: Moments) -> Moments:
    count = a.count + b.count
    dtype = a.origin.dtype
    share = b.count.astype(dtype) / jnp.maximum(count, 1).astype(dtype)     # of integers it would be float32 always
    gap = (b.origin - a.origin) + ((b.offset - a.offset) + (b.rest - a.rest))
    offset, rest = _add(a.offset, a.rest, gap * share)
    m2, rest2 = _add(a.m2, a.rest2 + b.rest2, b.m2)
    m2, rest2 = _add(m2, rest2, gap * gap * share * a.count.astype(gap.dtype))
    pick = lambda both, mine, other: jnp.where(a.count == 0, other, jnp.where(b.count == 0, mine, both))
    new = Moments(count, a.origin, offset, m2, rest, rest2)
    return jax.tree.map(pick, new, a, b)


def update(state: Moments, x: Float[Array, '*batch']) -> Moments:
    """The moments after one more value: a stream needs no memory of what it has seen.

    Formula: mean_n = mean_(n-1) + (x - mean_(n-1)) / n; m2_n = m2_(n-1) + (x - mean_(n-1)) (x - mean_n), as `merge`.
    Paper: Welford 1962, Note on a method for calculating corrected sums of squares and products, Technometrics 4.
    Shapes: Moments of [*batch], x [*batch] -> Moments of [*batch].
    Errors: ValueError for an x of another shape.
    Example:
        xs = 1e6 + jnp.array([1.0, 2.0, 3.0])
        state, _ = jax.lax.scan(lambda s, x: (update(s, x), None), empty(xs[0]), xs)
        assert state.mean == 1e6 + 2
        assert jnp.allclose(state.variance(ddof=1), 1.0)
    """
    return merge(state, _of_one(floats('x', x).astype(state.origin.dtype)))


def pairwise(x: Float[Array, 'n *batch']) -> Moments:
    """The moments of an array along its first axis, halves merged with halves.

    Formula: value i goes to lane i mod 1024, and each lane is a stream as in `update`, all at once; then `merge` of
        both halves of the lanes, ten times. One pass over the array.
    Paper: Chan, Golub, LeVeque 1983, Algorithms for computing the sample variance, The American Statistician 37.
    Shapes: x [n, *batch] -> Moments of [*batch].
    Errors: ValueError for a scalar and for no values.
    Example:
        x = 1e6 + jax.random.normal(jax.random.key(0), (1000, 2))
        m = pairwise(x)
        assert m.mean.shape == (2,)
        assert jnp.allclose(m.variance(), jnp.var(x - 1e6, axis=0), rtol=1e-5)
    """
    x = floats('x', x)
    if x.ndim < 1 or len(x) == 0:
        raise ValueError(f'x: expected [n, *batch] with n > 0; found shape {x.shape}')
    return _halved(x)


@jax.jit
def _halved(x: Float[Array, 'n *batch']) -> Moments:
    levels = min((len(x) - 1).bit_length(), LANES.bit_length() - 1)
    lanes = 1 << levels
    empty_ones = -len(x) % lanes
    rows = jnp.concatenate([x, jnp.zeros((empty_ones, *x.shape[1:]), x.dtype)]).reshape(-1, lanes, *x.shape[1:])
    real = (jnp.arange(rows.shape[0] * lanes) < len(x)).astype(jnp.int32).reshape(rows.shape[:2])
    real = jnp.broadcast_to(real.reshape(*real.shape, *(1,) * (x.ndim - 1)), rows.shape)
    add = lambda parts, row: (_merged(parts, _of_one(row[0])._replace(count=row[1])), None)
    parts = jax.lax.scan(add, empty(rows[0]), (rows, real))[0]
    # lane i takes in lane i + half; what the upper half holds then is not looked at again
    fold = lambda i, parts: _merged(parts, jax.tree.map(lambda v: jnp.roll(v, -(lanes >> (i + 1)), 0), parts))
    return jax.tree.map(lambda v: v[0], jax.lax.fori_loop(0, levels, fold, parts))


class Estimate(NamedTuple):
    """A mean over random samples, the standard error of that mean, and how many samples there were."""

    mean: Float[Array, '*batch']
    error: Float[Array, '*batch']
    count: Int[Array, '']


def monte_carlo(key: Key[Array, ''], sample: Callable[..., Any], fun: Callable[[Any], Array], *, n: int) -> Estimate:
    """An expectation by simulation, with its standard error.

    Formula: mean of f(x_i), x_i independent; error = sqrt(sum (f_i - mean)^2 / (n - 1) / n), halved by four times n.
    Paper: Metropolis, Ulam 1949, The Monte Carlo method, Journal of the American Statistical Association 44.
    Shapes: sample(key, (n,)) -> [n, *event], a distribution's method; fun: [n, *event] -> [n, *batch].
    Errors: ValueError for n below 2, a fun that does not keep the first axis.
    Example:
        draw = lambda key, shape: jax.random.uniform(key, (*shape, 2))
        inside = lambda x: 4.0 * (jnp.sum(x ** 2, -1) < 1)
        pi = monte_carlo(jax.random.key(0), draw, inside, n=4000)
        assert abs(pi.mean - jnp.pi) < 4 * pi.error and pi.error < 0.03
    """
    if n < 2:
        raise ValueError(f'n: expected at least 2; found {n}')
    values = floats('fun', fun(sample(key, (n,))))
    if values.ndim < 1 or len(values) != n:
        raise ValueError(f'fun: expected values [{n}, *batch]; found shape {values.shape}')
    m = pairwise(values)
    return Estimate(m.mean, jnp.sqrt(m.variance(ddof=1) / n), jnp.asarray(n, jnp.int32))


def control_variate(values: Float[Array, ' n'], controls: Float[Array, 'n *k'], means: Float[Array, '*k']) -> Estimate:
    """A mean made sharper by quantities whose own means are known.

    Formula: mean(f - (g - E g)' c), c = Cov(g)^-1 Cov(g, f), the coefficients with the least variance; the variance
        that is left is (1 - R^2) Var f. The error counts the k estimated coefficients as lost observations.
    Paper: Lavenberg, Welch 1981, A perspective on the use of control variables, Management Science 27.
    Shapes: values [n], controls [n] or [n, k] of the same samples, means [] or [k] -> Estimate of [].
    Errors: ValueError for shapes that do not fit, fewer than k + 2 samples.
    Example:
        u = jax.random.uniform(jax.random.key(0), (1000,))
        plain = monte_carlo(jax.random.key(0), jax.random.uniform, jnp.exp, n=1000)
        sharp = control_variate(jnp.exp(u), u, 0.5)          # the integral of exp from 0 to 1
        assert abs(sharp.mean - (jnp.e - 1)) < 4 * sharp.error
        assert sharp.error < 0.2 * plain.error
    """
    values, controls, means = floats('values', values), floats('controls', controls), floats('means', means)
    n = values.shape[0] if values.ndim == 1 else 0
    if n == 0 or controls.ndim not in (1, 2) or len(controls) != n or means.shape != controls.shape[1:]:
        raise ValueError('values, controls, means: expected [n], [n, *k], [*k]; found shapes '
                         f'{values.shape}, {controls.shape}, {means.shape}')
    g = controls.reshape(n, -1) - means.reshape(1, -1).astype(controls.dtype)
    k = g.shape[1]
    if n < k + 2:
        raise ValueError(f'values: expected at least {k + 2}; found {n}')
    f = values - pairwise(values).mean
    centred = g - pairwise(g).mean[None]
    # lstsq and not the normal equations: controls may be nearly dependent, and squaring would double that
    c = jnp.linalg.lstsq(centred, f)[0]
    m = pairwise(values - jnp.matmul(g, c, precision='highest'))
    return Estimate(m.mean, jnp.sqrt(m.m2 / (n - 1 - k) / n), jnp.asarray(n, jnp.int32))
