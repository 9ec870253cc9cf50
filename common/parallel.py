"""What a step may say about replicas: where they must agree, and which rows of the batch are its own.

A step never names a strategy.  Where replicas must agree it calls `psum` / `pmean`, and where it draws random
numbers per row it calls `rows`; all of these do nothing unless a replica axis is bound at trace time.  Under plain
jit a batch is global, and XLA inserts the sums.  `strategies.py` binds the axis.

Two reductions.  `fast`: each replica takes one gradient of its rows, sums in whatever order the hardware likes.
`ordered`: the batch is cut into a fixed number of micro-batches whatever the number of devices, and their
gradients are added in their order, so that 1, 2, 4 and 8 devices give the same bits.

Each reduction binds an axis name of its own.  JAX keys its trace caches by the bound axes, so a nested jit traced
under one strategy is never reused under another.
"""
import contextlib
import contextvars
from collections.abc import Callable
from typing import Any, NamedTuple

import jax

PyTree = Any


class Axis(NamedTuple):
    """A bound replica axis: its name, how many replicas, and the number of micro-batches (0: fast reduction)."""
    name: str
    size: int
    micro: int = 0


_AXIS: contextvars.ContextVar[Axis | None] = contextvars.ContextVar('axis', default=None)


@contextlib.contextmanager
def bound(axis: Axis | None):
    """Binds a replica axis (or none) while a step is traced."""
    token = _AXIS.set(axis)
    try:
        yield
    finally:
        _AXIS.reset(token)


def axis() -> Axis | None:
    """The replica axis bound at trace time, or None."""
    return _AXIS.get()


def axis_name() -> str | None:
    """Its name, for modules that take one (`nn.BatchNorm(axis_name=...)`)."""
    return axis().name if axis() else None


def micro_batches() -> int:
    """The number of micro-batches of an ordered reduction; 0 when the reduction is fast."""
    return axis().micro if axis() else 0


def psum(tree: PyTree) -> PyTree:
    """Sum over replicas; the identity when no axis is bound."""
    return jax.lax.psum(tree, axis().name) if axis() else tree


def pmean(tree: PyTree) -> PyTree:
    """Mean over replicas; the identity when no axis is bound."""
    return jax.lax.pmean(tree, axis().name) if axis() else tree


def gather(tree: PyTree) -> PyTree:
    """[rows here, ...] -> [rows of the whole batch, ...] on every replica."""
    return jax.lax.all_gather(tree, axis().name, tiled=True) if axis() else tree


def index() -> jax.Array | int:
    """Which replica this is, from 0."""
    return jax.lax.axis_index(axis().name) if axis() else 0


def mine(x: jax.Array) -> jax.Array:
    """[rows of the whole batch, ...] -> this replica's rows."""
    if not axis():
        return x
    n = x.shape[0] // axis().size
    return jax.lax.dynamic_slice_in_dim(x, index() * n, n)


def rows(draw: Callable[[int], jax.Array], n: int) -> jax.Array:
    """`draw(rows of the whole batch)` cut to this replica's n rows: the same numbers on any number of devices."""
    return mine(draw(n * (axis().size if axis() else 1)))
