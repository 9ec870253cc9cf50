"""Backpropagation by hand: layers with a way forward and a way back, and chains of them in which all can be seen.

No derivative is taken by JAX. A layer's `backward` is its slope worked out on paper; a chain runs its layers forwards,
keeps what each will need, and runs them backwards.

Formula: for y = f(x, w) and the slope g = dL/dy: dL/dx = J_x' g and dL/dw = J_w' g, layer by layer from the loss.
Paper: Rumelhart, Hinton, Williams 1986, Learning representations by back-propagating errors.
Shapes: x [*batch, features]; every slope has the shape of what it is the slope of.

Example:
    from levels.level2_neural.backprop import activation, chain, dense, softmax_cross_entropy_head
    net = chain(dense(64), activation('relu'), dense(10), head=softmax_cross_entropy_head())
    params, stats = net.init(key, features=784)
    seen = net.passes(params, stats, x, labels)         # seen.values, seen.slopes, seen.grads, by the layers' names
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from common import parallel
from levels.level2_neural import losses
from levels.level2_neural.activations import ACTIVATIONS, softmax
from levels.level2_neural.backprop_slopes import SLOPES

PyTree = Any


class Layer(NamedTuple):
    """One step of a chain.  params, stats (running numbers) and saved (what the way back needs) are {} or () if none.

    init(key, features, dtype) -> params, stats, features out
    forward(params, stats, x, train, key) -> y, saved, stats
    backward(params, saved, dy) -> dx, dparams
    """

    name: str
    init: Callable[..., tuple[PyTree, PyTree, int]]
    forward: Callable[..., tuple[Array, PyTree, PyTree]]
    backward: Callable[..., tuple[Array, PyTree]]


class Head(NamedTuple):
    """A loss and its slope: value(outputs, targets) -> [*batch], slope(outputs, targets) -> like outputs."""

    value: Callable[[Array, Array], Array]
    slope: Callable[[Array, Array], Array]


class Passes(NamedTuple):
    """All of one way forward and back, by the names of the layers ('0 dense', '1 relu', ...).

    loss [*batch]; output: of the last layer; values: what each layer gave; slopes: dL/d(values), L the sum of the loss;
    grads: dL/d(params); input_slope: dL/dx; stats: the running numbers after this pass.
    """

    loss: Float[Array, '*batch']
    output: Float[Array, '*batch out']
    values: dict[str, Array]
    slopes: dict[str, Array]
    grads: dict[str, PyTree]
    input_slope: Float[Array, '*batch features']
    stats: dict[str, PyTree]


class Chain(NamedTuple):
    """init(key, features=, dtype=) -> params, stats; forward(params, stats, x, train=, key=) -> output, values, saved,
    stats; backward(params, saved, dy) -> input slope, slopes, grads; passes(params, stats, x, targets, weight=, train=,
    key=) -> Passes, where L is the sum of weight times loss."""

    names: tuple[str, ...]
    head: Head
    init: Callable[..., tuple[dict, dict]]
    forward: Callable[..., tuple]
    backward: Callable[..., tuple]
    passes: Callable[..., Passes]


def row(v: Float[Array, ' features'], x: Array) -> Float[Array, '*ones features']:
    """v [features] with the rank of x."""
    return v.reshape((1,) * (x.ndim - 1) + v.shape)


def rows(x: Float[Array, '*batch features']) -> Float[Array, 'rows features']:
    """All leading axes as one."""
    return x.reshape(-1, x.shape[-1])


def stateless(name: str, forward: Callable, backward: Callable) -> Layer:
    """A layer that has no parameters and keeps the width: forward(x, train, key) -> y, saved; backward(saved, dy)."""
    return Layer(name, lambda key, features, dtype: ({}, {}, features),
                 lambda params, stats, x, train, key: (*forward(x, train, key), stats),
                 lambda params, saved, dy: (backward(saved, dy), {}))


def he_normal(key: Array, shape: tuple[int, int], dtype: Any) -> Float[Array, 'fan_in out']:
    """Normal numbers of variance 2 / fan_in."""
    return jax.random.normal(key, shape, dtype) * jnp.sqrt(jnp.asarray(2 / shape[0], dtype))


def dense(features: int, *, bias: bool = True, init: Callable = he_normal) -> Layer:
    """The affine layer.

    Formula: y = x W + b; dx = dy W', dW = x' dy, db = the sum of dy over all rows.
    Paper: Rumelhart, Hinton, Williams 1986, Learning representations by back-propagating errors.
    Shapes: [*batch, in] -> [*batch, features]; params kernel [in, features], bias [features].
    Errors: ValueError for features below 1.
    Example:
        layer = dense(2)
        params, stats, _ = layer.init(jax.random.key(0), 3, jnp.float32)
        y, saved, _ = layer.forward(params, stats, jnp.ones((4, 3)), True, None)
        dx, grads = layer.backward(params, saved, jnp.ones_like(y))
        assert jnp.allclose(grads['kernel'], 4.0) and jnp.allclose(dx, params['kernel'].sum(1)[None])
    """
    if features < 1:
        raise ValueError(f'features: expected 1 or more, found {features}')

    def start(key, width, dtype):
        params = {'kernel': init(key, (width, features), dtype)}
        return params | ({'bias': jnp.zeros(features, dtype)} if bias else {}), {}, features

    def forward(params, stats, x, train, key):
        y = x @ params['kernel']
        return (y + row(params['bias'], y) if bias else y), x, stats

    def backward(params, x, dy):
        grads = {'kernel': rows(x).T @ rows(dy)}
        return dy @ params['kernel'].T, grads | ({'bias': jnp.sum(rows(dy), 0)} if bias else {})

    return Layer('dense', start, forward, backward)


def activation(name: str, **options: Any) -> Layer:
    """Any activation of `ACTIVATIONS`, or `softmax`, `log_softmax`, as a layer.

    Formula: dx = dy f'(x); softmax: dx = y (dy - sum(dy y)); log_softmax: dx = dy - exp(y) sum(dy).
    Paper: see the cards in `activations.py`.
    Shapes: [*batch, features] -> the same.
    Errors: ValueError for an unknown name.
    Example:
        layer = activation('leaky_relu', slope=0.1)
        y, saved, _ = layer.forward({}, {}, jnp.array([[-2.0, 3.0]]), True, None)
        dx, _ = layer.backward({}, saved, jnp.ones_like(y))
        assert jnp.allclose(y, jnp.array([[-0.2, 3.0]])) and jnp.allclose(dx, jnp.array([[0.1, 1.0]]))
    """
    if name == 'softmax':
        return stateless(name, lambda x, train, key: (y := softmax(x), y),
                         lambda y, dy: y * (dy - jnp.sum(dy * y, -1, keepdims=True)))
    if name == 'log_softmax':
        return stateless(name, lambda x, train, key: (y := jax.nn.log_softmax(x), y),
                         lambda y, dy: dy - jnp.exp(y) * jnp.sum(dy, -1, keepdims=True))
    if name not in ACTIVATIONS:
        raise ValueError(f'name: expected one of softmax, log_softmax, {", ".join(ACTIVATIONS)}; found {name!r}')
    f, slope = (functools.partial(table[name], **options) for table in (ACTIVATIONS, SLOPES))
    return stateless(name, lambda x, train, key: (y := f(x), (x, y)), lambda saved, dy: dy * slope(*saved))


def dropout(rate: float) -> Layer:
    """Inverted dropout, in training only; the same units whatever the number of devices.

    Formula: y = x m / (1 - rate), m = 1 with probability 1 - rate, else 0; dx = dy m / (1 - rate).
    Paper: Srivastava et al. 2014, Dropout, section 10.
    Shapes: [batch, ...] -> the same.
    Errors: ValueError unless 0 <= rate < 1, and for training without a key.
    Example:
        layer = dropout(0.5)
        y, saved, _ = layer.forward({}, {}, jnp.ones((4, 8)), True, jax.random.key(0))
        dx, _ = layer.backward({}, saved, jnp.ones_like(y))
        assert set(y.ravel().tolist()) == {0.0, 2.0} and jnp.array_equal(dx, y)
    """
    if not 0 <= rate < 1:
        raise ValueError(f'rate: expected 0 <= rate < 1, found {rate}')

    def forward(x, train, key):
        if not train or rate == 0:
            return x, None
        if key is None:
            raise ValueError('key: expected one in training, found None')
        keep = parallel.rows(lambda n: jax.random.bernoulli(key, 1 - rate, (n, *x.shape[1:])), x.shape[0])
        scale = keep.astype(x.dtype) / (1 - rate)
        return x * scale, scale

    return stateless('dropout', forward, lambda scale, dy: dy if scale is None else dy * scale)


def softmax_cross_entropy_head(*, label_smoothing: float = 0.0) -> Head:
    """Cross-entropy of integer labels; its slope in the logits is p - t, t the smoothed one-hot label."""

    def slope(logits: Float[Array, '*batch classes'], labels: Int[Array, '*batch']) -> Float[Array, '*batch classes']:
        k = logits.shape[-1]
        target = (1 - label_smoothing) * jax.nn.one_hot(labels, k, dtype=logits.dtype) + label_smoothing / k
        return softmax(logits) - target

    return Head(functools.partial(losses.softmax_cross_entropy, label_smoothing=label_smoothing), slope)


def squared_error_head() -> Head:
    """The sum of squares over the outputs of an example; its slope is 2 (y - t)."""
    return Head(lambda y, t: jnp.sum(losses.squared_error(y, t), -1), lambda y, t: 2 * (y - t))


def binary_cross_entropy_head() -> Head:
    """The sum over the outputs of an example of the cross-entropy with bits; its slope in the logits is p - t."""
    return Head(lambda y, t: jnp.sum(losses.binary_cross_entropy(y, t), -1), lambda y, t: jax.nn.sigmoid(y) - t)


def chain(*layers: Layer, head: Head) -> Chain:
    """Layers one after another, with a loss at the end; every value and every slope on the way can be looked at.

    Formula: x_l = f_l(x_{l-1}, w_l); g_L = dL/dx_L from the head, then g_{l-1}, dL/dw_l = backward_l(g_l).
    Paper: Rumelhart, Hinton, Williams 1986, Learning representations by back-propagating errors.
    Shapes: x [*batch, features], targets as the head wants them -> Passes. L is the sum of the losses: divide slopes
        and grads by the number of rows for those of the mean.
    Errors: ValueError for no layers.
    Example:
        net = chain(dense(4), activation('tanh'), dense(3), head=softmax_cross_entropy_head())
        params, stats = net.init(jax.random.key(0), features=2)
        seen = net.passes(params, stats, jnp.ones((5, 2)), jnp.zeros(5, int))
        assert seen.values['1 tanh'].shape == seen.slopes['1 tanh'].shape == (5, 4)
        seen.grads['2 dense']['kernel'].shape                # (4, 3)
    """
    if not layers:
        raise ValueError('layers: expected one or more, found none')
    names = tuple(f'{i} {layer.name}' for i, layer in enumerate(layers))

    def init(key: Array, *, features: int, dtype: Any = jnp.float32) -> tuple[dict, dict]:
        params, stats = {}, {}
        for i, (name, layer) in enumerate(zip(names, layers)):
            params[name], stats[name], features = layer.init(jax.random.fold_in(key, i), features, dtype)
        return params, stats

    def forward(params, stats, x, *, train: bool = False, key: Array | None = None):
        values, saved, after = {}, {}, {}
        for i, (name, layer) in enumerate(zip(names, layers)):
            own = None if key is None else jax.random.fold_in(key, i)
            x, saved[name], after[name] = layer.forward(params[name], stats[name], x, train, own)
            values[name] = x
        return x, values, saved, after

    def backward(params, saved, dy):
        slopes, grads = {}, {}
        for name, layer in reversed(list(zip(names, layers))):
            slopes[name] = dy
            dy, grads[name] = layer.backward(params[name], saved[name], dy)
        return dy, slopes, grads

    def passes(params, stats, x, targets, *, weight: Array | None = None, train: bool = False,
               key: Array | None = None) -> Passes:
        output, values, saved, after = forward(params, stats, x, train=train, key=key)
        dy = head.slope(output, targets)
        dx, slopes, grads = backward(params, saved, dy if weight is None else dy * weight[..., None].astype(dy.dtype))
        return Passes(head.value(output, targets), output, values, slopes, grads, dx, after)

    return Chain(names, head, init, forward, backward, passes)
