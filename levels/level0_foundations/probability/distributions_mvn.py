"""The multivariate normal.

Example:
    from levels.level0_foundations.probability.distributions_mvn import multivariate_normal
    cloud = multivariate_normal(jnp.zeros(2), jnp.array([[2.0, 0.5], [0.5, 1.0]])).sample(key, (1000,))
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from levels.level0_foundations.probability.checks import floats, numbers, readable, repeated, vectors
from levels.level0_foundations.probability.distributions import Normal
from levels.level0_foundations.probability.special import HALF_LOG_TAU


def _spread(chol: Array, x: Array) -> Array:
    """chol^-1 x of [*batch, d, d] and [*shape, *batch, d]: samples are columns, so that no factor is repeated."""
    front = x.ndim + 1 - chol.ndim
    chol = jnp.broadcast_to(chol, (*x.shape[front:], x.shape[-1]))
    columns = jnp.moveaxis(x.reshape(math.prod(x.shape[:front]), *x.shape[front:]), 0, -1)
    return jnp.moveaxis(jax.scipy.linalg.solve_triangular(chol, columns, lower=True), -1, 0).reshape(x.shape)


def half_log_det(chol: Float[Array, '*batch d d']) -> Float[Array, '*batch']:
    return jnp.sum(jnp.log(jnp.diagonal(chol, axis1=-2, axis2=-1)), -1)


class MultivariateNormal(NamedTuple):
    """See `multivariate_normal`; `chol` is the lower Cholesky factor of the covariance."""

    loc: Float[Array, '*batch d']
    chol: Float[Array, '*batch d d']

    def sample(self, key: Key[Array, ''], shape: tuple[int, ...] = ()) -> Float[Array, '... d']:
        noise = jax.random.normal(key, (*shape, *self.loc.shape), self.loc.dtype)
        return repeated(self.loc, shape) + jnp.einsum('...ij,...j->...i', repeated(self.chol, shape), noise,
                                                      precision='highest')

    def log_prob(self, x: Float[Array, '*batch d']) -> Float[Array, '*batch']:
        x, d = floats('x', x), self.loc.shape[-1]
        if x.shape[-1:] != (d,):
            raise ValueError(f'x: expected [*batch, {d}]; found shape {x.shape}')
        batch = jnp.broadcast_shapes(x.shape, self.loc.shape)
        z = _spread(self.chol, jnp.broadcast_to(x, batch) - jnp.broadcast_to(self.loc, batch))
        log_det = jnp.broadcast_to(half_log_det(self.chol), batch[:-1])
        return -0.5 * jnp.sum(z * z, -1) - log_det - d * HALF_LOG_TAU

    def mean(self) -> Float[Array, '*batch d']:
        return self.loc

    def variance(self) -> Float[Array, '*batch d']:
        return jnp.sum(self.chol ** 2, -1)

    def covariance(self) -> Float[Array, '*batch d d']:
        return jnp.einsum('...ik,...jk->...ij', self.chol, self.chol, precision='highest')

    def entropy(self) -> Float[Array, '*batch']:
        return half_log_det(self.chol) + self.loc.shape[-1] * (0.5 + HALF_LOG_TAU)

    def marginal(self, i: int) -> Normal:
        """The distribution of one coordinate; it has the cdf that the whole lacks."""
        return Normal(self.loc[..., i], jnp.sqrt(self.variance()[..., i]))

    def given(self, known: tuple[int, ...], values: Float[Array, '*batch k']) -> 'MultivariateNormal':
        """The distribution of the other coordinates, in their order, where those of `known` have these values."""
        d = self.loc.shape[-1]
        k, r = np.asarray(known), np.setdiff1d(np.arange(d), known)
        if not 0 < len(set(known)) == len(known) < d or not set(known) <= set(range(d)):
            raise ValueError(f'known: expected some, not all, of the coordinates 0 ... {d - 1}; found {known}')
        cov = self.covariance()
        block = lambda i, j: cov[..., i[:, None], j]
        factor = jnp.linalg.cholesky(block(k, k))
        half = jax.scipy.linalg.solve_triangular(factor, block(k, r), lower=True)       # [*batch, k, rest]
        z = _spread(factor, jnp.broadcast_to(values, self.loc[..., k].shape) - self.loc[..., k])
        loc = self.loc[..., r] + jnp.einsum('...kr,...k->...r', half, z, precision='highest')
        rest = block(r, r) - jnp.einsum('...ki,...kj->...ij', half, half, precision='highest')
        return MultivariateNormal(loc, jnp.linalg.cholesky(rest))


def multivariate_normal(loc: Float[Array, '*batch d'], cov: Float[Array, '*batch d d']) -> MultivariateNormal:
    """The normal distribution of a vector.

    Formula: density exp(-(x - loc)' cov^-1 (x - loc) / 2) / sqrt(det(2 pi cov)), by the Cholesky factor of cov; given
        coordinates k the rest is normal around loc_r + C_rk C_kk^-1 (x_k - loc_k), with C_rr - C_rk C_kk^-1 C_kr.
    Paper: Mardia, Kent, Bibby 1979, Multivariate analysis, chapter 3.
    Shapes: loc [*batch, d], cov [*batch, d, d]; sample [*shape, *batch, d], log_prob [*batch]; `covariance`;
        `marginal(i)` is a Normal; `given(known, values)`. No cdf: there is no closed form.
    Errors: ValueError for shapes that do not fit, a cov that is not symmetric and positive definite.
    Example:
        d = multivariate_normal(jnp.zeros(2), jnp.array([[2.0, 1.0], [1.0, 1.0]]))
        assert jnp.allclose(d.covariance()[0, 1], 1.0)
        rest = d.given((1,), jnp.array([3.0]))
        assert jnp.allclose(rest.loc, 3.0) and jnp.allclose(rest.variance(), 1.0)
    """
    loc, cov = vectors('loc', numbers('loc', loc)), numbers('cov', cov)
    d = loc.shape[-1]
    if cov.ndim < 2 or cov.shape[-2:] != (d, d):
        raise ValueError(f'cov: expected [*batch, {d}, {d}]; found shape {cov.shape}')
    dtype = jnp.result_type(loc, cov)
    batch = jnp.broadcast_shapes(loc.shape[:-1], cov.shape[:-2])
    loc = jnp.broadcast_to(loc.astype(dtype), (*batch, d))
    chol = jnp.broadcast_to(jnp.linalg.cholesky(cov.astype(dtype)), (*batch, d, d))
    if readable(cov):
        v = np.asarray(cov)
        if not np.allclose(v, np.swapaxes(v, -1, -2), rtol=1e-5, atol=1e-7 * np.abs(v).max()):
            raise ValueError('cov: expected a symmetric matrix; found one that is not')
        if not np.isfinite(np.asarray(chol)).all():
            raise ValueError('cov: expected a positive definite matrix; found one that is not')
    return MultivariateNormal(loc, chol)
