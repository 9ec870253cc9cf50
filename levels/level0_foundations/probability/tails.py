"""The shares below and above a value, of gamma and beta variables, and the values that have given shares.

Both tails come together, each to its last digits where it is small: a cdf near 1 cannot say how far it is from 1.

Paper: DLMF 8.7.1, 8.9.2 and the even part of 8.17.22; the fractions by Thompson, Barnett 1986, Journal of
    Computational Physics 64 (Lentz's method).
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jax.scipy.special import ndtri

from levels.level0_foundations.probability.special import (
    Numbers,
    balance,
    beta_parts,
    digamma,
    log_beta_pdf,
    log_gamma_pdf,
    parts,
)


def _until(step: Callable, start: tuple, size: int = 20_000) -> tuple:
    """Iterates (i, *state) -> (*state, moving) until nothing moves."""
    def body(loop):
        i, _, *state = loop
        *state, moving = step(i, *state)
        return i + 1, jnp.any(moving), *state

    first = (jnp.ones((), start[0].dtype), jnp.asarray(True), *start)
    return jax.lax.while_loop(lambda loop: loop[1] & (loop[0] < size), body, first)[2:]


def _fraction(terms: Callable, start: Numbers) -> Numbers:
    """start + a1 / (b1 + a2 / (b2 + ...)), terms(i) = (a_i, b_i): Lentz's method as Thompson and Barnett changed it."""
    tiny = jnp.finfo(start.dtype).tiny ** 0.5
    eps = jnp.finfo(start.dtype).eps
    away = lambda x: jnp.where(jnp.abs(x) < tiny, tiny, x)

    def step(i, value, c, d, moving):
        a, b = terms(i)
        d = 1 / away(b + a * d)
        c = away(b + a / c)
        value = jnp.where(moving, value * c * d, value)
        moving = moving & (jnp.abs(c * d - 1) > eps)
        return value, c, d, moving, moving

    first = away(start)
    return _until(step, (first, first, jnp.zeros_like(start), jnp.isfinite(start)))[0]


@jax.jit
def _gamma_tails(a: Numbers, x: Numbers) -> tuple[Numbers, Numbers]:
    low = x < a + 1
    safe_low, safe_high = jnp.where(low, x, 0), jnp.where(low, a + 2, jnp.minimum(x, 1e30))
    eps = jnp.finfo(x.dtype).eps

    def step(i, term, total):
        term = term * safe_low / (a + i)
        return term, total + term, term > eps * total

    _, total = _until(step, (jnp.ones_like(x), jnp.ones_like(x)))
    logs, factor = parts(a, x, power=1)
    front = factor * jnp.exp(logs)                              # x^a e^-x / Gamma(a)
    fraction = _fraction(lambda i: (-i * (i - a), safe_high + 2 * i + 1 - a), safe_high + 1 - a)
    below, above = front / a * total, front / fraction
    above = jnp.where(jnp.isinf(x), 0, above)
    return jnp.where(low, below, 1 - above), jnp.where(low, 1 - below, above)


@jax.jit
def _beta_tails(a: Numbers, b: Numbers, x: Numbers, y: Numbers) -> tuple[Numbers, Numbers]:
    turn = balance(a, b, x, y) < 0                                # take the side of the mean where terms are positive
    p, q = jnp.where(turn, b, a), jnp.where(turn, a, b)
    u, v = jnp.where(turn, y, x), jnp.where(turn, x, y)
    lead = balance(p, q, u, v) + 1

    def terms(m):
        """The even part of the fraction in DLMF 8.17.22, arranged so that p v - q u is not made of its parts."""
        odd = p + 2 * m - 1
        a = (p + m - 1) / odd * ((p + q + m - 1) / odd) * m * (q - m) * u * u
        return a, m + m * (q - m) * u / odd + (p + m) * (lead + m * (2 - u)) / (odd + 2)

    logs, factor = beta_parts(p, q, u, v, 1)
    front = jnp.where((u > 0) & (v > 0), factor * jnp.exp(logs), 0)
    tail = front / _fraction(terms, p * lead / (p + 1))
    return jnp.where(turn, 1 - tail, tail), jnp.where(turn, tail, 1 - tail)


