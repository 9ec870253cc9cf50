"""The perceptron: a plane that moves at each mistake, and only then.

Formula: where s (x' w + b) <= 0: w <- w + rate s x, b <- b + rate s; s = +1 for the class and -1 for the rest. Where a
    plane through 0 with a margin gamma separates rows of length R at most, at most (R / gamma)^2 mistakes are made.
Paper: Rosenblatt 1958, The perceptron; Novikoff 1962, On convergence proofs on perceptrons; Freund, Schapire 1999,
    Large margin classification using the perceptron algorithm (average); Gallant 1990, Perceptron-based learning
    algorithms (pocket).
Shapes: X [rows, features], y [rows] of classes -> coef [features, outputs], outputs 1 for two classes, else n_classes.

Example:
    from levels.level2_neural.perceptron import perceptron
    model = perceptron(keep='average', n_classes=3)
    state = model.fit(key, X, y)
    model.predict(state, X), state.mistakes
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from common.task import Task, solve
from levels.level1_classical.classification.logistic import decision, predict, score
from levels.level1_classical.estimator import Estimator, choice, exact, hyper, labelled

KEEP = ('last', 'average', 'pocket')


class Perceptron(NamedTuple):
    """Fitted planes; `last` and `last_intercept` are those after the last visit, whichever was kept."""

    coef: Float[Array, 'features outputs']
    intercept: Float[Array, ' outputs']
    last: Float[Array, 'features outputs']
    last_intercept: Float[Array, ' outputs']
    mistakes: Float[Array, ' outputs']      # weight of the visits at which the plane moved
    steps: Int[Array, '']                   # epochs
    converged: Bool[Array, '']              # an epoch went by without a mistake


class _Plane(NamedTuple):
    """One output while it learns.  kept: the sum of the planes of this epoch, or the best so far; best: the weight that
    the best has right; wrong: weight of this epoch's mistakes."""

    w: Float[Array, ' features']
    b: Float[Array, '']
    kept_w: Float[Array, ' features']
    kept_b: Float[Array, '']
    best: Float[Array, '']
    wrong: Float[Array, '']


class _Run(NamedTuple):
    """All outputs, the means over whole epochs, and what has been counted."""

    planes: _Plane
    mean_w: Float[Array, 'outputs features']
    mean_b: Float[Array, ' outputs']
    mistakes: Float[Array, ' outputs']
    epochs: Int[Array, '']


