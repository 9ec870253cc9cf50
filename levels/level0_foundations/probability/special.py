"""Functions of the gamma family that keep their digits in float32.

lgamma(400) is 1994, and rounds to 1e-4; a density or a tail is a difference of such terms and inherits that error.
Here the large parts are taken apart on paper: a Gamma density is a deviance (exactly 0 where density is highest) and a
few small terms, and every other density and tail is made of Gamma densities. C. Loader did so for the binomial.

Paper: Loader 2000, Fast and accurate computation of binomial probabilities.
"""

import math

import jax
import jax.numpy as jnp
from jax.scipy.special import xlogy
from jaxtyping import Array, Float

HALF_LOG_TAU = 0.5 * math.log(2 * math.pi)
STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156, -3617 / 122400, 43867 / 244188)
Numbers = Float[Array, '*batch']


def _poly(coefs, x):
    """coefs[0] + coefs[1] x + ..."""
    total = jnp.full_like(x, coefs[-1])
    for c in coefs[-2::-1]:
        total = total * x + c
    return total


def stirling(a: Numbers) -> Numbers:
    """lgamma(a) - [(a - 1/2) log a - a + log(2 pi) / 2] for a >= 1, with about as many right digits as the type has.

    The series is taken at a + 4, where nine terms are enough for float64, and led back by lgamma(a + 1) = log a +
    lgamma(a): each step adds (a + 1/2) log(1 + 1/a) - 1, a series in 1 / (2a + 1)^2 without large terms.
    """
    u = (2 * jnp.stack([a, a + 1, a + 2, a + 3]) + 1) ** -2
    steps = u * _poly([1 / (2 * k + 3) for k in range(16)], u)
    return _poly(STIRLING, (a + 4) ** -2) / (a + 4) + jnp.sum(steps[::-1], 0)


def stirling_slope(a: Numbers) -> Numbers:
    """digamma(a) - log a + 1 / (2a), for a >= 1: the derivative of `stirling`."""
    return jax.jvp(stirling, (a,), (jnp.ones_like(a),))[1]


def deviance(a: Numbers, y: Numbers, gap: Numbers) -> Numbers:
    """a log(a / y) + y - a, at least 0, for a, y >= 0; gap = a - y, whose digits matter where it is small."""
    inside = (a > 0) & (y > 0)
    some, safe = jnp.where(inside, a, 1), jnp.where(inside, y, 1)
    v = jnp.where(inside, gap, 0) / (some + safe)
    near = gap * v + 2 * some * v * v * v * _poly([1 / (2 * k + 3) for k in range(20)], v * v)
    far = some * jnp.log(some / safe) + (safe - some)
    return jnp.where(inside, jnp.where(jnp.abs(v) < 0.4, near, far), jnp.where(a > 0, jnp.inf, y))


@jax.jit
def log_gamma(a: Numbers) -> Numbers:
    """lgamma(a), a > 0; below 1 from its neighbour above."""
    return _with_rest(a)[0]


def _with_rest(a: Numbers) -> tuple[Numbers, Numbers]:
    """lgamma(a), and stirling(a) where a >= 1."""
    b = jnp.where(a < 1, a + 1, a)
    rest = stirling(b)
    return (b - 0.5) * jnp.log(b) - b + HALF_LOG_TAU + rest - jnp.where(a < 1, jnp.log(a), 0), rest


@jax.jit
def digamma(a: Numbers) -> Numbers:
    """The derivative of `log_gamma`."""
    b = jnp.where(a < 1, a + 1, a)
    return jnp.log(b) - 0.5 / b + stirling_slope(b) - jnp.where(a < 1, 1 / a, 0)


def parts(a: Numbers, y: Numbers, gap: Numbers | None = None, power: int = 0) -> tuple[Numbers, Numbers]:
    """(l, m) with (a - 1 + power) log y - y - lgamma(a) = l + log m: factors are multiplied before logs round them."""
    direct = (a < 2) | (y < 1e-3 * a) | (y == jnp.inf)
    safe, big = jnp.where(direct, 1, y), jnp.where(direct, 2, a)
    gap = jnp.where(direct, 1, a - y if gap is None else gap)
    whole, rest = _with_rest(a)
    straight = xlogy(a - 1 + power, jnp.where(y < jnp.inf, y, 1)) - y - whole
    return (jnp.where(direct, straight, -deviance(big, safe, gap) - rest - HALF_LOG_TAU),
            jnp.where(direct, 1, jnp.sqrt(big) * safe ** (power - 1)))


@jax.jit
def log_gamma_pdf(a: Numbers, y: Numbers) -> Numbers:
    """(a - 1) log y - y - lgamma(a): the logarithm of the Gamma(a, 1) density at y >= 0, and of Poisson(y) at a - 1."""
    logs, factor = parts(a, y)
    return logs + jnp.log(factor)


