"""Descent at the rates of theory, searches that keep their conditions, landscapes that are what they say."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import optimize

from levels.level0_foundations.optimisation.convexity import KINDS, classify, hessian_test, secant_test
from levels.level0_foundations.optimisation.landscapes import Basins, basin_map, gallery, plot_basins
from levels.level0_foundations.optimisation.line_search import backtracking, wolfe
from levels.level0_foundations.optimisation.minimise import gradient_descent, lbfgs, newton
from levels.level0_foundations.optimisation.quadratics import METHODS, best_rates, contraction
from levels.level0_foundations.optimisers import sgd

CURVATURES = np.array([1.0, 3.0, 10.0, 40.0, 100.0])


@functools.cache
def runner(steps, nesterov, heavy):
    """(rate, momentum) -> log of the error's norm after each step of `sgd` on a turned quadratic."""
    Q = np.linalg.qr(np.random.default_rng(0).normal(size=(5, 5)))[0]
    H, centre = (Q * CURVATURES) @ Q.T, np.arange(5.0)

    def run(rate, momentum):
        tx = sgd(rate, momentum=momentum, nesterov=nesterov) if heavy else sgd(rate)

        def step(carry, _):
            e, state = carry        # e = x - centre: the error itself, which has no floor to reach
            updates, state = tx.update(jnp.asarray(H) @ e, state)
            e = optax.apply_updates(e, updates)
            return (e, state), jnp.log(jnp.linalg.norm(e))

        e = jnp.asarray(10 - centre)
        return jax.lax.scan(step, (e, tx.init(e)), length=steps)[1]

    return jax.jit(jax.vmap(run))


def measured(rates, momenta, nesterov, heavy):
    """The factor per step, from the second half of 600 steps."""
    path = np.asarray(runner(600, nesterov, heavy)(np.asarray(rates, float), np.asarray(momenta, float)))
    return np.exp((path[:, -1] - path[:, 299]) / 300)


@pytest.mark.parametrize('method', METHODS)
def test_the_rate_on_quadratics_is_that_of_theory(method):
    """-log of the factor within 5 %, at the best rate and at others."""
    heavy, nesterov = method != 'gradient descent', method == 'nesterov'
    plan = best_rates(1.0, 100.0, method=method)
    with jax.enable_x64(True):
        factor = measured([plan.rate], [plan.momentum], nesterov, heavy)[0]
        assert abs(np.log(factor) / np.log(plan.factor) - 1) < 0.05
        rates = np.array([0.3, 0.7, 1.0, 1.1]) * plan.rate
        momenta = np.full(4, plan.momentum)
        theory = np.asarray(contraction(CURVATURES, rates, momentum=momenta, nesterov=nesterov))
        assert np.abs(theory - 1).min() > 1e-3
        found = measured(rates, momenta, nesterov, heavy)
        assert np.abs(np.log(found) / np.log(theory) - 1).max() < 0.05
        assert abs(theory[2] - plan.factor) < 1e-6
        best = contraction(CURVATURES, plan.rate * np.array([0.9, 1.1]), momentum=plan.momentum, nesterov=nesterov)
        assert nesterov or (np.asarray(best) > plan.factor).all(), 'the best rate is a best one'


def test_it_diverges_where_theory_says():
    """At 1 % below and above 2 / L, 2 (1 + m) / L for the heavy ball, and Nesterov's own limit."""
    with jax.enable_x64(True):
        for heavy, nesterov, m, edge in ((False, False, 0.0, 2.0), (True, False, 0.5, 3.0), (True, False, 0.9, 3.8),
                                         (True, True, 0.5, 1.5), (True, True, 0.9, 3.8 / 2.8)):
            rates = edge / 100 * np.array([0.99, 1.01])
            below, above = measured(rates, [m, m], nesterov, heavy)
            assert below < 1 < above, (m, nesterov)
            below, above = contraction(CURVATURES, rates, momentum=m, nesterov=nesterov)
            assert below < 1 < above


def test_contraction_is_the_largest_root():
    for nesterov in (False, True):
        for rate, m in ((0.01, 0.3), (0.05, 0.9), (0.03, 0.0), (0.002, 0.6)):
            size = 0.0
            for c in CURVATURES:
                w = 1 - rate * c
                roots = np.roots([1, -(1 + m) * w, m * w] if nesterov else [1, -(m + w), m])
                size = max(size, np.abs(roots).max())
            assert abs(float(contraction(CURVATURES, rate, momentum=m, nesterov=nesterov)) - size) < 1e-5


