"""A chain of hand-made layers as a Task of the core: it trains without any derivative taken by JAX.

Formula: each step, params <- params - tx(sum of the rows' gradients / number of rows), gradients from `backprop.chain`.
Paper: Rumelhart, Hinton, Williams 1986, Learning representations by back-propagating errors.
Shapes: batch[x] [batch, ...] is flattened to [batch, features].

Example:
    from levels.level0_foundations.optimisers import sgd
    from levels.level2_neural.backprop_task import chain_task
    task = chain_task(net, sgd(0.1, momentum=0.9), x='image', y='label')
    fitted = loop.fit(task, source, steps=1000, key=jax.random.key(0))
"""

import math

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from common import metrics as M
from common.optim import Fit, Gradients, descend_by
from common.task import Task
from levels.level2_neural.backprop import Chain


def flat(x: Array) -> Float[Array, 'batch features']:
    """One row for each example."""
    return x.reshape(x.shape[0], -1)


def chain_task(net: Chain, tx: optax.GradientTransformation, *, x: str = 'x', y: str = 'y', accum: int = 1) -> Task:
    """Learns `net` by its own gradients; right on any number of replicas and micro-batches, as `optim.descend`.

    batch: x [batch, ...], y as the head of the net wants it, optional 'mask' [batch]. State: optim.Fit, extra are the
    running numbers. Metrics: loss; accuracy where targets are classes. accum: micro-batches per step.
    """

    def metrics(output, targets, loss, mask) -> dict:
        found = {'loss': M.mean(loss, mask)}
        if targets.ndim == output.ndim - 1 and jnp.issubdtype(targets.dtype, jnp.integer):
            found['accuracy'] = M.mean(jnp.argmax(output, -1) == targets, mask)
        return found

    def init(key, batch):
        params, stats = net.init(key, features=math.prod(batch[x].shape[1:]))
        return Fit(params, stats, tx.init(params))

    def gradients(params, stats, batch, key) -> Gradients:
        mask = batch.get('mask')
        seen = net.passes(params, stats, flat(batch[x]), batch[y], weight=mask, train=True, key=key)
        found = metrics(seen.output, batch[y], seen.loss, mask)
        return Gradients(seen.grads, found['loss'].weight, seen.stats, found)

    def step(key, fit, batch):
        return descend_by(gradients, tx, fit, batch, key, accum=accum)

    def evaluate(key, fit, batch):
        output, *_ = net.forward(fit.params, fit.extra, flat(batch[x]))
        return metrics(output, batch[y], net.head.value(output, batch[y]), batch.get('mask'))

    return Task(init, step, evaluate)
