"""The chain rule: a composition's Jacobian as a product of Jacobians, and rules of one's own inside JAX's chain.

`tape.py` is the chain rule as a program; here it is as matrices, and in JAX's words (`jax.custom_vjp`).
"""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


class Chain(NamedTuple):
    """The value and Jacobian of a composition, and how many multiplications its product of matrices took."""

    value: Float[Array, ' m']
    jacobian: Float[Array, 'm n']
    multiplications: int


def chain_rule(fns: Sequence[Callable[[Array], Array]], x: Float[Array, ' n'], *, order: str = 'reverse') -> Chain:
    """The Jacobian of fns[-1] o ... o fns[0] from the Jacobians of its parts.

    Formula: J = J_k ... J_2 J_1, each at the value that reaches it. 'forward' multiplies from the input's side,
        (J_2 J_1) first; 'reverse' from the output's, (J_k J_{k-1}) first, which is cheaper for few outputs: the reason
        for backpropagation. The product is the same.
    Paper: Leibniz 1676; as an order of products: Griewank, Walther 2008, Evaluating derivatives, chapter 3.
    Shapes: fns: [a] -> [b], [b] -> [c], ...; x [n] -> Chain(value [m], jacobian [m, n], multiplications).
    Errors: ValueError without functions, for an unknown order, for x or a value that is not a vector.
    Example:
        W = jnp.ones((3, 4))
        fns = [lambda x: W @ x, jnp.tanh, lambda x: jnp.sum(x, keepdims=True)]
        there, back = (chain_rule(fns, 0.1 * jnp.ones(4), order=order) for order in ('forward', 'reverse'))
        assert jnp.allclose(there.jacobian, back.jacobian)
        assert back.multiplications < there.multiplications
    """
    if not fns:
        raise ValueError('fns: expected at least one function, found none')
    if order not in ('forward', 'reverse'):
        raise ValueError(f'order: expected forward or reverse, found {order!r}')
    values, matrices = [jnp.asarray(x)], []
    for fn in fns:
        if values[-1].ndim != 1:
            raise ValueError(f'x: expected a vector before each function, found shape {values[-1].shape}')
        matrices.append(jax.jacfwd(fn)(values[-1]))
        values.append(fn(values[-1]))
    if values[-1].ndim != 1:
        raise ValueError(f'fns: expected vectors, found a result of shape {values[-1].shape}')
    total = matrices[0] if order == 'forward' else matrices[-1]
    count = 0
    for J in matrices[1:] if order == 'forward' else matrices[-2::-1]:
        left, right = (J, total) if order == 'forward' else (total, J)
        total = jnp.matmul(left, right, precision='highest')
        count += left.shape[0] * left.shape[1] * right.shape[1]
    return Chain(values[-1], total, count)


@jax.custom_vjp
def log1pexp(x: Float[Array, '*shape']) -> Float[Array, '*shape']:
    """log(1 + e^x) with a rule of its own, because the chain rule through the formula is inf / inf for large x.

    Formula: max(x, 0) + log1p(e^-|x|); derivative 1 / (1 + e^-x), computed from e^-|x| <= 1.
    Paper: Machler 2012, Accurately computing log(1 - exp(-|a|)); JAX's own example of a custom rule.
    Shapes: [*shape] -> [*shape].
    Errors: none for floating point numbers: NaN gives NaN. Reverse mode only, as every jax.custom_vjp.
    Example:
        x = jnp.array([-1000.0, 0.0, 1000.0])
        naive = lambda x: jnp.log(1 + jnp.exp(x))
        assert jnp.isnan(jax.grad(naive)(x[2]))
        assert jax.vmap(jax.grad(log1pexp))(x).tolist() == [0, 0.5, 1]
    """
    return jnp.maximum(x, 0) + jnp.log1p(jnp.exp(-jnp.abs(x)))


def _sigmoid(x):
    small = jnp.exp(-jnp.abs(x))
    return jnp.where(x < 0, small, 1) / (1 + small)


log1pexp.defvjp(lambda x: (log1pexp(x), x), lambda x, g: (g * _sigmoid(x),))


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def clip_gradient(x: Float[Array, '*shape'], limit: float) -> Float[Array, '*shape']:
    """x itself; what comes back through it is clipped to -limit .. limit: a rule that is no derivative at all.

    Formula: y = x; dL/dx = clip(dL/dy, -limit, limit).
    Paper: Graves 2013, Generating sequences with recurrent neural networks, section 2.1 (gradients clipped inside the
        network).
    Shapes: [*shape] -> [*shape]; limit a number.
    Errors: ValueError for a limit that is not above 0, when a derivative is taken.
    Example:
        x = jnp.array([1.0, 2.0])
        fn = lambda x: jnp.sum(jnp.array([0.5, -100.0]) * clip_gradient(x, 1.0))
        assert clip_gradient(x, 1.0).tolist() == [1, 2]
        assert jax.grad(fn)(x).tolist() == [0.5, -1]
    """
    return x


def _clip_forward(x, limit):
    if not limit > 0:
        raise ValueError(f'limit: expected a number above 0, found {limit}')
    return x, None


clip_gradient.defvjp(_clip_forward, lambda limit, _, g: (jnp.clip(g, -limit, limit),))
