"""The densities of TPE: for each dimension a mixture around what was seen, of fixed shape, for masks of any number.

A dimension is a line, or a choice of `k` values.  On a line: n normal distributions around the n points, and a wide one
around the middle; equal weights, each cut to 0..1.  Of k values: (count + 1/k) / (n + 1).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key


class Mixture(NamedTuple):
    """[T + 1] parts, of which the first n are those of points and the last is the prior; n [] points."""

    centre: Float[Array, ' parts']
    width: Float[Array, ' parts']
    n: Int[Array, '']

    @property
    def real(self) -> Bool[Array, ' parts']:
        at = jnp.arange(len(self.centre))
        return (at < self.n) | (at == len(self.centre) - 1)


def mixture(u: Float[Array, ' T'], seen: Bool[Array, ' T']) -> Mixture:
    """The width of a part is the distance to its farther neighbour (0 and 1 count as neighbours), at least
    1 / min(100, n + 1) and at most 1 (Bergstra et al. 2011, section 4.2)."""
    n = seen.sum()
    at = jnp.sort(jnp.where(seen, u, jnp.inf))
    left = jnp.concatenate([jnp.zeros(1), at[:-1]])
    right = jnp.concatenate([at[1:], jnp.full(1, jnp.inf)])
    centre = jnp.where(jnp.isfinite(at), at, 0.5)
    width = jnp.maximum(centre - left, jnp.where(jnp.isfinite(right), right, 1.0) - centre)
    width = jnp.where(jnp.isfinite(at), jnp.clip(width, 1 / jnp.minimum(100.0, n + 1.0), 1.0), 1.0)
    return Mixture(jnp.append(centre, 0.5), jnp.append(width, 1.0), n)


def log_density(m: Mixture, x: Float[Array, ' C']) -> Float[Array, ' C']:
    """log of the density at x, between 0 and 1."""
    cdf = jax.scipy.stats.norm.cdf
    mass = cdf((1 - m.centre) / m.width) - cdf(-m.centre / m.width)
    parts = jax.scipy.stats.norm.logpdf(x[:, None], m.centre[None], m.width[None]) - jnp.log(mass)[None]
    return jax.scipy.special.logsumexp(parts, axis=1, b=m.real[None].astype(x.dtype)) - jnp.log(m.n + 1.0)


def draw(key: Key[Array, ''], m: Mixture, count: int) -> Float[Array, ' C']:
    """Independent points of the mixture."""
    part_key, point_key = jax.random.split(key)
    part = jax.random.randint(part_key, (count,), 0, m.n + 1)
    part = jnp.where(part == m.n, len(m.centre) - 1, part)
    centre, width = m.centre[part], m.width[part]
    z = jax.random.truncated_normal(point_key, -centre / width, (1 - centre) / width)
    return jnp.clip(centre + width * z, 0, 1)


def shares(index: Int[Array, ' T'], seen: Bool[Array, ' T'], k: int) -> Float[Array, ' k']:
    """Probabilities of k values: (count + 1/k) / (n + 1)."""
    counts = ((index[:, None] == jnp.arange(k)[None]) & seen[:, None]).sum(0)
    return (counts + 1 / k) / (seen.sum() + 1)
