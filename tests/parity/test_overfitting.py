"""Curves against scikit-learn's, double descent against numpy's pseudo-inverse, noise that is learned by heart."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from parity_ledger import compare
from sklearn import model_selection as theirs
from sklearn.datasets import load_digits
from sklearn.linear_model import Ridge

from common.task import train_fn
from common.tasks import classifier
from levels.level1_classical import model_selection as ms
from levels.level1_classical.classification.naive_bayes import gaussian_nb
from levels.level1_classical.regression.ridge import ridge
from levels.level2_neural.early_stopping import with_early_stopping
from levels.level2_neural.mlp import MLP
from levels.level3_vision.overfitting import (
    double_descent,
    learning_curve,
    memorisation,
    noisy_labels,
    validation_curve,
)

KEY = jax.random.key(0)


def regression(n=60, d=8):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, d))
    return X, X @ rng.normal(size=d) + rng.normal(size=n)


def test_curves_equal_scikit_learn():
    with jax.enable_x64(True):
        X, y = regression()
        folds, splitter = ms.splits('kfold', X, n_splits=4), theirs.KFold(4)
        ours = learning_curve(ridge, X, y, folds, sizes=(0.25, 20, 1.0))
        at, train, test = theirs.learning_curve(Ridge(), X, y, cv=splitter, train_sizes=[11, 20, 45])
        assert ours.at.tolist() == at.tolist() == [11, 20, 45]
        compare('learning_curve', 'sklearn.model_selection.learning_curve', 'r2 in training and test, f64',
                (ours.train.T, ours.test.T), (train, test), 1e-9)
        values = (0.01, 1.0, 100.0)
        ours = validation_curve(ridge, X, y, folds, name='alpha', values=values, metric='neg_mse')
        train, test = theirs.validation_curve(Ridge(), X, y, param_name='alpha', param_range=values, cv=splitter,
                                              scoring='neg_mean_squared_error')
        compare('validation_curve', 'sklearn.model_selection.validation_curve', 'mse in training and test, f64',
                (ours.train.T, ours.test.T), (train, test), 1e-9)


def test_a_classifiers_learning_curve_closes_its_gap():
    x, y = load_digits(return_X_y=True)
    folds = ms.splits('stratified', x, y, n_splits=3, shuffle=True, random_state=0)
    make = functools.partial(gaussian_nb, n_classes=10, var_smoothing=1e-2)
    curve = learning_curve(make, x / 16, y, folds, sizes=(30, 100, 1000), metric='accuracy')
    gap = (curve.train - curve.test).mean(0)
    assert gap[0] > gap[1] > gap[2] and (np.diff(curve.test.mean(0)) > 0).all()


def test_random_features_equal_numpys_pseudo_inverse():
    with jax.enable_x64(True):
        X, y = regression(50, 4)
        widths, n = (3, 10, 30, 80), 20
        V = np.asarray(jax.random.normal(KEY, (4, 80), X.dtype)) / 2        # the same draw: its stream is jax's own
        for lam in (0.0, 0.1):
            ours = double_descent(X[:n], y[:n], X_test=X[n:], y_test=y[n:], widths=widths, key=KEY, ridge=lam)
            rows = []
            for N in widths:
                phi = np.maximum(X @ V[:, :N], 0) / np.sqrt(N)
                A, b = phi[:n], y[:n]
                w = np.linalg.pinv(A) @ b if not lam else np.linalg.solve(A.T @ A + n * lam * np.eye(N), A.T @ b)
                rows.append([np.mean((A @ w - b) ** 2), np.mean((phi[n:] @ w - y[n:]) ** 2), np.linalg.norm(w)])
            compare('double_descent', 'numpy.linalg.pinv', f'errors and norms, ridge {lam}, f64', tuple(ours),
                    tuple(np.array(rows).T), 1e-7, relative=True)


def test_the_test_error_descends_twice():
    """A peak where features are as many as rows, lower again beyond, none with a ridge: medians of eight draws."""
    n, widths = 40, (5, 10, 20, 40, 80, 200, 800)

    def run(key, lam):
        keys = jax.random.split(key, 4)
        X = jax.random.normal(keys[0], (240, 10))
        y = X @ jax.random.normal(keys[1], (10,)) / 3 + 0.3 * jax.random.normal(keys[2], (240,))
        return double_descent(X[:n], y[:n], X_test=X[n:], y_test=y[n:], widths=widths, key=keys[3], ridge=lam)

    run = jax.jit(run, static_argnums=1)
    plain, ridged = ([run(key, lam) for key in jax.random.split(KEY, 8)] for lam in (0.0, 0.01))
    test, train = (np.median([getattr(r, name) for r in plain], 0) for name in ('test', 'train'))
    assert np.argmax(test) == widths.index(n)
    assert test[3] > 3 * test[:3].min() and test[3] > 3 * test[-1]
    assert (np.diff(test[3:]) < 0).all() and test[-1] < test[:3].min()
    assert train[-1] < 1e-6 and train[0] > 0.01
    assert np.median([r.test for r in ridged], 0)[3] < test[3] / 3
    norms = np.median([r.norm for r in plain], 0)
    assert np.argmax(norms) == 3        # the weights are longest at the peak: what shortest solutions explain


def test_noisy_labels_are_as_many_and_as_wrong_as_asked():
    labels = jnp.arange(20_000) % 4
    noisy = noisy_labels(KEY, labels, rate=0.3, n_classes=4)
    table = np.zeros((4, 4))
    np.add.at(table, (np.asarray(labels), np.asarray(noisy)), 1 / 5000)
    compare('noisy_labels', 'the transition matrix', 'shares', table, np.full((4, 4), 0.1) + 0.6 * np.eye(4), 0.02)
    more = noisy_labels(KEY, labels, rate=0.5, n_classes=4)
    assert ((noisy == labels) | (more == noisy)).all()      # a higher rate only adds to the wrong ones
    with pytest.raises(ValueError, match='rate, n_classes: expected'):
        noisy_labels(KEY, labels, rate=1.5, n_classes=4)


def digits():
    x, y = load_digits(return_X_y=True)
    x, y = (x / 16).astype(np.float32), y.astype(np.int32)
    return [{'image': x[part], 'label': y[part]} for part in (slice(0, 400), slice(400, 1000), slice(1000, None))]


@pytest.mark.parametrize('seed', [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2, 3))])
def test_noise_is_learned_by_heart_after_the_pattern_and_early_stopping_gives_back_the_pattern(seed):
    """Zhang et al.: the wrong labels are fitted too.  Arpit et al.: later than the right ones.  And what helps."""
    train, valid, test = digits()
    model = MLP(hidden=(256,), n_out=10)
    task = classifier(model, optax.adam(3e-3))
    predict = lambda state, x: model.apply({'params': state.params}, x)
    steps, every, key = 1500, 50, jax.random.key(seed)
    found = memorisation(task, predict, train, test, rates=(0.0, 0.4), n_classes=10, steps=steps, every=every,
                         batch_size=64, key=key)
    clean, noisy = (jax.tree.map(lambda a, i=i: np.asarray(a[i]), found) for i in (0, 1))
    assert clean.fitted[-1] > 0.99 and noisy.fitted[-1] > 0.97 and noisy.wrong[-1] > 0.95      # all of it, by heart
    assert noisy.wrong[0] < 0.2 and noisy.test[0] > 0.7                                        # the pattern first
    assert noisy.test.max() - noisy.test[-1] > 0.1 and clean.test.max() - clean.test[-1] < 0.03
    labels = np.asarray(noisy_labels(jax.random.split(key, 3)[0], jnp.asarray(train['label']), rate=0.4, n_classes=10))
    spoilt = {**train, 'label': labels}

    def batch(arrays, step):
        index = jax.random.randint(jax.random.fold_in(key, step), (64,), 0, 400)
        rows = {k: jnp.take(v, index, axis=0, mode='clip') for k, v in arrays['train'].items()}
        return {**rows, 'validation': arrays['valid']}

    watched = with_early_stopping(task, every=every, patience=6)
    data = jax.tree.map(jnp.asarray, {'train': spoilt, 'valid': valid})
    carry, _ = jax.jit(train_fn(watched, steps, batch))(key, data)
    best, last = (np.mean(np.argmax(predict(s, test['image']), -1) == test['label'])
                  for s in (carry.state.best, carry.state.inner))
    assert bool(carry.state.stopped) and int(carry.state.best_step) < steps / 3
    assert best > noisy.test[-1] + 0.1 and best >= last - 0.01
    assert best > noisy.test.max() - 0.05


def test_memorisation_is_the_run_of_the_core_on_noisy_labels():
    """The same keys, labels and batches through `task.train_fn`, the accuracies in numpy."""
    train, _, test = digits()
    model, key = MLP(hidden=(16,), n_out=10), jax.random.key(3)
    task = classifier(model, optax.adam(3e-3))
    predict = lambda state, x: model.apply({'params': state.params}, x)
    noise, first, draws = jax.random.split(key, 3)
    labels = np.asarray(noisy_labels(noise, jnp.asarray(train['label']), rate=0.3, n_classes=10))

    def batch(data, step):
        index = jax.random.randint(jax.random.fold_in(draws, step), (32,), 0, 400)
        return {k: v[index] for k, v in data.items()}

    data = jax.tree.map(jnp.asarray, {**train, 'label': labels})
    carry, _ = jax.jit(train_fn(task, 60, batch))(first, data)
    guess, off = np.argmax(predict(carry.state, train['image']), -1), labels != train['label']
    right = np.argmax(predict(carry.state, test['image']), -1) == test['label']
    found = memorisation(task, predict, train, test, rates=(0.3,), n_classes=10, steps=60, every=30, batch_size=32,
                         key=key)
    compare('memorisation', 'common.task.train_fn', 'accuracies after 60 steps', [a[0, -1] for a in found],
            [np.mean(guess == labels), np.mean(guess[off] == labels[off]), right.mean()], 5e-3)


def test_bad_arguments_say_what_is_wrong():
    X, y = regression()
    folds = ms.splits('kfold', X, n_splits=4)
    for call, message in (
        (lambda: learning_curve(ridge, X, y, folds, sizes=(0, 10)), 'sizes: expected 1 to 45 rows; found'),
        (lambda: learning_curve(ridge, X, y, folds, sizes=(46,)), 'sizes: expected 1 to 45 rows; found'),
        (lambda: learning_curve(ridge, X, y, folds, metric='auc'), 'metric: expected'),
        (lambda: validation_curve(ridge, X, y, folds, name='alpha', values=()), 'values: expected one or more'),
        (lambda: double_descent(X, y, X_test=X[:, :2], y_test=y, widths=(1,), key=KEY), r'X, y: expected \[n, d\]'),
        (lambda: double_descent(X, y, X_test=X, y_test=y, widths=(0,), key=KEY), 'widths, ridge: expected 1 or more'),
        (lambda: memorisation(None, None, {}, {}, rates=(), n_classes=2, steps=4, every=2, batch_size=1, key=KEY),
         'every, rates: expected a divisor'),
    ):
        with pytest.raises(ValueError, match=message):
            call()
