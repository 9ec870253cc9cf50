"""Reverse mode from nothing but NumPy: a tape of what was computed, read backwards with the chain rule.

A function runs once with `Var`s for numbers. Each operation appends to the tape: a `Var` with its value, its parents
and a rule that turns the slope of the result into slopes of the parents. Backwards, in falling order of the numbers
that operations got when they ran, each slope is complete before it is passed on. Rules are written in the same
operations, so a gradient is itself recorded when another gradient is taken around it: any order.

Example:
    from levels.level0_foundations.calculus import tape
    slopes = tape.grad(lambda p: tape.sum(tape.tanh(x @ p['w'] + p['b']) ** 2))(params)
"""

import contextvars
import itertools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

PyTree = Any
_NUMBERS = itertools.count()
_DEPTH = contextvars.ContextVar('tape_depth', default=0)    # how many gradients are being taken around this point


class Var:
    """A value on the tape."""

    __array_ufunc__ = None      # `array + var` is then Var.__radd__ and not an array of objects

    def __init__(self, value: Any, rule: Callable | None = None, args: tuple = (), options: dict | None = None):
        self.value, self.number = value, next(_NUMBERS)
        self.rule, self.args, self.options = rule, args, options or {}

    shape = property(lambda self: self.value.shape)
    ndim = property(lambda self: self.value.ndim)
    size = property(lambda self: self.value.size)
    __repr__ = lambda self: f'Var({self.value!r})'


def value_of(x: Any) -> np.ndarray:
    """The array behind a Var, a number or an array, in float64."""
    return x.value if isinstance(x, Var) else np.asarray(x, np.float64)


def primitive(rule: Callable) -> Callable:
    """Makes an operation of `forward(*arrays, **options)` with this rule; of arrays alone it records nothing.

    rule(slope, result, *args, **options) -> a slope for each of args, or None; written in the operations of this file.
    """

    def decorate(forward: Callable) -> Callable:
        def operation(*args: Any, **options: Any) -> Any:
            value = np.asarray(forward(*map(value_of, args), **options))
            return Var(value, rule, args, options) if any(isinstance(a, Var) for a in args) else value

        operation.__name__, operation.__doc__ = forward.__name__, forward.__doc__
        return operation

    return decorate


def _shape(x: Any) -> tuple[int, ...]:
    return np.shape(value_of(x))


def _fit(slope: Any, x: Any) -> Any:
    """Broadcasting copied x; the slopes of the copies add up."""
    shape, have = _shape(x), _shape(slope)
    if have == shape:
        return slope
    extra = len(have) - len(shape)
    axes = tuple(range(extra)) + tuple(i + extra for i, n in enumerate(shape) if n == 1 and have[i + extra] != 1)
    return reshape(sum(slope, axis=axes), shape=shape)


add = primitive(lambda g, y, a, b: (_fit(g, a), _fit(g, b)))(np.add)
mul = primitive(lambda g, y, a, b: (_fit(mul(g, b), a), _fit(mul(g, a), b)))(np.multiply)
div = primitive(lambda g, y, a, b: (_fit(div(g, b), a), _fit(neg(div(mul(g, y), b)), b)))(np.divide)
neg = primitive(lambda g, y, a: (neg(g),))(np.negative)
exp = primitive(lambda g, y, a: (mul(g, y),))(np.exp)
log = primitive(lambda g, y, a: (div(g, a),))(np.log)
sin = primitive(lambda g, y, a: (mul(g, cos(a)),))(np.sin)
cos = primitive(lambda g, y, a: (neg(mul(g, sin(a))),))(np.cos)
tanh = primitive(lambda g, y, a: (mul(g, add(1.0, neg(mul(y, y)))),))(np.tanh)
sqrt = primitive(lambda g, y, a: (div(g, mul(2.0, y)),))(np.sqrt)
reshape = primitive(lambda g, y, a, shape: (reshape(g, shape=_shape(a)),))(lambda a, shape: a.reshape(shape))
broadcast_to = primitive(lambda g, y, a, shape: (_fit(g, a),))(np.broadcast_to)
# Equal entries share the slope, as they do in JAX.
maximum = primitive(lambda g, y, a, b: (_fit(mul(g, _share(a, b)), a), _fit(mul(g, _share(b, a)), b)))(np.maximum)
where = primitive(lambda g, y, a, b, mask: (_fit(mul(g, mask * 1.0), a), _fit(mul(g, ~mask * 1.0), b)))(
    lambda a, b, mask: np.where(mask, a, b))


