"""Distributions against scipy.stats, tails included; divergences against quadrature; Bayes' rule against scipy."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from parity_ledger import compare
from scipy import integrate, stats

from levels.level0_foundations.probability import bayes
from levels.level0_foundations.probability.distributions import exponential, laplace, normal, student_t, uniform
from levels.level0_foundations.probability.distributions_derived import geometric, lognormal
from levels.level0_foundations.probability.distributions_discrete import bernoulli, binomial, categorical, poisson
from levels.level0_foundations.probability.distributions_gamma import beta, dirichlet, gamma
from levels.level0_foundations.probability.distributions_mvn import multivariate_normal
from levels.level0_foundations.probability.divergence import kl_divergence

QUANTILES = np.array([1e-12, 1e-6, 1e-3, 0.05, 0.3, 0.5, 0.8, 0.99, 0.9999, 1 - 1e-7])
SHAPES = (0.1, 0.5, 1, 2.5, 4.99, 5.01, 30, 400)


def grid(*axes):
    return tuple(a.ravel() for a in np.meshgrid(*axes))


class Case(NamedTuple):
    """A maker, its peer frozen at float64 parameters, parameters, and float32 gates wider than 1e-6 (why: below)."""

    make: Any
    peer: Any
    params: tuple
    gates: dict = {}    # noqa: RUF012
    discrete: bool = False


CASES = {
    'normal': Case(normal, stats.norm, grid([-3, 0, 5], [0.1, 1, 20])),
    'laplace': Case(laplace, stats.laplace, grid([-3, 0, 5], [0.1, 1, 20])),
    'lognormal': Case(lognormal, lambda m, s: stats.lognorm(s, scale=np.exp(m)), grid([-1, 0, 2], [0.1, 0.5, 1])),
    'uniform': Case(uniform, lambda a, b: stats.uniform(a, b - a), ([-3, 0, 2], [-1, 1, 7])),
    'exponential': Case(exponential, lambda r: stats.expon(scale=1 / r), ([0.05, 1, 30],)),
    # the quantile 1e9 of 0.7 degrees of freedom is exp(20.7) in effect, and rounding 20.7 alone costs 1e-6
    'student_t': Case(student_t, stats.t, grid([0.7, 1.5, 3, 9.5, 40, 1000], [0, 2], [0.5, 3]), {'icdf': 5e-6}),
    'gamma': Case(gamma, lambda a, r: stats.gamma(a, scale=1 / r), grid(SHAPES, [0.3, 1, 8])),
    # far out a density is 5 log(1 / 11) + 17 or so, and rounding the logarithm alone costs 7e-7
    'beta': Case(beta, stats.beta, grid(SHAPES, SHAPES), {'log_prob': 2e-6}),
    'geometric': Case(geometric, stats.geom, ([0.05, 0.3, 0.5, 0.9],), discrete=True),
    'bernoulli': Case(bernoulli, stats.bernoulli, ([0.01, 0.3, 0.5, 0.9],), discrete=True),
    'binomial': Case(binomial, stats.binom, grid([1, 5, 20, 200], [0.02, 0.3, 0.5, 0.9]), discrete=True),
    'poisson': Case(poisson, stats.poisson, ([0.1, 1, 4.5, 30, 400],), discrete=True),
}


def close(name, quantity, ours, theirs, gate, *, low=1.0):
    """`compare` with errors relative to max(low, |theirs|), entry by entry; what is not finite must be the same."""
    ours, theirs = np.broadcast_arrays(np.asarray(ours, float), np.asarray(theirs, float))
    finite = np.isfinite(theirs)
    assert finite.any() and np.array_equal(ours[~finite], theirs[~finite], equal_nan=True), quantity
    ours, theirs = ours[finite], theirs[finite]
    size = np.maximum(low, np.abs(theirs))
    compare(name, f'scipy.stats ({name})', quantity, ours / size, theirs / size, gate)


@pytest.mark.parametrize('bits', [32, 64])
@pytest.mark.parametrize('name', list(CASES))
def test_univariate(name, bits):
    case, dtype = CASES[name], f'float{bits}'
    params = [np.asarray(p, dtype) for p in case.params]
    peer = case.peer(*(p.astype(float) for p in params))    # of the rounded parameters: their rounding is not ours
    levels = QUANTILES.astype(dtype)[:, None] * np.ones_like(params[0])[None]
    at = np.stack([peer.ppf(q) for q in QUANTILES])
    x = at
    if case.discrete:
        levels = (0.5 * (peer.cdf(at) + peer.cdf(at - 1))).astype(dtype)     # inside a jump: at its edge rounding rules
        x = np.concatenate([at, at - 0.5, at + 1, 0 * at - 1])
    x = x.astype(dtype)

    @jax.jit
    def run(params, x, levels):
        d = case.make(*params)
        return {'log_prob': d.log_prob(x), 'cdf': d.cdf(x), 'sf': d.sf(x), 'icdf': d.icdf(levels), 'mean': d.mean(),
                'variance': d.variance(), 'entropy': d.entropy()}

    with jax.enable_x64(bits == 64):
        ours = jax.device_get(run(params, x, levels))
    assert {v.dtype for v in ours.values()} == {np.dtype(dtype)}
    x = x.astype(float)
    with np.errstate(divide='ignore'):
        theirs = {'log_prob': (peer.logpmf if case.discrete else peer.logpdf)(x), 'cdf': peer.cdf(x), 'sf': peer.sf(x),
                  'icdf': peer.ppf(levels.astype(float)), 'mean': peer.mean(), 'variance': peer.var(),
                  'entropy': peer.entropy()}
    if name == 'student_t':     # scipy calls the mean of a Cauchy variable infinite; there is none
        theirs['mean'] = np.where(params[0] > 1, theirs['mean'], np.nan)
    for quantity, value in ours.items():
        gate = 1e-10 if bits == 64 else case.gates.get(quantity, 1e-6)
        close(name, f'{quantity}, f{bits}', value, theirs[quantity], gate)
    for side in ('cdf', 'sf'):
        far = theirs[side] > 1e-30
        # scipy's uniform has its upper tail as 1 - cdf, which costs it the last six digits at 1e-7
        close(name, f'{side} relative to itself, f{bits}', ours[side][far], theirs[side][far],
              1e-9 if bits == 64 else 1e-5, low=0)


@pytest.mark.parametrize('bits', [32, 64])
def test_vectors(bits):
    rng, gate, dtype = np.random.default_rng(0), 1e-6 if bits == 32 else 1e-10, f'float{bits}'
    with jax.enable_x64(bits == 64):
        cov = np.array([[2.0, 0.5, 0.1], [0.5, 1.0, -0.3], [0.1, -0.3, 0.7]], dtype)
        loc, x = np.array([1.0, -2.0, 0.5], dtype), rng.normal(size=(20, 3)).astype(dtype) * 4
        d = multivariate_normal(loc, cov)
        peer = stats.multivariate_normal(loc.astype(float), cov.astype(float))
        close('multivariate_normal', f'log_prob, f{bits}', jax.jit(d.log_prob)(x), peer.logpdf(x.astype(float)), gate)
        close('multivariate_normal', f'entropy, f{bits}', jax.jit(d.entropy)(), peer.entropy(), gate)
        close('multivariate_normal', f'covariance, f{bits}', d.covariance(), peer.cov, gate)
        marginal = stats.norm(-2, 1)
        close('multivariate_normal', f'marginal cdf, f{bits}', d.marginal(1).cdf(x[:, 1]), marginal.cdf(x[:, 1]), gate)
        rest = d.given((2, 0), jnp.asarray([1.5, 0.0], dtype))
        # Bayes: p(x1 | x0, x2) p(x0, x2) = p(x)
        full = np.stack([np.array([0.0, v, 1.5]) for v in x[:, 1]])
        pair = stats.multivariate_normal(loc[[0, 2]].astype(float), cov[np.ix_([0, 2], [0, 2])].astype(float))
        close('multivariate_normal', f'conditional, f{bits}', rest.log_prob(x[:, 1:2]),
              peer.logpdf(full) - pair.logpdf([0.0, 1.5]), 5 * gate)       # the difference of two solves

        a = np.array([[0.3, 1.0, 2.5], [40.0, 7.0, 100.0]], dtype)
        d = dirichlet(a)
        x = rng.dirichlet([2.0, 1.0, 3.0], 20).astype(dtype)
        with pytest.raises(ValueError, match='broadcast'):
            d.log_prob(x)
        for row in range(2):
            exact = x.astype(float) / x.astype(float).sum(-1, keepdims=True)
            peer = stats.dirichlet(a[row].astype(float))
            mine = jax.tree.map(lambda v, row=row: v[row], d)
            # 100 log x at x rounded: x itself is off by 6e-8, and so is the density by 100 times that
            close('dirichlet', f'log_prob, f{bits}', jax.jit(mine.log_prob)(x), [peer.logpdf(v) for v in exact],
                  10 * gate)
            for quantity, theirs in (('mean', peer.mean()), ('variance', peer.var()), ('covariance', peer.cov()),
                                     ('entropy', peer.entropy())):
                close('dirichlet', f'{quantity}, f{bits}', jax.jit(getattr(mine, quantity))(), theirs, gate)
        assert jax.jit(d.log_prob)(jnp.asarray([0.5, 0.5, 0.5], dtype)).tolist() == [-np.inf] * 2, 'off the simplex'

        p = np.array([0.2, 0.0, 0.5, 0.3])
        d, peer = categorical(jnp.log(jnp.asarray(p, dtype))), stats.rv_discrete(values=(np.arange(4), p))
        k, q = np.array([-1, 0, 1, 2, 3, 4]), np.array([0.1, 0.19, 0.21, 0.69, 0.71, 1.0], dtype)
        with np.errstate(divide='ignore'):
            close('categorical', f'log_prob, f{bits}', d.log_prob(k), peer.logpmf(k), gate)
        for quantity, ours, theirs in (('cdf', d.cdf(k), peer.cdf(k)), ('icdf', d.icdf(q), peer.ppf(q)),
                                       ('mean', d.mean(), peer.mean()), ('variance', d.variance(), peer.var()),
                                       ('entropy', d.entropy(), stats.entropy(p)), ('sf', d.sf(k), peer.sf(k))):
            close('categorical', f'{quantity}, f{bits}', ours, theirs, gate)


KL = {
    'normal': (normal, (1.0, 2.0), (-1.0, 0.7), stats.norm, (-30, 30)),
    'exponential': (exponential, (2.0,), (0.3,), lambda r: stats.expon(scale=1 / r), (0, 40)),
    'laplace': (laplace, (1.0, 2.0), (-1.0, 0.7), stats.laplace, (-60, 60)),
    'lognormal': (lognormal, (0.3, 0.5), (0.0, 0.8), lambda m, s: stats.lognorm(s, scale=np.exp(m)), (0, 40)),
    'uniform': (uniform, (0.0, 1.0), (-1.0, 2.0), lambda a, b: stats.uniform(a, b - a), (0, 1)),
    'gamma': (gamma, (3.5, 2.0), (0.8, 0.5), lambda a, r: stats.gamma(a, scale=1 / r), (0, 60)),
    'gamma of large shapes': (gamma, (400.0, 2.0), (410.0, 2.0), lambda a, r: stats.gamma(a, scale=1 / r), (130, 280)),
    'beta': (beta, (2.5, 4.0), (0.7, 1.5), stats.beta, (0, 1)),
    'bernoulli': (bernoulli, (0.2,), (0.6,), stats.bernoulli, None),
    'binomial': (binomial, (9.0, 0.2), (9.0, 0.6), stats.binom, None),
    'geometric': (geometric, (0.4,), (0.6,), stats.geom, None),
    'poisson': (poisson, (4.0,), (2.5,), stats.poisson, None),
    'beta of large shapes': (beta, (400.0, 300.0), (410.0, 310.0), stats.beta, (0.45, 0.7)),
}


def test_divergences_are_integrals():
    for name, (make, p, q, peer, span) in KL.items():
        one, two = peer(*p), peer(*q)
        if span:
            theirs = integrate.quad(lambda x, one=one, two=two: one.pdf(x) * (one.logpdf(x) - two.logpdf(x)), *span,
                                    epsabs=1e-13, epsrel=1e-12, limit=500)[0]
        else:
            k = np.arange(*{'bernoulli': (2,), 'binomial': (10,), 'geometric': (1, 70)}.get(name, (80,)))
            theirs = np.sum(one.pmf(k) * (one.logpmf(k) - two.logpmf(k)))
        for bits, gate in ((32, 1e-6), (64, 1e-8)):
            with jax.enable_x64(bits == 64):
                compare('kl_divergence', 'scipy.integrate.quad, sums', f'{name}, f{bits}',
                        kl_divergence(make(*p), make(*q)), theirs, gate, relative=True)
                assert abs(kl_divergence(make(*p), make(*p))) < gate
    with jax.enable_x64(True):
        a, b, p = (0.3, 1.0), (2.0, 0.5), np.array([0.2, 0.0, 0.8])
        k = lambda *ab: kl_divergence(dirichlet(np.array(ab[0])), dirichlet(np.array(ab[1])))
        compare('kl_divergence', 'beta', 'dirichlet of two', k(a, b), kl_divergence(beta(*a), beta(*b)), 1e-12)
        q = np.array([0.5, 0.3, 0.2])
        compare('kl_divergence', 'scipy.stats.entropy', 'categorical',
                kl_divergence(categorical(np.log(p + 1e-300)), categorical(np.log(q))), stats.entropy(p, q), 1e-10)
        diagonal = multivariate_normal(np.array([1.0, 2.0]), np.diag([4.0, 9.0]))
        other = multivariate_normal(np.array([0.0, -1.0]), np.diag([1.0, 0.25]))
        compare('kl_divergence', 'sum of two normals', 'multivariate normal', kl_divergence(diagonal, other),
                np.sum(kl_divergence(normal(np.array([1.0, 2.0]), np.array([2.0, 3.0])),
                                     normal(np.array([0.0, -1.0]), np.array([1.0, 0.5])))), 1e-10, relative=True)


def test_posteriors_and_predictions():
    """Conjugate updates against prior times likelihood, integrated by scipy; predictions against its families."""
    for bits, gate in ((32, 1e-6), (64, 1e-10)):
        with jax.enable_x64(bits == 64):
            rows = [
                ('beta_binomial', bayes.beta_binomial(beta(2.0, 3.5), successes=7, trials=10), stats.beta(2, 3.5),
                 lambda t: stats.binom(10, t).pmf(7), (0, 1)),
                ('normal_normal', bayes.normal_normal(normal(1.0, 2.0), mean=4.0, count=5, scale=1.5),
                 stats.norm(1, 2), lambda t: stats.norm(t, 1.5 / np.sqrt(5)).pdf(4.0), (-5, 10)),
                ('gamma_poisson', bayes.gamma_poisson(gamma(2.0, 1.5), total=9, exposure=3.0),
                 stats.gamma(2, scale=1 / 1.5), lambda t: stats.poisson(3 * t).pmf(9), (0, 30)),
            ]
            for name, posterior, prior, likelihood, span in rows:
                joint = lambda t, f=1.0, prior=prior, likelihood=likelihood: f * prior.pdf(t) * likelihood(t)
                total = integrate.quad(joint, *span, epsabs=1e-14, limit=200)[0]
                mean = integrate.quad(lambda t, j=joint: j(t, t), *span, epsabs=1e-14, limit=200)[0] / total
                compare(name, 'scipy.integrate.quad', f'posterior mean, f{bits}', posterior.mean(), mean, gate,
                        relative=True)
                at = np.asarray(mean * np.array([0.7, 1.0, 1.2]), f'float{bits}')
                theirs = np.log([joint(t) / total for t in at.astype(float)])
                compare(name, 'scipy.integrate.quad', f'log posterior, f{bits}', posterior.log_prob(at), theirs,
                        3 * gate)       # of an argument of size 3 in float32
            counts = np.array([3.0, 0.0, 4.0])
            posterior = bayes.dirichlet_categorical(dirichlet(np.ones(3)), counts=counts)
            compare('dirichlet_categorical', 'closed form', f'f{bits}', posterior.mean(), (1 + counts) / 10, gate)
            compare('predict_categorical', 'closed form', f'f{bits}',
                    jnp.exp(bayes.predict_categorical(posterior).logs), (1 + counts) / 10, gate)
            k = np.arange(31)
            close('predict_binomial', f'log P, f{bits}', bayes.predict_binomial(beta(2.0, 3.5), k, 30),
                  stats.betabinom(30, 2, 3.5).logpmf(k), gate)
            close('predict_poisson', f'log P, f{bits}', bayes.predict_poisson(gamma(2.5, 1.5), k, 3.0),
                  stats.nbinom(2.5, 1.5 / 4.5).logpmf(k), gate)
            close('predict_normal', f'cdf, f{bits}', bayes.predict_normal(normal(1.0, 3.0), scale=4.0).cdf(k),
                  stats.norm(1, 5).cdf(k), gate)
            p = np.linspace(0, 1, 2001)
            with np.errstate(divide='ignore'):
                found = bayes.grid_posterior(beta(2.0, 3.0).log_prob, binomial_likelihood(7, 10), p)
            exact = stats.beta(9, 6)
            compare('grid_posterior', 'scipy.stats.beta', f'density, f{bits}', jnp.exp(found.log_density),
                    exact.pdf(p), 2e-6 if bits == 64 else 2e-5)      # the trapezoid rule's own error, and float32's
            compare('grid_posterior', 'scipy.stats.betabinom', f'evidence, f{bits}', found.log_evidence,
                    stats.betabinom(10, 2, 3).logpmf(7), 2e-6)


def binomial_likelihood(s, n):
    return lambda p: binomial(n, p).log_prob(s)
