"""Weight decay in its two forms and a limit on weights' norms, as optax transformations; and what they act on.

Other kinds: dropout (`dropout.py`), early stopping (`early_stopping.py`), label smoothing and mixup (`common`).
"""

import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from common import trees

PyTree = Any


def kernels(params: PyTree) -> PyTree:
    """True for what decays: weight matrices and kernels (two axes or more), not biases, scales of norms.

    Stacked layers (`DNN`) have one axis more, so biases and scales are told by their names as well.
    """
    plain = lambda name, leaf: jnp.ndim(leaf) >= 2 and not re.search(r'(^|/)(bias|scale)$', name)
    return trees.map_named(plain, params)


def _checked(name: str, value: Any) -> None:
    if not isinstance(value, jax.core.Tracer) and not value >= 0:
        raise ValueError(f'{name}: expected a number of 0 or more; found {value}')


def l2_penalty(params: PyTree, *, strength: float, on: Callable[[PyTree], PyTree] = kernels) -> Float[Array, '']:
    """The penalty on squared weights that is added to a loss.

    Formula: strength / 2 sum w^2 over the weights chosen by `on`: its gradient is strength w, which torch's optimisers
        call weight_decay = strength.
    Paper: Krogh, Hertz 1991, A simple weight decay can improve generalization.
    Shapes: a tree of parameters -> [].
    Errors: ValueError for a strength below 0.
    Example:
        params = {'kernel': jnp.full((2, 1), 3.0), 'bias': jnp.ones(1)}
        grads = jax.grad(l2_penalty)(params, strength=0.5)
        assert l2_penalty(params, strength=0.5) == 4.5
        assert jnp.array_equal(grads['kernel'], jnp.full((2, 1), 1.5)) and grads['bias'] == 0
    """
    _checked('strength', strength)
    chosen = trees.named_leaves(on(params))
    squares = [jnp.sum(w**2) for name, w in trees.named_leaves(params).items() if chosen[name]]
    return strength / 2 * sum(squares, jnp.zeros(()))


def max_norm(kernel: Float[Array, '*window in out'], *, limit: float) -> Float[Array, '*window in out']:
    """The nearest kernel none of whose units has incoming weights longer than `limit`.

    Formula: each column v becomes v min(1, limit / |v|), |v| over all axes but the last.
    Paper: Srebro, Shraibman 2005, Rank, trace-norm and max-norm; with dropout: Srivastava et al. 2014, section 5.1.
    Shapes: [*window, in, out] -> the same.
    Errors: ValueError for a limit that is not positive.
    Example:
        kernel = jnp.array([[3.0, 0.0], [4.0, 1.0]])
        short = max_norm(kernel, limit=2.0)
        assert jnp.allclose(short, jnp.array([[1.2, 0.0], [1.6, 1.0]]))
        assert jnp.allclose(max_norm(short, limit=2.0), short)
    """
    if not isinstance(limit, jax.core.Tracer) and not limit > 0:
        raise ValueError(f'limit: expected a positive number; found {limit}')
    norm = jnp.sqrt(jnp.sum(kernel**2, axis=tuple(range(kernel.ndim - 1)), keepdims=True))
    return kernel * (limit / jnp.maximum(norm, limit))


def with_l2(
    tx: optax.GradientTransformation, strength: float, *, on: Callable[[PyTree], PyTree] = kernels
) -> optax.GradientTransformation:
    """The optimiser `tx` on the loss with a penalty on squared weights added.

    Formula: descends L + strength / 2 sum w^2 over the weights chosen by `on`; its gradient g + strength w goes through
        tx, so an adaptive tx divides the penalty's gradient by the size of recent gradients as well.
    Paper: Krogh, Hertz 1991, A simple weight decay can improve generalization.
    Shapes: trees like the parameters.
    Errors: ValueError for a strength below 0.
    Example:
        tx = with_l2(optax.sgd(0.1), 0.5)
        params = {'kernel': jnp.ones((1, 1)), 'bias': jnp.ones(1)}
        updates, _ = tx.update(jax.tree.map(jnp.zeros_like, params), tx.init(params), params)
        assert jnp.allclose(updates['kernel'], -0.05) and updates['bias'] == 0
    """
    _checked('strength', strength)
    return optax.chain(optax.masked(_add(strength), on), tx)


