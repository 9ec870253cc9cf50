"""Support vector machines with kernels, for classes (one machine for each pair of them) and for numbers.

Formula: f(x) = sum_i b_i K(x_i, x) + c; b minimises 1/2 b' K b - t' b in a box with sum b = 0 (`smo`).
Paper: Cortes, Vapnik 1995, Support-vector networks; Drucker, Burges, Kaufman, Smola, Vapnik 1996, Support vector
    regression machines; solver and probabilities: see `smo` and `platt`.
Shapes: X [rows, features] -> decision [rows] or [rows, classes], predict [rows].

Example:
    from levels.level1_classical.classification.svc import support, svc
    model = svc(kernel='rbf', C=10.0, n_classes=3)
    state = model.fit(key, X, y)
    support(state)                                  # which rows carry the machine
"""

import itertools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from levels.level1_classical.classification.logistic import class_weights
from levels.level1_classical.classification.platt import coupled, sigmoid_fit
from levels.level1_classical.classification.smo import KERNELS, Kernel, gram_of, offset, products, smo
from levels.level1_classical.estimator import Estimator, choice, exact, features, hyper, labelled, rows, weighted_mean
from levels.level1_classical.metrics import r2

SHAPES = ('ovr', 'ovo')
FOLDS = 5


class Machine(NamedTuple):
    """f_p(x) = sum_i beta_pi K(x_i, x) + intercept_p for each pair p of classes (one for numbers), positive for the
    second class of (0, 1), (0, 2), ..., (1, 2), ...  Rows with a beta other than 0 are the support vectors.

    X lies about `middle` for linear and rbf, where only differences count; `slope` is the sigmoid of probabilities.
    """

    X: Float[Array, 'rows features']
    beta: Float[Array, 'pairs rows']
    intercept: Float[Array, ' pairs']
    middle: Float[Array, ' features']
    gamma: Float[Array, '']
    slope: Float[Array, 'pairs 2']
    steps: Int[Array, '']
    converged: Bool[Array, '']


def support(state: Machine) -> Bool[Array, ' rows']:
    """Which of the training rows are support vectors.

    Formula: those with b_i other than 0 in some machine.
    Paper: Cortes, Vapnik 1995, Support-vector networks, Machine Learning 20.
    Shapes: Machine -> [rows].
    Errors: none.
    Example:
        X, y = jnp.array([[-3.0], [-1.0], [1.0], [3.0]]), jnp.array([0, 0, 1, 1])
        state = svc(kernel='linear', C=10.0).fit(jax.random.key(0), X, y)
        assert support(state).tolist() == [False, True, True, False]
        state.beta                                           # [[0, -0.5, 0.5, 0]]
    """
    return (state.beta != 0).any(0)


class _Options(NamedTuple):
    """What both machines are told about their kernel and their search."""

    kernel: str
    degree: int
    gamma: Any
    coef0: Any
    tol: Any
    max_iter: Any

    def checked(self):
        choice('kernel', self.kernel, KERNELS)
        hyper('degree', self.degree, 0)
        hyper('tol', self.tol, 0, open_low=True)
        hyper('max_iter', self.max_iter, 1)
        hyper('coef0', self.coef0, -jnp.inf)
        if isinstance(self.gamma, str):
            choice('gamma', self.gamma, ('scale', 'auto'))
        else:
            hyper('gamma', self.gamma, 0)
        return self

    def kernel_on(self, X, weight):
        """(kernel, rows where it is best computed, by what they were moved)."""
        middle = weighted_mean(X, weight)
        A, gamma = X - middle[None], self.gamma
        if isinstance(gamma, str):      # of all entries together, whatever their column
            apart = A + (middle - jnp.mean(middle))[None]
            variance = weight @ jnp.mean(apart**2, 1) / jnp.sum(weight)
            gamma = 1 / (X.shape[1] * (jnp.where(variance > 0, variance, 1) if gamma == 'scale' else 1))
        if self.kernel not in ('linear', 'rbf'):
            A, middle = X, jnp.zeros_like(middle)
        kernel = Kernel(self.kernel, self.degree, jnp.asarray(gamma, X.dtype), jnp.asarray(self.coef0, X.dtype))
        return kernel, A, middle

    def margins(self, state: Machine, X) -> Float[Array, 'rows pairs']:
        """f of each machine.  Errors: ValueError for another number of features."""
        X = features(X)
        if X.shape[1] != state.X.shape[1]:
            raise ValueError(f'X: expected {state.X.shape[1]} features as in fit, found {X.shape[1]}')
        kernel = Kernel(self.kernel, self.degree, state.gamma, jnp.asarray(self.coef0, state.gamma.dtype))
        A = X.astype(state.X.dtype) - state.middle[None]
        return products(kernel, A, state.X, state.beta.T) + state.intercept[None]