def _share(a: Any, b: Any) -> np.ndarray:
    a, b = value_of(a), value_of(b)
    return (a > b) + 0.5 * (a == b)


@primitive(lambda g, y, a, n: (mul(g, mul(n, power(a, n=n - 1))) if n != 0 else None,))
def power(a: np.ndarray, n: float) -> np.ndarray:
    """a to the power of a number that is no Var."""
    return a**n


@primitive(lambda g, y, a, b: (_fit(matmul(g, _swap(b)), a), _fit(matmul(_swap(a), g), b)))
def _matmul(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a @ b


def matmul(a: Any, b: Any) -> Any:
    """a @ b, of matrices, stacks of matrices and vectors."""
    m, n = (len(_shape(x)) == 1 for x in (a, b))
    a = reshape(a, shape=(1, *_shape(a))) if m else a
    b = reshape(b, shape=(*_shape(b), 1)) if n else b
    y = _matmul(a, b)
    shape = _shape(y)
    return reshape(y, shape=shape[:-2] + (() if m else shape[-2:-1]) + (() if n else shape[-1:])) if m or n else y


@primitive(lambda g, y, a, axes=None: (transpose(g, axes=None if axes is None else tuple(np.argsort(axes))),))
def transpose(a: np.ndarray, axes: tuple[int, ...] | None = None) -> np.ndarray:
    """Axes in another order; reversed by default."""
    return np.transpose(a, axes)


def _swap(a: Any) -> Any:
    n = len(_shape(a))
    return transpose(a, axes=(*range(n - 2), n - 1, n - 2))


def _spread(g, y, a, axis=None, keepdims=False):
    kept = np.sum(value_of(a), axis=axis, keepdims=True).shape
    return (broadcast_to(reshape(g, shape=kept), shape=_shape(a)),)


@primitive(_spread)
def sum(a: np.ndarray, axis: Any = None, keepdims: bool = False) -> np.ndarray:
    """Sums over axes, over all by default."""
    return np.sum(a, axis=axis, keepdims=keepdims)


@primitive(lambda g, y, a, index: (put(g, index=index, shape=_shape(a)),))
def take(a: np.ndarray, index: Any) -> np.ndarray:
    """a[index]: slices, integers, arrays of integers, masks."""
    return a[index]


@primitive(lambda g, y, a, index, shape: (take(g, index=index),))
def put(a: np.ndarray, index: Any, shape: tuple[int, ...]) -> np.ndarray:
    """Zeros of a shape with a added at an index; entries that an index names twice add up."""
    out = np.zeros(shape, a.dtype)
    np.add.at(out, index, a)
    return out


def mean(a: Any, axis: Any = None) -> Any:
    """The mean over axes."""
    total = sum(a, axis=axis)
    return div(total, value_of(a).size / max(value_of(total).size, 1))


def logsumexp(a: Any, axis: int = -1) -> Any:
    """log sum exp over one axis; the largest entry is taken out, as a constant that cancels."""
    top = np.max(value_of(a), axis=axis, keepdims=True)
    return add(log(sum(exp(add(a, -top)), axis=axis)), np.squeeze(top, axis))


def _backward(out: Var, leaves: list[Var], nested: bool) -> list[Any]:
    """The slopes of `out` at `leaves`, as arrays, or as Vars where somebody differentiates again."""
    first = min(leaf.number for leaf in leaves)
    seen, stack = {}, [out]
    while stack:        # what is older than every leaf depends on none
        node = stack.pop()
        if node.number >= first and node.number not in seen:
            seen[node.number] = node
            stack += [a for a in node.args if isinstance(a, Var)]
    slopes = {out.number: np.ones(out.shape, out.value.dtype)}
    for number in sorted(seen, reverse=True):
        node, slope = seen[number], slopes.get(number)
        if slope is None or node.rule is None:
            continue
        see = (lambda x: x) if nested else value_of
        parts = node.rule(slope, see(node), *map(see, node.args), **node.options)
        for arg, part in zip(node.args, parts, strict=True):
            if isinstance(arg, Var) and part is not None:
                slopes[arg.number] = part if arg.number not in slopes else add(slopes[arg.number], part)
    return [slopes.get(leaf.number, np.zeros_like(leaf.value)) for leaf in leaves]


Var.T = property(transpose)
Var.__add__ = Var.__radd__ = add
Var.__sub__ = lambda self, other: add(self, neg(other))
Var.__rsub__ = lambda self, other: add(neg(self), other)
Var.__mul__ = Var.__rmul__ = mul
Var.__truediv__ = div
Var.__rtruediv__ = lambda self, other: div(other, self)
Var.__matmul__ = matmul
Var.__rmatmul__ = lambda self, other: matmul(other, self)
Var.__pow__ = lambda self, n: power(self, n=n)
Var.__neg__ = neg
Var.__getitem__ = lambda self, index: take(self, index=index)
_leaf = primitive(lambda g, y, a: (g,))(np.array)


def value_and_grad(fn: Callable[..., Any]) -> Callable[..., tuple[Any, PyTree]]:
    """A function of the same arguments that gives (value, slopes of the first argument); see `grad`."""

    def both(x: PyTree, *rest: Any) -> tuple[Any, PyTree]:
        leaves, shape = jax.tree.flatten(x)
        if not leaves:
            raise ValueError('x: expected a tree with at least one leaf, found none')
        nested = _DEPTH.get() > 0
        token = _DEPTH.set(_DEPTH.get() + 1)
        try:
            own = [_leaf(a) if isinstance(a, Var) else Var(value_of(a)) for a in leaves]
            out = fn(jax.tree.unflatten(shape, own), *rest)
            if _shape(out) != ():
                raise ValueError(f'fn: expected a function that gives one number, found shape {_shape(out)}')
            # A result that is no Var does not depend on x.
            slopes = _backward(out, own, nested) if isinstance(out, Var) else [np.zeros(a.shape) for a in own]
        finally:
            _DEPTH.reset(token)
        return (out if nested else value_of(out)), jax.tree.unflatten(shape, slopes)

    return both


def grad(fn: Callable[..., Any]) -> Callable[..., PyTree]:
    """The gradient of a function that is written in the operations of this file.

    Formula: dz/da = sum over the results y that used a of dz/dy dy/da, from the last operation to the first.
    Paper: Linnainmaa 1970; Speelpenning 1980, Compiling fast partial derivatives of functions given by algorithms.
    Shapes: fn(x, *rest) -> a number; x any tree of arrays -> a tree like x of NumPy arrays of float64.
    Errors: ValueError for a result that is not one number, and for a tree without leaves.
    Example:
        fn = lambda p: sum(tanh(p['w'] @ p['x'] + 1.0))
        p = {'w': np.array([[1.0, 2.0]]), 'x': np.array([0.5, -0.75])}
        slopes = grad(fn)(p)
        assert np.allclose(slopes['w'], [[0.5, -0.75]])     # tanh' (0) = 1
        curve = grad(lambda x: grad(lambda x: x ** 3)(x))
        assert curve(2.0) == 12                             # the gradient of a gradient
    """
    return lambda x, *rest: value_and_grad(fn)(x, *rest)[1]
