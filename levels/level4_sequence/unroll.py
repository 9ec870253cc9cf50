"""A cell over time: one scan, with lengths, in either direction, from any carry.

A cell is a Linen module with four parts, the first two of which are all that its parameters touch:

    cell(carry, x) -> (carry, y)                one step; x [batch, in], y [batch, features]
    cell.inputs(xs) -> (projected, weights)     all that does not depend on the carry, for any leading axes of xs
    cell.step(weights, carry, projected)        -> (carry, y); pure, so it may stand in a scan
    cell.initial_carry(batch, dtype) -> carry   zeros; float32 at least, so that sums over time keep their digits

Example:
    from levels.level4_sequence.lstm import LSTM
    from levels.level4_sequence.unroll import unroll
    cell = LSTM(8)
    params = cell.init(jax.random.key(0), xs, method=unroll)
    carry, ys = cell.apply(params, xs, lengths, method=unroll)      # inside a Linen module: unroll(cell, xs, lengths)
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

PyTree = Any


def carry_dtype(dtype: Any) -> Any:
    """The dtype of a carry: that of the computation, float32 at least."""
    return jnp.promote_types(dtype, jnp.float32)


def blocks(init: Callable[..., Array], n: int) -> Callable[..., Array]:
    """An initialiser that draws each of n gates on its own: [in, n * features] from n times [in, features].

    In float32 at least: an orthogonal matrix comes from a QR decomposition, which bfloat16 does not have.
    """

    def draw(key: Array, shape: tuple[int, int], dtype: Any = jnp.float32) -> Array:
        keys = jax.random.split(key, n)
        drawn = [init(k, (shape[0], shape[1] // n), carry_dtype(dtype)) for k in keys]
        return jnp.concatenate(drawn, axis=1).astype(dtype)

    return draw


def one_step(cell: nn.Module, carry: PyTree, x: Float[Array, 'batch in']) -> tuple[PyTree, Float[Array, 'batch f']]:
    """What `cell(carry, x)` does."""
    if x.ndim != 2:
        raise ValueError(f'x: expected [batch, features]; found shape {x.shape}')
    projected, weights = cell.inputs(x)
    _check(cell, carry, x.shape[0], projected.dtype)
    return cell.step(weights, carry, projected)


def unroll(
    cell: nn.Module, xs: Float[Array, 'batch time in'], lengths: Int[Array, ' batch'] | None = None, *,
    carry: PyTree = None, reverse: bool = False, truncate: int | None = None,
) -> tuple[PyTree, Float[Array, 'batch time features']]:
    """The final carry and the outputs of a cell over time.

    Formula: carry_t, y_t = cell(carry_{t-1}, x_t) for t = 0..length-1, or from length-1 down to 0 with `reverse`;
        y_t keeps the place of x_t. At t >= length the carry stays, y_t = 0, and x_t may be anything, even nan: no
        value and no gradient meets it. With truncate=k gradients are exact within each k steps (of the scan's order),
        and none passes from those into the k before.
    Paper: Werbos 1990, Backpropagation through time; truncate=k: Williams, Peng 1990, An efficient gradient-based
        algorithm for on-line training of recurrent network trajectories.
    Shapes: xs [batch, time, in], lengths [batch] in 0..time (None: all of them), carry as `cell.initial_carry` makes
        it (None: zeros) -> carry, ys [batch, time, features]. Going on from a carry makes pieces of a sequence one.
    Errors: ValueError for another rank of xs, lengths that are not [batch] or (where they can be read) not in
        0..time, a carry of another form, truncate < 1.
    Example:
        from levels.level4_sequence.gru import GRU
        cell, xs, lengths = GRU(8), jnp.ones((2, 5, 3)), jnp.array([5, 2])
        params = cell.init(jax.random.key(0), xs, method=unroll)
        carry, ys = cell.apply(params, xs, lengths, method=unroll)
        ys.shape, bool((ys[1, 1] == carry[1]).all())         # (2, 5, 8), True: the carry of row 1 is that of step 1
    """
    xs = jnp.asarray(xs)
    if xs.ndim != 3:
        raise ValueError(f'xs: expected [batch, time, features]; found shape {xs.shape}')
    if truncate is not None and truncate < 1:
        raise ValueError(f'truncate: expected 1 or more steps; found {truncate}')
    batch, time, _ = xs.shape
    xs = xs.swapaxes(0, 1)                      # time first: the scan takes one slice a step
    real = None if lengths is None else _real(lengths, batch, time)
    if real is not None:
        xs = jnp.where(real, xs, 0)
    # One large product here instead of a small one in each step.
    projected, weights = cell.inputs(xs)
    if carry is None:
        carry = cell.initial_carry(batch, projected.dtype)
    _check(cell, carry, batch, projected.dtype)
    carry = jax.tree.map(lambda c: jnp.asarray(c, carry_dtype(projected.dtype)), carry)
    age = jnp.arange(time)[::-1] if reverse else jnp.arange(time)       # how many steps came before

    def advance(old: PyTree, at: tuple) -> tuple[PyTree, Array]:
        now, there, steps = at
        if truncate is not None:
            begins = steps % truncate == 0
            old = jax.tree.map(lambda c: jnp.where(begins, jax.lax.stop_gradient(c), c), old)
        new, y = cell.step(weights, old, now)
        if there is None:
            return new, y
        return jax.tree.map(lambda n, o: jnp.where(there, n, o), new, old), jnp.where(there, y, 0)

    carry, ys = jax.lax.scan(advance, carry, (projected, real, age), reverse=reverse)
    return carry, ys.swapaxes(0, 1)


def bidirectional(
    forward: nn.Module, backward: nn.Module, xs: Float[Array, 'batch time in'],
    lengths: Int[Array, ' batch'] | None = None,
) -> tuple[tuple[PyTree, PyTree], Float[Array, 'batch time both']]:
    """Two cells, the second from each sequence's own end to its beginning: both carries, and the outputs side by side.

    Schuster, Paliwal 1997, Bidirectional recurrent neural networks. Inside a Linen module, or with bound cells.

        carries, ys = bidirectional(LSTM(8), LSTM(8), xs, lengths)      # ys [batch, time, 16]
    """
    ahead, there = unroll(forward, xs, lengths)
    behind, back = unroll(backward, xs, lengths, reverse=True)
    return (ahead, behind), jnp.concatenate([there, back], axis=-1)


def _real(lengths: Int[Array, ' batch'], batch: int, time: int) -> Bool[Array, 'time batch 1']:
    """True where a step is one of the sequence."""
    if jnp.shape(lengths) != (batch,) or not jnp.issubdtype(jnp.result_type(lengths), jnp.integer):
        raise ValueError(f'lengths: expected {batch} integers, one for each sequence; found '
                         f'{jnp.result_type(lengths)} of shape {jnp.shape(lengths)}')
    if not isinstance(lengths, jax.core.Tracer) and batch and not 0 <= np.min(lengths) <= np.max(lengths) <= time:
        raise ValueError(f'lengths: expected 0 to {time}; found {np.min(lengths)} to {np.max(lengths)}')
    return (jnp.arange(time)[:, None] < jnp.asarray(lengths)[None])[..., None]


def _check(cell: nn.Module, carry: PyTree, batch: int, dtype: Any) -> None:
    """Refuses a carry that is not of the cell's form: [1, features] or [features] would broadcast."""
    wanted = jax.eval_shape(lambda: cell.initial_carry(batch, dtype))
    shapes = [(jax.tree.structure(c), [jnp.shape(leaf) for leaf in jax.tree.leaves(c)]) for c in (wanted, carry)]
    if shapes[0] != shapes[1]:
        raise ValueError(f'carry: expected {type(wanted).__name__} with shapes {shapes[0][1]}; found '
                         f'{type(carry).__name__} with shapes {shapes[1][1]}')