def _times(slope: Numbers, tangent) -> Numbers:
    return jnp.zeros_like(slope) if isinstance(tangent, SymbolicZero) else slope * tangent


@jax.custom_jvp
def gamma_tails(a: Numbers, x: Numbers) -> tuple[Numbers, Numbers]:
    """(P, Q): the shares of Gamma(a, 1) below and above x >= 0, each right to its last digits where it is small."""
    return _gamma_tails(a, x)


def _gamma_tails_jvp(primals, tangents):
    a, x = primals
    out = gamma_tails(a, x)
    by_a = jnp.zeros_like(x) if isinstance(tangents[0], SymbolicZero) else jax.lax.igamma_grad_a(a, x) * tangents[0]
    slope = by_a + _times(jnp.exp(log_gamma_pdf(a, x)), tangents[1])
    return out, (slope, -slope)


gamma_tails.defjvp(_gamma_tails_jvp, symbolic_zeros=True)


@jax.custom_jvp
def beta_tails(a: Numbers, b: Numbers, x: Numbers, y: Numbers) -> tuple[Numbers, Numbers]:
    """(I, 1 - I): the shares of Beta(a, b) below and above x; y is 1 - x, given apart as its digits matter too.

    The derivative by x is the density (that of y is taken to be its negative); by a and b it is NaN: not known here.
    """
    return _beta_tails(a, b, x, y)


def _beta_tails_jvp(primals, tangents):
    a, b, x, y = primals
    unknown = jnp.full_like(x, jnp.nan)
    slope = _times(unknown, tangents[0]) + _times(unknown, tangents[1])
    slope += _times(jnp.exp(log_beta_pdf(a, b, x, y)), tangents[2])
    return beta_tails(a, b, x, y), (slope, -slope)


beta_tails.defjvp(_beta_tails_jvp, symbolic_zeros=True)


def invert(tails: Callable, slope: Callable, start: Numbers, p: Numbers, q: Numbers) -> Numbers:
    """u where tails(u) = (p, q), q = 1 - p, tails rising in u with derivative `slope`: Newton between two brackets.

    Newton's steps are those of the logarithm of the smaller tail, which is close to a straight line far out. u is a
    logarithm or a logit. No gradient passes: see `polish`.
    """
    eps = jnp.finfo(start.dtype).eps
    far = jnp.full_like(start, 0.98 * math.log(float(jnp.finfo(start.dtype).max)))
    hold = jax.lax.stop_gradient
    lower = p <= q

    def short(u):
        """How far u is below (negative) or above the answer, in units of its tail's logarithm, and the derivative."""
        below, above = tails(u)
        tail, goal = jnp.where(lower, below, above), jnp.where(lower, p, q)
        sign = jnp.where(lower, 1, -1)
        ratio = (tail - goal) / jnp.where(goal > 0, goal, 1)
        gap = jnp.where(jnp.abs(ratio) < 0.1, jnp.log1p(jnp.maximum(ratio, -0.5)), jnp.log(tail) - jnp.log(goal))
        return sign * gap, slope(u) / jnp.where(tail > 0, tail, 1)

    def step(i, u, lo, hi, moving):
        gap, rate = hold(short(u))
        lo, hi = jnp.where(gap < 0, u, lo), jnp.where(gap >= 0, u, hi)
        new = u - gap / rate
        new = jnp.where((new > lo) & (new < hi), new, 0.5 * (lo + hi))
        moved = jnp.abs(new - u) > 2 * eps * jnp.maximum(1, jnp.abs(u))
        return jnp.where(moving, new, u), lo, hi, moving & moved, moving & moved

    start = jnp.clip(hold(start), -0.9 * far, 0.9 * far)
    p, q = hold(p), hold(q)
    return _until(step, (start, -far, far, jnp.isfinite(start)), 200)[0]


