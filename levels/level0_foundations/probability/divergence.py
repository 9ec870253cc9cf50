"""How far one distribution is from another of the same family: Kullback-Leibler divergences in closed form.

Example:
    from levels.level0_foundations.probability.divergence import kl_divergence
    from levels.level0_foundations.probability.distributions import normal
    nats = kl_divergence(normal(0.0, 1.0), normal(1.0, 2.0))
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from levels.level0_foundations.probability.checks import together
from levels.level0_foundations.probability.distributions import Exponential, Laplace, Normal, Uniform
from levels.level0_foundations.probability.distributions_derived import Geometric, LogNormal
from levels.level0_foundations.probability.distributions_discrete import Bernoulli, Binomial, Categorical, Poisson
from levels.level0_foundations.probability.distributions_gamma import Beta, Dirichlet, Gamma
from levels.level0_foundations.probability.distributions_mvn import MultivariateNormal, half_log_det
from levels.level0_foundations.probability.special import curve_gap, deviance


def _normal(p: Normal, q: Normal) -> Array:
    m, s, n, t = together(*p, *q)
    ratio = s / t
    return 0.5 * deviance(jnp.ones_like(s), ratio ** 2, (t - s) / t * (1 + ratio)) + 0.5 * ((m - n) / t) ** 2


def _laplace(p: Laplace, q: Laplace) -> Array:
    m, s, n, t = together(*p, *q)
    apart = jnp.abs(m - n) / s
    return deviance(jnp.ones_like(s), s / t, (t - s) / t) + s / t * (apart + jnp.expm1(-apart))


def _uniform(p: Uniform, q: Uniform) -> Array:
    a, b, c, d = together(*p, *q)
    return jnp.where((c <= a) & (b <= d), jnp.log((d - c) / (b - a)), jnp.inf)


def _mvn(p: MultivariateNormal, q: MultivariateNormal) -> Array:
    batch = jnp.broadcast_shapes(p.loc.shape, q.loc.shape)
    wide = lambda d: (jnp.broadcast_to(d.loc, batch), jnp.broadcast_to(d.chol, (*batch, batch[-1])))
    (m, s), (n, t) = wide(p), wide(q)
    inside = jnp.concatenate([s, (m - n)[..., None]], -1)
    square = jnp.sum(jax.scipy.linalg.solve_triangular(t, inside, lower=True) ** 2, (-2, -1))
    return 0.5 * (square - batch[-1]) + half_log_det(t) - half_log_det(s)


def _exponential(p: Exponential, q: Exponential) -> Array:
    r, s = together(*p, *q)
    return deviance(jnp.ones_like(r), s / r, (r - s) / r)


def _bernoulli(p: Bernoulli, q: Bernoulli) -> Array:
    a, b = together(*p, *q)
    return deviance(a, b, a - b) + deviance(1 - a, 1 - b, b - a)


def _binomial(p: Binomial, q: Binomial) -> Array:
    n, a, m, b = together(*p, *q)
    return jnp.where(n == m, n * _bernoulli(Bernoulli(a), Bernoulli(b)), jnp.where((n > m) & (a > 0), jnp.inf, jnp.nan))


def _geometric(p: Geometric, q: Geometric) -> Array:
    a, b = together(*p, *q)
    return _bernoulli(Bernoulli(a), Bernoulli(b)) / a


def _categorical(p: Categorical, q: Categorical) -> Array:
    a, b = together(*p, *q)
    never = a == -jnp.inf
    a, b = jnp.where(never, 0, a), jnp.where(never, 0, b)
    return jnp.sum(jnp.where(never, 0, jnp.exp(a) * (a - b)), -1)


def _poisson(p: Poisson, q: Poisson) -> Array:
    a, b = together(*p, *q)
    return deviance(a, b, a - b)


def _gamma(p: Gamma, q: Gamma) -> Array:
    a, r, b, s = together(*p, *q)
    return deviance(b, a * s / r, b - a * s / r) + curve_gap(b, a)


def _dirichlet(p: Dirichlet, q: Dirichlet) -> Array:
    a, b = together(p.concentration, q.concentration)
    n, m = jnp.sum(a, -1), jnp.sum(b, -1)
    like = a * (m / n)[..., None]           # b, were its shares those of a
    return jnp.sum(deviance(b, like, b - like) + curve_gap(b, a), -1) - curve_gap(m, n)


def _beta(p: Beta, q: Beta) -> Array:
    a, b, c, d = together(*p, *q)
    return _dirichlet(Dirichlet(jnp.stack([a, b], -1)), Dirichlet(jnp.stack([c, d], -1)))


PAIRS = {Normal: _normal, Laplace: _laplace, Uniform: _uniform, Exponential: _exponential, LogNormal: _normal,
         MultivariateNormal: _mvn, Bernoulli: _bernoulli, Binomial: _binomial, Geometric: _geometric,
         Categorical: _categorical, Poisson: _poisson, Gamma: _gamma, Beta: _beta, Dirichlet: _dirichlet}


def kl_divergence(p, q) -> Float[Array, '*batch']:
    """How many nats more it takes, on average, to write down samples of p in a code made for q.

    Formula: KL(p, q) = E_p[log p(x) - log q(x)] >= 0, 0 only for p = q; for normals log(t / s) + (s^2 + (m - n)^2) /
        (2 t^2) - 1/2, and so on for 14 families, without sampling. Infinite where q
        lacks what p has. Binomials of more tries in q than in p have no closed form: NaN. Student's t has none at all.
    Paper: Kullback, Leibler 1951, On information and sufficiency, Annals of Mathematical Statistics 22.
    Shapes: two distributions of one family, whose batches broadcast -> [*batch].
    Errors: ValueError for two families, or one that is not among the keys of `PAIRS`.
    Example:
        p, q = Normal(jnp.zeros(()), jnp.ones(())), Normal(jnp.ones(()), jnp.ones(()))
        assert kl_divergence(p, p) == 0
        assert kl_divergence(p, q) == 0.5
        slope = jax.grad(lambda m: kl_divergence(p, Normal(m, q.scale)))(1.0)
        assert slope == 1
    """
    if type(p) is not type(q) or type(p) not in PAIRS:
        names = ', '.join(kind.__name__ for kind in PAIRS)
        raise ValueError(f'p, q: expected two of one of {names}; found {type(p).__name__} and {type(q).__name__}')
    return PAIRS[type(p)](p, q)
