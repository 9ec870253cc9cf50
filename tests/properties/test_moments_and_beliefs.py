"""Moments that survive large means, simulations whose errors are true, beliefs that add up."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from levels.level0_foundations.probability import bayes
from levels.level0_foundations.probability import moments as M
from levels.level0_foundations.probability.distributions import normal
from levels.level0_foundations.probability.distributions_discrete import bernoulli, binomial
from levels.level0_foundations.probability.distributions_gamma import beta

N = 100_000
KEY = jax.random.key(3)


def stream(xs):
    return jax.jit(lambda xs: jax.lax.scan(lambda s, x: (M.update(s, x), None), M.empty(xs[0]), xs)[0])(xs)


@pytest.mark.parametrize('far', [0.0, 1e6])
def test_moments_survive_a_large_mean(far):
    """float32, standard deviation 1: mean and variance within 1e-5, where sums of squares have no digit left."""
    x = (far + np.random.default_rng(0).normal(size=(N, 2))).astype(np.float32)
    exact = x.astype(float)
    mean, variance = exact.mean(0), exact.var(0)
    parts = [M.pairwise(x[:1]), M.pairwise(x[1:777]), M.empty(x[0]), stream(x[777:40_000]), M.pairwise(x[40_000:])]
    merged = parts[0]
    for part in parts[1:]:
        merged = M.merge(merged, part)
    for name, m in (('stream', stream(x)), ('pairwise', jax.jit(M.pairwise)(x)), ('merged', merged)):
        assert (m.count == N).all()
        assert np.abs(m.variance() / variance - 1).max() < 1e-6, name        # the gate is 1e-5
        assert np.abs(m.variance(ddof=1) / exact.var(0, ddof=1) - 1).max() < 1e-6, name
        assert np.abs(m.mean - mean).max() <= max(1e-7, far * 6e-8), name
        offset = np.asarray(m.origin, float) + np.asarray(m.offset, float) + np.asarray(m.rest, float)
        assert np.abs(offset - mean).max() < 1e-6, f'{name}: the mean as it is kept has more digits than float32'
    naive = np.mean(x**2, 0) - np.mean(x, 0) ** 2
    assert far == 0 or np.abs(naive / variance - 1).max() > 1e-3, 'an easy case proves nothing'
    nothing = M.empty(x[0])
    assert np.isnan(nothing.mean).all() and np.isnan(nothing.variance()).all()
    assert np.isnan(M.pairwise(x[:1]).variance(ddof=1)).all()


def test_merging_is_order_free():
    x = (1e6 + np.random.default_rng(1).normal(size=999)).astype(np.float32)
    a, b, c = (M.pairwise(v) for v in np.split(x, [10, 400]))
    one, two, three = M.merge(M.merge(a, b), c), M.merge(a, M.merge(b, c)), M.merge(c, M.merge(b, a))
    for m in (two, three):
        assert abs(m.variance() / one.variance() - 1) < 1e-6 and m.mean == one.mean
    with jax.enable_x64(True):      # counts are int32, and their ratio must not be float32
        x = np.random.default_rng(2).normal(size=3000)
        for m in (M.pairwise(x), M.merge(M.pairwise(x[:1000]), M.pairwise(x[1000:])), M.pairwise(x[:, None])):
            assert abs(m.variance() / x.var() - 1) < 1e-14 and abs(m.mean - x.mean()) < 1e-15


def test_standard_errors_of_simulations_are_true():
    """400 simulations of the integral of exp on 0 ... 1: their spread is the error each of them claims."""
    def both(key):
        plain = M.monte_carlo(key, jax.random.uniform, jnp.exp, n=500)
        u = jax.random.uniform(key, (500,))
        return plain, M.control_variate(jnp.exp(u), u, 0.5), M.control_variate(
            jnp.exp(u), jnp.stack([u, u**2], -1), jnp.array([0.5, 1 / 3]))

    runs = jax.jit(jax.vmap(both))(jax.random.split(KEY, 400))
    for run, deviation in zip(runs, (0.4920, 0.0627, 0.0053), strict=True):
        z = (np.asarray(run.mean) - (np.e - 1)) / np.asarray(run.error)
        assert 0.87 < z.std() < 1.15 and abs(z.mean()) < 0.25
        assert abs(np.asarray(run.error).mean() / (deviation / 500**0.5) - 1) < 0.05       # by hand: sqrt(1 - R^2)


def test_the_optimal_coefficient_is_the_optimum():
    u = np.asarray(jax.random.uniform(KEY, (2000,)), float)
    best = M.control_variate(np.exp(u), u, 0.5)
    fixed = [np.std(np.exp(u) - c * (u - 0.5), ddof=2) / 2000**0.5 for c in np.linspace(1.4, 2.0, 61)]
    assert abs(float(best.error) - min(fixed)) < 1e-5 and np.argmin(fixed) not in (0, 60)
    twice = M.control_variate(np.exp(u), np.stack([u, u], 1), np.array([0.5, 0.5]))    # dependent controls
    assert abs(float(twice.mean) - float(best.mean)) < 1e-5


def test_beliefs_add_up():
    """All evidence at once, or piece by piece in any order; certainty grows; a strong prior hardly moves."""
    parts = ((3, 10), (0, 4), (5, 6))
    belief = beta(2.0, 3.0)
    for s, n in parts:
        belief = bayes.beta_binomial(belief, successes=s, trials=n)
    whole = bayes.beta_binomial(beta(2.0, 3.0), successes=8, trials=20)
    assert belief == whole
    x = np.array([1.0, 4.0, 2.5, 3.0])
    belief = normal(0.0, 10.0)
    for v in x[::-1]:
        belief = bayes.normal_normal(belief, mean=v, count=1, scale=2.0)
    whole = bayes.normal_normal(normal(0.0, 10.0), mean=x.mean(), count=4, scale=2.0)
    assert np.allclose(belief, whole, rtol=1e-6)
    firm = bayes.normal_normal(normal(0.0, 1e-3), mean=5.0, count=10, scale=1.0)
    assert abs(firm.loc) < 1e-4 and firm.scale < 1e-3
    p = jnp.linspace(0.0, 1.0, 1001)
    grid = bayes.grid_posterior(beta(2.0, 3.0).log_prob, lambda p: binomial(20.0, p).log_prob(8.0), p)
    conjugate = bayes.beta_binomial(beta(2.0, 3.0), successes=8, trials=20)
    assert abs(grid.expect(lambda p: p) - conjugate.mean()) < 1e-6
    spread = grid.expect(lambda p: (p - conjugate.mean()) ** 2)
    assert abs(spread - conjugate.variance()) < 1e-6
    ahead = grid.expect(lambda p: jnp.exp(binomial(3.0, p).log_prob(2.0)))
    assert abs(ahead - jnp.exp(bayes.predict_binomial(conjugate, 2, 3))) < 1e-6
    # a thousand observations, whose likelihood is 1e-301 at best and 0 in float32
    deep = bayes.grid_posterior(beta(1.0, 1.0).log_prob, lambda p: 300 * jnp.log(p) + 700 * jnp.log1p(-p), p[1:-1])
    assert abs(deep.expect(lambda p: p) - 301 / 1002) < 1e-5


def test_base_rates_by_counting_people():
    people = 1_000_000
    ill, first, second = jax.random.split(KEY, 3)
    ill = np.asarray(bernoulli(0.01).sample(ill, (people,))) == 1
    positive = np.where(ill, bernoulli(0.9).sample(first, (people,)), bernoulli(0.08).sample(second, (people,))) == 1
    a = bayes.base_rate(0.01, sensitivity=0.9, specificity=0.92)
    assert abs(ill[positive].mean() - a.ill_if_positive) < 0.004 and abs(positive.mean() - a.positive) < 0.001
    assert abs((~ill)[~positive].mean() - a.well_if_negative) < 0.001
    assert abs(float(a.ill_if_positive) - 9 / (9 + 79.2)) < 1e-6, 'of 1000: 10 ill, 9 found; 79.2 false alarms'
    many = bayes.base_rate(np.array([0.001, 0.01, 0.1, 0.5]), sensitivity=0.9, specificity=0.92).ill_if_positive
    assert (np.diff(many) > 0).all() and many[0] < 0.02 and many[-1] > 0.9
