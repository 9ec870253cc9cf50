"""Simple linear regression: one line through points, with what is known of it; the t distribution by the beta function.

Formula: slope = Sxy / Sxx, intercept = mean y - slope mean x; se(slope) = s / sqrt(Sxx), s^2 = sum w (y - fit)^2 /
    (n - 2).
Paper: Draper, Smith 1998, Applied Regression Analysis, chapter 1; the t distribution: Abramowitz, Stegun 1964, 26.7.1.
Shapes: x, y [rows] -> numbers; bands at x [points].

Example:
    line = simple_regression(x, y)
    line.slope, line.slope_se, line.p_value, line.r2
    at = bands(line, jnp.linspace(0, 10, 50), level=0.95)
    at.low, at.high                         # where the line may be;  at.low_new, at.high_new: where a new point may be
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from levels.level1_classical.estimator import concrete, floats, holds, hyper, rows


class Line(NamedTuple):
    """A fitted line. t and p are those of slope = 0; rows is the sum of the weights."""

    slope: Float[Array, '']
    intercept: Float[Array, '']
    slope_se: Float[Array, '']
    intercept_se: Float[Array, '']
    t: Float[Array, '']
    p_value: Float[Array, '']
    r: Float[Array, '']
    r2: Float[Array, '']
    sigma: Float[Array, '']         # the standard deviation of a point about the line
    rows: Float[Array, '']
    x_mean: Float[Array, '']
    y_mean: Float[Array, '']
    x_spread: Float[Array, '']      # Sxx


class Bands(NamedTuple):
    """The line at some points, an interval for the line itself, and one for a new point."""

    line: Float[Array, ' points']
    low: Float[Array, ' points']
    high: Float[Array, ' points']
    low_new: Float[Array, ' points']
    high_new: Float[Array, ' points']


RATIO = (1, -1 / 8, 1 / 128, 5 / 1024, -21 / 32768, -399 / 262144, 869 / 4194304, 39325 / 33554432)


def _gamma_ratio(a):
    """gamma(a + 1/2) / gamma(a): Stirling's series 32 further on, and back by products; logs of gammas would cancel."""
    z = a + 32
    series = sum(c * z**-k for k, c in enumerate(RATIO))
    steps = a[..., None] + jnp.arange(32, dtype=a.dtype).reshape((1,) * a.ndim + (32,))
    return jnp.sqrt(z) * series * jnp.prod(steps / (steps + 0.5), -1)


def _fraction(a, b, x):
    """The continued fraction of the incomplete beta function, by Lentz's method, for x up to (a + 1) / (a + b + 2)."""
    tiny = jnp.finfo(x.dtype).tiny
    solid = lambda v: jnp.where(jnp.abs(v) < tiny, tiny, v)

    def more(loop):
        m, c, d, f, _ = loop
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d, c = 1 / solid(1 + term * d), solid(1 + term / c)
            f, last = f * c * d, c * d
        return m + 1, c, d, f, jnp.max(jnp.abs(last - 1))

    one = jnp.ones_like(x)
    d = 1 / solid(1 - (a + b) * x / (a + 1))
    going = lambda loop: (loop[4] > 2 * jnp.finfo(x.dtype).eps) & (loop[0] < 2000)
    return jax.lax.while_loop(going, more, (jnp.ones((), x.dtype), one, d, d, jnp.ones((), x.dtype)))[3]


def t_tails(t: Float[Array, '*any'], df: Float[Array, '*any']) -> Float[Array, '*any']:
    """P(|T| >= |t|) of Student's t, the incomplete beta function I_x(df / 2, 1 / 2) at x = df / (df + t^2).

    Exact far out in the tails, and in float32 to six digits, where jax.scipy.special.betainc has four.
    """
    t, df = jnp.broadcast_arrays(floats(t), floats(df))
    a, half, square = df / 2, jnp.full_like(df, 0.5), t / df * t
    x = 1 / (1 + square)
    rest = jnp.where(jnp.isinf(square), 1, square / (1 + square))
    front = jnp.exp(-a * jnp.log1p(square)) * jnp.sqrt(rest) * _gamma_ratio(a) / jnp.sqrt(jnp.asarray(jnp.pi, a.dtype))
    far = x < (a + 1) / (a + 2.5)       # where the fraction converges; elsewhere that of the other side does
    pick = lambda u, v: jnp.where(far, u, v)
    value = front / pick(a, half) * _fraction(pick(a, half), pick(half, a), pick(x, rest))
    return pick(value, 1 - value)


def t_quantile(level: Float[Array, '*any'], df: Float[Array, '*any']) -> Float[Array, '*any']:
    """The t with P(|T| <= t) = level, by bisection of log t; exact to the last few digits of t_tails."""
    level, df = jnp.broadcast_arrays(floats(level), floats(df))

    def half(i, ends):
        low, high = ends
        middle = (low + high) / 2
        below = t_tails(jnp.exp(middle), df) > 1 - level
        return jnp.where(below, middle, low), jnp.where(below, high, middle)

    edge = jnp.full_like(level, 30.0)
    low, high = jax.lax.fori_loop(0, 60, half, (-edge, edge))
    return jnp.exp((low + high) / 2)


