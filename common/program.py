"""The device side of `loop.fit`: the program that a strategy compiles."""
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from common import data, metrics, parallel
from common.task import SEEDS, Carry, Task, advance, start

PyTree = Any


class State(NamedTuple):
    """What a checkpoint holds: the Carry, and the sums of the metrics since the last log line."""
    carry: Carry
    window: PyTree


def make_call(task: Task, source: data.Source, steps: int) -> Callable:
    """The device program of `fit`: (State, resident, host data of k steps) -> State."""
    def one(carry: Carry, resident: PyTree, host: PyTree):
        def step(carry, host):
            # The fence keeps the step's arithmetic the same however its batch came to be.
            return advance(task, carry, jax.lax.optimization_barrier(source.batch(resident, host)))
        if source.seeds:
            return jax.vmap(step, (SEEDS, 0), (SEEDS, 0))(carry, host)
        return step(carry, host)

    def call(state: State, resident: PyTree, host: PyTree) -> State:
        if steps == 1:
            carry, m = one(state.carry, resident, jax.tree.map(lambda x: x[0], host))
        else:
            carry, m = jax.lax.scan(lambda c, h: one(c, resident, h), state.carry, host, length=steps)
            m = metrics.sum_leading(m)
        return State(carry, metrics.merge(state.window, parallel.psum(m)))

    return call


def make_start(task: Task, source: data.Source):
    """(key, resident, host of one step) -> State before the first step."""
    def begin(key, resident, host):
        def first(key, host):
            batch = source.batch(resident, host)
            carry = start(task, key, batch)
            shapes = jax.eval_shape(lambda: advance(task, carry, batch)[1])
            return carry, jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
        if source.seeds:
            return State(*jax.vmap(first, out_axes=(SEEDS, 0))(key, host))
        return State(*first(key, host))
    return begin
