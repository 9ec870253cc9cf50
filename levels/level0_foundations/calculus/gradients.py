"""Derivatives of functions of any pytree: thin names over JAX's transformations, with checked arguments.

| name | gives | cost, in calls of fn |
| --- | --- | --- |
| `gradient` | the tree of slopes of a scalar | about 3 |
| `jvp` | J v | about 2 |
| `vjp` | u' J | about 3 |
| `hvp` | H v, without H | about 6 |
| `jacobian` | J, forward column by column or in reverse row by row | min(inputs, outputs) |
| `hessian` | H | inputs |
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

PyTree = Any


def _tree(name: str, x: PyTree) -> PyTree:
    """x as arrays.  Errors: ValueError for an empty tree and leaves that are not floating point."""
    x = jax.tree.map(jnp.asarray, x)
    kinds = {str(leaf.dtype) for leaf in jax.tree.leaves(x) if not jnp.issubdtype(leaf.dtype, jnp.floating)}
    if kinds or not jax.tree.leaves(x):
        raise ValueError(f'{name}: expected floating point leaves, found {", ".join(sorted(kinds)) or "none"}')
    return x


def _like(name: str, v: PyTree, x: PyTree) -> PyTree:
    """v, a tree shaped like x, in x's types.  Errors: ValueError."""
    shapes = lambda tree: jax.tree.map(jnp.shape, tree)
    if jax.tree.structure(v) != jax.tree.structure(x) or shapes(v) != shapes(x):
        raise ValueError(f'{name}: expected the tree and the shapes {shapes(x)}, found {shapes(v)}')
    return jax.tree.map(lambda leaf, like: jnp.asarray(leaf, like.dtype), v, x)


def _scalar(fn: Callable, x: PyTree) -> None:
    out = jax.eval_shape(fn, x)
    if not isinstance(out, jax.ShapeDtypeStruct) or out.shape != ():
        raise ValueError(f'fn: expected a function that gives one number, found {jax.tree.map(jnp.shape, out)}')


def gradient(fn: Callable[[PyTree], Float[Array, '']], x: PyTree) -> PyTree:
    """The slopes of a scalar with respect to every entry of every leaf.

    Formula: (grad f)_i = df / dx_i, in reverse mode: one pass back, whatever the number of inputs.
    Paper: Linnainmaa 1970, The representation of the cumulative rounding error of an algorithm as a Taylor expansion of
        the local rounding errors; Baydin et al. 2018, Automatic differentiation in machine learning: a survey.
    Shapes: fn: tree -> []; x any tree of floating point arrays -> a tree like x.
    Errors: ValueError for an fn that does not give one number, leaves that are not floating point, an empty tree.
    Example:
        params = {'w': jnp.array([1.0, 2.0]), 'b': jnp.array(3.0)}
        fn = lambda p: jnp.sum(p['w'] ** 2) * p['b']
        slopes = gradient(fn, params)
        assert slopes['w'].tolist() == [6, 12] and slopes['b'] == 5
    """
    x = _tree('x', x)
    _scalar(fn, x)
    return jax.grad(fn)(x)


def jvp(fn: Callable[[PyTree], PyTree], x: PyTree, *, v: PyTree) -> tuple[PyTree, PyTree]:
    """(f(x), J v): the value, and how it changes when x moves along v.

    Formula: J v = d/dt f(x + t v) at t = 0, in forward mode, beside the value and without storing what is between.
    Paper: Wengert 1964, A simple automatic derivative evaluation program.
    Shapes: fn: tree -> tree; x, v alike -> two trees like fn's output.
    Errors: ValueError for a v that is not like x; leaves that are not floating point.
    Example:
        x = {'a': jnp.array(2.0), 'b': jnp.array(3.0)}
        fn = lambda x: x['a'] * x['b']
        value, slope = jvp(fn, x, v={'a': jnp.array(1.0), 'b': jnp.array(0.0)})
        assert value == 6 and slope == 3
    """
    x = _tree('x', x)
    return jax.jvp(fn, (x,), (_like('v', v, x),))