def perceptron(*, keep: str = 'last', rate=1.0, shuffle: bool = False, fit_intercept: bool = True,
               max_iter: int = 1000, n_classes: int = 2) -> Estimator:
    """Rosenblatt's perceptron, its average over all visits, or the best plane it came by; one class against the rest.

    Formula: row after row, w <- w + rate s x and b <- b + rate s where s (x' w + b) <= 0, until an epoch has no
        mistake. keep: `last` plane; `average` of the planes after each visit; `pocket`, the first of the planes that
        have the largest weight of rows on their right side.
    Paper: Rosenblatt 1958, The perceptron: a probabilistic model for information storage and organization in the brain;
        average: Freund, Schapire 1999; pocket (with ratchet): Gallant 1990.
    Shapes: fit X [rows, features], y [rows] of classes 0 ... n_classes - 1, weight [rows] -> Perceptron(coef [features,
        outputs], intercept [outputs], ...), outputs 1 for two classes, else n_classes; predict [rows] int32; decision
        [rows] or [rows, n_classes].
    weight: a row of weight 2 is visited twice in a row, one of 1.5 once and then with half the rate, one of 0 never.
    shuffle: another order in each epoch, drawn from the key; otherwise the rows' own, and the key has no part.
    rate: may be traced. From planes at 0 it changes lengths only, and no prediction. max_iter: epochs.
    Cost: time rows x features x outputs for each epoch, for `pocket` times 1 + mistakes; memory two copies of X.
    Errors: ValueError for bad shapes or values (`estimator.labelled`), an unknown keep, a rate that is not above 0.
    Example:
        X, y = jnp.array([[2.0, 1.0], [1.0, 2.0], [-1.0, -1.0]]), jnp.array([1, 1, 0])
        model = perceptron(fit_intercept=False)
        state = model.fit(jax.random.key(0), X, y)
        assert state.converged and state.mistakes[0] == 1 and jnp.allclose(state.coef[:, 0], X[0])
        model.predict(state, X)                              # [1, 1, 0]
    """
    choice('keep', keep, KEEP)
    hyper('rate', rate, 0, open_low=True)
    hyper('max_iter', max_iter, 1)
    hyper('n_classes', n_classes, 2)
    outputs = 1 if n_classes == 2 else n_classes

    def epoch(plane: _Plane, sign, X, weight, order) -> _Plane:
        """Every row once, one output."""

        def visit(at):
            plane, left, i = at
            share = jnp.minimum(left, 1)
            wrong = sign[i] * (X[i] @ plane.w + plane.b) <= 0
            pull = jnp.where(wrong, rate * share * sign[i], 0)
            w, b = plane.w + pull * X[i], plane.b + (pull if fit_intercept else 0)
            plane = plane._replace(w=w, b=b, wrong=plane.wrong + jnp.where(wrong, share, 0))
            if keep == 'average':
                plane = plane._replace(kept_w=plane.kept_w + share * w, kept_b=plane.kept_b + share * b)
            elif keep == 'pocket':
                plane = jax.lax.cond(wrong, lambda p: better(p, sign, X, weight), lambda p: p, plane)
            return plane, left - share, i

        def row(plane, i):
            return jax.lax.while_loop(lambda at: at[1] > 0, visit, (plane, weight[i], i))[0], None

        plane = plane._replace(wrong=jnp.zeros_like(plane.wrong))
        if keep == 'average':
            plane = plane._replace(kept_w=jnp.zeros_like(plane.w), kept_b=jnp.zeros_like(plane.b))
        return jax.lax.scan(row, plane, order)[0]

    def better(plane: _Plane, sign, X, weight) -> _Plane:
        """The pocket after a move."""
        right = jnp.sum(jnp.where(sign * (X @ plane.w + plane.b) > 0, weight, 0))
        new = right > plane.best
        return plane._replace(best=jnp.where(new, right, plane.best), kept_w=jnp.where(new, plane.w, plane.kept_w),
                              kept_b=jnp.where(new, plane.b, plane.kept_b))

    @exact
    def fit(key, X, y=None, weight=None) -> Perceptron:
        X, y, weight = labelled(X, y, weight, n_classes=n_classes)
        own = y[None] == (jnp.arange(n_classes) if outputs > 1 else jnp.ones(1, int))[:, None]
        signs = jnp.where(own, 1, -1).astype(X.dtype)
        zero, none = jnp.zeros((outputs, X.shape[1]), X.dtype), jnp.zeros(outputs, X.dtype)
        planes = _Plane(zero, none, zero, none, none, none)
        first = _Run(planes, zero, none, none, jnp.zeros((), jnp.int32))

        def task(key, run: _Run, batch):
            X, signs, weight = batch
            order = jax.random.permutation(key, len(X)) if shuffle else jnp.arange(len(X))
            planes = jax.vmap(epoch, (0, 0, None, None, None))(run.planes, signs, X, weight, order)
            # the mean of this epoch joins those before: sums over all visits would outgrow float32
            part, total = 1 / (run.epochs + 1).astype(X.dtype), jnp.sum(weight)
            return _Run(planes, run.mean_w + part * (planes.kept_w / total - run.mean_w),
                        run.mean_b + part * (planes.kept_b / total - run.mean_b), run.mistakes + planes.wrong,
                        run.epochs + 1), {}

        found = solve(Task(lambda key, batch: first, task), key, (X, signs, weight), max_steps=max_iter,
                      done=lambda old, new: jnp.all(new.planes.wrong == 0))
        planes = found.state.planes
        w, b = {'last': (planes.w, planes.b), 'average': (found.state.mean_w, found.state.mean_b),
                'pocket': (planes.kept_w, planes.kept_b)}[keep]
        return Perceptron(w.T, b, planes.w.T, planes.b, found.state.mistakes, found.steps, found.converged)

    return Estimator(fit, predict, score=score, decision=decision)
