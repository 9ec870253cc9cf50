"""Maximum likelihood against closed forms and scipy's fits; minimisers and line searches against scipy.optimize."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from parity_ledger import compare
from scipy import optimize, stats

from levels.level0_foundations.optimisation.line_search import wolfe
from levels.level0_foundations.optimisation.minimise import gradient_descent, lbfgs, newton
from levels.level0_foundations.probability.distributions import exponential, normal, student_t
from levels.level0_foundations.probability.distributions_discrete import bernoulli, poisson
from levels.level0_foundations.probability.distributions_gamma import beta, gamma
from levels.level0_foundations.probability.distributions_mvn import MultivariateNormal
from levels.level0_foundations.probability.mle import closed_form, fit_mle, interval, observed_information, uncertainty

RNG = np.random.default_rng(0)
SAMPLES = {
    'normal': (normal, RNG.normal(3, 2, 300), {'loc': 0.0, 'scale': 1.0}, {'positive': ('scale',)},
               lambda x: dict(zip(('loc', 'scale'), stats.norm.fit(x)))),
    'exponential': (exponential, RNG.exponential(0.4, 300), {'rate': 1.0}, {'positive': ('rate',)},
                    lambda x: {'rate': 1 / stats.expon.fit(x, floc=0)[1]}),
    'poisson': (poisson, RNG.poisson(3.5, 300), {'rate': 1.0}, {'positive': ('rate',)},
                lambda x: {'rate': stats.fit(stats.poisson, x.astype(int), [(0.1, 20)]).params.mu}),
    'bernoulli': (bernoulli, RNG.random(300) < 0.3, {'p': 0.5}, {'unit': ('p',)}, None),
}


@pytest.mark.parametrize('bits', [32, 64])
@pytest.mark.parametrize('name', list(SAMPLES))
def test_the_optimiser_finds_the_closed_form(name, bits):
    make, x, start, ranges, scipy_fit = SAMPLES[name]
    with jax.enable_x64(bits == 64):
        x = np.asarray(x, f'float{bits}')
        exact = closed_form(name, x)._asdict()
        fit = jax.jit(lambda x: fit_mle(make, start, x, **ranges))(x)
        assert fit.converged and {v.dtype for v in fit.params.values()} == {jnp.dtype(f'float{bits}')}
        compare('fit_mle', 'closed form', f'{name}, f{bits}', fit.params, exact, 1e-5 if bits == 32 else 1e-9,
                relative=True)
        errors = jax.jit(lambda p, x: uncertainty(make, p, x).errors)(exact, x)
        n = len(x)
        theory = {'normal': lambda p: {'loc': p['scale'] / n**0.5, 'scale': p['scale'] / (2 * n) ** 0.5},
                  'exponential': lambda p: {'rate': p['rate'] / n**0.5},
                  'poisson': lambda p: {'rate': (p['rate'] / n) ** 0.5},
                  'bernoulli': lambda p: {'p': (p['p'] * (1 - p['p']) / n) ** 0.5}}[name](exact)
        compare('uncertainty', 'closed form', f'standard errors, {name}, f{bits}', errors, theory,
                1e-5 if bits == 32 else 1e-9, relative=True)
        compare('fit_mle', 'closed form', f'standard errors, {name}, f{bits}', fit.errors, theory,
                2e-5 if bits == 32 else 1e-8, relative=True)
        if scipy_fit and bits == 64:        # scipy's global search of the Poisson stops at 1e-4 or so
            compare('closed_form', 'scipy.stats', name, exact, scipy_fit(x), 1e-3 if name == 'poisson' else 1e-10,
                    relative=True)
        if name == 'normal':
            middle = closed_form('laplace', x)
            compare('closed_form', 'scipy.stats', f'laplace, f{bits}', tuple(middle),
                    stats.laplace.fit(x.astype(float)), 1e-6, relative=True)


def test_fits_without_a_closed_form():
    with jax.enable_x64(True):
        for name, make, x, start, ranges, theirs in (
            ('gamma', gamma, stats.gamma(2.5, scale=0.5).rvs(400, random_state=1), {'shape': 1.0, 'rate': 1.0},
             {'positive': ('shape', 'rate')}, lambda x: stats.gamma.fit(x, floc=0)),
            ('beta', beta, stats.beta(2.5, 0.8).rvs(400, random_state=2), {'a': 1.0, 'b': 1.0},
             {'positive': ('a', 'b')}, lambda x: stats.beta.fit(x, floc=0, fscale=1)),
            ('student_t', student_t, stats.t(4, 1, 2).rvs(400, random_state=3), {'df': 5.0, 'loc': 0.0, 'scale': 1.0},
             {'positive': ('df', 'scale')}, stats.t.fit),
        ):
            fit = jax.jit(lambda x, make=make, start=start, ranges=ranges: fit_mle(make, start, x, **ranges))(x)
            assert fit.converged
            theirs = theirs(x)
            expected = {'gamma': lambda t: {'shape': t[0], 'rate': 1 / t[2]}, 'beta': lambda t: {'a': t[0], 'b': t[1]},
                        'student_t': lambda t: dict(zip(('df', 'loc', 'scale'), t))}[name](theirs)
            compare('fit_mle', 'scipy.stats fit', name, fit.params, expected, 2e-4, relative=True)  # scipy's simplex
            best = jax.jit(lambda p, x=x, make=make: jnp.sum(make(**p).log_prob(x)))(expected)
            assert fit.log_likelihood >= best - 1e-9, 'scipy found a likelier place'


def test_information_of_a_vector_s_mean_is_the_inverse_covariance():
    with jax.enable_x64(True):
        chol, x = np.linalg.cholesky([[2.0, 0.6], [0.6, 1.0]]), RNG.normal(size=(50, 2))
        make = lambda loc: MultivariateNormal(loc, jnp.asarray(chol))
        J = observed_information(make, {'loc': x.mean(0)}, x)
        compare('observed_information', 'closed form', 'n times the inverse covariance', J,
                50 * np.linalg.inv(chol @ chol.T), 1e-10, relative=True)


@pytest.mark.parametrize('name', ['exponential', 'poisson', 'normal', 'gamma'])
def test_intervals_cover_as_often_as_they_say(name):
    """2,000 samples at once; 95 % intervals by observed information must hold the truth in 93 to 97 %."""
    truth = {'exponential': {'rate': 2.0}, 'poisson': {'rate': 3.0}, 'normal': {'loc': 1.0, 'scale': 2.0},
             'gamma': {'shape': 2.0, 'rate': 1.0}}[name]
    make = {'exponential': exponential, 'poisson': poisson, 'normal': normal, 'gamma': gamma}[name]
    keys = jax.random.split(jax.random.key(7), 2000)

    def one(key):
        x = make(**truth).sample(key, (200,))
        if name == 'gamma':
            fit = fit_mle(gamma, {'shape': 1.0, 'rate': 1.0}, x, positive=('shape', 'rate'), max_steps=30)
        else:
            fit = uncertainty(make, closed_form(name, x)._asdict(), x)
        low, high = interval(fit)
        return {k: (low[k] <= v) & (v <= high[k]) for k, v in truth.items()}, fit.converged

    held, converged = jax.jit(jax.vmap(one))(keys)
    assert converged.all()
    for k, v in held.items():
        compare('interval', 'its level', f'coverage of the {k} of {name}, 2,000 samples', v.mean(), 0.95, 0.02)


def chain(x):
    return jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


@pytest.mark.parametrize('bits', [32, 64])
def test_minimisers_end_where_scipy_s_do(bits):
    with jax.enable_x64(bits == 64):
        start = np.zeros(6, f'float{bits}')
        start[::2] = -1.0
        peer = optimize.minimize(optimize.rosen, start.astype(float), jac=optimize.rosen_der, method='L-BFGS-B',
                                 options={'ftol': 1e-16, 'gtol': 1e-10})
        gate = 1e-3 if bits == 32 else 1e-7     # a gradient of sqrt(eps), in a valley of curvature 0.4
        for name, run, most in (('newton', newton, 40), ('lbfgs', lbfgs, 90)):
            found = jax.jit(lambda x, run=run: run(chain, x))(start)
            assert found.converged and found.steps <= most, (name, found.steps)
            compare(name, 'scipy.optimize.minimize', f'Rosenbrock of 6, f{bits}', found.x, peer.x, gate)
        H = np.diag([1.0, 4.0, 20.0]) + 0.3
        bowl = lambda x: 0.5 * jnp.vdot(x, jnp.asarray(H, x.dtype) @ x) - jnp.sum(x)
        for name, run in (('gradient_descent', gradient_descent), ('newton', newton), ('lbfgs', lbfgs)):
            found = jax.jit(lambda x, run=run: run(bowl, x))(start[:3])
            assert found.converged
            compare(name, 'numpy.linalg.solve', f'quadratic, f{bits}', found.x, np.linalg.solve(H, np.ones(3)), gate)
            assert name != 'newton' or found.steps <= 2


def test_wolfe_lengths_satisfy_the_conditions_that_scipy_s_do():
    """Forty directions of descent on Rosenbrock's valley: both conditions hold, for scipy's length and for ours."""
    with jax.enable_x64(True):
        x = RNG.normal(size=(40, 3))
        g = np.stack([optimize.rosen_der(v) for v in x])
        d = -g * RNG.uniform(0.1, 2, size=g.shape) / np.linalg.norm(g, axis=1, keepdims=True)
        for c2 in (0.9, 0.1):
            ours = jax.jit(jax.vmap(lambda x, d, c2=c2: wolfe(chain, x, d, c2=c2)))(x, d)
            assert ours.found.all() and (np.asarray(ours.evaluations) < 20).all()
            worst, same = 0.0, 0
            for i in range(40):
                phi = lambda a, i=i: (optimize.rosen(x[i] + a * d[i]), optimize.rosen_der(x[i] + a * d[i]) @ d[i])
                (f0, s0), a = phi(0.0), float(ours.size[i])
                f, s = phi(a)
                worst = max(worst, (f - f0 - 1e-4 * a * s0) / abs(s0), (abs(s) - c2 * abs(s0)) / abs(s0))
                theirs = optimize.line_search(optimize.rosen, optimize.rosen_der, x[i], d[i], c2=c2)[0]
                same += theirs is not None and f <= phi(theirs)[0] + 0.5 * abs(f0)
            compare('wolfe', 'the two conditions', f'largest violation, c2 {c2}', max(worst, 0.0), 0.0, 1e-12)
            assert same >= 38