def _spread(a: Numbers) -> Numbers:
    """About the variance of the logarithm of Gamma(a, 1): good enough to start from."""
    return (a + 1) / a ** 2


def polish(x: Numbers, tails: tuple[Numbers, Numbers], slope: Numbers, p: Numbers, q: Numbers) -> Numbers:
    """One more Newton step, in x itself, whose digits its logarithm or logit does not all have.

    It is the only step that gradients see, and gives them what the implicit function theorem says. x is held still.
    """
    hold = jax.lax.stop_gradient
    error = jnp.where(p <= q, tails[0] - p, q - tails[1])
    error = jnp.where(p <= q, error, error + (hold(p + q) - (p + q)))     # q too is a function of p: q = 1 - p
    step = error / hold(jnp.where(slope > 0, slope, 1))
    good = (slope > 0) & jnp.isfinite(step) & (jnp.abs(hold(step)) < 0.1 * jnp.abs(x))
    return jnp.where(good, x - jnp.where(good, step, 0), x)


@jax.jit
def gamma_quantile(a: Numbers, p: Numbers, q: Numbers) -> Numbers:
    """x with P(a, x) = p; q = 1 - p."""
    hold = jax.lax.stop_gradient
    z = jnp.where(p <= q, ndtri(p), -ndtri(q))
    fixed = hold(a)
    start = digamma(fixed) + z * jnp.sqrt(_spread(fixed))      # the logarithm's own mean and about its spread
    x = jnp.exp(invert(lambda u: gamma_tails(fixed, jnp.exp(u)),
                       lambda u: jnp.exp(log_gamma_pdf(fixed, jnp.exp(u)) + u), jnp.where(p * q > 0, start, 0.0), p, q))
    x = hold(jnp.where(p <= 0, 0, jnp.where(q <= 0, jnp.inf, x)))
    x = polish(x, gamma_tails(a, x), jnp.exp(log_gamma_pdf(fixed, x)), p, q)
    return jnp.where((p >= 0) & (q >= 0), x, jnp.nan)


@jax.jit
def beta_logit(a: Numbers, b: Numbers, p: Numbers, q: Numbers) -> Numbers:
    """log(x / (1 - x)) of the x with I_x(a, b) = p; q = 1 - p. Not differentiable: see `beta_quantile`."""
    hold = jax.lax.stop_gradient
    a, b, p, q = hold(a), hold(b), hold(p), hold(q)
    z = jnp.where(p <= q, ndtri(p), -ndtri(q))
    start = digamma(a) - digamma(b) + z * jnp.sqrt(_spread(a) + _spread(b))
    sides = lambda u: (jax.nn.sigmoid(u), jax.nn.sigmoid(-u))

    def slope(u):
        x, y = sides(u)
        return jnp.exp(log_beta_pdf(a, b, x, y)) * x * y

    u = invert(lambda u: beta_tails(a, b, *sides(u)), slope, jnp.where(p * q > 0, start, 0.0), p, q)
    return jnp.where(p <= 0, -jnp.inf, jnp.where(q <= 0, jnp.inf, u))


def beta_quantile(a: Numbers, b: Numbers, p: Numbers, q: Numbers) -> Numbers:
    """x with I_x(a, b) = p; q = 1 - p. Differentiable in p."""
    u = beta_logit(a, b, p, q)
    x, y = jax.nn.sigmoid(u), jax.nn.sigmoid(-u)
    a, b = jax.lax.stop_gradient((a, b))
    x = polish(x, beta_tails(a, b, x, y), jnp.exp(log_beta_pdf(a, b, x, y)), p, q)
    return jnp.where((p >= 0) & (q >= 0), x, jnp.nan)
