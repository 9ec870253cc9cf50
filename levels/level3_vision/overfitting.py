"""Seeing overfitting: learning and validation curves, double descent, labels learned by heart.

What acts against it lies elsewhere: augmentation (`augment.py`, `mixes.py`), and dropout, weight decay and early
stopping with the best state restored in `levels.level2_neural`.

Formula: each function's own.
Paper: Geman, Bienenstock, Doursat 1992, Neural networks and the bias/variance dilemma; Belkin, Hsu, Ma, Mandal 2019;
    Zhang, Bengio, Hardt, Recht, Vinyals 2017; Arpit et al. 2017 (see the functions).
Shapes: each function's own.

Example:
    from levels.level3_vision.overfitting import double_descent, learning_curve, memorisation
    curve = learning_curve(ridge, X, y, splits('kfold', X, n_splits=5), sizes=(0.1, 0.3, 1.0))
    gap = curve.train.mean(0) - curve.test.mean(0)
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from common.task import Task, advance, start
from levels.level1_classical import model_selection as ms
from levels.level1_classical.estimator import Estimator, choice, exact, rows


class Curve(NamedTuple):
    """Scores on the rows that were trained on, and on the others, at each point of an axis."""

    at: np.ndarray                          # [points]: numbers of rows, or values of the hyperparameter
    train: Float[np.ndarray, 'folds points']
    test: Float[np.ndarray, 'folds points']


@functools.lru_cache(maxsize=32)
def _program(make: Callable[..., Estimator], metric: str) -> Callable[..., tuple[Array, Array]]:
    """(key, X, y, weight, train, test, point) -> both scores [folds, points]; masks are [folds, points, rows]."""
    measured = {name: ('predict', fn) for name, fn in ms.METRICS.items()} | ms.OF_CLASSES
    method, measure = measured[choice('metric', metric, measured)]

    def one(key, X, y, weight, train, test, point):
        model = make(**point)
        state = model.fit(key, X, y, weight * train)
        guess, target = getattr(model, method)(state, X), y.astype(jnp.int32) if metric in ms.OF_CLASSES else y
        return tuple(measure(target, guess, weight=weight * mask) for mask in (train, test))

    along = jax.vmap(one, (None, None, None, None, 0, None, 0))
    return jax.jit(jax.vmap(along, (None, None, None, None, 0, 0, None)))


def _curve(make, X, y, metric, key, at, train, test, point) -> Curve:
    X, y, weight = rows(X, y, None)
    masks = jnp.asarray(train, X.dtype), jnp.asarray(test, X.dtype)
    key = jax.random.key(0) if key is None else key
    return Curve(at, *(np.asarray(s) for s in _program(make, metric)(key, X, y, weight, *masks, point)))


def learning_curve(
    make: Callable[..., Estimator], X: Float[Array, 'rows d'], y: Float[Array, ' rows'], folds: ms.Splits, *,
    sizes: Sequence[int | float] = (0.1, 0.325, 0.55, 0.775, 1.0), metric: str = 'r2', key: Any = None,
) -> Curve:
    """Scores against the number of rows that a model learns from: all folds times all sizes in one program.

    Formula: train[f, n] = metric on the first n training rows of fold f of the model fitted on them; test[f, n] on the
        test rows of the fold.
    Paper: Cortes, Jackel, Solla, Vapnik, Denker 1993, Learning curves: asymptotic values and rate of convergence.
    Shapes: X [rows, d], y [rows], folds of `model_selection.splits` -> Curve(at [sizes], train and test [folds,
        sizes]). sizes: integers are numbers of rows, fractions are of the first fold's training rows.
    Errors: ValueError for sizes outside 1 ... all training rows of each fold, an unknown metric, bad X or y.
    Example:
        from levels.level1_classical.regression.ridge import ridge
        X = jax.random.normal(jax.random.key(0), (60, 8))
        y = X @ jnp.arange(8.0) + jax.random.normal(jax.random.key(1), (60,))
        curve = learning_curve(ridge, X, y, ms.splits('kfold', X, n_splits=3), sizes=(10, 40))
        assert curve.at.tolist() == [10, 40] and curve.test.shape == (3, 2)
        assert curve.test[:, 1].mean() > curve.test[:, 0].mean()
    """
    whole = int(folds.train[0].sum())
    at = np.array([int(s * whole) if isinstance(s, float) else s for s in sizes])
    if not len(at) or at.min() < 1 or at.max() > folds.train.sum(1).min():
        raise ValueError(f'sizes: expected 1 to {folds.train.sum(1).min()} rows; found {at.tolist()}')
    rank = np.cumsum(folds.train, axis=1)
    train = folds.train[:, None] & (rank[:, None] <= at[None, :, None])
    return _curve(make, X, y, metric, key, at, train, folds.test, {})


def validation_curve(
    make: Callable[..., Estimator], X: Float[Array, 'rows d'], y: Float[Array, ' rows'], folds: ms.Splits, *,
    name: str, values: Sequence[float], metric: str = 'r2', key: Any = None,
) -> Curve:
    """Scores against one hyperparameter: all folds times all values in one program.

    Formula: train[f, v] = metric on the training rows of fold f of make(name=v) fitted on them; test[f, v] on the test
        rows of the fold.
    Paper: Stone 1974, Cross-validatory choice and assessment of statistical predictions.
    Shapes: X [rows, d], y [rows], folds of `model_selection.splits` -> Curve(at [values], train and test [folds,
        values]).
    Errors: ValueError for no values, an unknown metric, bad X or y; TypeError for a name that `make` does not have.
    Example:
        from levels.level1_classical.regression.ridge import ridge
        X = jax.random.normal(jax.random.key(0), (60, 8))
        y = X @ jnp.arange(8.0) + jax.random.normal(jax.random.key(1), (60,))
        curve = validation_curve(ridge, X, y, ms.splits('kfold', X, n_splits=3), name='alpha', values=(0.1, 1e3))
        assert (curve.train[:, 0] > curve.train[:, 1]).all()
    """
    at = np.asarray(values)
    if at.ndim != 1 or not len(at):
        raise ValueError(f'values: expected one or more numbers; found {values}')
    train = np.repeat(folds.train[:, None], len(at), 1)
    return _curve(make, X, y, metric, key, at, train, folds.test, {name: jnp.asarray(at)})


class Descent(NamedTuple):
    """Mean squared errors and the length of the weights, for each number of features."""

    train: Float[Array, ' widths']
    test: Float[Array, ' widths']
    norm: Float[Array, ' widths']


@exact
def double_descent(
    X: Float[Array, 'n d'], y: Float[Array, ' n'], *, X_test: Float[Array, 'm d'], y_test: Float[Array, ' m'],
    widths: Sequence[int], key: Key[Array, ''], ridge: float = 0.0,
) -> Descent:
    """Least squares on more and more random features: the test error rises to a peak where there are as many features
    as rows, and falls again beyond.

    Formula: Phi = relu(X V) / sqrt(N), V the first N columns of one draw of N(0, 1 / d); w = argmin |Phi w - y|^2 +
        n ridge |w|^2, for ridge 0 the shortest of all least-squares solutions; train, test = mean squared errors.
    Paper: Belkin, Hsu, Ma, Mandal 2019, Reconciling modern machine-learning practice and the classical bias-variance
        trade-off, figure 4; the features: Rahimi, Recht 2007, Random features for large-scale kernel machines.
    Shapes: X [n, d], y [n], X_test [m, d], y_test [m], widths [k] -> Descent(train, test, norm), each [k].
    Errors: ValueError for widths below 1, a negative ridge, shapes that do not fit.
    Example:
        X = jax.random.normal(jax.random.key(0), (120, 5))
        y = jnp.sin(X[:, 0]) + 0.3 * jax.random.normal(jax.random.key(1), (120,))
        found = double_descent(X[:20], y[:20], X_test=X[20:], y_test=y[20:], widths=(5, 20, 200), key=jax.random.key(2))
        assert found.test[1] > found.test[0] and found.test[1] > found.test[2]
        assert found.train[2] < 1e-4
    """
    if X.ndim != 2 or y.shape != X.shape[:1] or X_test.shape[1:] != X.shape[1:] or y_test.shape != X_test.shape[:1]:
        raise ValueError(f'X, y: expected [n, d] and [n], to train and to test; found {X.shape}, {y.shape}, '
                         f'{X_test.shape}, {y_test.shape}')
    if not len(widths) or min(widths) < 1 or not ridge >= 0:
        raise ValueError(f'widths, ridge: expected 1 or more, and 0 or more; found {tuple(widths)}, {ridge}')
    V = jax.random.normal(key, (X.shape[1], max(widths)), X.dtype) / np.sqrt(X.shape[1])
    seen, unseen = (jax.nn.relu(A @ V) for A in (X, X_test))

    def one(width):                         # in turn: a batch of decompositions would be no faster on a CPU
        scale = jnp.where(jnp.arange(max(widths)) < width, 1 / jnp.sqrt(width.astype(X.dtype)), 0)[None]
        U, s, Wt = jnp.linalg.svd(seen * scale, full_matrices=False)
        kept = s > jnp.finfo(X.dtype).eps * max(seen.shape) * s[0]
        w = Wt.T @ (jnp.where(kept, s / jnp.where(kept, s**2 + X.shape[0] * ridge, 1), 0) * (U.T @ y))
        errors = [jnp.mean(((A * scale) @ w - target) ** 2) for A, target in ((seen, y), (unseen, y_test))]
        return Descent(*errors, jnp.linalg.norm(w))

    return jax.lax.map(one, jnp.asarray(widths))


def noisy_labels(
    key: Key[Array, ''], labels: Int[Array, ' n'], *, rate: float | Float[Array, ''], n_classes: int
) -> Int[Array, ' n']:
    """Labels of which a share is replaced by a wrong one.

    Formula: with probability rate (y + r) mod n_classes, r uniform on 1 ... n_classes - 1; else y.
    Paper: Zhang, Bengio, Hardt, Recht, Vinyals 2017, Understanding deep learning requires rethinking generalization,
        section 2.1 (there any class, the right one too, is drawn); symmetric noise: van Rooyen et al. 2015.
    Shapes: labels [n] -> [n].
    Errors: ValueError for fewer than two classes, or a rate (that can be read) outside 0 ... 1.
    Example:
        labels = jnp.zeros(8, jnp.int32)
        assert (noisy_labels(jax.random.key(0), labels, rate=1.0, n_classes=3) != 0).all()
        assert (noisy_labels(jax.random.key(0), labels, rate=0.0, n_classes=3) == 0).all()
        assert noisy_labels(jax.random.key(0), labels, rate=0.5, n_classes=2).shape == (8,)
    """
    if n_classes < 2 or (isinstance(rate, int | float) and not 0 <= rate <= 1):
        raise ValueError(f'rate, n_classes: expected 0 <= rate <= 1 and 2 or more; found {rate} and {n_classes}')
    which, what = jax.random.split(key)
    other = (labels + jax.random.randint(what, labels.shape, 1, n_classes, labels.dtype)) % n_classes
    return jnp.where(jax.random.bernoulli(which, rate, labels.shape), other, labels)


class Memorised(NamedTuple):
    """Accuracies after each `every` steps: on the labels as given, on those given that are wrong, on a clean test."""

    fitted: Float[Array, 'rates looks']
    wrong: Float[Array, 'rates looks']      # share of the wrong labels that the network repeats
    test: Float[Array, 'rates looks']


def memorisation(
    task: Task, predict: Callable[[Any, Array], Array], train: Mapping[str, Array], test: Mapping[str, Array], *,
    rates: Sequence[float], n_classes: int, steps: int, every: int, batch_size: int, key: Key[Array, ''],
) -> Memorised:
    """One network trained on labels of which a part is wrong, for several parts at once: what it learns, and what by
    heart.

    Formula: labels of `noisy_labels`; `steps` steps of the task on batches drawn with replacement; every so often the
        accuracies of argmax predict(state, x).
    Paper: Zhang et al. 2017, Understanding deep learning requires rethinking generalization, figure 1; Arpit et al.
        2017, A closer look at memorization in deep networks (patterns first, noise later).
    Shapes: train and test: image [n, ...], label [n]; predict: state, images -> logits [n, n_classes] -> Memorised,
        each [rates, steps / every].
    Errors: ValueError when `every` does not divide `steps`, or for no rates.
    Example:
        import optax
        from common.tasks import classifier
        from levels.level2_neural.mlp import MLP
        model, x = MLP(hidden=(64,), n_out=2), jax.random.normal(jax.random.key(0), (60, 8))
        data = {'image': x, 'label': (x[:, 0] > 0).astype(jnp.int32)}
        task, predict = classifier(model, optax.adam(1e-2)), lambda s, x: model.apply({'params': s.params}, x)
        found = memorisation(task, predict, data, data, rates=(0.0, 0.3), n_classes=2, steps=300, every=100,
                             batch_size=30, key=jax.random.key(1))
        assert found.fitted[1, -1] > 0.95 and found.wrong[1, -1] > 0.8
        assert found.test[1, -1] < found.test[0, -1]
    """
    if steps % every or not len(rates):
        raise ValueError(f'every, rates: expected a divisor of steps={steps} and one rate or more; '
                         f'found {every}, {rates}')

    def run(key, rate, train, test):
        noise, first, draws = jax.random.split(key, 3)
        labels = noisy_labels(noise, train['label'], rate=rate, n_classes=n_classes)
        off = labels != train['label']

        def batch(step):
            index = jax.random.randint(jax.random.fold_in(draws, step), (batch_size,), 0, len(labels))
            return {k: jnp.take(v, index, axis=0, mode='clip') for k, v in {**train, 'label': labels}.items()}

        def look(carry, _):
            carry, _ = jax.lax.scan(lambda c, _: (advance(task, c, batch(c.step))[0], None), carry, length=every)
            hit = jnp.argmax(predict(carry.state, train['image']), -1) == labels
            right = jnp.argmax(predict(carry.state, test['image']), -1) == test['label']
            return carry, (hit.mean(), jnp.sum(hit & off) / jnp.maximum(jnp.sum(off), 1), right.mean())

        carry = start(task, first, batch(jnp.zeros((), jnp.int32)))
        return Memorised(*jax.lax.scan(look, carry, length=steps // every)[1])

    data = [{k: jnp.asarray(v) for k, v in d.items()} for d in (train, test)]
    return jax.jit(jax.vmap(run, (None, 0, None, None)))(key, jnp.asarray(rates, jnp.float32), *data)
