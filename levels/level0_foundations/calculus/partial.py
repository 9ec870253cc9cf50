"""Partial derivatives, one by one and as columns of the Jacobian, and the total derivative that they add up to."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


class Total(NamedTuple):
    """total = direct + sum(through): what t does by itself, and what it does through each inner function."""

    total: Float[Array, '*out']
    direct: Float[Array, '*out']
    through: tuple[Float[Array, '*out'], ...]


def _vector(x: Any) -> Array:
    x = jnp.asarray(x)
    if x.ndim != 1 or not jnp.issubdtype(x.dtype, jnp.floating):
        raise ValueError(f'x: expected [n] of floating point numbers, found {x.dtype} of shape {x.shape}')
    return x


def partial_derivative(fn: Callable[[Array], Array], x: Float[Array, ' n'], *, index: int,
                       order: int = 1) -> Float[Array, '*out']:
    """The derivative with respect to one coordinate, all others held: one column of the Jacobian, by one JVP.

    Formula: d^k f / dx_i^k = d^k/dt^k f(x + t e_i) at t = 0.
    Paper: Euler 1755, Institutiones calculi differentialis; the notation: Legendre 1786, Jacobi 1841.
    Shapes: fn: [n] -> [*out], x [n] -> [*out]. order: how often, 1 or more.
    Errors: ValueError for x that is not [n], an index outside -n .. n-1, an order below 1.
    Example:
        fn = lambda x: jnp.array([x[0] * x[1] ** 3, x[1]])
        x = jnp.array([2.0, 1.0])
        assert partial_derivative(fn, x, index=0).tolist() == [1, 0]
        assert partial_derivative(fn, x, index=1, order=2).tolist() == [12, 0]
    """
    x = _vector(x)
    n = len(x)
    if not -n <= index < n:
        raise ValueError(f'index: expected -{n} to {n - 1}, found {index}')
    if order < 1:
        raise ValueError(f'order: expected at least 1, found {order}')
    along = jnp.zeros_like(x).at[index].set(1)
    for _ in range(order):
        fn = lambda x, fn=fn: jax.jvp(fn, (x,), (along,))[1]
    return fn(x)


def jacobian_columns(fn: Callable[[Array], Array], x: Float[Array, ' n']) -> Float[Array, '*out n']:
    """All partial derivatives, each by its own JVP, in one program: what `jax.jacfwd` is.

    Formula: J = [df/dx_1 ... df/dx_n], column i = J e_i.
    Paper: Griewank, Walther 2008, Evaluating derivatives, chapter 3.
    Shapes: fn: [n] -> [*out], x [n] -> [*out, n].
    Errors: ValueError for x that is not [n].
    Example:
        fn = lambda x: jnp.stack([x[0] * x[1], x[0] + 2 * x[1]])
        x = jnp.array([3.0, 4.0])
        assert jacobian_columns(fn, x).tolist() == [[4, 3], [1, 2]]
        assert jnp.array_equal(jacobian_columns(fn, x), jax.jacfwd(fn)(x))
    """
    x = _vector(x)
    column = lambda e: jax.jvp(fn, (x,), (e,))[1]
    return jax.vmap(column, out_axes=-1)(jnp.eye(len(x), dtype=x.dtype))


def total_derivative(fn: Callable[..., Array], inner: Sequence[Callable[[Array], Array]],
                     t: Float[Array, '']) -> Total:
    """How f(t, u(t), v(t), ...) changes with t, taken apart: the partial derivative holds u, v, ... and is only a part.

    Formula: df/dt = @f/@t + @f/@u u'(t) + @f/@v v'(t) + ... (@ partial).
    Paper: Euler 1755, Institutiones calculi differentialis.
    Shapes: fn: ([], [*u], [*v], ...) -> [*out]; inner: functions [] -> [*u], [] -> [*v], ...; t [] -> Total of [*out].
    Errors: ValueError for t that is not one floating point number.
    Example:
        fn = lambda t, u: t * u                             # with u = t^2 this is t^3
        found = total_derivative(fn, [lambda t: t ** 2], jnp.array(2.0))
        assert found.direct == 4 and found.through[0] == 8
        assert found.total == 12
    """
    t = jnp.asarray(t)
    if t.shape != () or not jnp.issubdtype(t.dtype, jnp.floating):
        raise ValueError(f't: expected one floating point number, found {t.dtype} of shape {t.shape}')
    pairs = [jax.jvp(u, (t,), (jnp.ones_like(t),)) for u in inner]
    values, slopes = [v for v, _ in pairs], [s for _, s in pairs]
    direct = jax.jvp(lambda t: fn(t, *values), (t,), (jnp.ones_like(t),))[1]

    def through(i):
        only = lambda u: fn(t, *values[:i], u, *values[i + 1:])
        return jax.jvp(only, (values[i],), (slopes[i],))[1]

    parts = tuple(through(i) for i in range(len(values)))
    return Total(sum(parts, start=direct), direct, parts)
