"""NumPy: broadcasting, axes, windows, fancy indexing, blocks, sorting, views and copies."""

import numpy as np

from levels.level0_foundations.lessons.lesson import Exercise, exercise, need, raises

INPUTS = 25     # random inputs for every property


def _close(a, b, line: str, tol: float = 1e-9) -> None:
    a, b = np.asarray(a), np.asarray(b)
    need(a.shape == b.shape, f'{line}: expected shape {b.shape}, found {a.shape}')
    need(np.allclose(a, b, rtol=tol, atol=tol), line)


@exercise(
    '''Write distances(a, b): the Euclidean distances between the rows of a [n, d] and b [m, d], as [n, m], without a
    loop. They must be right to the last digits also for points that lie close together and far from the origin.''',
    'Two arrays of shapes [n, 1, d] and [1, m, d] are stretched to [n, m, d] when you subtract them.',
    'a[:, None] puts an axis of length 1 in the middle; reduce the last axis.',
    'The expansion |a|^2 + |b|^2 - 2ab subtracts large, nearly equal numbers: subtract the points instead.')
def distances(answer):
    rng = np.random.default_rng(0)
    for _ in range(INPUTS):
        n, m, d = rng.integers(1, 7, 3).tolist()
        a, b, shift = rng.normal(size=(n, d)), rng.normal(size=(m, d)), rng.normal(size=d)
        found = np.asarray(answer(a, b))
        need(found.shape == (n, m), f'[{n}, {d}] and [{m}, {d}] must give [{n}, {m}], found {list(found.shape)}')
        _close(answer(b, a), found.T, 'the distance from a to b is that from b to a')
        _close(np.diag(answer(a, a)), np.zeros(n), 'a point is at distance 0 from itself')
        _close(answer(a + shift, b + shift), found, 'moving all points changes no distance')
        _close(answer(3 * a, 3 * b), 3 * found, 'points three times as far apart are at three times the distance')
        one = np.zeros((1, d))
        one[0, -1] = 5
        _close(answer(one, 0 * one), [[5]], 'a point 5 along one axis is at distance 5 from the origin')
    a = (1e4 + rng.normal(size=(20, 3))).astype(np.float32)
    exact = np.array([[np.sqrt(((x - y) ** 2).sum()) for y in a.astype(float)] for x in a.astype(float)])
    _close(answer(a, a), exact, 'far from the origin, in float32, digits are lost', 1e-5)


@exercise(
    '''Write standardise(x): the columns of x [n, d] with mean 0 and standard deviation 1 (dividing by n). A constant
    column becomes 0, never NaN. x may hold integers and must not be changed.''',
    'A mean over the rows is one over axis 0; it has shape [d] and broadcasts against [n, d].',
    'x -= ... changes what the caller holds, and fails for integers: make a new array.',
    'The deviation of a constant column may come out as a rounding error instead of 0; its largest and smallest '
    'entries are equal without one. np.where picks by which number to divide.')
def standardise(answer):
    rng = np.random.default_rng(1)
    for i in range(INPUTS):
        n, d = rng.integers(2, 9, 2)
        x = rng.normal(size=(n, d)) * 10.0 ** rng.integers(-3, 4, d) + rng.normal(size=d)
        x = np.round(100 * x).astype(int) if i % 3 == 0 else 2 * x + 0.1
        x[:, 0] = x[0, 0]
        before = x.copy()
        with np.errstate(all='ignore'):
            z = np.asarray(answer(x))
        need(np.array_equal(x, before), 'x was changed')
        need(z.shape == x.shape and np.isfinite(z).all(), 'a constant column must become 0, and shapes must stay')
        _close(z[:, 0], np.zeros(n), 'a constant column must become 0, whatever its value', 1e-6)
        _close(z.mean(0), np.zeros(d), 'columns do not have mean 0', 1e-8)
        _close(z.std(0), (np.ptp(x, 0) > 0).astype(float),
               'columns do not have standard deviation 1 (dividing by n)', 1e-6)
        if i % 3:
            _close(answer(2 * x + 1), z, 'another unit of measurement must change nothing', 1e-6)


@exercise(
    '''Write moving_mean(x, width): the means of all windows of that width along the last axis of x [..., n], as
    [..., n - width + 1] of float64. x may be of any number type, uint8 too. A width outside 1..n raises ValueError.''',
    'np.lib.stride_tricks.sliding_window_view shows all windows without copying them.',
    'Differences of np.cumsum work too; the first window has nothing to subtract.',
    'uint8 wraps around at 256: turn it into float64 before you add.')
def moving_mean(answer):
    rng = np.random.default_rng(2)
    for i in range(INPUTS):
        shape = (*rng.integers(1, 4, i % 3).tolist(), int(rng.integers(1, 12)))
        x = rng.integers(0, 256, shape).astype(np.uint8) if i % 2 else rng.normal(size=shape)
        width = int(rng.integers(1, shape[-1] + 1))
        found = np.asarray(answer(x, width))
        ends = range(shape[-1] - width + 1)
        want = np.stack([x[..., j:j + width].mean(-1, dtype=float) for j in ends], -1)
        _close(found, want, f'windows of {width} in {list(shape)} of {x.dtype} have other means')
        need(found.dtype == np.float64, f'expected float64, found {found.dtype}')
    for width in (0, -1, 6):
        need(raises(ValueError, answer, np.arange(5), width), f'width {width} of 5 must raise ValueError')


