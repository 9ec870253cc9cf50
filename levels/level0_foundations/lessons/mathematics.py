"""Exercises of the notebooks on mathematics: three each on linear algebra, calculus, probability, optimisation.

Example:
    from levels.level0_foundations.lessons.mathematics import linear_algebra_exercises
    for exercise in linear_algebra_exercises():
        print(exercise.task)
"""

import numpy as np

from levels.level0_foundations.lessons.lesson import Exercise, exercise, need, raises


def _near(a, b, line: str, tol: float = 1e-6) -> None:
    a, b = np.asarray(a, float), np.asarray(b, float)
    need(a.shape == b.shape, f'{line}: expected shape {b.shape}, found {a.shape}')
    need(np.all(np.abs(a - b) <= tol * (1 + np.abs(b))), line)


@exercise(
    '''Write projector(A): the matrix P [m, m] that takes every vector to the nearest one in the space that the
    columns of A [m, n] span, m > n, columns independent.''',
    'The error b - P b is orthogonal to every column of A.',
    "A'(b - A x) = 0 are n equations for x; then P b = A x.",
    "P = Q Q' with orthonormal columns Q, as np.linalg.qr(A) gives them.")
def projector(answer):
    rng = np.random.default_rng(0)
    for _ in range(20):
        n = int(rng.integers(1, 4))
        A = rng.normal(size=(n + int(rng.integers(1, 4)), n))
        P = np.asarray(answer(A))
        _near(P @ A, A, 'a vector that is in the space already must stay')
        _near(A @ np.linalg.lstsq(A, P)[0], P, 'a vector is taken to one that is not in the space')
        _near(P @ P, P, 'projecting twice must be projecting once')
        _near(P, P.T, 'the error is not orthogonal to the space: P must be symmetric')


@exercise(
    '''Write map_of(B, C): the matrix A of the linear map that takes column i of B [n, n] to column i of C [m, n], for
    independent columns of B.''',
    'A linear map is known as soon as one knows where a basis goes.',
    'All columns at once: A B = C.',
    "Solve for A, that is B'A' = C': np.linalg.solve(B.T, C.T).T.")
def map_of(answer):
    rng = np.random.default_rng(1)
    for _ in range(20):
        n, m = int(rng.integers(1, 5)), int(rng.integers(1, 5))
        B, A = rng.normal(size=(n, n)) + 2 * np.eye(n), rng.normal(size=(m, n))
        _near(answer(B, A @ B), A, 'this is not the map that takes those columns there', 1e-5)


@exercise(
    '''Write spread(A, v, steps): start from the vector v and multiply by the symmetric matrix A steps times, with
    length 1 after every multiplication; return (the quotient v'A v, the vector).''',
    'Along each eigenvector every step multiplies by its eigenvalue: the largest one wins.',
    'Without dividing by the length the numbers overflow: do it in every step.',
    "For a vector of length 1 that does not turn any more, v'A v is the eigenvalue.")
def spread(answer):
    rng = np.random.default_rng(2)
    for _ in range(10):
        Q = np.linalg.qr(rng.normal(size=(4, 4)))[0]
        A = Q * [-90.0, 30.0, 20.0, 1.0] @ Q.T
        v = rng.normal(size=4)
        value, vector = answer(A, v, 60)
        _near(np.linalg.norm(vector), 1, 'the vector does not have length 1')
        _near(A @ vector, -90 * np.asarray(vector), 'the vector is not the eigenvector of the largest eigenvalue')
        _near(value, -90, 'the value is not the eigenvalue that is largest in size')
        once = answer(A, v, 1)[1]
        _near(once, A @ v / np.linalg.norm(A @ v), 'after one step the vector is another')
        need(np.isfinite(answer(A, v, 400)[0]), 'after 400 steps the numbers overflow')


@exercise(
    '''Write along(fn, x, v): the derivative of fn (from [n] to a number, made of jax.numpy) at x in the direction v
    [n], exact to rounding; v need not have length 1, and counts with its length.''',
    'How fast does fn(x + t v) change at t = 0?',
    'It is the inner product of the gradient with v.',
    'jax.jvp(fn, (x,), (v,)) gives it in one forward pass, without the gradient.')
def along(answer):
    import jax.numpy as jnp
    rng = np.random.default_rng(3)
    fns = (lambda x: jnp.sum(x ** 3), lambda x: jnp.prod(jnp.sin(x)), lambda x: 1e4 + jnp.exp(x[0]))
    slopes = (lambda x: 3 * x ** 2, lambda x: np.prod(np.sin(x)) / np.tan(x), lambda x: np.eye(len(x))[0] * np.exp(x))
    for fn, slope in zip(fns, slopes):
        for _ in range(4):
            x, v = rng.uniform(0.3, 1.3, 3), rng.normal(size=3)
            found = answer(fn, jnp.float32(x), jnp.float32(v))
            _near(found, slope(x) @ v, 'the slope in that direction is another', 1e-4)


