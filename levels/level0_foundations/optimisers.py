"""Gradient descent and its relatives, written out: SGD with momentum, Adam, AdamW, RMSprop.

Each is a factory of an optax transformation (init, update), so each works wherever one of optax does: in `optax.chain`,
in `common.optim`. The learning rate is a number, a traced number (`vmap` over it), or a schedule: a function of the
number of updates made before. g is the gradient, p the parameters, t = 1, 2, ... the number of the update.

Example:
    from levels.level0_foundations.optimisers import adamw
    task = classifier(model, adamw(1e-3, weight_decay=0.1))
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

PyTree = Any
Number = float | Float[Array, '']
Rate = Number | Callable[[Int[Array, '']], Number]


class SGDState(NamedTuple):
    """count: updates made; velocity: like the parameters, None without momentum."""

    count: Int[Array, '']
    velocity: PyTree


class AdamState(NamedTuple):
    """count: updates made; mean, square: running means of g and g^2, like the parameters."""

    count: Int[Array, '']
    mean: PyTree
    square: PyTree


class RMSpropState(NamedTuple):
    """count: updates made; square, mean: running means of g^2 and g; velocity: of the steps. None where not used."""

    count: Int[Array, '']
    square: PyTree
    mean: PyTree
    velocity: PyTree


def _known(value: Any) -> bool:
    """Whether a hyperparameter can be looked at now; a traced one and a schedule cannot."""
    return not callable(value) and not isinstance(value, jax.core.Tracer)


def _checked(rate: Rate, **others: Any) -> None:
    """ValueError for a rate or eps below 0, and for another number outside 0 <= x < 1."""
    for name, value in {'learning_rate': rate, **others}.items():
        top = math.inf if name in ('learning_rate', 'eps', 'weight_decay') else 1
        if _known(value) and not 0 <= value < top:
            raise ValueError(f'{name}: expected a number, 0 <= {name} < {top:g}; found {value}')


def _at(rate: Rate, count: Int[Array, '']) -> Number:
    return rate(count) if callable(rate) else rate


def _zeros(params: PyTree) -> PyTree:
    return jax.tree.map(jnp.zeros_like, params)


def _start() -> Int[Array, '']:
    return jnp.zeros((), jnp.int32)


def _next(count: Int[Array, '']) -> Int[Array, '']:
    """count + 1, that stays at the largest int32 instead of falling to the smallest."""
    return jnp.where(count < jnp.iinfo(count.dtype).max, count + 1, count)


def _scaled(factor: Number, tree: PyTree) -> PyTree:
    """factor * tree, each leaf in its own dtype."""
    return jax.tree.map(lambda x: jnp.asarray(factor, x.dtype) * x, tree)


def _average(share: Number, old: PyTree, new: PyTree) -> PyTree:
    """share * old + (1 - share) * new, each leaf in its own dtype."""
    return jax.tree.map(lambda o, n: (share * o + (1 - share) * n).astype(o.dtype), old, new)


def _push(momentum: Number, velocity: PyTree, new: PyTree) -> PyTree:
    return jax.tree.map(lambda v, n: (momentum * v + n).astype(v.dtype), velocity, new)


def _seen(share: Number, count: Int[Array, '']) -> Float[Array, '']:
    """1 - share^count, the weight that a running mean which began at 0 has given away.

    By expm1 and a logarithm in double precision: in float32, 1 - 0.999 has four right digits.
    """
    if _known(share):
        return -jnp.expm1((math.log(share) if share > 0 else -math.inf) * count)
    return -jnp.expm1(jnp.log(share) * count)


def sgd(learning_rate: Rate, *, momentum: Number = 0.0, nesterov: bool = False) -> optax.GradientTransformation:
    """Gradient descent, with a velocity where there is momentum.

    Formula: v_t = momentum v_{t-1} + g_t; p_t = p_{t-1} - rate v_t; Nesterov: p_{t-1} - rate (g_t + momentum v_t).
        Without momentum there is no velocity to store.
    Paper: Robbins, Monro 1951, A stochastic approximation method; Polyak 1964, Some methods of speeding up the
        convergence of iteration methods; Nesterov 1983, in the form of Sutskever et al. 2013, section 2, seen from
        the point that looks ahead.
    Shapes: any pytree of parameters; the state holds one copy with momentum, none without.
    Errors: ValueError for a rate below 0, a momentum outside 0 <= m < 1, nesterov without momentum.
    Example:
        tx = sgd(0.1, momentum=0.9)
        p, state = jnp.array([1.0]), tx.init(jnp.array([1.0]))
        updates, state = tx.update(2 * p, state)             # [-0.2]
        updates, state = tx.update(2 * (p + updates), state)     # [-0.34]
    """
    _checked(learning_rate, momentum=momentum)
    heavy = not _known(momentum) or momentum > 0
    if nesterov and not heavy:
        raise ValueError('nesterov: expected momentum > 0 with it; found momentum 0')

    def init(params: PyTree) -> SGDState:
        return SGDState(_start(), _zeros(params) if heavy else None)

    def update(grads: PyTree, state: SGDState, params: PyTree = None) -> tuple[PyTree, SGDState]:
        del params
        velocity = _push(momentum, state.velocity, grads) if heavy else None
        step = _push(momentum, velocity, grads) if nesterov else velocity if heavy else grads
        return _scaled(-_at(learning_rate, state.count), step), SGDState(_next(state.count), velocity)

    return optax.GradientTransformation(init, update)


def adam(
    learning_rate: Rate, *, b1: Number = 0.9, b2: Number = 0.999, eps: Number = 1e-8
) -> optax.GradientTransformation:
    """Steps of about the size of the rate in every coordinate: the mean gradient over its root mean square.

    Formula: m_t = b1 m_{t-1} + (1 - b1) g_t; v_t = b2 v_{t-1} + (1 - b2) g_t^2;
        p_t = p_{t-1} - rate m^ / (sqrt(v^) + eps), m^ = m_t / (1 - b1^t), v^ = v_t / (1 - b2^t).
    Paper: Kingma, Ba 2015, Adam: a method for stochastic optimization, algorithm 1.
    Shapes: any pytree of parameters; the state holds two copies.
    Errors: ValueError for a rate or eps below 0, b1 or b2 outside 0 <= b < 1.
    Example:
        tx = adam(0.1)
        p, state = jnp.array([1.0, -1.0]), tx.init(jnp.zeros(2))
        updates, state = tx.update(1000 * p, state)
        updates                                              # [-0.1, 0.1], whatever the scale of the gradient
    """
    return _adam(learning_rate, b1, b2, eps, 0.0, None)


def adamw(
    learning_rate: Rate, *, b1: Number = 0.9, b2: Number = 0.999, eps: Number = 1e-8, weight_decay: Number = 1e-2,
    mask: PyTree | Callable[[PyTree], PyTree] = None,
) -> optax.GradientTransformation:
    """Adam with weight decay beside the gradient's step and not in it.

    Formula: p_t = p_{t-1} - rate (m^ / (sqrt(v^) + eps) + weight_decay p_{t-1}), m^ and v^ as in `adam`. The decay
        follows the schedule of the rate. 1e-2 is torch's default; optax's is 1e-4.
    Paper: Loshchilov, Hutter 2019, Decoupled weight decay regularization, algorithm 2 (there the schedule scales the
        decay and the rate does not; here both do, as in torch and optax).
    Shapes: any pytree of parameters; the state holds two copies. mask: a tree of bools like the parameters, or a
        function of them that gives one; only leaves with True decay.
    Errors: ValueError for a rate, eps or decay below 0, b1 or b2 outside 0 <= b < 1, an update without parameters.
    Example:
        tx = adamw(0.1, weight_decay=0.5, mask=lambda p: jax.tree.map(lambda x: x.ndim > 1, p))
        params = {'kernel': jnp.ones((1, 1)), 'bias': jnp.ones(1)}
        updates, state = tx.update(jax.tree.map(jnp.zeros_like, params), tx.init(params), params)
        updates['kernel'], updates['bias']                   # [[-0.05]], [0.]
    """
    _checked(learning_rate, weight_decay=weight_decay)
    return _adam(learning_rate, b1, b2, eps, weight_decay, mask)


def _adam(learning_rate: Rate, b1: Number, b2: Number, eps: Number, decay: Number,
          mask: Any) -> optax.GradientTransformation:
    _checked(learning_rate, b1=b1, b2=b2, eps=eps)
    decays = not _known(decay) or decay > 0

    def init(params: PyTree) -> AdamState:
        return AdamState(_start(), _zeros(params), _zeros(params))

    def update(grads: PyTree, state: AdamState, params: PyTree = None) -> tuple[PyTree, AdamState]:
        count = _next(state.count)
        mean = _average(b1, state.mean, grads)
        square = _average(b2, state.square, jax.tree.map(jnp.square, grads))
        seen1, seen2 = _seen(b1, count), _seen(b2, count)
        step = jax.tree.map(lambda m, v: ((m / seen1) / (jnp.sqrt(v / seen2) + eps)).astype(m.dtype), mean, square)
        if decays:
            if params is None:
                raise ValueError('params: expected the parameters, which decay; found None')
            chosen = mask(params) if callable(mask) else mask
            chosen = jax.tree.map(lambda _: True, params) if chosen is None else chosen
            step = jax.tree.map(lambda s, p, c: (s + decay * p).astype(s.dtype) if c else s, step, params, chosen)
        return _scaled(-_at(learning_rate, state.count), step), AdamState(count, mean, square)

    return optax.GradientTransformation(init, update)


def rmsprop(
    learning_rate: Rate, *, decay: Number = 0.9, eps: Number = 1e-8, eps_in_sqrt: bool = False, centered: bool = False,
    momentum: Number = 0.0, nesterov: bool = False,
) -> optax.GradientTransformation:
    """The gradient over its running root mean square, or its running standard deviation (centered).

    Formula: s_t = decay s_{t-1} + (1 - decay) g_t^2; a_t likewise of g_t where centered, else 0;
        d_t = rate g_t / (sqrt(s_t - a_t^2) + eps), or / sqrt(s_t - a_t^2 + eps) with eps_in_sqrt;
        v_t = momentum v_{t-1} + d_t; p_t = p_{t-1} - v_t; Nesterov: p_{t-1} - (d_t + momentum v_t).
        torch adds eps outside the root and has decay (there alpha) 0.99; optax adds it inside, with 0.9.
    Paper: Tieleman, Hinton 2012, lecture 6.5 of Neural networks for machine learning; centered, with the rate inside
        the velocity: Graves 2013, Generating sequences with recurrent neural networks, equations 38 to 41.
    Shapes: any pytree of parameters; the state holds one copy, and one more each for centered and for momentum.
    Errors: ValueError for a rate or eps below 0, decay or momentum outside 0 <= x < 1, nesterov without momentum.
    Example:
        tx = rmsprop(0.1, decay=0.75)
        p, state = jnp.array([1.0, -1.0]), tx.init(jnp.zeros(2))
        updates, state = tx.update(1000 * p, state)
        updates                                              # [-0.2, 0.2] = 0.1 / sqrt(0.25)
    """
    _checked(learning_rate, decay=decay, eps=eps, momentum=momentum)
    heavy = not _known(momentum) or momentum > 0
    if nesterov and not heavy:
        raise ValueError('nesterov: expected momentum > 0 with it; found momentum 0')

    def init(params: PyTree) -> RMSpropState:
        return RMSpropState(_start(), _zeros(params), _zeros(params) if centered else None,
                            _zeros(params) if heavy else None)

    def root(square: Array, mean: Array | float) -> Array:
        # The variance is not negative, but its difference of two roundings can be.
        spread = jnp.maximum(square - mean ** 2, 0) if centered else square
        return jnp.sqrt(spread + eps) if eps_in_sqrt else jnp.sqrt(spread) + eps

    def update(grads: PyTree, state: RMSpropState, params: PyTree = None) -> tuple[PyTree, RMSpropState]:
        del params
        square = _average(decay, state.square, jax.tree.map(jnp.square, grads))
        mean = _average(decay, state.mean, grads) if centered else None
        means = mean if centered else jax.tree.map(lambda _: 0.0, square)
        step = jax.tree.map(lambda g, s, a: (g / root(s, a)).astype(g.dtype), grads, square, means)
        step = _scaled(-_at(learning_rate, state.count), step)
        velocity = _push(momentum, state.velocity, step) if heavy else None
        step = _push(momentum, velocity, step) if nesterov else velocity if heavy else step
        return step, RMSpropState(_next(state.count), square, mean, velocity)

    return optax.GradientTransformation(init, update)
