"""From a loss to a Task: gradients, accumulation, precision.  Optax does the updates, clipping and schedules.

A loss is a `metrics.Mean` (or a scalar, of weight 1).  The gradient of a step is the sum of the gradients of the
totals divided by the sum of the weights, over micro-batches and replicas alike, so masked rows, padded batches and
unequal parts come out as one big batch would.
"""
import re
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from common import parallel, trees
from common.errors import ConfigError
from common.metrics import Mean
from common.task import Task

PyTree = Any


class Fit(NamedTuple):
    """One optimised set of parameters.  `extra`: mutable Linen collections such as batch_stats, or {}."""
    params: PyTree
    extra: PyTree
    opt: PyTree


class Gradients(NamedTuple):
    """Additive parts of a step: gradient of the loss's total, the loss's weight, collections after it, metrics."""
    grads: PyTree
    weight: jax.Array
    extra: PyTree
    metrics: dict


class Policy(NamedTuple):
    """Parameters stay in their own dtype (float32); loss and model see them and the batch in `compute`."""
    compute: Any = jnp.float32

    def cast(self, tree: PyTree) -> PyTree:
        if jnp.dtype(self.compute) == jnp.float32:
            return tree
        is_float = lambda x: hasattr(x, 'dtype') and jnp.issubdtype(x.dtype, jnp.floating)
        return jax.tree.map(lambda x: x.astype(self.compute) if is_float(x) else x, tree)


def gradients(loss_fn: Callable) -> Callable:
    """loss_fn(params, extra, batch, key) -> (loss, (extra, metrics))  ==>  the same arguments -> Gradients."""
    def total(params, extra, batch, key):
        loss, (extra, metrics) = loss_fn(params, extra, batch, key)
        if not isinstance(loss, Mean):
            loss = Mean(loss, jnp.ones((), jnp.float32))
        return loss.total, (loss.weight, extra, metrics)

    def grad_fn(params, extra, batch, key) -> Gradients:
        (_, (weight, extra, metrics)), grads = jax.value_and_grad(total, has_aux=True)(params, extra, batch, key)
        return Gradients(grads, weight, extra, metrics)

    return grad_fn


