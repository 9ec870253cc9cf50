"""Simple linear regression against scipy.stats.linregress, to 1e-6; bands against matrices in float64."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from parity_ledger import compare
from scipy import stats
from sklearn.datasets import load_diabetes

from levels.level1_classical.regression.simple import bands, simple_regression, t_quantile, t_tails

RNG = np.random.default_rng(0)
X, Y = load_diabetes(return_X_y=True, scaled=False)
BMI = X[:, 2]
SETS = {'body mass': (BMI, Y), 'weak': (X[:, 0], RNG.normal(size=len(Y)) + 0.01 * X[:, 0]), 'four points': (
    np.array([1.0, 2.0, 4.0, 8.0]), np.array([3.0, 1.0, 2.0, 5.0])), 'falling': (BMI[:30], -3 * BMI[:30] + Y[:30] / 20)}
fit, band, tails, quantile = (jax.jit(f) for f in (simple_regression, bands, t_tails, t_quantile))
QUANTITIES = {'slope': 'slope', 'intercept': 'intercept', 'slope_se': 'stderr', 'intercept_se': 'intercept_stderr',
              'p_value': 'pvalue', 'r': 'rvalue'}


@pytest.mark.parametrize('name', list(SETS))
def test_against_linregress(name):
    x, y = SETS[name]
    for bits, gate in ((32, 1e-6), (64, 1e-11)):
        theirs = stats.linregress(*(v.astype(f'float{bits}').astype(float) for v in (x, y)))
        with jax.enable_x64(bits == 64):
            line = fit(*(jnp.asarray(v, f'float{bits}') for v in (x, y)))
            assert line.slope.dtype == f'float{bits}'
            for ours, peer in QUANTITIES.items():
                # a p of 1e-40 is compared by its logarithm, in which a digit of t counts t^2 times
                a, b = getattr(line, ours), getattr(theirs, peer)
                if ours == 'p_value' and b < 1e-6:
                    if bits == 64:
                        compare('simple_regression', 'linregress', f'log p, {name}, f64', jnp.log(a), np.log(b), 1e-11,
                                relative=True)
                    continue
                # an intercept is what two numbers of the size of y leave; a p takes the error of t many times
                size = abs(y).max() if ours == 'intercept' else abs(b)
                compare('simple_regression', 'linregress', f'{ours}, {name}, f{bits}', a / size, b / size,
                        5 * gate if ours == 'p_value' else gate)
            compare('simple_regression', 'linregress', f'R2, {name}, f{bits}', line.r2, theirs.rvalue**2, gate)


def test_bands_against_matrices():
    x, y = SETS['body mass']
    at = np.linspace(10, 60, 7)
    A, B = np.stack([np.ones_like(x), x], 1), np.stack([np.ones_like(at), at], 1)
    coef = np.linalg.solve(A.T @ A, A.T @ y)
    s2 = ((y - A @ coef) ** 2).sum() / (len(x) - 2)
    h = np.einsum('ij,jk,ik->i', B, np.linalg.inv(A.T @ A), B)
    for level in (0.95, 0.5):
        t = stats.t.ppf((1 + level) / 2, len(x) - 2)
        inner, outer = t * np.sqrt(s2 * h), t * np.sqrt(s2 * (1 + h))
        wanted = [B @ coef, B @ coef - inner, B @ coef + inner, B @ coef - outer, B @ coef + outer]
        for bits, gate in ((32, 1e-6), (64, 1e-11)):
            with jax.enable_x64(bits == 64):
                cast = lambda v, bits=bits: jnp.asarray(v, f'float{bits}')
                ours = band(fit(cast(x), cast(y)), cast(at), level=level)
                compare('bands', 'numpy and scipy.stats.t', f'level {level}, f{bits}', tuple(ours), tuple(wanted), gate,
                        relative=True)


def test_the_t_distribution():
    t, df = np.array([0.0, 0.1, 1.0, 2.5, 10.0, 60.0]), np.array([1.0, 2.0, 7.0, 440.0])
    wanted = 2 * stats.t.sf(t[None], df[:, None])
    compare('simple_regression', 'scipy.stats.t', 'tails, f32', tails(t[None], df[:, None]), wanted, 2e-6)
    with jax.enable_x64(True):
        compare('simple_regression', 'scipy.stats.t', 'log tails, f64',
                jnp.log(tails(t[None], df[:, None])), np.log(wanted), 1e-9)
        level = np.array([0.5, 0.95, 0.999])
        ours = quantile(level[None], df[:, None])
        compare('bands', 'scipy.stats.t', 'quantiles, f64', ours / stats.t.ppf((1 + level) / 2, df[:, None]),
                np.ones((4, 3)), 1e-9)


def test_weights_are_repeated_rows_and_many_lines_are_one_program():
    x, y = (v.astype('float32').astype(float) for v in SETS['falling'])
    w = np.arange(len(x)) % 3
    theirs = stats.linregress(np.repeat(x, w), np.repeat(y, w))
    line = fit(x, y, weight=w)
    compare('simple_regression', 'linregress on repeated rows', 'weights', [line.slope / theirs.slope, line.intercept /
            abs(y).max(), line.slope_se / theirs.stderr], [1.0, theirs.intercept / abs(y).max(), 1.0], 1e-6)
    many = jax.jit(jax.vmap(simple_regression))(np.stack([x, 2 * x]), np.stack([y, y + 1]))
    assert np.allclose(many.slope, [many.slope[0], many.slope[0] / 2], rtol=1e-5)


def test_intervals_hold_what_they_promise():
    """Of 2,000 samples the 90 % intervals for line and new point hold the truth in 88 to 92 %."""
    x = jnp.linspace(0, 1, 8)

    def one(key):
        noise = jax.random.normal(key, (9,))
        at = bands(simple_regression(x, 2 * x + 1 + noise[:8]), jnp.array([1.3]), level=0.9)
        truth = 2 * 1.3 + 1
        return (at.low < truth) & (truth < at.high), (at.low_new < truth + noise[8]) & (truth + noise[8] < at.high_new)

    held = jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(0), 2000))
    for share in held:
        assert 0.88 < share.mean() < 0.92


def test_edges():
    line = simple_regression([1.0, 2.0], [3.0, 5.0])
    assert (line.slope, line.intercept, line.slope_se, line.p_value, line.r2) == (2, 1, 0, 0, 1)
    flat = simple_regression([1.0, 2.0, 4.0], [3.0, 3.0, 3.0])
    assert (flat.slope, flat.t, flat.p_value, flat.r2) == (0, 0, 1, 0)
    for args, message in (((np.ones(3), np.arange(3.0)), 'x: expected two rows or more with different values'),
                          ((np.ones((3, 1)), np.arange(3.0)), r'x: expected \[rows\]'),
                          ((np.arange(3.0), np.ones((3, 2))), r'y: expected \[3\]'),
                          ((np.arange(3.0), np.arange(4.0)), r'y: expected \[3\]')):
        with pytest.raises(ValueError, match=message):
            simple_regression(*args)
    with pytest.raises(ValueError, match='level: expected'):
        bands(line, np.arange(3.0), level=1.0)
