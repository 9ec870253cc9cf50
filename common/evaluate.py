"""Exact means over a finite set of records, in one device program."""
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from common import data, metrics
from common.task import Carry, Task

EVALUATION = 2**31 - 1      # folded into the root key: never the number of a step


def evaluator(task: Task, arrays: dict[str, np.ndarray], *, batch_size: int) -> Callable[[Carry], dict]:
    """carry -> mean of each of the task's metrics over all rows of `arrays`; arrays [seeds] for several seeds.

    The last batch is padded with rows of no weight.  Raises ValueError when the task has no `evaluate`.
    """
    if task.evaluate is None:
        raise ValueError('task: expected one with an evaluate function, found None')
    parts = list(data.padded(arrays, batch_size))
    batches = jax.tree.map(lambda *xs: np.stack(xs), *parts)
    if jax.process_count() == 1:
        batches = jax.tree.map(jnp.asarray, batches)    # uncommitted: goes wherever the carry is

    def one(key, state, batches):
        def body(total, batch):
            return metrics.merge(total, task.evaluate(jax.random.fold_in(key, EVALUATION), state, batch)), None
        shapes = jax.eval_shape(task.evaluate, key, state, jax.tree.map(lambda x: x[0], batches))
        zero = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
        return jax.lax.scan(body, zero, batches)[0]

    run = jax.jit(lambda carry, batches: (jax.vmap(one, (0, 0, None)) if carry.key.ndim else one)(
        carry.key, carry.state, batches))
    return lambda carry: metrics.compute(run(carry, batches))


def by_seed(of_seed: Callable[[Any], dict], carry: Carry) -> dict:
    """`of_seed(state)` of the run's state; where it holds several seeds, of each, as arrays [seeds]."""
    if not carry.key.ndim:
        return of_seed(carry.state)
    state = jax.device_get(carry.state)
    found = [of_seed(jax.tree.map(lambda x, i=i: x[i], state)) for i in range(len(carry.key))]
    return {k: np.array([f[k] for f in found]) for k in found[0]}