def simple_regression(x: Float[Array, ' rows'], y: Float[Array, ' rows'], *, weight=None) -> Line:
    """The line of least squares with standard errors, t, p and R2.

    Formula: slope = Sxy / Sxx; se(slope) = s / sqrt(Sxx), se(intercept) = s sqrt(1 / n + mean x^2 / Sxx), s^2 = sum w
        (y - fit)^2 / (n - 2), n = sum w; t = slope / se(slope) with n - 2 degrees of freedom, p of both sides.
    Paper: Draper, Smith 1998, Applied Regression Analysis, chapter 1.
    Shapes: x, y [rows], weight [rows] (2 for a row that is there twice) -> Line of numbers. vmap for many lines.
    Errors: ValueError for shapes other than [rows], lengths that differ, NaN or infinite values, x all equal, n < 2.
        With n = 2 the line is exact: errors 0, p 0.
    Example:
        x = jnp.array([0.0, 1.0, 2.0, 3.0])
        line = simple_regression(x, jnp.array([1.0, 3.0, 4.0, 8.0]))
        assert jnp.allclose(line.slope, 2.2) and jnp.allclose(line.intercept, 0.7)
        line.r2, line.p_value                                # 0.93, 0.035
    """
    x = floats(x)
    if x.ndim != 1:
        raise ValueError(f'x: expected [rows], found shape {x.shape}')
    X, y, w = rows(x[:, None], y, weight)
    if y.ndim != 1:
        raise ValueError(f'y: expected [{len(x)}], found shape {y.shape}')
    x = X[:, 0]
    if concrete(x, w) and not holds(lambda: (jnp.max(jnp.where(w > 0, x, -jnp.inf)) > jnp.min(
            jnp.where(w > 0, x, jnp.inf))) & (jnp.sum(w) >= 2)):
        raise ValueError('x: expected two rows or more with different values, found one value')
    n = jnp.sum(w)

    def about(v):       # the mean corrected once: of numbers far from zero the first is off by its rounding
        first = jnp.sum(w * v) / n
        mean = first + jnp.sum(w * (v - first)) / n
        return mean, v - mean

    (x_mean, dx), (y_mean, dy) = about(x), about(y)
    sxx, sxy, syy = jnp.sum(w * dx * dx), jnp.sum(w * dx * dy), jnp.sum(w * dy * dy)
    slope = sxy / sxx
    left = jnp.where(n > 2, jnp.sum(w * (dy - slope * dx) ** 2), 0)
    df = jnp.maximum(n - 2, 1)
    sigma = jnp.sqrt(left / df)
    slope_se = sigma / jnp.sqrt(sxx)
    t = jnp.where(slope == 0, 0, slope / jnp.where(slope_se > 0, slope_se, 0))
    r = jnp.where(syy > 0, sxy / jnp.sqrt(sxx * jnp.where(syy > 0, syy, 1)), 0)
    r2 = jnp.where(syy > 0, 1 - left / jnp.where(syy > 0, syy, 1), 0)
    return Line(slope, y_mean - slope * x_mean, slope_se, sigma * jnp.sqrt(1 / n + x_mean**2 / sxx), t,
                t_tails(t, df), jnp.clip(r, -1, 1), r2, sigma, n, x_mean, y_mean, sxx)


def bands(line: Line, x: Float[Array, ' points'], *, level=0.95) -> Bands:
    """Intervals about the line: for its height at x, and for a point that is yet to be seen there.

    Formula: fit +- t s sqrt(h) and fit +- t s sqrt(1 + h), h = 1 / n + (x - mean x)^2 / Sxx, t the quantile of
        Student's t with n - 2 degrees of freedom that holds `level` between -t and t. Each holds at one x, and not at
        all at once.
    Paper: Draper, Smith 1998, Applied Regression Analysis, section 3.1.
    Shapes: x [points] -> Bands of [points].
    Errors: ValueError for x that is not [points], level outside [0, 1).
    Example:
        x = jnp.array([0.0, 1.0, 2.0, 3.0])
        line = simple_regression(x, jnp.array([1.0, 3.0, 4.0, 8.0]))
        at = bands(line, x)
        assert (at.low_new < at.low).all() and (at.high < at.high_new).all()
    """
    hyper('level', level, 0, 1 - 1e-7)
    x = floats(x).astype(line.slope.dtype)
    if x.ndim != 1:
        raise ValueError(f'x: expected [points], found shape {x.shape}')
    dx = x - line.x_mean
    fit = line.y_mean + line.slope * dx
    h = 1 / line.rows + dx**2 / line.x_spread
    t = t_quantile(jnp.asarray(level, x.dtype), jnp.maximum(line.rows - 2, 1)) * line.sigma
    inner, outer = t * jnp.sqrt(h), t * jnp.sqrt(1 + h)
    return Bands(fit, fit - inner, fit + inner, fit - outer, fit + outer)