@exercise(
    '''Write softplus(x): log(1 + exp(x)) for an array x of jax.numpy, float32, right to rounding and with the right,
    finite derivative for every x from -1e4 to 1e4.''',
    'exp(100) overflows in float32: write the formula such that only exp of negative numbers occurs.',
    'log(1 + exp(x)) = max(x, 0) + log(1 + exp(-|x|)); jnp.log1p keeps the digits of small numbers.',
    'Or jnp.logaddexp(x, 0). Look at jax.grad too: jnp.where does not stop NaN from the branch that is not taken.')
def softplus(answer):
    import jax
    import jax.numpy as jnp
    x = np.array([-1e4, -200, -50, -20, -1, -1e-3, 0.5, 3, 20, 90, 1e3, 1e4], np.float32)
    _near(answer(jnp.asarray(x)), np.logaddexp(x.astype(float), 0), 'a value is wrong', 1e-5)
    small = np.asarray(answer(jnp.float32([-15.0, -30.0])), float)
    need(np.allclose(small, np.exp([-15.0, -30.0]), rtol=1e-4, atol=0), 'small values lose their digits')
    slope = jax.vmap(jax.grad(lambda v: jnp.sum(answer(v[None]))))(jnp.asarray(x))
    _near(slope, 1 / (1 + np.exp(np.clip(-x.astype(float), -700, 700))), 'a derivative is wrong or not finite', 1e-4)


@exercise(
    '''Write root(fn, x, steps): Newton's method. Begin at x (a number) and return a root of fn (made of jax.numpy)
    after that many steps.''',
    'Follow the tangent down to where it is zero.',
    "The next x is x - fn(x) / fn'(x).",
    'jax.grad(fn) is the derivative of a function from a number to a number; jax.value_and_grad gives both.')
def root(answer):
    import jax.numpy as jnp
    for c in (0.5, 2.0, 30.0):
        _near(answer(lambda x, c=c: x ** 2 - c, 1 + c, 10), c ** 0.5, f'this is not a root of x^2 - {c}', 1e-5)
        _near(answer(lambda x, c=c: x ** 2 - c, 1 + c, 1), (1 + c) - ((1 + c) ** 2 - c) / (2 + 2 * c),
              'the first step goes elsewhere', 1e-5)
    _near(answer(lambda x: jnp.cos(x) - x, 1.0, 6), 0.7390851332, 'this is not a root of cos x - x', 1e-5)


@exercise(
    '''Write ill(prevalence, sensitivity, specificity): the probability to be ill given a positive test. sensitivity
    is the probability of a positive test for the ill, specificity that of a negative one for the well. Arrays
    broadcast.''',
    'Think of a million people: how many are ill and positive, how many well and positive?',
    'Of all that are positive, which share is ill?',
    'p s / (p s + (1 - p)(1 - t)).')
def ill(answer):
    rng = np.random.default_rng(4)
    p, s, t = rng.uniform(0.01, 0.99, (3, 50))
    found = np.asarray(answer(p, s, t))
    _near(answer(p, s, 1 - s), p, 'a test that is positive as often for the well as for the ill tells nothing')
    _near(answer(p, s, np.ones(50)), np.ones(50), 'if the well are never positive, every positive one is ill')
    odds = lambda q: q / (1 - q)
    _near(odds(found), odds(p) * s / (1 - t), 'the odds are not those of Bayes', 1e-5)
    _near(answer(0.001, 1.0, 0.95), 0.001 / (0.001 + 0.999 * 0.05), 'a rare illness: most positive people are well')


@exercise(
    '''Write mean_and_error(x): for samples x [n] the estimate of the mean of what they come from, and the standard
    error of that estimate: about 95 of 100 intervals mean +- 1.96 error contain the truth.''',
    'How much would the mean of another n samples differ from this one?',
    'The variance of a mean of n independent numbers is the variance of one, divided by n.',
    'Divide the sum of squares by n - 1: the mean was estimated from the same numbers.')
def mean_and_error(answer):
    rng = np.random.default_rng(5)
    for n, sample in ((25, rng.normal(3, 2, (2000, 25))), (200, rng.exponential(3, (2000, 200)))):
        found = np.array([answer(x) for x in sample], float)
        need(found.shape == (2000, 2), 'expected two numbers')
        _near(found[:, 0], sample.mean(1), 'the first is not the mean')
        share = (np.abs(found[:, 0] - 3) < 1.96 * found[:, 1]).mean()
        need(0.92 < share < 0.97, f'of 2,000 intervals (n = {n}) {share:.1%} contain the truth')
    _near(answer(np.array([1.0, 3.0]))[1], 1.0, 'for two samples the division by n - 1 matters')