def rosenbrock(x):
    return jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def test_backtracking_takes_the_first_length_that_passes():
    x = np.random.default_rng(0).normal(size=(30, 4))
    with jax.enable_x64(True):
        found = jax.jit(jax.vmap(lambda x: backtracking(rosenbrock, x, -jax.grad(rosenbrock)(x), start=2.0,
                                                        shrink=0.7)))(x)
        for i in range(30):
            f, g = optimize.rosen(x[i]), optimize.rosen_der(x[i])
            passes = [2 * 0.7**k for k in range(50) if optimize.rosen(x[i] - 2 * 0.7**k * g)
                      <= f - 1e-4 * 2 * 0.7**k * g @ g]
            assert abs(found.size[i] / passes[0] - 1) < 1e-9 and found.found[i]
    uphill = backtracking(rosenbrock, x[0], jax.grad(rosenbrock)(jnp.asarray(x[0])))
    assert not uphill.found and uphill.size == 0


def test_searches_meet_walls_and_plains():
    """NaN is a step too long; where there is no bottom a search says so."""
    wall = lambda x: -jnp.log(x[0]) + 3 * x[0]
    x, d = jnp.array([0.2]), jnp.array([-1.0])
    for search in (backtracking, wolfe):
        assert not search(wall, x, d).found
        toward = search(wall, jnp.array([2.0]), jnp.array([-5.0]))
        assert toward.found and 0 < toward.size < 0.4 and jnp.isfinite(toward.value)
    assert not wolfe(lambda x: -x[0], x, -d).found, 'the slope never flattens'
    for run in (gradient_descent, newton, lbfgs):
        endless = run(lambda x: -jnp.sum(x), jnp.zeros(2), max_steps=20)
        assert not endless.converged
        assert run(rosenbrock, jnp.ones(3)).steps <= 1 and run(rosenbrock, jnp.ones(3)).converged
    for call, message in ((lambda: wolfe(wall, x, d, c1=0.9, c2=0.1), 'c1, c2: expected'),
                          (lambda: backtracking(wall, x, jnp.zeros(2)), 'x, direction: expected'),
                          (lambda: backtracking(wall, x, d, shrink=1.0), 'shrink: expected'),
                          (lambda: wolfe(wall, x, d, start=-1.0), 'start: expected'),
                          (lambda: wolfe(wall, jnp.array([2]), d), 'x: expected floating point numbers; found int32'),
                          (lambda: lbfgs(wall, x, memory=0), 'memory: expected'),
                          (lambda: newton(wall, jnp.array([1])), 'start: expected floating'),
                          (lambda: newton(wall, x, tol=-1.0), 'tol, max_steps: expected'),
                          (lambda: best_rates(2.0, 1.0, method='nesterov'), 'low, high: expected'),
                          (lambda: best_rates(1.0, 2.0, method='adam'), 'method: expected one of gradient descent'),
                          (lambda: contraction(1.0, 1.0), 'curvatures: expected'),
                          (lambda: hessian_test(wall, x), 'points: expected'),
                          (lambda: secant_test(jax.random.key(0), wall, x, jnp.zeros(2)), 'low, high, pairs'),
                          (lambda: classify(wall, jnp.ones((2, 2))), 'x: expected'),
                          (lambda: basin_map(gallery()['bowl'], rate=0.1, size=1), 'size, steps: expected'),
                          (lambda: basin_map(gallery()['bowl'], rate=-0.1), 'learning_rate: expected')):
        with pytest.raises(ValueError, match=message) as error:
            call()
        assert '\n' not in str(error.value)


def test_newton_squares_its_error_and_leaves_saddles():
    with jax.enable_x64(True):
        f = lambda x: jnp.sum(jnp.exp(x) - 2 * x) + 0.1 * jnp.sum(x) ** 2
        root = newton(f, jnp.zeros(3), tol=1e-14).x
        errors = [float(jnp.linalg.norm(newton(f, jnp.full(3, 0.9), tol=0.0, max_steps=n).x - root)) for n in (1, 2, 3)]
        assert errors[0] < 0.2 and all(b < 2 * a**2 for a, b in itertools.pairwise(errors)) and errors[2] < 1e-5
        wells = gallery()['double well'].fun
        found = newton(wells, jnp.array([1e-4, 1.0]))
        assert found.converged and jnp.allclose(found.x, jnp.array([1.0, 0.0]), atol=1e-6)
        plain = jnp.array([1e-4, 1.0]) - jnp.linalg.solve(jax.hessian(wells)(jnp.array([1e-4, 1.0])),
                                                          jax.grad(wells)(jnp.array([1e-4, 1.0])))
        assert jnp.abs(plain).max() < 1e-6, 'plain Newton goes to the saddle'


