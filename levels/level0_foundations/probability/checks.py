"""What every function of this package does with its arguments first: to floating point, into range, to one shape.

Values are looked at where they can be read, which inside jit and vmap they cannot; shapes always.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array


def readable(*arrays: Any) -> bool:
    """Whether the values can be looked at now."""
    return not any(isinstance(a, jax.core.Tracer) for a in arrays)


def floats(name: str, x: Any) -> Array:
    """`x` as floating point: arrays of floats keep their type, Python numbers take that of what they meet."""
    try:
        x = jnp.asarray(x)
    except TypeError:
        raise ValueError(f'{name}: expected numbers, found {type(x).__name__}') from None
    if x.dtype == bool or jnp.issubdtype(x.dtype, jnp.integer):
        return x.astype(jnp.result_type(float))
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise ValueError(f'{name}: expected numbers, found {x.dtype}')
    return x


def numbers(name: str, x: Any, low: float = -np.inf, high: float = np.inf, *, edges: bool = True,
            whole: bool = False) -> Array:
    """`floats` that are finite and lie between low and high.

    edges: whether low and high themselves may be taken; whole: only whole numbers.
    Errors: ValueError of one line, where the values can be read.
    """
    x = floats(name, x)
    if readable(x):
        v = np.asarray(x, np.float64)
        inside = (v >= low) & (v <= high) if edges else (v > low) & (v < high)
        good = np.isfinite(v) & inside & (v == np.floor(v) if whole else True)
        if not good.all():
            kind = 'whole numbers' if whole else 'finite numbers'
            sign = '<=' if edges else '<'
            left = f'{low:g} {sign} ' if low > -np.inf else ''
            right = f' {sign} {high:g}' if high < np.inf else ''
            bounds = f', {left}{name}{right}' if left or right else ''
            raise ValueError(f'{name}: expected {kind}{bounds}; found {v[~good].ravel()[0]:g}')
    return x


def together(*xs: Any) -> list[Array]:
    """All of one floating type and one shape.  Errors: ValueError for shapes that do not broadcast."""
    xs = [floats('x', x) for x in xs]
    dtype = jnp.result_type(*xs)
    shapes = [x.shape for x in xs]
    try:
        shape = np.broadcast_shapes(*shapes)
    except ValueError:
        found = ' and '.join(map(str, dict.fromkeys(shapes)))
        raise ValueError(f'shapes: expected shapes that broadcast; found {found}') from None
    return [jnp.broadcast_to(x.astype(dtype), shape) for x in xs]


def times(noise: Array, scale: Array, loc: Array | float = 0.0) -> Array:
    """loc + scale noise, for noise [*shape, *batch] and parameters [*batch]."""
    return jnp.broadcast_to(loc, noise.shape) + jnp.broadcast_to(scale, noise.shape) * noise


def repeated(x: Array, shape: tuple[int, ...]) -> Array:
    """x, once for each sample: [*shape, *x.shape]."""
    return jnp.broadcast_to(x, (*shape, *x.shape))


def vectors(name: str, x: Array) -> Array:
    """`x`, if it is [*batch, k] with k > 0."""
    if x.ndim < 1 or x.shape[-1] == 0:
        raise ValueError(f'{name}: expected [*batch, k] with k > 0; found shape {x.shape}')
    return x
