"""What the gradient methods share: losses, rates, one step, one epoch, when to stop.

Formula: of each batch w <- w - eta (mean of l'(x' w + b, y) x + alpha (1 - r) w), then |w| less eta alpha r; b likewise
    without a penalty.
Paper: Robbins, Monro 1951, A stochastic approximation method, Annals of Mathematical Statistics 22; Polyak, Juditsky
    1992, Acceleration of stochastic approximation by averaging, SIAM J. Control and Optimization 30; Bottou 2012,
    Stochastic gradient descent tricks.
Shapes: X [rows, features], T [rows, outputs]; of classes T is -1 or 1, one output for two classes, else one for each.

A row of weight 2 makes a step twice as long, for two rows that are alike; a row of weight 0 makes none, and no time
passes at it.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from common.task import Task, solve
from levels.level1_classical.estimator import choice, exact, hyper

PENALTIES = ('l2', 'l1', 'elastic', 'none')
SCHEDULES = ('constant', 'optimal', 'invscaling', 'adaptive')


class SGD(NamedTuple):
    """A fitted plane. `last` and `last_intercept` are those of the last step, which differ if there is an average."""

    coef: Float[Array, 'features *outputs']
    intercept: Float[Array, '*outputs']
    last: Float[Array, 'features *outputs']
    last_intercept: Float[Array, '*outputs']
    seen: Float[Array, '']          # weight of the rows so far, which is the time of the schedules
    averaged: Float[Array, '']      # weight in the average
    loss: Float[Array, '']          # mean loss of the last epoch, of held-out rows if there are some
    steps: Int[Array, '']           # epochs
    converged: Bool[Array, '']


# name -> (loss, slope) of a prediction p; e is epsilon. In those of classes y is -1 or 1.
REGRESSION = {
    'squared': (lambda p, y, e: (p - y) ** 2 / 2, lambda p, y, e: p - y),
    'huber': (lambda p, y, e: jnp.where(abs(p - y) <= e, (p - y) ** 2 / 2, e * (abs(p - y) - e / 2)),
              lambda p, y, e: jnp.clip(p - y, -e, e)),
    'epsilon_insensitive': (lambda p, y, e: jnp.maximum(abs(p - y) - e, 0),
                            lambda p, y, e: jnp.where(abs(p - y) > e, jnp.sign(p - y), 0)),
    'squared_epsilon_insensitive': (lambda p, y, e: jnp.maximum(abs(p - y) - e, 0) ** 2,
                                    lambda p, y, e: 2 * jnp.sign(p - y) * jnp.maximum(abs(p - y) - e, 0)),
}
CLASSIFICATION = {
    'hinge': (lambda p, y, e: jnp.maximum(1 - p * y, 0), lambda p, y, e: jnp.where(p * y < 1, -y, 0)),
    'squared_hinge': (lambda p, y, e: jnp.maximum(1 - p * y, 0) ** 2,
                      lambda p, y, e: -2 * y * jnp.maximum(1 - p * y, 0)),
    'log': (lambda p, y, e: jax.nn.softplus(-p * y), lambda p, y, e: -y * jax.nn.sigmoid(-p * y)),
    'modified_huber': (lambda p, y, e: jnp.where(p * y >= -1, jnp.maximum(1 - p * y, 0) ** 2, -4 * p * y),
                       lambda p, y, e: jnp.where(p * y >= -1, -2 * y * jnp.maximum(1 - p * y, 0), -4 * y)),
}


class Now(NamedTuple):
    """What a step changes."""

    w: Float[Array, 'features outputs']
    b: Float[Array, ' outputs']
    mean_w: Float[Array, 'features outputs']
    mean_b: Float[Array, ' outputs']
    seen: Float[Array, '']
    averaged: Float[Array, '']


class Run(NamedTuple):
    """What an epoch changes."""

    now: Now
    rate: Float[Array, '']
    loss: Float[Array, '']
    best: Float[Array, '']
    stale: Int[Array, '']
    done: Bool[Array, '']


def descent(*, losses, loss, penalty, alpha, l1_ratio, schedule, rate, power, epsilon, average, batch_size, max_iter,
            tol, patience, early_stopping, validation_fraction, fit_intercept):
    """(fit, start, update) of targets T [rows, outputs], for the two factories below."""
    choice('loss', loss, losses)
    choice('penalty', penalty, PENALTIES)
    choice('schedule', schedule, SCHEDULES)
    for name, value, low in (('alpha', alpha, 0), ('power', power, -jnp.inf), ('epsilon', epsilon, 0), ('tol', tol, 0),
                             ('max_iter', max_iter, 1), ('patience', patience, 1), ('average', int(average), 0),
                             ('batch_size', 1 if batch_size is None else batch_size, 1)):
        hyper(name, value, low)
    hyper('l1_ratio', l1_ratio, 0, 1)
    hyper('rate', rate, 0, open_low=True)
    hyper('validation_fraction', validation_fraction, 0, 0.999, open_low=True)
    if schedule == 'optimal':
        hyper('alpha', alpha, 0, open_low=True)
    value, slope = losses[loss]
    share = {'l1': 1.0, 'l2': 0.0}.get(penalty, l1_ratio)
    price = 0.0 if penalty == 'none' else alpha

    def pace(t, base):
        """The rate when a weight of t has been seen."""
        if schedule == 'optimal':       # 1 / (alpha (t0 + t)); at first alpha^-1/4, about what weights will be
            return 1 / (alpha * t + jnp.sqrt(jnp.sqrt(jnp.asarray(alpha, t.dtype))))
        return base / jnp.maximum(t + 1, 1) ** power if schedule == 'invscaling' else base

    def step(now: Now, x, t, weight, base, size):
        """One batch: size is what a weight of 1 has in it, 1 / rows of a batch."""
        mine = jnp.sum(weight)
        eta = pace(now.seen, base)
        pull = weight[:, None] * jnp.clip(slope(x @ now.w + now.b[None], t, epsilon), -1e12, 1e12) * size
        rate = eta * mine * size * price
        # a decay that no rate can turn around
        w = now.w * jnp.maximum(1 - rate * (1 - share), 0) - eta * (x.T @ pull)
        w = jnp.sign(w) * jnp.maximum(abs(w) - rate * share, 0) if penalty in ('l1', 'elastic') else w
        b = now.b - eta * jnp.sum(pull, 0) if fit_intercept else now.b
        counted = now.averaged
        if average:
            seen = now.seen + mine
            part = jnp.where(seen >= int(average), mine, 0)
            counted = now.averaged + part
            part = jnp.where(counted > 0, part / jnp.where(counted > 0, counted, 1), 1)
            mean_w, mean_b = now.mean_w + part * (w - now.mean_w), now.mean_b + part * (b - now.mean_b)
        else:
            mean_w, mean_b = w, b
        return Now(w, b, mean_w, mean_b, now.seen + mine, counted)

    def epoch(now, X, T, weight, base, order=None):
        """All rows once: (Now, mean loss on the way, which costs nothing)."""
        n = len(X)
        if batch_size is None:
            return step(now, X, T, weight, base, 1 / jnp.sum(weight)), measured(now.w, now.b, X, T, weight)
        size = min(batch_size, n)
        count = -(-n // size)
        order = jnp.arange(n) if order is None else order
        order = jnp.concatenate([order, jnp.zeros(count * size - n, order.dtype)])
        weight = jnp.where(jnp.arange(count * size) < n, weight[order], 0)
        split = lambda v: v.reshape(count, size, *v.shape[1:])

        def one(now, batch):
            x, t, w = batch
            spent = jnp.sum(w[:, None] * value(x @ now.w + now.b[None], t, epsilon))
            return step(now, x, t, w, base, 1 / size), spent

        now, spent = jax.lax.scan(one, now, (split(X[order]), split(T[order]), split(weight)))
        return now, jnp.sum(spent) / jnp.sum(weight)

    def measured(w, b, X, T, weight):
        total = jnp.sum(weight)
        return jnp.sum(weight[:, None] * value(X @ w + b[None], T, epsilon)) / jnp.where(total > 0, total, 1)

    def begin(d, outputs, dtype):
        w, zero = jnp.zeros((d, outputs), dtype), jnp.zeros((), dtype)
        return Now(w, w[0], w, w[0], zero, zero)

    def finished(now: Now, loss, steps, converged, scalar):
        pairs = now.mean_w, now.mean_b, now.w, now.b
        pairs = [p[..., 0] for p in pairs] if scalar else pairs
        return SGD(*pairs, now.seen, now.averaged, loss, steps, converged)

    def fit(key, X, T, weight, scalar):
        held = jnp.zeros_like(weight)
        if early_stopping:          # drawn among the rows that are there
            draw = jnp.where(weight > 0, jax.random.uniform(jax.random.fold_in(key, 1), weight.shape), 2)
            rank = jnp.argsort(jnp.argsort(draw))
            held = jnp.where(rank < jnp.ceil(validation_fraction * jnp.sum(weight > 0)), weight, 0)

        def task(key, run: Run, data):
            X, T, weight, held = data
            order = None if batch_size is None else jax.random.permutation(key, len(X))
            now, loss = epoch(run.now, X, T, weight - held, run.rate, order)
            if early_stopping:
                loss = measured(now.mean_w, now.mean_b, X, T, held)
            stale = jnp.where(loss > run.best - tol, run.stale + 1, 0)
            tired = stale >= patience
            if schedule == 'adaptive':
                rate = jnp.where(tired, run.rate / 5, run.rate)
                done, stale = tired & (rate < 1e-6), jnp.where(tired, 0, stale)
            else:
                rate, done = run.rate, tired
            return Run(now, rate, loss, jnp.minimum(run.best, loss), stale, done), {}

        far = jnp.full((), jnp.inf, X.dtype)
        first = Run(begin(X.shape[1], T.shape[1], X.dtype), jnp.asarray(rate, X.dtype), far, far,
                    jnp.zeros((), jnp.int32), jnp.asarray(False))
        found = solve(Task(lambda key, data: first, task), key, (X, T, weight, held), max_steps=max_iter,
                      done=lambda old, new: new.done)
        return finished(found.state.now, found.state.loss, found.steps, found.converged, scalar)

    def start(d, dtype, outputs, scalar):
        now = begin(d, outputs, dtype)
        return finished(now, jnp.full((), jnp.inf, dtype), jnp.zeros((), jnp.int32), jnp.asarray(False), scalar)

    def update(state: SGD, X, T, weight):
        """One epoch over these rows, in their order."""
        scalar = state.coef.ndim == 1
        pairs = state.last, state.last_intercept, state.coef, state.intercept
        now = Now(*(v[..., None] if scalar else v for v in pairs), state.seen, state.averaged)
        now, loss = epoch(now, X, T, weight, jnp.asarray(rate, X.dtype))
        return finished(now, loss, state.steps + 1, state.converged, scalar)

    return exact(fit), start, exact(update)