def _whole(*arrays):
    """With zeros below to whole lanes, where there are many rows."""
    pad = -len(arrays[0]) % 64 if len(arrays[0]) > 512 else 0
    return [jnp.pad(a, ((0, pad), *((0, 0),) * (a.ndim - 1))) for a in arrays]


def _folds(key, y, weight):
    """The number of each row's fold; every class is spread over all of them."""
    group = jnp.where(weight > 0, y, jnp.max(y) + 1)
    order = jnp.lexsort((jax.random.uniform(key, y.shape), group))
    return jnp.zeros_like(y).at[order].set(jnp.arange(len(y), dtype=y.dtype) % FOLDS)


def one_against_rest(f: Float[Array, 'rows pairs'], n_classes: int) -> Float[Array, 'rows classes']:
    """Votes of the pairs, and within equal votes the order of summed margins (which add less than half a vote)."""
    votes, sums = jnp.zeros((2, len(f), n_classes), f.dtype)
    for p, (i, j) in enumerate(itertools.combinations(range(n_classes), 2)):
        votes = votes.at[:, j].add(f[:, p] > 0).at[:, i].add(f[:, p] <= 0)
        sums = sums.at[:, j].add(f[:, p]).at[:, i].add(-f[:, p])
    return votes + sums / (3 * (jnp.abs(sums) + 1))


def svc(*, kernel: str = 'rbf', C=1.0, gamma: Any = 'scale', degree: int = 3, coef0=0.0, class_weight=None,
        probability: bool = False, decision_shape: str = 'ovr', tol=1e-3, max_iter: int = 1_000_000,
        n_classes: int = 2) -> Estimator:
    """A support vector machine for each pair of classes.

    Formula: minimise ||w||^2 / 2 + C sum_i w_i c(y_i) max(0, 1 - y_i f(x_i)), in its dual. K: x'z (`linear`),
        exp(-gamma ||x - z||^2) (`rbf`), (gamma x'z + coef0)^degree (`poly`), tanh(gamma x'z + coef0) (`sigmoid`).
    Paper: Cortes, Vapnik 1995, Support-vector networks, Machine Learning 20.
    Shapes: fit X [rows, features], y [rows] of classes 0 ... n_classes - 1, weight [rows] -> Machine(beta [pairs,
        rows], intercept [pairs], ...); predict [rows] int32; decision [rows] for two classes, else [rows, classes]
        (`ovr`: votes, and margins between equal votes) or [rows, pairs] (`ovo`: positive for the first of the pair, as
        in scikit-learn); proba [rows, classes] with `probability`.
    gamma: 'scale' (1 / (features times the variance of all entries)), 'auto' (1 / features) or a number.
    tol: how far a pair may violate the conditions of the minimum; max_iter: steps for each pair. C, gamma, coef0, tol
        may be traced. class_weight: None, 'balanced' or [n_classes].
    probability: Platt's sigmoids on margins from an inner 5-fold cross-validation, six fits in all. Folds are drawn
        with the key, by row: of a row of weight 2 both copies fall into one.
    Cost: time a few steps for each support vector, of rows work each (rows x features beyond 8,192 rows, where the
        matrix of kernels is not held); memory rows^2, at most 256 MiB, beside rows x (features + pairs).
    Errors: ValueError for bad shapes or values (`estimator.labelled`), an unknown kernel or option.
    Example:
        X, y = jnp.array([[0.0, 0.0], [1.0, 1.0], [0.0, 1.0], [1.0, 0.0]]), jnp.array([0, 0, 1, 1])
        model = svc(kernel='rbf', C=10.0, gamma=2.0)
        state = model.fit(jax.random.key(0), X, y)
        assert state.converged and model.predict(state, X).tolist() == [0, 0, 1, 1]
        model.decision(state, X)                             # [-1, -1, 1, 1]
    """
    options = _Options(kernel, degree, gamma, coef0, tol, max_iter).checked()
    hyper('C', C, 0, open_low=True)
    choice('decision_shape', decision_shape, SHAPES)
    pairs = jnp.array(list(itertools.combinations(range(n_classes), 2)), jnp.int32)

    @exact
    def fit(key, X, y=None, weight=None) -> Machine:
        X, y, weight = labelled(X, y, weight, n_classes=n_classes)
        held = len(X)
        cost = C * class_weights(class_weight, y, weight, n_classes)
        on, A, middle = options.kernel_on(X, weight)
        A, y, weight, cost = _whole(A, y, weight, cost)
        gram = gram_of(A, on)

        def machine(pair, cost):
            sign = (y == pair[1]).astype(A.dtype) - (y == pair[0])
            low, high = jnp.minimum(sign * cost, 0), jnp.maximum(sign * cost, 0)
            found = smo(gram, sign, low, high, tol=tol, max_iter=max_iter)
            return found, offset(found, low, high)

        found, intercept = jax.lax.map(lambda pair: machine(pair, cost), pairs)
        slope = jnp.zeros((len(pairs), 2), A.dtype)
        if probability:
            fold = _folds(key, y, weight)

            def calibrated(pair):
                def without(i):
                    part, c = machine(pair, jnp.where(fold == i, 0, cost))
                    return jnp.where(fold == i, gram.times(part.beta) + c, 0)

                f = jnp.sum(jax.lax.map(without, jnp.arange(FOLDS, dtype=fold.dtype)), 0)
                return sigmoid_fit(f, y == pair[1], weight * ((y == pair[0]) | (y == pair[1])))

            slope = jax.lax.map(calibrated, pairs)
        return Machine(A[:held], found.beta[:, :held], intercept, middle, on.gamma, slope, jnp.sum(found.steps),
                       found.converged.all())

    @exact
    def decision(state, X) -> Float[Array, 'rows *outputs']:
        f = options.margins(state, X)
        if n_classes == 2:
            return f[:, 0]
        return -f if decision_shape == 'ovo' else one_against_rest(f, n_classes)

    @exact
    def predict(state, X) -> Int[Array, ' rows']:
        f = options.margins(state, X)
        votes = (f > 0)[:, :, None] == (jnp.arange(n_classes)[None] == pairs[:, 1:])[None]
        in_pair = (jnp.arange(n_classes)[None] == pairs[:, :1]) | (jnp.arange(n_classes)[None] == pairs[:, 1:])
        return jnp.argmax(jnp.sum(votes & in_pair[None], 1), 1).astype(jnp.int32)

    @exact
    def proba(state, X) -> Float[Array, 'rows classes']:
        f = options.margins(state, X)
        return coupled(jax.nn.sigmoid(-(f * state.slope[:, 0][None] + state.slope[:, 1][None])), n_classes)

    def score(state, X, y=None, weight=None) -> Float[Array, '']:
        X, y, weight = labelled(X, y, weight, n_classes=n_classes)
        return jnp.sum(weight * (predict(state, X) == y)) / jnp.sum(weight)

    return Estimator(fit, predict, proba=proba if probability else None, score=score, decision=decision)