def test_lbfgs_in_a_hundred_dimensions_and_on_a_tree():
    with jax.enable_x64(True):
        scales = np.logspace(0, 2, 100)
        bowl = lambda p: jnp.sum(scales * (p['a'] - 1) ** 2) + jnp.sum(jnp.cosh(p['b']))
        run = jax.jit(lambda p: lbfgs(bowl, p))
        found = run({'a': jnp.zeros(100), 'b': jnp.full((2, 2), 3.0)})
        assert found.converged and found.steps < 150
        assert jnp.abs(found.x['a'] - 1).max() < 1e-7 and jnp.abs(found.x['b']).max() < 1e-7
        slow = jax.jit(lambda p: gradient_descent(bowl, p, max_steps=300))(
            {'a': jnp.zeros(100), 'b': jnp.ones((2, 2))})
        assert not slow.converged, 'a condition of 100 is where the difference shows'


def test_the_rate_that_descent_finds_is_as_fast_as_its_bound():
    """Curvatures 1 to 100: steps of 0.7 / L or more shrink the slowest part by 1 - 0.7 / 100, values by its square."""
    with jax.enable_x64(True):
        bowl = lambda x: 0.5 * jnp.sum(CURVATURES * x**2)
        x = np.ones(5)
        ends = [float(gradient_descent(bowl, x, tol=0.0, max_steps=n).value) for n in (200, 600)]
        assert 0 < ends[1] <= ends[0] * (1 - 0.7 / 100) ** 800
        exact = gradient_descent(lambda x: bowl(x - 1) + 1.0, x * 0, max_steps=4000)
        assert exact.converged and jnp.abs(exact.x - 1).max() < 2e-8, 'where values are flat to rounding, slopes decide'


def test_many_starts_in_one_program():
    starts = jax.random.normal(jax.random.key(0), (6, 2))
    for run in (newton, lbfgs):
        together = jax.jit(jax.vmap(lambda x, run=run: run(rosenbrock, x)))(starts)
        alone = jax.jit(lambda x, run=run: run(rosenbrock, x))
        assert together.converged.all() and jnp.abs(together.x - 1).max() < 2e-3
        for i in (0, 5):
            assert together.steps[i] == alone(starts[i]).steps


@pytest.mark.parametrize('name', list(gallery()))
def test_gallery_points_are_all_there_is(name):
    """Known points have no slope and are of their kind; a search from 21 x 21 starts finds no others in the box."""
    row = gallery()[name]
    with jax.enable_x64(True):
        points = np.asarray(row.points)
        gradient, hessian = jax.jit(jax.grad(row.fun)), jax.jit(jax.hessian(row.fun))
        assert max(np.abs(gradient(p)).max() for p in points) < 1e-10
        kinds = jax.jit(jax.vmap(lambda p: classify(row.fun, p)))(points)
        assert tuple(KINDS[k] for k in kinds) == row.kinds

        def descend(p, _):      # Newton for a root of the gradient, which does not mind saddles
            step = jnp.linalg.solve(hessian(p) + 1e-12 * jnp.eye(2), gradient(p))
            return p - step * jnp.minimum(1, 0.5 / jnp.linalg.norm(step)), None

        axes = [np.linspace(a, b, 21) + 1e-3 for a, b in zip(row.low, row.high)]
        starts = np.stack(np.meshgrid(*axes), -1).reshape(-1, 2)
        ends = np.asarray(jax.jit(jax.vmap(lambda p: jax.lax.scan(descend, p, length=100)[0]))(starts))
        flat = np.asarray(jax.jit(jax.vmap(gradient))(ends))
        good = (np.abs(flat).max(1) < 1e-8) & (np.abs(ends) <= np.asarray(row.high)).all(1)
        gaps = np.linalg.norm(ends[good][:, None] - points[None], axis=-1)
        assert gaps.min(1).max() < 2e-3 and good.sum() > 100, 'a stationary point that the gallery lacks'
        assert gaps.min(0).max() < 2e-3, 'a point that no start finds'
    counts = {k: row.kinds.count(k) for k in KINDS}
    if 'degenerate' not in row.kinds and name != 'saddle':      # Morse: for functions that rise to infinity
        assert counts['minimum'] - counts['saddle'] + counts['maximum'] == 1


