"""The one contract of this repository: anything that learns is a pair of pure functions over a state pytree.

    init(key, batch)            -> state             shapes come from an example batch
    step(key, state, batch)     -> state, metrics    pure, jittable, vmappable
    evaluate(key, state, batch) -> metrics           or None

A ResNet, a GAN, PPO, a GCN and k-means are Tasks.  Three drivers run any of them: `loop.fit` (host loop:
data, strategy, checkpoints, hooks), `train_fn` (the whole run as one function of a key; jit and vmap it) and
`solve` (on the device until converged).

State is data only: NamedTuples of arrays.  Optimisers and apply functions are closed over, never stored.
"""
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, Key

PyTree = Any


class Task(NamedTuple):
    """See the module's docstring.  `metrics` is a dict of `metrics.Mean`."""
    init: Callable[[jax.Array, PyTree], PyTree]
    step: Callable[[jax.Array, PyTree, PyTree], tuple[PyTree, dict]]
    evaluate: Callable[[jax.Array, PyTree, PyTree], dict] | None = None
    guard: str = ''     # set by `wrappers.with_guard`: what the loop does when a step was refused


class Carry(NamedTuple):
    """All that a run needs to go on bit for bit.  For N seeds `key` is [N] and `state` has a leading axis N."""
    step: Int[Array, '']
    key: Key[Array, '*seeds']    # the root key: never split, only folded with `step`
    state: PyTree


SEEDS = Carry(None, 0, 0)        # the vmap axes of a Carry that holds several seeds


def start(task: Task, key: Key[Array, ''], batch: PyTree) -> Carry:
    """The Carry before the first step."""
    init_key, run_key = jax.random.split(key)
    return Carry(jnp.zeros((), jnp.int32), run_key, task.init(init_key, batch))


def advance(task: Task, carry: Carry, batch: PyTree) -> tuple[Carry, dict]:
    """One step: the step's key is the root key folded with the step's number."""
    key = jax.random.fold_in(carry.key, carry.step)
    state, metrics = task.step(key, carry.state, batch)
    return Carry(carry.step + 1, carry.key, state), metrics


def train_fn(task: Task, steps: int, batch_fn: Callable[[PyTree, Array], PyTree] = lambda data, step: data) -> Callable:
    """The whole run as one pure function `(key, data=None) -> (carry, metrics stacked [steps])`.

    `batch_fn(data, step)` makes the batch inside the program (`data.whole` builds both from a Source).  Data is an
    argument and not a closure: XLA takes minutes over closed-over megabytes.

        seeds = jax.jit(jax.vmap(train_fn(task, 500), in_axes=(0, None)))(jax.random.split(key, 8), None)
    """
    def train(key: Key[Array, ''], data: PyTree = None):
        carry = start(task, key, batch_fn(data, jnp.zeros((), jnp.int32)))
        return jax.lax.scan(lambda c, i: advance(task, c, batch_fn(data, i)), carry, jnp.arange(steps))
    return train


class Solution(NamedTuple):
    """What `solve` returns: the last state, how many steps it took, and whether `done` was reached."""
    state: PyTree
    steps: Int[Array, '']
    converged: Bool[Array, '']


def solve(task: Task, key: Key[Array, ''], batch: PyTree, *, max_steps: int,
          done: Callable[[PyTree, PyTree], Bool[Array, '']]) -> Solution:
    """Runs a Task on the device until `done(old_state, new_state)` or `max_steps`.  Jit and vmap it."""
    def cond(loop):
        carry, finished = loop
        return ~finished & (carry.step < max_steps)

    def body(loop):
        carry, _ = loop
        new, _ = advance(task, carry, batch)
        return new, done(carry.state, new.state)

    carry, finished = jax.lax.while_loop(cond, body, (start(task, key, batch), jnp.asarray(False)))
    return Solution(carry.state, carry.step, finished)
