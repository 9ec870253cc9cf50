"""Exercises of the notebook on the multi-layer perceptron from scratch: backpropagation by hand, in NumPy.

Example:
    from levels.level2_neural.exercises import backprop_exercises
    for exercise in backprop_exercises():
        print(exercise.task)
"""

import numpy as np

from levels.level0_foundations.lessons.lesson import Exercise, exercise, need


def _near(a, b, line: str, tol: float = 1e-6) -> None:
    a, b = np.asarray(a, float), np.asarray(b, float)
    need(a.shape == b.shape, f'{line}: expected shape {b.shape}, found {a.shape}')
    need(np.all(np.abs(a - b) <= tol * (1 + np.abs(b))), line)


def _slopes(fn, *at: np.ndarray, h: float = 1e-5) -> list[np.ndarray]:
    """Central differences of the number fn(*at) in each entry of each array."""
    found = [np.zeros_like(a) for a in at]
    for k, a in enumerate(at):
        for i in np.ndindex(a.shape):
            step = np.zeros_like(a)
            step[i] = h
            up, down = (fn(*at[:k], a + sign * step, *at[k + 1:]) for sign in (1, -1))
            found[k][i] = (up - down) / (2 * h)
    return found


@exercise(
    '''Write dense_back(x, W, dy): for y = x @ W + b, x [n, m], W [m, k], and the slope dy [n, k] of a loss in y, return
    (dx, dW, db), its slopes in x, W and b.''',
    'Each has the shape of what it is the slope of: that alone tells which transpose goes where.',
    'A weight W[i, j] takes part in every row: dW[i, j] = sum over rows of x[row, i] dy[row, j].',
    "dx = dy W', dW = x' dy, and b is added to every row, so its slopes add up over the rows.")
def dense_back(answer):
    rng = np.random.default_rng(0)
    for n, m, k in ((3, 3, 3), (4, 2, 3), (1, 5, 2)):
        x, W, b, dy = rng.normal(size=(n, m)), rng.normal(size=(m, k)), rng.normal(size=k), rng.normal(size=(n, k))
        dx, dW, db = answer(x.copy(), W.copy(), dy.copy())
        want = _slopes(lambda x, W, b, dy=dy: np.sum(dy * (x @ W + b)), x, W, b)
        for found, slope, name in zip((dx, dW, db), want, 'xWb', strict=True):
            _near(found, slope, f'the slope in {name} is another')


@exercise(
    '''Write head_slope(logits, labels): the slope in the logits [n, k] of the sum over rows of the cross-entropy
    -log softmax(logits)[row, label], labels [n]; logits may be as large as 1000.''',
    'Work out d(log sum exp(z)) / dz first: it is the softmax.',
    'The loss of a row is log sum exp(z) - z[label]: its slope is p with 1 taken away at the label.',
    'Subtract the largest logit of each row before np.exp, or 1000 overflows.')
def head_slope(answer):
    def loss(z, labels):
        z = z - z.max(1, keepdims=True)
        return np.sum(np.log(np.exp(z).sum(1)) - z[np.arange(len(z)), labels])

    rng = np.random.default_rng(1)
    for n, k in ((1, 2), (4, 3), (5, 10)):
        z, labels = 2 * rng.normal(size=(n, k)), rng.integers(0, k, n)
        want, = _slopes(lambda z, labels=labels: loss(z, labels), z)
        _near(answer(z.copy(), labels), want, 'the slope is another')
        far = answer(np.where(z > 0, 1000.0, -1000.0), labels)
        need(np.isfinite(far).all(), 'logits of 1000 give numbers that are not finite')


@exercise(
    '''Write two_layers(x, labels, W, V): for the network relu(x @ W) @ V without biases and the MEAN cross-entropy over
    the n rows, return (dW, dV), the slopes of the loss in both matrices.''',
    'Forward first, and keep what the way back needs: x, the hidden values, the logits.',
    'Backwards: the slope in the logits over n, through V, through the rectifier, through W.',
    'Where a hidden value is 0 the rectifier lets nothing back: multiply by (hidden > 0).')
def two_layers(answer):
    def loss(x, labels, W, V):
        z = np.maximum(x @ W, 0) @ V
        z = z - z.max(1, keepdims=True)
        return np.mean(np.log(np.exp(z).sum(1)) - z[np.arange(len(z)), labels])

    rng = np.random.default_rng(2)
    for n, m, h, k in ((4, 3, 5, 2), (6, 2, 4, 3)):
        x, labels, W, V = rng.normal(size=(n, m)), rng.integers(0, k, n), rng.normal(size=(m, h)), rng.normal(
            size=(h, k))
        dW, dV = answer(x.copy(), labels, W.copy(), V.copy())
        want = _slopes(lambda W, V, x=x, labels=labels: loss(x, labels, W, V), W, V)
        for found, slope, name in zip((dW, dV), want, 'WV', strict=True):
            _near(found, slope, f'the slope in {name} is another')


def backprop_exercises() -> tuple[Exercise, ...]:
    """Three exercises: a layer, a loss, a network."""
    return dense_back, head_slope, two_layers
