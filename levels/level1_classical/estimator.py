"""The contract of a classical method: a bundle of pure functions over a state, made by a factory that binds
the hyperparameters.

    model = ridge(alpha=1.0)                        # Estimator
    state = model.fit(key, X, y, weight)            # arrays in, NamedTuple of arrays out: jit it, vmap it
    model.predict(state, X)

Hyperparameters that are numbers may be traced, so `vmap(lambda a: ridge(alpha=a).fit(key, X, y))(alphas)` is one
program. Wrong input is a ValueError of one line: ranks and lengths always, values (NaN, infinities, negative weights)
wherever they can be read, which is outside jit.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

PyTree = Any
CHUNK = 4096        # rows that `summed` takes at a time


class Estimator(NamedTuple):
    """What a factory returns; what a method does not have is None.

    fit(key, X [rows, features], y=None [rows, *targets], weight=None [rows]) -> State, a NamedTuple of arrays
    predict(state, X) -> [rows, *targets], or labels;  transform(state, X) -> [rows, k];  proba(state, X) ->
    [rows, classes];  score(state, X, y=None, weight=None) -> a number, better when larger;  decision(state, X) ->
    margins, [rows] for two classes, else [rows, classes];  inverse(state, Z) -> X, undoing transform;  start(features,
    dtype) -> the state before any row, and update(state, X, y, weight) -> State, which has seen these rows as well.
    Classifiers have a static `n_classes=2`, labels are 0 ... n_classes - 1, and predict gives int32.
    Weight 2 means a row that is there twice, weight 0 one that is not there.
    """

    fit: Callable[..., PyTree]
    predict: Callable[[PyTree, Array], Array] | None = None
    transform: Callable[[PyTree, Array], Array] | None = None
    proba: Callable[[PyTree, Array], Array] | None = None
    score: Callable[..., Array] | None = None
    decision: Callable[[PyTree, Array], Array] | None = None
    inverse: Callable[[PyTree, Array], Array] | None = None
    start: Callable[..., PyTree] | None = None
    update: Callable[..., PyTree] | None = None


def exact(fn: Callable) -> Callable:
    """`fn` with float32 products in float32: accelerators would otherwise round them to fewer bits."""

    @functools.wraps(fn)
    def wrapped(*args, **kwargs):
        with jax.default_matmul_precision('highest'):
            return fn(*args, **kwargs)

    return wrapped


def concrete(*arrays: Any) -> bool:
    """Whether the values can be read now, which inside jit and vmap they cannot."""
    return not any(isinstance(a, jax.core.Tracer) for a in arrays)


def holds(claim: Callable[[], Array]) -> bool:
    """A claim about values that are `concrete`, looked at now even where a program is being traced around them."""
    with jax.ensure_compile_time_eval():
        return bool(claim())


def floats(x: Any) -> Array:
    """`x` as floating point: float64 stays if JAX has it switched on, everything else becomes the default type."""
    if isinstance(x, jax.Array) and jnp.issubdtype(x.dtype, jnp.floating):
        return x
    x = np.asarray(x) if not isinstance(x, jax.Array) else x
    if x.dtype.kind not in 'fiub':
        raise ValueError(f'X, y, weight: expected numbers, found {x.dtype}')
    keep = x.dtype.kind == 'f' and x.dtype.itemsize >= 4
    return jnp.asarray(x, jax.dtypes.canonicalize_dtype(x.dtype if keep else float))


def features(X: Any, *, allow_nan: bool = False) -> Float[Array, 'rows features']:
    """X checked.  Errors: ValueError for a rank other than 2, no rows, no columns, NaN or infinite values."""
    X = floats(X)
    if X.ndim != 2:
        raise ValueError(f'X: expected [rows, features], found shape {X.shape}')
    if 0 in X.shape:
        raise ValueError(f'X: expected at least one row and one feature, found shape {X.shape}')
    if concrete(X) and holds(lambda: jnp.any(jnp.isinf(X) if allow_nan else ~jnp.isfinite(X))):
        raise ValueError('X: expected finite numbers, found NaN or infinity')
    return X


def rows(X: Any, y: Any = None, weight: Any = None, *, need_y: bool = True, allow_nan: bool = False):
    """(X, y, weight) checked, of one type, with weights of 1 where none are given; y is None where there is none.

    Errors: ValueError for what `features` refuses; a missing y if `need_y`; y that is not [rows] or [rows, targets];
        weights that are not [rows], negative or all zero; lengths that differ; NaN or infinite values.
    """
    X = features(X, allow_nan=allow_nan)
    if y is None and need_y:
        raise ValueError('y: expected [rows] or [rows, targets], found None')
    if y is not None:
        y = floats(y).astype(X.dtype)
        if y.ndim not in (1, 2) or len(y) != len(X) or 0 in y.shape:
            raise ValueError(f'y: expected [{len(X)}] or [{len(X)}, targets], found shape {y.shape}')
        if concrete(y) and not holds(lambda: jnp.isfinite(y).all()):
            raise ValueError('y: expected finite numbers, found NaN or infinity')
    weight = jnp.ones(len(X), X.dtype) if weight is None else floats(weight).astype(X.dtype)
    if weight.shape != X.shape[:1]:
        raise ValueError(f'weight: expected [{len(X)}], found shape {weight.shape}')
    if concrete(weight) and not holds(lambda: jnp.isfinite(weight).all() & (weight >= 0).all() & (weight > 0).any()):
        raise ValueError('weight: expected finite numbers >= 0 that are not all zero')
    return X, y, weight


def labelled(X: Any, y: Any, weight: Any = None, *, n_classes: int, allow_nan: bool = False):
    """(X, y, weight) as `rows` gives them, y as int32 classes.

    Errors: ValueError for what `rows` refuses, y that is not [rows], and y that is no whole number from 0 to
        n_classes - 1 in a row that has weight.
    """
    X, y, weight = rows(X, y, weight, allow_nan=allow_nan)
    if y.ndim != 1:
        raise ValueError(f'y: expected classes [{len(X)}], found shape {y.shape}')
    odd = lambda: jnp.any((weight > 0) & ((y != jnp.round(y)) | (y < 0) | (y >= n_classes)))
    if concrete(y, weight) and holds(odd):
        raise ValueError(f'y: expected classes 0 to {n_classes - 1}, found others')
    return X, jnp.clip(y.astype(jnp.int32), 0, n_classes - 1), weight


def hyper(name: str, value: Any, low: float, high: float = np.inf, *, open_low: bool = False) -> Any:
    """A number, or an array of numbers, within its range; unchecked where it is traced.  Errors: ValueError."""
    if concrete(value):
        v = np.asarray(value)
        if v.dtype.kind not in 'fiu' or not np.all(np.isfinite(v) & (v > low if open_low else v >= low) & (v <= high)):
            side = f'{"above" if open_low else "at least"} {low:g}' + (f', at most {high:g}' if high < np.inf else '')
            raise ValueError(f'{name}: expected {side}, found {value!r}')
    return value


def choice(name: str, value: str, choices: Any) -> str:
    """`value`, if it is among `choices`.  Errors: ValueError."""
    if value not in choices:
        raise ValueError(f'{name}: expected one of {", ".join(choices)}; found {value!r}')
    return value


def summed(fn: Callable, *arrays: Array, always: bool = False) -> PyTree:
    """fn(*arrays), a tree of sums over rows.  On a CPU some rows at a time, whose sums are added: what fn makes of them
    stays in a cache.  `always`: elsewhere too, for the sake of memory."""
    n = len(arrays[0])
    if n < 2 * CHUNK or not (always or jax.default_backend() == 'cpu'):
        return fn(*arrays)
    whole = n // CHUNK
    add = lambda total, part: jax.tree.map(jnp.add, total, fn(*part))
    part = lambda i: [jax.lax.dynamic_slice_in_dim(a, i * CHUNK, CHUNK) for a in arrays]
    start = fn(*(a[whole * CHUNK:] for a in arrays)) if n % CHUNK else jax.tree.map(
        lambda s: jnp.zeros(s.shape, s.dtype), jax.eval_shape(fn, *part(0)))
    return jax.lax.fori_loop(0, whole, lambda i, total: add(total, part(i)), start)


def in_parts(fn: Callable, X: Array, size: int = CHUNK) -> PyTree:
    """fn(X), a tree of arrays with as many rows as X.  On a CPU `size` rows at a time, as in `summed`."""
    n = len(X)
    if n < 2 * size or jax.default_backend() != 'cpu':
        return fn(X)

    def put(out, i):        # the last part overlaps the one before
        new = fn(jax.lax.dynamic_slice_in_dim(X, i, size))
        return jax.tree.map(lambda o, v: jax.lax.dynamic_update_slice_in_dim(o, v, i, 0), out, new), None

    like = jax.eval_shape(fn, X[:size])
    start = jax.tree.map(lambda v: jnp.zeros((n, *v.shape[1:]), v.dtype), like)
    return jax.lax.scan(put, start, jnp.minimum(jnp.arange(-(-n // size), dtype=jnp.int32) * size, n - size))[0]


def weighted_mean(x: Float[Array, 'rows k'], weight: Float[Array, ' rows']) -> Float[Array, ' k']:
    """The mean of the rows, corrected once: of numbers far from zero the first mean is off by their rounding."""
    total = jnp.sum(weight)
    first = summed(lambda w, x: w @ x, weight, x) / total
    return first + summed(lambda w, x: w @ (x - first[None]), weight, x) / total


def centred(X, y, weight, fit_intercept: bool = True):
    """(A, b, x_mean, y_mean): rows less their weighted means and times the root of their weight; y is [rows, targets].

    Least squares of b on A is then the weighted regression with a free intercept y_mean - x_mean @ coef.
    """
    x_mean, y_mean = (weighted_mean(v, weight) if fit_intercept else jnp.zeros(v.shape[1], v.dtype) for v in (X, y))
    root = jnp.sqrt(weight)[:, None]
    return root * (X - x_mean[None]), root * (y - y_mean[None]), x_mean, y_mean
