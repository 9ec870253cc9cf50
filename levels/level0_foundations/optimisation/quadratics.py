"""How fast gradient descent and its two accelerations are on a quadratic, from theory.

Example:
    from levels.level0_foundations.optimisation.quadratics import best_rates, contraction
    plan = best_rates(1.0, 100.0, method='heavy ball')
    plan.factor, contraction(jnp.linspace(1.0, 100.0, 50), plan.rate, momentum=plan.momentum)
"""

import math
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from levels.level0_foundations.probability.checks import numbers

METHODS = ('gradient descent', 'heavy ball', 'nesterov')


class Plan(NamedTuple):
    """What to hand to `sgd`, and by what the error shrinks in each step in the long run."""

    rate: float
    momentum: float
    factor: float


def best_rates(low: float, high: float, *, method: str) -> Plan:
    """The rate and momentum with which a method is fastest where curvatures lie between low and high.

    Formula: with k = high / low, r = sqrt(k): gradient descent 2 / (low + high), factor (k - 1) / (k + 1); heavy ball
        4 / (sqrt(low) + sqrt(high))^2 with momentum ((r - 1) / (r + 1))^2, factor (r - 1) / (r + 1); Nesterov, at the
        rate 1 / high of the theory of convex functions: momentum (r - 1) / (r + 1), factor 1 - 1 / r.
    Paper: Polyak 1964, Some methods of speeding up the convergence of iteration methods; Nesterov 2004, Introductory
        lectures on convex optimization, 2.2; Lessard, Recht, Packard 2016, SIAM Journal on Optimization 26, section 1.
    Shapes: two numbers -> Plan of three.
    Errors: ValueError unless 0 < low <= high, for an unknown method.
    Example:
        slow = best_rates(1.0, 100.0, method='gradient descent')
        fast = best_rates(1.0, 100.0, method='heavy ball')
        assert abs(slow.factor - 99 / 101) < 1e-12 and abs(fast.factor - 9 / 11) < 1e-12
        assert fast.momentum == fast.factor ** 2
    """
    if not 0 < low <= high < math.inf:
        raise ValueError(f'low, high: expected 0 < low <= high; found {low} and {high}')
    if method not in METHODS:
        raise ValueError(f'method: expected one of {", ".join(METHODS)}; found {method!r}')
    if method == 'gradient descent':
        return Plan(2 / (low + high), 0.0, (high - low) / (high + low))
    r = math.sqrt(high / low)
    part = (r - 1) / (r + 1)
    if method == 'heavy ball':
        return Plan(4 / (math.sqrt(low) + math.sqrt(high)) ** 2, part ** 2, part)
    return Plan(1 / high, part, 1 - 1 / r)


def contraction(curvatures: Float[Array, ' k'], rate: Float[Array, '*batch'], *,
                momentum: Float[Array, '*batch'] = 0.0, nesterov: bool = False) -> Float[Array, '*batch']:
    """By what the error shrinks in each step in the long run, or grows (above 1): the method's spectral radius.

    Formula: along a curvature c two steps obey z^2 - (1 + m - rate c) z + m = 0, Nesterov's z^2 - (1 + m) w z + m w
        = 0 with w = 1 - rate c; the largest |z| over all c. Without momentum |1 - rate c|: above 1 for rate > 2 / L;
        the heavy ball for rate > 2 (1 + m) / L.
    Paper: Polyak 1964, Some methods of speeding up the convergence of iteration methods; O'Donoghue, Candes 2015,
        Adaptive restart for accelerated gradient schemes, section 3.
    Shapes: curvatures [k], rate and momentum broadcast to [*batch] -> [*batch].
    Errors: ValueError for curvatures that are not [k], a rate < 0, a momentum outside 0 <= m <= 1.
    Example:
        curvatures = jnp.array([1.0, 10.0])
        assert jnp.allclose(contraction(curvatures, 0.1), 0.9)
        assert contraction(curvatures, 0.21) > 1                     # above 2 / 10
        assert contraction(curvatures, 0.21, momentum=0.5) < 1       # below 3 / 10
    """
    curvatures = numbers('curvatures', curvatures)
    if curvatures.ndim != 1 or curvatures.size == 0:
        raise ValueError(f'curvatures: expected [k] with k > 0; found shape {curvatures.shape}')
    rate, momentum = numbers('rate', rate, 0), numbers('momentum', momentum, 0, 1)
    batch = jnp.broadcast_shapes(rate.shape, momentum.shape)
    rate, m = (jnp.broadcast_to(v, batch)[..., None] for v in (rate, momentum))
    left = 1 - rate * jnp.broadcast_to(curvatures, (*batch, len(curvatures)))
    product, total = (m * left, (1 + m) * left) if nesterov else (m, m + left)
    # real roots: the larger one; complex ones, or two equal: both of size sqrt(product)
    inside = total ** 2 / 4 - product
    size = jnp.where(inside > 0, jnp.abs(total) / 2 + jnp.sqrt(jnp.maximum(inside, 0)), jnp.sqrt(jnp.abs(product)))
    return jnp.max(size, -1)