def svr(*, kernel: str = 'rbf', C=1.0, epsilon=0.1, gamma: Any = 'scale', degree: int = 3, coef0=0.0, tol=1e-3,
        max_iter: int = 1_000_000) -> Estimator:
    """Support vector regression: errors below epsilon cost nothing, others their excess.

    Formula: minimise ||w||^2 / 2 + C sum_i w_i max(0, |y_i - f(x_i)| - epsilon), in its dual; kernels as in `svc`.
    Paper: Drucker, Burges, Kaufman, Smola, Vapnik 1996, Support vector regression machines, NIPS 9.
    Shapes: fit X [rows, features], y [rows], weight [rows] -> Machine(beta [1, rows], intercept [1], ...); predict
        [rows]; score -> R2 [].
    gamma, degree, coef0, tol, max_iter: as `svc`. C, epsilon, gamma, coef0, tol may be traced.
    Cost: time and memory as `svc`.
    Errors: ValueError for bad shapes or values (`estimator.rows`), y that is not [rows], an unknown kernel or option.
    Example:
        X = jnp.array([[0.0], [1.0], [2.0], [3.0]])
        model = svr(kernel='linear', C=100.0, epsilon=0.5)
        state = model.fit(jax.random.key(0), X, 2 * X[:, 0])
        assert jnp.allclose(model.predict(state, X), jnp.array([0.5, 13 / 6, 23 / 6, 5.5]), atol=1e-3)
        state.beta                                           # [[-5/9, 0, 0, 5/9]]
    """
    options = _Options(kernel, degree, gamma, coef0, tol, max_iter).checked()
    hyper('C', C, 0, open_low=True)
    hyper('epsilon', epsilon, 0)

    @exact
    def fit(key, X, y=None, weight=None) -> Machine:
        X, y, weight = rows(X, y, weight)
        if y.ndim != 1:
            raise ValueError(f'y: expected [{len(X)}], found shape {y.shape}')
        held = len(X)
        mean = weighted_mean(y[:, None], weight)[0]
        on, A, middle = options.kernel_on(X, weight)
        A, t, cost = _whole(A, y - mean, C * weight)
        zero = jnp.zeros_like(cost)
        target, low, high = (jnp.concatenate(v) for v in ((t - epsilon, t + epsilon), (zero, -cost), (cost, zero)))
        found = smo(gram_of(A, on), target, low, high, tol=tol, max_iter=max_iter)
        beta = jnp.sum(found.beta.reshape(2, 1, -1), 0)[:, :held]
        return Machine(A[:held], beta, (offset(found, low, high) + mean)[None], middle, on.gamma,
                       jnp.zeros((1, 2), A.dtype), found.steps, found.converged)

    @exact
    def predict(state, X) -> Float[Array, ' rows']:
        return options.margins(state, X)[:, 0]

    def score(state, X, y=None, weight=None) -> Float[Array, '']:
        X, y, weight = rows(X, y, weight)
        return r2(y, predict(state, X), weight=weight)

    return Estimator(fit, predict, score=score)
