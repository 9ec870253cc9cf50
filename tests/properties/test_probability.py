"""What distributions, moments and beliefs must do whatever their formulas: samples, gradients, mergers, errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from levels.level0_foundations.probability import bayes
from levels.level0_foundations.probability import moments as M
from levels.level0_foundations.probability.distributions import exponential, laplace, normal, student_t, uniform
from levels.level0_foundations.probability.distributions_derived import geometric, lognormal
from levels.level0_foundations.probability.distributions_discrete import bernoulli, binomial, categorical, poisson
from levels.level0_foundations.probability.distributions_gamma import beta, dirichlet, gamma
from levels.level0_foundations.probability.distributions_mvn import multivariate_normal
from levels.level0_foundations.probability.divergence import kl_divergence
from levels.level0_foundations.probability.mle import closed_form, fit_mle, interval, uncertainty

N = 100_000
KEY = jax.random.key(3)
CONTINUOUS = {      # maker, two parameter sets, peer
    'normal': (normal, ([1.0, -20.0], [2.0, 0.3]), stats.norm),
    'laplace': (laplace, ([1.0, -2.0], [2.0, 0.3]), stats.laplace),
    'uniform': (uniform, ([1.0, -2.0], [2.0, 0.3]), lambda a, b: stats.uniform(a, b - a)),
    'exponential': (exponential, ([0.2, 7.0],), lambda r: stats.expon(scale=1 / r)),
    'student_t': (student_t, ([1.0, 6.0], [0.0, 3.0], [1.0, 2.0]), stats.t),
    'gamma': (gamma, ([0.5, 7.0], [2.0, 0.3]), lambda a, r: stats.gamma(a, scale=1 / r)),
    'beta': (beta, ([0.5, 30.0], [0.8, 4.0]), stats.beta),
}
DERIVED = {
    'lognormal': (lognormal, ([1.0, -2.0], [0.5, 0.2]), lambda m, s: stats.lognorm(s, scale=np.exp(m))),
    'geometric': (geometric, ([0.2, 0.7],), stats.geom),
}
DISCRETE = {
    'bernoulli': (bernoulli, ([0.2, 0.9],), stats.bernoulli),
    'binomial': (binomial, ([7.0, 200.0], [0.3, 0.6]), stats.binom),
    'poisson': (poisson, ([0.7, 40.0],), stats.poisson),
}


def draw(make, params, key=KEY):
    x = jax.jit(lambda key: make(*map(jnp.asarray, params)).sample(key, (N,)))(key)
    assert x.shape == (N, 2)
    return np.asarray(x, float)


def chi_square(x, pmf, top):
    """p of counts against probabilities of 0 ... top, cells with fewer than 10 expected put together."""
    expected, seen = N * pmf(np.arange(top)), np.bincount(x.astype(int), minlength=top)[:top]
    rare = expected < 10
    cells = lambda v: np.append(v[~rare], N - v[~rare].sum())
    cells = cells if N - expected[~rare].sum() > 10 else lambda v: v[~rare]
    a, b = cells(seen), cells(expected)
    return stats.chisquare(a, b * a.sum() / b.sum()).pvalue


@pytest.mark.parametrize('name', list(CONTINUOUS))
def test_samples_pass_kolmogorov_smirnov(name):
    make, params, peer = CONTINUOUS[name]
    x = draw(make, params)
    for i in range(2):
        own = peer(*(float(np.float32(p[i])) for p in params))
        assert stats.kstest(x[:, i], own.cdf).pvalue > 1e-3
        off = peer(*(1.05 * p[i] + 0.05 for p in params))
        assert stats.kstest(x[:, i], off.cdf).pvalue < 1e-6, 'the test would not notice 5 %'
    assert abs(stats.spearmanr(x[:, 0], x[:, 1])[0]) < 5 / N**0.5, 'the batch shares its noise'


def test_samples_of_what_is_derived():
    make, params, peer = DERIVED['lognormal']
    x = draw(make, params)
    assert all(stats.kstest(x[:, i], peer(*(p[i] for p in params)).cdf).pvalue > 1e-3 for i in range(2))
    assert stats.kstest(x[:, 0], peer(1.02, 0.5).cdf).pvalue < 1e-3, 'the test would not notice 2 %'
    make, params, peer = DERIVED['geometric']
    x = draw(make, params)
    assert all(chi_square(x[:, i], peer(params[0][i]).pmf, 300) > 1e-3 for i in range(2))
    assert chi_square(x[:, 0], peer(0.205).pmf, 300) < 1e-3


@pytest.mark.parametrize('name', list(DISCRETE))
def test_samples_pass_chi_square(name):
    make, params, peer = DISCRETE[name]
    x = draw(make, params)
    for i in range(2):
        own, off = (peer(*(p[i] for p in params[:-1]), f * params[-1][i]) for f in (1, 0.97))
        assert chi_square(x[:, i], own.pmf, 300) > 1e-3 > chi_square(x[:, i], off.pmf, 300)


def test_samples_of_vectors():
    p = np.array([0.5, 0.0, 0.2, 0.3])
    x = np.asarray(categorical(jnp.log(jnp.asarray(p))).sample(KEY, (N,)))
    assert x.dtype.kind == 'i' and (x != 1).all()
    assert stats.chisquare(np.bincount(x)[[0, 2, 3]], N * p[[0, 2, 3]]).pvalue > 1e-3
    a = np.array([0.5, 2.0, 4.0])
    x = np.asarray(dirichlet(a).sample(KEY, (N,)), float)
    assert all(stats.kstest(x[:, i], stats.beta(a[i], a.sum() - a[i]).cdf).pvalue > 1e-3 for i in range(3))
    assert np.abs(np.cov(x.T, bias=True) - stats.dirichlet(a).cov()).max() < 1e-3
    cov = np.array([[2.0, -0.9, 0.0], [-0.9, 1.0, 0.3], [0.0, 0.3, 0.5]])
    x = np.asarray(multivariate_normal(np.array([1.0, 2.0, 3.0]), cov).sample(KEY, (N,)), float)
    white = np.linalg.solve(np.linalg.cholesky(cov), (x - [1, 2, 3]).T)
    assert all(stats.kstest(w, stats.norm.cdf).pvalue > 1e-3 for w in white)
    assert np.abs(np.corrcoef(white) - np.eye(3)).max() < 4.5 / N**0.5


def test_keys_alone_decide():
    """Equal keys, equal samples, in and out of jit and vmap; other keys, others."""
    keys = jax.random.split(KEY, 2)
    for make, params, _ in (*CONTINUOUS.values(), *DISCRETE.values()):
        d = make(*map(jnp.asarray, params))
        run = lambda key, d=d: d.sample(key, (50,))
        together = np.asarray(jax.jit(jax.vmap(run))(keys))
        alone = np.asarray(jax.jit(run)(keys[0]))
        assert np.allclose(together[0], alone, rtol=1e-5) and (together[0] != together[1]).any()


def test_divergences_are_means_of_log_ratios():
    """Closed forms within 4.5 standard errors of 20,000 samples, and errors small enough to mean something."""
    cov, other = np.array([[2.0, 0.5], [0.5, 1.0]]), np.array([[1.0, -0.2], [-0.2, 0.8]])
    pairs = {
        'normal': (normal(1.0, 2.0), normal(-1.0, 2.5)), 'exponential': (exponential(2.0), exponential(1.0)),
        'gamma': (gamma(3.5, 2.0), gamma(2.0, 0.8)), 'beta': (beta(2.5, 4.0), beta(1.7, 1.5)),
        'dirichlet': (dirichlet(np.array([2.0, 1.0, 4.0])), dirichlet(np.array([1.0, 1.5, 2.0]))),
        'bernoulli': (bernoulli(0.2), bernoulli(0.6)), 'poisson': (poisson(4.0), poisson(2.5)),
        'categorical': (categorical(jnp.log(jnp.array([0.2, 0.0, 0.8]))), categorical(jnp.array([0.1, 0.5, -1.0]))),
        'laplace': (laplace(1.0, 2.0), laplace(-1.0, 2.5)), 'lognormal': (lognormal(0.0, 1.0), lognormal(0.5, 1.5)),
        'uniform': (uniform(0.0, 1.0), uniform(-1.0, 2.0)), 'geometric': (geometric(0.3), geometric(0.5)),
        'binomial': (binomial(7.0, 0.3), binomial(7.0, 0.5)),
        'mvn': (multivariate_normal(np.zeros(2), cov), multivariate_normal(np.ones(2), other)),
    }
    def all_of(key, p, q):
        found = M.monte_carlo(key, p.sample, lambda x: p.log_prob(x) - q.log_prob(x), n=20_000)
        return found, kl_divergence(p, q), kl_divergence(q, p), kl_divergence(p, p)

    for name, (p, q) in pairs.items():
        found, exact, back, none = jax.device_get(jax.jit(all_of)(jax.random.key(1), p, q))
        assert abs(found.mean - exact) <= 4.5 * found.error + 1e-6 < 0.2 * exact, name
        assert abs(none) < 1e-6 and abs(exact - back) > 0.01, f'{name}: it is not symmetric'
    with pytest.raises(ValueError, match='p, q: expected two of one of Normal, .*; found Normal and Gamma'):
        kl_divergence(normal(), gamma(1.0))


def differences(f, args, h=1e-5):
    """Central differences of f by every argument, stacked."""
    ends = lambda i, s: f(*(v + s * h * (i == j) for j, v in enumerate(args)))
    return np.stack([(np.asarray(ends(i, 1)) - np.asarray(ends(i, -1))) / (2 * h) for i in range(len(args))])


def test_gradients():
    """Against differences in float64: densities by every parameter, tails and quantiles where they have derivatives."""
    with jax.enable_x64(True):
        points = {'normal': (0.3, 1.1, 0.7), 'laplace': (0.3, 1.1, 0.7), 'exponential': (0.3, 1.1),
                  'student_t': (0.3, 2.7, 1.1, 0.7), 'gamma': (3.3, 7.5, 2.0), 'beta': (0.3, 0.7, 6.0)}
        for name, (x, *params) in points.items():
            make, every = CONTINUOUS[name][0], tuple(range(1 + len(params)))
            f = jax.jit(lambda x, *p, make=make: make(*p).log_prob(x))
            slope = jax.jit(lambda *a, f=f, n=every: jnp.stack(jax.grad(f, n)(*a)))
            assert np.allclose(slope(x, *params), differences(f, (x, *params)), rtol=1e-7, atol=1e-7), name
            bend = jax.jit(lambda *a, g=slope, n=every: jnp.stack(jax.jacfwd(g, n)(*a)))
            assert np.allclose(bend(x, *params), differences(slope, (x, *params)), rtol=1e-7, atol=1e-7), name
            d = make(*params)
            both = jax.jit(lambda x, d=d: (jax.value_and_grad(d.cdf)(x), d.log_prob(x)))
            (level, rise), density = both(x)
            assert abs(rise / jnp.exp(density) - 1) < 1e-12, name
            quantile = jax.jit(jax.value_and_grad(d.icdf))
            assert abs(quantile(level)[0] - x) < 1e-9 and abs(quantile(level)[1] * rise - 1) < 1e-7, name
            wide = jax.jit(jax.grad(d.icdf))(0.9), differences(lambda p, q=quantile: q(p)[0], (0.9,))[0]
            assert abs(wide[0] / wide[1] - 1) < 1e-6, name
        for f in (lambda a: gamma(a, 2.0).icdf(0.9), lambda a: gamma(a, 2.0).cdf(1.3),
                  lambda n: poisson(n).log_prob(4.0), lambda n: binomial(9.0, n / 10).log_prob(4.0)):
            f = jax.jit(f)
            assert np.allclose(jax.jit(jax.grad(f))(3.3), differences(f, (3.3,))[0], rtol=1e-6)
        factor = np.array([[1.0, 0.4], [0.2, 0.7]])
        f = jax.jit(lambda *v: multivariate_normal(jnp.zeros(2), jnp.stack(v).reshape(2, 2) @ jnp.stack(v).reshape(
            2, 2).T).log_prob(jnp.array([1.0, 2.0])))
        slope = jax.jit(jax.grad(f, (0, 1, 2, 3)))(*factor.ravel())
        assert np.allclose(slope, differences(f, tuple(factor.ravel())), rtol=1e-6)
        assert jnp.isnan(jax.grad(lambda a: beta(a, 2.0).cdf(0.3))(1.5)), 'what is not known must not look known'


def test_edges():
    """Beyond 0 ... 1 there is no quantile, at 0 and 1 it is an end of the support; a NaN stays one."""
    p = jnp.array([-0.1, 1.1, jnp.nan, 0.0, 1.0])
    for name, (make, params, peer) in (CONTINUOUS | DISCRETE | DERIVED).items():
        d = make(*(v[0] for v in params))
        found, ends = np.asarray(jax.jit(d.icdf)(p)), np.asarray(jax.jit(d.cdf)(jnp.array([-jnp.inf, jnp.inf])))
        assert np.isnan(found[:3]).all() and ends.tolist() == [0, 1], name
        theirs = peer(*(v[0] for v in params))
        assert found[3:].tolist() == [theirs.ppf(1e-300) if name in DISCRETE or name == 'geometric' else theirs.ppf(0),
                                      theirs.ppf(1)], name
    for d in (categorical(jnp.zeros(3)), *(make(*(v[0] for v in params)) for make, params, _ in (
            CONTINUOUS | DISCRETE | DERIVED).values())):
        assert jnp.isnan(d.cdf(jnp.nan)) and jnp.isnan(d.sf(jnp.nan)), type(d).__name__
    k = jnp.arange(1.0, 35.0)
    for p in (0.003, 0.02):     # at the very edge of a jump, where quotients of logarithms are rounded up or down
        d = geometric(p)
        assert (d.icdf(d.cdf(k)) == k).all(), p


def test_a_distribution_is_a_pytree():
    rates = jnp.array([[0.5, 1.0, 2.0]])
    many = jax.vmap(jax.vmap(exponential))(rates)
    assert type(many).__name__ == 'Exponential' and many.rate.shape == (1, 3)
    assert np.allclose(jax.vmap(jax.vmap(lambda d: d.cdf(1.0)))(many), many.cdf(1.0))
    column, row = jnp.array([[0.0], [1.0]]), jnp.array([1.0, 2.0, 3.0])
    assert normal(column, row).log_prob(jnp.zeros((4, 1, 1))).shape == (4, 2, 3)       # broadcast without promotion


WRONG = [
    (lambda: normal(0.0, 0.0), 'scale: expected finite numbers, 0 < scale; found 0'),
    (lambda: normal(np.nan, 1.0), 'loc: expected finite numbers; found nan'),
    (lambda: normal(np.zeros(2), np.ones(3)), r'shapes: expected shapes that broadcast; found \(2,\) and \(3,\)'),
    (lambda: uniform(1.0, 1.0), 'high - low: expected finite numbers, 0 < high - low; found 0'),
    (lambda: laplace(0.0, -1.0), 'scale: '), (lambda: exponential(np.inf), 'rate: expected finite numbers, 0 < rate'),
    (lambda: student_t(0.0), 'df: '), (lambda: gamma(-1.0), 'shape: '), (lambda: gamma(1.0, 0.0), 'rate: '),
    (lambda: beta(1.0, np.array([1.0, -2.0])), 'b: expected finite numbers, 0 < b; found -2'),
    (lambda: dirichlet(1.0), r'concentration: expected \[\*batch, k\]'), (lambda: dirichlet(np.zeros(2)), 'concent'),
    (lambda: bernoulli(1.5), 'p: expected finite numbers, 0 <= p <= 1; found 1.5'),
    (lambda: binomial(2.5, 0.5), 'n: expected whole numbers, 0 <= n; found 2.5'),
    (lambda: poisson(0.0), 'rate: '), (lambda: categorical(np.array([np.nan, 0.0])), 'logits: '),
    (lambda: normal('one', 1.0), 'loc: expected numbers, found str'),
    (lambda: multivariate_normal(np.zeros(2), np.ones((2, 3))), r'cov: expected \[\*batch, 2, 2\]'),
    (lambda: multivariate_normal(np.zeros(2), np.ones((2, 2))), 'cov: expected a positive definite matrix'),
    (lambda: multivariate_normal(np.zeros(2), np.array([[1.0, 0.5], [0.0, 1.0]])), 'cov: expected a symmetric'),
    (lambda: M.pairwise(np.zeros(0)), 'x: expected'),
    (lambda: M.merge(M.empty(np.zeros(2)), M.empty(np.zeros(3))), 'a, b: expected Moments of one shape'),
    (lambda: M.control_variate(np.zeros(3), np.zeros(2), 0.0), 'values, controls, means: expected'),
    (lambda: M.monte_carlo(KEY, jax.random.normal, jnp.sum, n=5), 'fun: expected'),
    (lambda: bayes.beta_binomial(beta(1.0, 1.0), successes=3, trials=2), 'trials - successes: '),
    (lambda: bayes.normal_normal(normal(), mean=0.0, count=1, scale=0.0), 'scale: '),
    (lambda: bayes.grid_posterior(jnp.log, jnp.log, np.array([1.0, 1.0])), 'points: expected'),
    (lambda: bayes.base_rate(1.2, sensitivity=1.0, specificity=1.0), 'prevalence: '),
    (lambda: closed_form('cauchy', np.ones(3)), 'family: expected one of normal, .*; found'),
    (lambda: closed_form('poisson', np.array([1.5])), 'x: expected whole numbers'),
    (lambda: fit_mle(exponential, {'rate': 1.0}, np.ones(3), positive=('scale',)), 'positive, unit: expected'),
    (lambda: interval(uncertainty(exponential, {'rate': 1.0}, np.ones(3)), level=95), 'level: expected'),
]


@pytest.mark.parametrize(('call', 'message'), WRONG, ids=[str(i) for i in range(len(WRONG))])
def test_wrong_arguments_are_one_line(call, message):
    with pytest.raises(ValueError, match=message) as error:
        call()
    assert '\n' not in str(error.value)