@exercise(
    '''Write one_hot(labels, n): for integer labels of any shape [...] an array [..., n] of float32, 1 at the label and
    0 elsewhere. A label outside 0..n-1 raises ValueError.''',
    'np.eye(n) has the rows that you need; an array of integers as an index picks rows.',
    'Or compare: labels[..., None] == np.arange(n).',
    'Index -1 is the last row and raises nothing: check the labels yourself.')
def one_hot(answer):
    rng = np.random.default_rng(3)
    for i in range(INPUTS):
        n, shape = int(rng.integers(1, 7)), tuple(rng.integers(0, 4, i % 4).tolist())
        labels = rng.integers(0, n, shape)
        found = np.asarray(answer(labels, n))
        need(found.shape == (*shape, n) and found.dtype == np.float32, f'expected float32 {[*shape, n]}, found '
             f'{found.dtype} {list(found.shape)}')
        need((found.sum(-1) == 1).all() and set(np.unique(found)) <= {0, 1}, 'each row has a single 1')
        need(np.array_equal(found.argmax(-1), labels), 'the 1 stands at the wrong place')
        for bad in (-1, n):
            need(raises(ValueError, answer, np.array([0, bad]), n), f'label {bad} of {n} must raise ValueError')


@exercise(
    '''Write block_means(image, size): the image [h, w] cut into squares of that size, each replaced by its mean, as
    [h / size, w / size], without a loop. A size that does not divide both raises ValueError.''',
    'A reshape can split each axis in two: which block, and where in the block.',
    'The last axis changes fastest: [h, w] splits into [h / size, size, w / size, size].',
    'Then the mean over both axes of places, 1 and 3.')
def block_means(answer):
    rng = np.random.default_rng(4)
    for _ in range(INPUTS):
        rows, columns, size = (int(v) for v in rng.integers(1, 5, 3))
        small = rng.normal(size=(rows, columns))
        _close(answer(np.kron(small, np.ones((size, size))), size), small, 'constant squares must keep their value')
        image = rng.normal(size=(rows * size, columns * size))
        found = np.asarray(answer(image, size))
        want = [[image[i * size:(i + 1) * size, j * size:(j + 1) * size].mean() for j in range(columns)]
                for i in range(rows)]
        _close(found, want, 'some square has another mean')
    need(raises(ValueError, answer, np.ones((4, 6)), 4), 'a size that does not divide both must raise ValueError')


@exercise(
    '''Write top(x, k): the indices of the k largest entries along the last axis of x [..., n], as [..., k], the largest
    first; among equal ones the lower index first.''',
    'np.argsort gives the order of the smallest first; what turns the largest into the smallest?',
    'Reversing the order afterwards also reverses equal entries.',
    "kind='stable' keeps equal entries in their order: sort -x.")
def top(answer):
    rng = np.random.default_rng(5)
    for i in range(INPUTS):
        shape = (*rng.integers(1, 4, i % 3).tolist(), int(rng.integers(1, 30)))
        x, k = rng.integers(-3, 4, shape).astype(float), int(rng.integers(1, shape[-1] + 1))
        found = np.asarray(answer(x, k))
        need(found.shape == (*shape[:-1], k), f'{list(shape)} and k = {k} gave {list(found.shape)}')
        picked = np.take_along_axis(x, found, -1)
        _close(picked, -np.sort(-x, -1)[..., :k], 'these are not the largest, the largest first')
        tied = np.diff(picked, axis=-1) == 0
        need((np.diff(found, axis=-1)[tied] > 0).all(), 'among equal entries the lower index comes first')
        first = picked[..., -1:] == x
        need((np.argmax(first, -1) <= found[..., -1]).all() and all(
            set(np.flatnonzero(row == last)[:(p == last).sum()]) == set(f[p == last]) for row, p, f, last in zip(
                x.reshape(-1, shape[-1]), picked.reshape(-1, k), found.reshape(-1, k), picked[..., -1].ravel())),
             'a tie at the end must go to the lower index')


@exercise(
    '''Write mirrored(x): every second column of x [n, m], from the first on, with the rows in reverse order, as a view:
    writing into it must write into x.''',
    'Slices give views; lists of indices and masks give copies.',
    'A slice has a step, start:stop:step, and the step may be negative.',
    'np.shares_memory(a, b) tells whether two arrays use the same memory.')
def mirrored(answer):
    rng = np.random.default_rng(6)
    for _ in range(INPUTS):
        n, m = rng.integers(1, 7, 2)
        x = rng.normal(size=(n, m))
        before, found = x.copy(), answer(x)
        want = [[before[n - 1 - i, j] for j in range(0, m, 2)] for i in range(n)]
        _close(found, want, 'these are not the columns or the rows')
        need(np.array_equal(x, before), 'x was changed')
        need(np.shares_memory(found, x), 'this is a copy: what is written into it does not reach x')
        found[0, 0] = 7
        need(x[-1, 0] == 7, 'writing into the view must write into x')


def numpy_lesson() -> tuple[Exercise, ...]:
    """Seven exercises: broadcasting, axes, windows, fancy indexing, blocks by reshape, sorting, views.

    Formula: properties on 25 random inputs each: symmetry, invariance, sums, shapes, dtypes, memory, errors.
    Paper: Harris et al. 2020, Array programming with NumPy, Nature 585.
    Shapes: as each task says; `check` takes the function that was written.
    Errors: AssertionError of `check`, one line, for an answer that is not right yet.
    Example:
        exercises = {e.name: e for e in numpy_lesson()}
        exercises['mirrored'].check(lambda x: x[::-1, ::2])
        try: exercises['mirrored'].check(lambda x: x[::-1, ::2].copy())
        except AssertionError as error: line = str(error)
        assert 'copy' in line
    """
    return distances, standardise, moving_mean, one_hot, block_means, top, mirrored
