"""What the files of this package share: checked arguments, leading axes, full precision."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def exact(fn: Callable) -> Callable:
    """`fn` with float32 products in float32: accelerators would otherwise round them to fewer bits."""

    @functools.wraps(fn)
    def wrapped(*args, **kwargs):
        with jax.default_matmul_precision('highest'):
            return fn(*args, **kwargs)

    return wrapped


def floats(name: str, x: Any) -> Array:
    """`x` as floating point; integers and booleans become the default type.  Errors: ValueError for other types."""
    x = jnp.asarray(x)
    if jnp.issubdtype(x.dtype, jnp.floating):
        return x
    if x.dtype != bool and not jnp.issubdtype(x.dtype, jnp.integer):
        raise ValueError(f'{name}: expected real numbers, found {x.dtype}')
    return x.astype(jax.dtypes.canonicalize_dtype(float))


def vector(name: str, x: Any) -> Float[Array, '*batch n']:
    """Errors: ValueError for a scalar or an empty axis."""
    x = floats(name, x)
    if x.ndim < 1 or 0 in x.shape:
        raise ValueError(f'{name}: expected [*batch, n] with n > 0, found shape {x.shape}')
    return x


def matrix(name: str, A: Any, *, square: bool = False) -> Float[Array, '*batch m n']:
    """Errors: ValueError for fewer than two axes, an empty axis, or two sizes where one is expected."""
    A = floats(name, A)
    if A.ndim < 2 or 0 in A.shape:
        raise ValueError(f'{name}: expected [*batch, m, n] with m, n > 0, found shape {A.shape}')
    if square and A.shape[-1] != A.shape[-2]:
        raise ValueError(f'{name}: expected [*batch, n, n], found shape {A.shape}')
    return A


def symmetric(name: str, A: Any) -> Float[Array, '*batch n n']:
    """A square matrix, replaced by its symmetric part, which the derivative then respects.

    Errors: ValueError for what `matrix` refuses, and, where values can be read, for A that is far from symmetric.
    """
    A = matrix(name, A, square=True)
    skew = A - A.mT
    if readable(A) and holds(lambda: jnp.max(jnp.abs(skew)) > jnp.finfo(A.dtype).eps ** 0.5 * jnp.max(jnp.abs(A))):
        raise ValueError(f'{name}: expected a symmetric matrix, found entries that differ from their mirror image')
    return A - skew / 2


def choice(name: str, value: Any, choices: Any) -> Any:
    """`value`, if it is among `choices`.  Errors: ValueError."""
    if value not in choices:
        raise ValueError(f'{name}: expected one of {", ".join(map(str, choices))}; found {value!r}')
    return value


def readable(*arrays: Any) -> bool:
    """Whether values can be looked at now, which inside jit, vmap and grad they cannot."""
    return not any(isinstance(a, jax.core.Tracer) for a in arrays)


def holds(claim: Callable[[], Bool[Array, '']]) -> bool:
    """A claim about values that are `readable`, looked at now even where a program is being traced around them."""
    with jax.ensure_compile_time_eval():
        return bool(claim())


def batched(signature: str, fn: Callable, *args: Array, **options: Any) -> Any:
    """`fn` of arrays with the axes of `signature` ('(m,n),(n)->(m)'), mapped over all leading axes, which broadcast.

    Compiled once for each function of a module, its options and its shapes, however often it is called.
    """
    cores = [len(axes.split(',')) if axes else 0 for axes in signature.partition('->')[0][1:-1].split('),(')]
    leading = max(x.ndim - core for x, core in zip(args, cores, strict=True))
    # Leading axes of 1 written out, for rank promotion by itself may be forbidden.
    args = [x.reshape((1,) * (leading - x.ndim + core) + x.shape) for x, core in zip(args, cores, strict=True)]
    return _compiled(signature, fn, tuple(sorted(options.items())))(*args)


@functools.cache
def _compiled(signature: str, fn: Callable, options: tuple) -> Callable:
    return jax.jit(jnp.vectorize(functools.partial(fn, **dict(options)), signature=signature))


def ratio(a: Array, b: Array) -> Array:
    """a / b, and 0 (with derivative 0) where b is 0."""
    return jnp.where(b == 0, 0, a / jnp.where(b == 0, 1, b))