def vjp(fn: Callable[[PyTree], PyTree], x: PyTree, *, u: PyTree) -> tuple[PyTree, PyTree]:
    """(f(x), u' J): the value, and the slopes of the weighted sum of outputs u' f.

    Formula: u' J = grad (u' f), in reverse mode.
    Paper: Linnainmaa 1970; Griewank, Walther 2008, Evaluating derivatives.
    Shapes: fn: tree -> tree; x; u like fn's output -> (output, a tree like x).
    Errors: ValueError for a u that is not like the output; leaves that are not floating point.
    Example:
        x = jnp.array([1.0, 2.0, 3.0])
        fn = lambda x: (jnp.sum(x), x[0] * x[1])
        value, slopes = vjp(fn, x, u=(jnp.array(1.0), jnp.array(10.0)))
        assert slopes.tolist() == [21, 11, 1]
    """
    x = _tree('x', x)
    value, back = jax.vjp(fn, x)
    return value, back(_like('u', u, value))[0]


def hvp(fn: Callable[[PyTree], Float[Array, '']], x: PyTree, *, v: PyTree) -> PyTree:
    """The Hessian times a vector, without the Hessian: forward over reverse.

    Formula: H v = d/dt grad f(x + t v) at t = 0.
    Paper: Pearlmutter 1994, Fast exact multiplication by the Hessian.
    Shapes: fn: tree -> []; x, v alike -> a tree like x.
    Errors: ValueError as `gradient` and `jvp`.
    Example:
        A = jnp.array([[2.0, 1.0], [1.0, 4.0]])
        fn = lambda x: x @ A @ x / 2
        v = jnp.array([1.0, -1.0])
        assert jnp.allclose(hvp(fn, jnp.ones(2), v=v), A @ v)
    """
    x = _tree('x', x)
    _scalar(fn, x)
    return jax.jvp(jax.grad(fn), (x,), (_like('v', v, x),))[1]


def jacobian(fn: Callable[[PyTree], PyTree], x: PyTree, *, mode: str = 'auto', dense: bool = False) -> PyTree:
    """All first derivatives of all outputs.

    Formula: J_ij = df_i / dx_j; forward: a JVP for each input, all at once; reverse: a VJP for each output. 'auto'
        takes the smaller number, forward if they are equal.
    Paper: Jacobi 1841, De determinantibus functionalibus; Griewank, Walther 2008, Evaluating derivatives.
    Shapes: fn: tree -> tree -> for each leaf of the output a tree like x, of [*output leaf, *x leaf]; with dense one
        matrix [outputs, inputs], leaves in the order of `jax.tree.leaves`.
    Errors: ValueError for an unknown mode, leaves that are not floating point.
    Example:
        x = {'a': jnp.array([1.0, 2.0]), 'b': jnp.array(3.0)}
        fn = lambda x: x['a'] * x['b']
        assert jacobian(fn, x)['b'].tolist() == [1, 2]
        assert jacobian(fn, x, dense=True).tolist() == [[3, 0, 1], [0, 3, 2]]
    """
    x = _tree('x', x)
    if mode not in ('auto', 'forward', 'reverse'):
        raise ValueError(f'mode: expected one of auto, forward, reverse; found {mode!r}')
    size = lambda tree: sum(leaf.size for leaf in jax.tree.leaves(tree))
    if mode == 'auto':
        mode = 'forward' if size(x) <= size(jax.eval_shape(fn, x)) else 'reverse'
    if dense:
        (x, back), tree_fn = ravel_pytree(x), fn
        fn = lambda z: ravel_pytree(tree_fn(back(z)))[0]
    return (jax.jacfwd if mode == 'forward' else jax.jacrev)(fn)(x)


def hessian(fn: Callable[[PyTree], Float[Array, '']], x: PyTree, *, dense: bool = False) -> PyTree:
    """All second derivatives of a scalar: forward over reverse.

    Formula: H_ij = d2f / dx_i dx_j; symmetric where they are continuous.
    Paper: Hesse 1844, Uber die Elimination der Variabeln aus drei algebraischen Gleichungen.
    Shapes: fn: tree -> [] -> for each leaf of x a tree like x, of [*leaf, *leaf]; with dense one matrix [n, n].
    Errors: ValueError as `gradient`.
    Example:
        x = {'a': jnp.array(2.0), 'b': jnp.array(3.0)}
        fn = lambda x: x['a'] ** 2 * x['b']
        assert hessian(fn, x)['a']['b'] == 4
        assert hessian(fn, x, dense=True).tolist() == [[6, 4], [4, 0]]
    """
    x = _tree('x', x)
    _scalar(fn, x)
    if dense:
        x, back = ravel_pytree(x)
        return jax.jacfwd(jax.grad(lambda z: fn(back(z))))(x)
    return jax.jacfwd(jax.grad(fn))(x)
