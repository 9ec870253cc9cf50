"""Scatters in which an index past the end means: nowhere."""
import jax.numpy as jnp
from jaxtyping import Array, Int, Shaped


def scatter(x: Shaped[Array, 'n ...'], index: Int[Array, '...'], values, how: str = 'set') -> Shaped[Array, 'n ...']:
    """`x.at[index].set(values)` (or add, max, min); what an index of n or more would write is dropped.

    Not by `mode='drop'`: a row more takes what goes nowhere, so that no index is out of range. XLA's deterministic
    scatters on a GPU, which a run asks for, write what is out of range into the next member of a vmap (seen with jaxlib
    0.11.2 on an H100: docs/accelerators.md).
    """
    n = len(x)
    longer = jnp.concatenate([x, jnp.zeros((1, *x.shape[1:]), x.dtype)])
    return getattr(longer.at[jnp.minimum(index, n)], how)(values)[:n]
