"""One layer trained on the core reaches the optimum that scikit-learn finds."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from parity_ledger import compare
from sklearn.linear_model import LinearRegression, LogisticRegression

from common.task import train_fn
from levels.level2_neural.single_layer import SingleLayer, single_layer_task

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
ROWS, FEATURES = 120, 4
X = RNG.normal(size=(ROWS, FEATURES)).astype(np.float32)
SCORES = X @ RNG.normal(size=(FEATURES, 3)) + 0.8 * RNG.normal(size=(ROWS, 3))
BITS, CLASSES = (SCORES[:, 0] > 0.3).astype(np.int32), SCORES.argmax(1).astype(np.int32)
L2 = 0.02


def trained(model, y, l2, steps, rate=0.5):
    """Parameters after full-batch descent with momentum, the whole run in one program."""
    task = single_layer_task(model, optax.sgd(rate, momentum=0.9, nesterov=True), l2=l2)
    carry, metrics = jax.jit(train_fn(task, steps))(KEY, {'x': X, 'y': y})
    loss = metrics['loss'].value
    assert loss[-1] < loss[0]
    return carry.state.params['dense']


@pytest.mark.parametrize('l2', [L2, 0.0])
def test_sigmoid_reaches_logistic_regression(l2):
    ours = trained(SingleLayer(), BITS, l2, 1500, rate=1.0)
    peer = LogisticRegression(C=1 / (ROWS * l2) if l2 else np.inf, tol=1e-10, max_iter=1000).fit(X.astype(float), BITS)
    compare('SingleLayer', 'sklearn.linear_model.LogisticRegression', f'sigmoid optimum, f32, l2={l2}',
            (ours['kernel'][:, 0], ours['bias']), (peer.coef_[0], peer.intercept_), 1e-4)


def test_softmax_reaches_multinomial_logistic_regression():
    ours = trained(SingleLayer(3, head='softmax'), CLASSES, L2, 1500, rate=1.0)
    peer = LogisticRegression(C=1 / (ROWS * L2), tol=1e-10, max_iter=1000).fit(X.astype(float), CLASSES)
    # a constant may be added to all biases: descent from zeros keeps their sum at 0, and so does scikit-learn
    compare('SingleLayer', 'sklearn.linear_model.LogisticRegression', 'softmax optimum, f32',
            (ours['kernel'].T, ours['bias']), (peer.coef_, peer.intercept_ - peer.intercept_.mean()), 1e-4)


@pytest.mark.parametrize('outputs', [1, 3])
def test_linear_reaches_least_squares(outputs):
    y = SCORES.astype(np.float32)[:, :outputs]
    y = y[:, 0] if outputs == 1 else y
    ours = trained(SingleLayer(outputs, head='linear'), y, 0.0, 600, rate=0.1)
    peer = LinearRegression().fit(X.astype(float), y)
    compare('SingleLayer', 'sklearn.linear_model.LinearRegression', f'linear optimum, f32, {outputs} outputs',
            (ours['kernel'].T.reshape(peer.coef_.shape), ours['bias']), (peer.coef_, np.atleast_1d(peer.intercept_)),
            1e-4)


def test_a_mask_and_micro_batches_leave_the_penalty_as_it_is():
    """Rows that do not count, and a batch in two parts: the same step as that of the rows alone."""
    model, tx = SingleLayer(), optax.sgd(0.5)
    y = BITS
    short = {'x': X[:60], 'y': y[:60]}
    step = lambda batch, **more: jax.jit(train_fn(single_layer_task(model, tx, l2=L2, **more), 30))(KEY, batch)[0]
    one = step(short)
    for other in (step({'x': X, 'y': y, 'mask': np.arange(ROWS) < 60}), step(short, accum=2)):
        for a, b in zip(jax.tree.leaves(one.state.params), jax.tree.leaves(other.state.params), strict=True):
            assert jnp.abs(a - b).max() < 1e-6


@pytest.mark.parametrize(('fields', 'shape', 'message'), [
    ({'head': 'hinge'}, (2, 3), 'head: expected one of sigmoid, softmax, linear'),
    ({'head': 'softmax'}, (2, 3), 'n_out: expected 2 or more for head softmax; found 1'),
    ({'n_out': 0}, (2, 3), 'n_out: expected 1 or more'),
    ({}, (3,), r'x: expected \[batch, ...\]'),
])
def test_bad_input_is_one_line(fields, shape, message):
    with pytest.raises(ValueError, match=message):
        SingleLayer(**fields).init(KEY, jnp.zeros(shape))