def with_decay(
    tx: optax.GradientTransformation, rate: float | Callable, strength: float, *,
    on: Callable[[PyTree], PyTree] = kernels,
) -> optax.GradientTransformation:
    """The optimiser `tx`, and apart from it a decay of the weights towards 0.

    Formula: w <- w + update of tx - rate strength w, for the weights chosen by `on`; rate: that of tx, a number or a
        schedule. With plain gradient descent the same as `with_l2`, with Adam it is AdamW.
    Paper: Loshchilov, Hutter 2019, Decoupled weight decay regularization, algorithm 2.
    Shapes: trees like the parameters.
    Errors: ValueError for a strength below 0.
    Example:
        tx = with_decay(optax.adam(0.1), 0.1, 0.5)
        params = {'kernel': jnp.ones((1, 1)), 'bias': jnp.ones(1)}
        updates, _ = tx.update(jax.tree.map(jnp.zeros_like, params), tx.init(params), params)
        assert jnp.allclose(updates['kernel'], -0.05) and updates['bias'] == 0
    """
    _checked('strength', strength)
    decay = optax.chain(optax.masked(_add(strength), on), optax.scale_by_learning_rate(rate))

    def init(params):
        return tx.init(params), decay.init(params)

    def update(grads, state, params):
        zeros = jax.tree.map(jnp.zeros_like, grads)
        grads, inner = tx.update(grads, state[0], params)
        decayed, outer = decay.update(zeros, state[1], params)
        return optax.apply_updates(grads, decayed), (inner, outer)

    return optax.GradientTransformation(init, update)


def _add(strength) -> optax.GradientTransformation:
    """update + strength w; strength may be traced, which optax's own refuses."""
    add = lambda grads, params: jax.tree.map(lambda g, p: g + jnp.asarray(strength, p.dtype) * p, grads, params)
    return optax.stateless(add)


def with_max_norm(
    tx: optax.GradientTransformation, limit: float, *, on: Callable[[PyTree], PyTree] = kernels,
    stacked: str = '(^|/)layers/',
) -> optax.GradientTransformation:
    """The optimiser `tx`, after which no unit's incoming weights are longer than `limit`.

    Formula: w <- max_norm(w + update of tx); where the path matches `stacked`, the first axis counts layers (as in
        `DNN`), and each layer is by itself.
    Paper: Srebro, Shraibman 2005, Rank, trace-norm and max-norm; with dropout: Srivastava et al. 2014, section 5.1.
    Shapes: trees like the parameters; a kernel is [*window, in, out], or [layers, *window, in, out].
    Errors: ValueError for a limit that is not positive.
    Example:
        tx = with_max_norm(optax.sgd(1.0), 2.0)
        params = {'kernel': jnp.array([[3.0, 0.0], [4.0, 1.0]])}
        updates, _ = tx.update(jax.tree.map(jnp.zeros_like, params), tx.init(params), params)
        new = optax.apply_updates(params, updates)['kernel']
        assert jnp.allclose(new, jnp.array([[1.2, 0.0], [1.6, 1.0]]))
    """
    if not isinstance(limit, jax.core.Tracer) and not limit > 0:
        raise ValueError(f'limit: expected a positive number; found {limit}')

    def one(name: str, update, w, chosen):
        if not chosen:
            return update
        project = lambda v: max_norm(v, limit=limit)
        return (jax.vmap(project) if re.search(stacked, name) else project)(w + update) - w

    def update(grads, state, params):
        updates, state = tx.update(grads, state, params)
        chosen, given = trees.named_leaves(on(params)), trees.named_leaves(updates)
        return trees.map_named(lambda name, w: one(name, given[name], w, chosen[name]), params), state

    return optax.GradientTransformation(tx.init, update)