def test_certificates_of_convexity():
    box, points = (-2 * jnp.ones(2), 2 * jnp.ones(2)), jax.random.uniform(jax.random.key(1), (200, 2), minval=-2,
                                                                           maxval=2)
    A = jnp.array([[1.0, 2.0], [2.0, 4.0]])
    convex = {'sum of exponentials': (jax.nn.logsumexp, True),
              'singular quadratic': (lambda x: x @ A @ x, True), 'line': (lambda x: 3 * x[0] - x[1], True),
              'absolute value': (lambda x: jnp.sum(jnp.abs(x)), True), 'maximum': (jnp.max, True),
              'sine': (lambda x: jnp.sum(jnp.sin(x)), False), 'root': (lambda x: jnp.sqrt(1 + x @ x), True),
              'product': (lambda x: x[0] * x[1], False), 'bell': (lambda x: -jnp.exp(-x @ x), False),
              'dent': (lambda x: x @ x - 0.05 * jnp.exp(-100 * (x[0] - 0.5) ** 2), False),
              'rosenbrock': (gallery()['rosenbrock'].fun, False)}
    for name, (f, expected) in convex.items():
        secant = secant_test(jax.random.key(0), f, *box, pairs=3000)
        assert bool(secant.convex) == expected, f'{name}: {secant.excess}'
        if not expected:        # the witness is one: anybody can check it
            between = f(secant.a + secant.t * (secant.b - secant.a))
            assert between > (1 - secant.t) * f(secant.a) + secant.t * f(secant.b)
        curvature = jax.jit(lambda p, f=f: hessian_test(f, p))(points)
        assert bool(curvature.convex) == expected, f'{name}: {curvature.least}'
        if not expected:
            assert curvature.direction @ jax.hessian(f)(curvature.at) @ curvature.direction < 0
    assert not hessian_test(convex['singular quadratic'][0], points).strong
    assert hessian_test(lambda x: x @ x, points).strong


def test_basins_are_what_single_descents_find():
    row = gallery()['himmelblau']
    basins = basin_map(row, rate=0.01, steps=300, size=24)
    labels, minima = np.asarray(basins.labels), row.minima()
    assert set(np.unique(labels)) == {0, 1, 2, 3} and basins.ends.shape == (24, 24, 2)
    gradient = lambda p: np.array([4 * p[0] * (p[0] ** 2 + p[1] - 11) + 2 * (p[0] + p[1] ** 2 - 7),
                                   2 * (p[0] ** 2 + p[1] - 11) + 4 * p[1] * (p[0] + p[1] ** 2 - 7)])
    for i, j in np.random.default_rng(0).integers(0, 24, (25, 2)):
        p = np.array([basins.x[j], basins.y[i]], float)
        for _ in range(300):
            p = p - 0.01 * gradient(p)
        assert np.argmin(np.linalg.norm(minima - p, axis=1)) == labels[i, j], 'rows are y, columns are x'
    lost = basin_map(row, rate=1.0, steps=20, size=6)
    assert (np.asarray(lost.labels) == -1).all(), 'what runs off is nobody\'s'
    none = basin_map(gallery()['saddle'], rate=0.1, steps=20, size=6)
    assert (np.asarray(none.labels) == -1).all()
    heavy = basin_map(row, rate=0.005, momentum=0.9, steps=300, size=24)
    assert (np.asarray(heavy.labels) != labels).mean() > 0.05, 'momentum carries over ridges'


def test_the_map_is_drawn_with_names():
    row = gallery()['double well']
    x = np.linspace(-2, 2, 4)
    labels = np.array([[0, 0, 1, 1]] * 3 + [[-1] * 4])
    figure = plot_basins(row, Basins(labels, x, x, np.zeros((4, 4, 2))))
    ax = figure.axes[0]
    assert ax.get_xlabel() and ax.get_ylabel() and 'double well' in ax.get_title()
    names = [t.get_text() for legend in figure.legends for t in legend.get_texts()]
    assert names == ['minimum (-1.00, 0.00): 38% of starts', 'minimum (1.00, 0.00): 38% of starts', 'saddle',
                     'no minimum: 25% of starts']
    picture = ax.images[0].get_array()
    assert np.allclose(picture[0, 0], picture[2, 1]) and not np.allclose(picture[0, 0], picture[0, 3])
    assert np.allclose(picture[3], 1)