@exercise(
    '''Write choose(u, p): turn uniform numbers u [n], 0 <= u < 1, into categories 0..k-1 with the probabilities p
    [k], the lower category for the lower u.''',
    'Lay the probabilities side by side on the line from 0 to 1: where does u fall?',
    'np.cumsum(p) are the right ends of the pieces; which is the first beyond u?',
    "np.searchsorted(ends, u, side='right'); a category with probability 0 is never chosen.")
def choose(answer):
    rng = np.random.default_rng(6)
    for _ in range(10):
        p = rng.dirichlet(np.ones(5))
        p[rng.integers(5)] = 0
        p /= p.sum()
        u = (np.arange(20_000) + 0.5) / 20_000
        found = np.asarray(answer(u, p))
        need(found.shape == u.shape and np.issubdtype(found.dtype, np.integer), 'expected one integer for each u')
        need((np.diff(found) >= 0).all(), 'a higher u must not give a lower category')
        _near(np.bincount(found, minlength=5) / 20_000, p, 'the categories do not come with their probabilities', 2e-4)
    need(np.asarray(answer(np.array([0.0, 0.5]), np.array([0.0, 0.5, 0.5]))).tolist() == [1, 2],
         'on an edge the piece to the right begins; one of length 0 is never chosen')


@exercise(
    '''Write descend(slope, x, rate, steps): gradient descent from x with a fixed rate; return the whole path as an
    array [steps + 1, d], the start first. slope(x) is the gradient.''',
    'x - rate * slope(x), again and again.',
    'The path has one more point than steps.',
    'Every point is a new array: x -= ... would change the points that are in the list already.')
def descend(answer):
    rng = np.random.default_rng(7)
    for _ in range(10):
        c, x = rng.uniform(0.5, 3, 3), rng.normal(size=3)
        before, rate, steps = x.copy(), rng.uniform(0.05, 0.6), int(rng.integers(1, 9))
        path = np.asarray(answer(lambda x, c=c: c * x, x, rate, steps))
        need(np.array_equal(x, before), 'the start was changed')
        want = before * (1 - rate * c) ** np.arange(steps + 1)[:, None]
        _near(path, want, 'on a quadratic the path is x (1 - rate c)^t: this is another')


@exercise(
    '''Write rate_for(curvatures): the fixed rate with which gradient descent on a quadratic with these curvatures (all
    positive) has the smallest factor max |1 - rate c|.''',
    'Only the smallest and the largest curvature matter.',
    'At a small rate the flat direction is slow, at a large one the steep direction swings: where are both as bad?',
    '1 - rate low = rate high - 1.')
def rate_for(answer):
    rng = np.random.default_rng(8)
    for _ in range(20):
        c = np.exp(rng.normal(size=int(rng.integers(1, 6))) * 2)
        rate = float(answer(c))
        factor = lambda r, c=c: np.abs(1 - r * c).max()
        need(all(factor(rate) <= factor(rate * k) + 1e-9 for k in np.linspace(0.2, 3, 57)), 'another rate is faster')


@exercise(
    '''Write backtrack(fn, slope, x, start): the first of start, start / 2, start / 4, ... that decreases fn enough:
    fn(x - a g) <= fn(x) - a |g|^2 / 10000, where g = slope(x). More than 30 halvings raise ValueError.''',
    'A loop over the halvings; the first size that passes is the answer.',
    '|g|^2 is g @ g, and the right side falls as a grows.',
    'For a direction that does not go down nothing passes: that is the ValueError.')
def backtrack(answer):
    rng = np.random.default_rng(9)
    for i in range(20):
        c, x = np.exp(rng.normal(size=3) * 2 - 9 * (i < 3)), rng.normal(size=3)     # flat ones: 16 passes at once
        fn, slope = (lambda x, c=c: c @ x ** 2 / 2), (lambda x, c=c: c * x)
        enough = lambda a, x=x, fn=fn, g=c * x: fn(x - a * g) <= fn(x) - a * g @ g / 1e4
        a = float(answer(fn, slope, x, 16.0))
        need(enough(a), 'this step does not decrease the function enough')
        need(a == 16 or not enough(2 * a), 'a longer step would have passed')
        need(np.log2(16 / a) % 1 == 0, 'only halvings of the start are tried')
    need(raises(ValueError, answer, lambda x: x @ x, lambda x: -2 * x, np.ones(2), 1.0), 'uphill nothing passes: raise '
         'ValueError')


def linear_algebra_exercises() -> tuple[Exercise, ...]:
    """A projector, a map by the images of a basis, power iteration."""
    return projector, map_of, spread


def calculus_exercises() -> tuple[Exercise, ...]:
    """A slope along a direction, a stable softplus, Newton's method for roots."""
    return along, softplus, root


def probability_exercises() -> tuple[Exercise, ...]:
    """Bayes' rule, a mean with its error, a categorical choice."""
    return ill, mean_and_error, choose


def optimisation_exercises() -> tuple[Exercise, ...]:
    """A path of gradient descent, the best rate, a line search."""
    return descend, rate_for, backtrack