def accumulate(grad_fn: Callable, n: int) -> Callable:
    """The same gradient from n micro-batches in turn, in 1/n of the memory.

    Micro-batches are strided, so that each one spans all devices of a mesh.  Collections (batch_stats) go through
    them one after another; each has its own key.  Raises ValueError when the rows do not divide by n.
    """
    if n == 1:
        return grad_fn

    def wrapped(params, extra, batch, key) -> Gradients:
        if bad := [x.shape for x in jax.tree.leaves(batch) if x.shape[0] % n]:
            raise ValueError(f'batch: expected rows that divide into {n} micro-batches, found shape {bad[0]}')
        micro = jax.tree.map(lambda x: jnp.moveaxis(x.reshape((x.shape[0] // n, n, *x.shape[1:])), 1, 0), batch)

        def body(carry, xs):
            extra, total = carry
            i, part = xs
            g = grad_fn(params, extra, part, jax.random.fold_in(key, i))
            return (g.extra, jax.tree.map(jnp.add, total, g._replace(extra=None))), None

        shapes = jax.eval_shape(grad_fn, params, extra, jax.tree.map(lambda x: x[0], micro), key)
        zero = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes._replace(extra=None))
        (extra, total), _ = jax.lax.scan(body, (extra, zero), (jnp.arange(n), micro))
        return total._replace(extra=extra)

    return wrapped


def _ordered(grad_fn: Callable, params, extra, batch, key) -> Gradients:
    """Gradients of a fixed number of micro-batches, each with its own key, added in their order: see parallel.py.

    Every micro-batch starts from the same collections, and their results are averaged; batch norm sees one
    micro-batch, on whatever device it lies.
    """
    axis = parallel.axis()
    here = axis.micro // axis.size
    # One idle slot more than needed: XLA simplifies arrays of one slot, and simplified code rounds differently.
    micro = jax.tree.map(lambda x: x.reshape((here, x.shape[0] // here, *x.shape[1:])), batch)
    micro = jax.tree.map(lambda x: jnp.concatenate([x, x[:1]]), micro)

    def part(i) -> Gradients:
        with parallel.bound(None):
            return grad_fn(
                params, extra, jax.tree.map(lambda x: x[i], micro), jax.random.fold_in(key, replica * here + i)
            )

    replica = parallel.index()
    rows = jax.tree.map(
        lambda s: jnp.zeros((here + 1, *s.shape), s.dtype), jax.eval_shape(part, jnp.zeros((), jnp.int32))
    )
    # The bound is hidden for the same reason: a loop of one turn would be inlined.
    n = jax.lax.optimization_barrier(jnp.asarray(here, jnp.int32))
    rows = jax.lax.fori_loop(0, n, lambda i, rows: jax.tree.map(lambda r, x: r.at[i].set(x), rows, part(i)), rows)
    rows = parallel.gather(jax.tree.map(lambda r: r[:here], rows))
    total = jax.tree.map(lambda r: jax.lax.scan(lambda t, x: (t + x, None), jnp.zeros_like(r[0]), r)[0], rows)
    first = lambda x: jnp.where(parallel.index() == 0, x, jnp.zeros_like(x))    # the driver adds over replicas
    return total._replace(extra=jax.tree.map(lambda x: x / axis.micro, total.extra),
                          metrics=jax.tree.map(first, total.metrics))


def descend(loss_fn: Callable, tx: optax.GradientTransformation, fit: Fit, batch: PyTree, key: jax.Array, *,
            accum: int = 1) -> tuple[Fit, dict]:
    """One optimiser step on `fit`, right on any number of replicas and micro-batches.

    loss_fn(params, extra, batch, key) -> (loss, (extra, metrics)), loss a Mean or a scalar.
    """
    return descend_by(gradients(loss_fn), tx, fit, batch, key, accum=accum)


def descend_by(grad_fn: Callable, tx: optax.GradientTransformation, fit: Fit, batch: PyTree, key: jax.Array, *,
               accum: int = 1) -> tuple[Fit, dict]:
    """`descend` for gradients that are not taken here: grad_fn(params, extra, batch, key) -> Gradients."""
    if parallel.micro_batches():
        if accum != 1:
            raise ConfigError(f'accum: expected 1 under the ordered reduction (it has micro_batches), found {accum}')
        g = _ordered(grad_fn, fit.params, fit.extra, batch, key)
    else:
        g = accumulate(grad_fn, accum)(fit.params, fit.extra, batch, key)
        grads, weight = parallel.psum((g.grads, g.weight))
        g = g._replace(grads=grads, weight=weight, extra=parallel.pmean(g.extra))
    # A fence: what follows is compiled alike whatever came before it.
    grads = jax.lax.optimization_barrier(jax.tree.map(lambda x: x / g.weight.astype(x.dtype), g.grads))
    updates, opt = tx.update(grads, fit.opt, fit.params)
    return Fit(optax.apply_updates(fit.params, updates), g.extra, opt), g.metrics


def gradient_task(init_params: Callable, loss_fn: Callable, tx: optax.GradientTransformation, *, accum: int = 1,
                  policy: Policy = Policy()) -> Task:
    """Any problem with one objective.

    init_params(key, batch) -> (params, extra)
    loss_fn(params, extra, batch, key, train) -> (loss, (extra, metrics))
    """
    def init(key, batch):
        params, extra = init_params(key, batch)
        return Fit(params, extra, tx.init(params))

    def step(key, state, batch):
        def loss(params, extra, batch, key):
            return loss_fn(policy.cast(params), extra, policy.cast(batch), key, True)
        return descend(loss, tx, state, batch, key, accum=accum)

    def evaluate(key, state, batch):
        return loss_fn(policy.cast(state.params), state.extra, policy.cast(batch), key, False)[1][1]

    return Task(init, step, evaluate)


def freeze(tx: optax.GradientTransformation, pattern: str) -> optax.GradientTransformation:
    """`tx` for the parameters whose path does not match the regex; the others never change and have no state.

    Raises ValueError at init when the pattern matches no parameter, or all of them.
    """
    def labels(params):
        found = trees.map_named(lambda p, _: 'frozen' if re.search(pattern, p) else 'trained', params)
        if len(kinds := set(jax.tree.leaves(found))) != 2:
            raise ValueError(f'pattern: expected {pattern!r} to match some parameters and not others, '
                             f'found all of them {kinds.pop()}')
        return found

    # -0, for what is added to a number changes no bit of it then, not even the sign of a zero
    hold = optax.stateless(lambda updates, params: jax.tree.map(lambda x: jnp.full_like(x, -0.0), updates))
    return optax.multi_transform({'trained': tx, 'frozen': hold}, labels)
