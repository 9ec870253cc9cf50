"""Running means and variances of what an agent sees, over all environments of all replicas."""
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from common import parallel


class Moments(NamedTuple):
    """Count, mean and variance of everything counted so far."""
    count: Float[Array, '']
    mean: Float[Array, '*shape']
    var: Float[Array, '*shape']


def moments(shape: tuple[int, ...] = ()) -> Moments:
    """Of nothing yet: mean 0 and variance 1, so that the first data pass unchanged."""
    return Moments(jnp.zeros(()), jnp.zeros(shape), jnp.ones(shape))


def of(x: Float[Array, '*rows']) -> tuple[Array, Array]:
    """Mean and variance of all elements of `x` on all replicas."""
    m = count(moments(), x)
    return m.mean, m.var


def count(m: Moments, x: Float[Array, '*rows_and_shape']) -> Moments:
    """`m` and the rows of `x` on all replicas, as if all had been counted at once.

    Formula: with a old and b new rows, delta = mean_b - mean_a:  mean = mean_a + delta b / (a + b),
        var = (a var_a + b var_b + delta^2 a b / (a + b)) / (a + b).
    Paper: Chan, Golub, LeVeque 1979, Updating formulae and a pairwise algorithm for computing sample variances, eq. 2.1
    Shapes: x [*rows, *shape] with `m.mean` [*shape].
    Errors: those of broadcasting.
    Example:
        m = count(count(moments(), jnp.array([1.0, 2.0])), jnp.array([3.0, 6.0]))
        assert float(m.mean) == 3.0 and float(m.var) == 3.5
        scaled = standardise(m, jnp.array([3.0]))
        assert float(scaled[0]) == 0.0
    """
    x = x.reshape(-1, *m.mean.shape)
    total, new = parallel.psum((x.sum(0), jnp.asarray(len(x), x.dtype)))
    mean = total / new
    var = parallel.psum(jnp.square(x - mean[None]).sum(0)) / new      # in two passes: no difference of large numbers
    both, delta = m.count + new, mean - m.mean
    return Moments(both, m.mean + delta * (new / both),
                   (m.var * (m.count / both) + var * (new / both) + delta**2 * (m.count / both) * (new / both)))


def standardise(m: Moments, x: Float[Array, '*rows_and_shape'], *, clip: float = 10.0) -> Float[Array, '*same']:
    """(x - mean) / deviation, clipped; `x` [..., *shape]."""
    mean, var = (jnp.expand_dims(a, range(x.ndim - a.ndim)) for a in (m.mean, m.var))
    return jnp.clip((x - mean) / jnp.sqrt(var + 1e-8), -clip, clip)