@jax.jit
def log_share_pdf(a: Float[Array, '*batch k'], x: Float[Array, '*batch k']) -> Numbers:
    """The logarithm of the Dirichlet(a) density at x: k Gammas of sum n, given their sum."""
    n = jnp.sum(a, -1)
    logs, factors = parts(a, n[..., None] * x)
    return jnp.sum(logs + jnp.log(factors), -1) - log_gamma_pdf(n, n) + (a.shape[-1] - 1) * jnp.log(n)


def balance(a: Numbers, b: Numbers, x: Numbers, y: Numbers) -> Numbers:
    """a y - b x as if neither its products nor the larger of x and y = 1 - x were rounded.

    Halves of the digits multiply exactly; what 1 - x lost in rounding, (1 - y) - x tells exactly.
    """
    digits, bits = (5, 4) if a.dtype.itemsize < 4 else (11, 8) if a.dtype.itemsize == 4 else (25, 11)
    split = lambda v: (top := jax.lax.reduce_precision(v, bits, digits), v - top)
    (a1, a2), (b1, b2), (x1, x2), (y1, y2) = map(split, (a, b, x, y))
    lost = (1 - jnp.maximum(x, y)) - jnp.minimum(x, y)
    low = (a1 * y2 - b1 * x2) + (a2 * y1 - b2 * x1) + (a2 * y2 - b2 * x2) + jnp.where(x < y, a, -b) * lost
    return (a1 * y1 - b1 * x1) + low


def beta_parts(a: Numbers, b: Numbers, x: Numbers, y: Numbers, power: int) -> tuple[Numbers, Numbers]:
    """(l, m): l + log m is the logarithm of x^(a - 1 + power) y^(b - 1 + power) / B(a, b), y = 1 - x."""
    n = a + b
    gap = balance(a, b, x, y)                   # a - n x = n y - b
    logs, factors = parts(jnp.stack([a, b, n]), jnp.stack([n * x, n * y, n]), jnp.stack([gap, -gap, 0 * n]), power)
    return logs[0] + logs[1] - logs[2], factors[0] * factors[1] / factors[2] * (n if power == 0 else 1)


@jax.jit
def log_beta_pdf(a: Numbers, b: Numbers, x: Numbers, y: Numbers) -> Numbers:
    """The logarithm of the Beta(a, b) density at x = 1 - y."""
    logs, factor = beta_parts(a, b, x, y, 0)
    return logs + jnp.log(factor)


@jax.jit
def log_binomial_pmf(n: Numbers, k: Numbers, p: Numbers) -> Numbers:
    """Poisson counts of yes and of no, given their sum."""
    logs, factors = parts(jnp.stack([k, n - k, n]) + 1, jnp.stack([n * p, n * (1 - p), n]))
    return logs[0] + logs[1] - logs[2] + jnp.log(factors[0] * factors[1] / factors[2])


@jax.jit
def gamma_entropy(a: Numbers) -> Numbers:
    """a + lgamma(a) + (1 - a) digamma(a), the entropy of Gamma(a, 1), without its large terms where a >= 1."""
    big = jnp.maximum(a, 1)
    large = HALF_LOG_TAU + 0.5 * jnp.log(big) + stirling(big) + (big - 1) * (0.5 / big - stirling_slope(big))
    return jnp.where(a >= 1, large, a + log_gamma(a) + (1 - a) * digamma(a))


@jax.jit
def curve_gap(b: Numbers, a: Numbers) -> Numbers:
    """lgamma(b) - lgamma(a) - (b - a) digamma(a) - deviance(b, a): the bend of lgamma beyond that of x log x."""
    both = (a >= 1) & (b >= 1)
    c, d = jnp.where(both, a, 1), jnp.where(both, b, 1)
    near = deviance(c, d, c - d) / (2 * c) + (stirling(d) - stirling(c) - (d - c) * stirling_slope(c))
    far = log_gamma(b) - log_gamma(a) - (b - a) * digamma(a) - deviance(b, a, b - a)
    return jnp.where(both, near, far)


@jax.jit
def half_step(a: Numbers) -> tuple[Numbers, Numbers]:
    """lgamma(a + 1/2) - lgamma(a), and the same of digamma."""
    b = jnp.where(a < 1, a + 1, a)
    up = jnp.log1p(0.5 / b)
    value = b * up + 0.5 * jnp.log(b) - 0.5 + stirling(b + 0.5) - stirling(b)
    slope = up + 0.25 / (b * (b + 0.5)) + stirling_slope(b + 0.5) - stirling_slope(b)
    back = 0.5 / a
    return value - jnp.where(a < 1, jnp.log1p(back), 0), slope + jnp.where(a < 1, back / (a + 0.5), 0)
