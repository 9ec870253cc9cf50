"""Fixed points x = f(theta, x), their derivatives without a look at the steps, and bounds of both errors.

Example:
    from levels.level0_foundations.calculus.implicit import fixed_point
    root = lambda a: fixed_point(lambda a, x: (x + a / x) / 2, a, 1.0 + 0 * a).x     # Heron: the square root of a
    jax.grad(root)(2.0)                                                          # 1 / (2 sqrt 2)
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int

from common.task import Task, solve
from levels.level0_foundations.linear_algebra.arrays import exact
from levels.level0_foundations.linear_algebra.spectral import svd
from levels.level0_foundations.linear_algebra.vectors import norm

PyTree = Any
DENSE = 256     # up to so many unknowns the rate is the norm of a matrix, beyond it is a power iteration's estimate


class FixedPoint(NamedTuple):
    """x; steps made, and whether tol was reached; rate: |df/dx|_2 there; bound: of |x - exact|_2."""

    x: PyTree
    steps: Int[Array, '']
    converged: Bool[Array, '']
    rate: Float[Array, '']
    bound: Float[Array, '']


class ImplicitGradient(NamedTuple):
    """The slopes of u' x*(theta), and a bound of their error (2-norm, over the whole tree)."""

    gradient: PyTree
    bound: Float[Array, '']


def _flat(fn: Callable, start: PyTree) -> tuple[Callable, Array, Callable]:
    flat, back = ravel_pytree(start)
    if flat.size == 0 or not jnp.issubdtype(flat.dtype, jnp.floating):
        raise ValueError(f'start: expected a tree of floating point numbers, found {flat.size} of {flat.dtype}')
    out = jax.eval_shape(lambda x: ravel_pytree(fn(back(x)))[0], flat)
    if out.shape != flat.shape:
        raise ValueError(f'fn: expected as many numbers as start has, {flat.size}, found {out.size}')
    return lambda fn: lambda x: ravel_pytree(fn(back(x)))[0].astype(flat.dtype), flat, back


def _iterate(step_fn: Callable, x: Array, tol: float, max_steps: int):
    """x <- step_fn(x) until a step is at most tol (1 + |x|) long."""
    task = Task(lambda key, x: x, lambda key, x, _: (step_fn(x), {}))
    near = lambda old, new: norm(new - old) <= tol * (1 + norm(new))
    return solve(task, jax.random.key(0), x, max_steps=max_steps, done=near)


def _adjoint(pull: Callable, v: Array, tol: float, max_steps: int) -> Array:
    """w of w = v + J' w, by the iteration that contracts as fast as the forward one."""
    run = lambda matvec, b: _iterate(lambda w: w + b - matvec(w), b, tol, max_steps).state
    # Through custom_linear_solve the adjoint has derivatives too, so second derivatives are right.
    return jax.lax.custom_linear_solve(lambda w: w - pull(w), v, run, run)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def _fixed(fn, tol, max_steps, theta, x):
    found = _iterate(lambda x: fn(theta, x), x, tol, max_steps)
    return found.state, found.steps, found.converged


def _fixed_forward(fn, tol, max_steps, theta, x):
    found = _fixed(fn, tol, max_steps, theta, x)
    return found, (theta, found[0])


def _fixed_backward(fn, tol, max_steps, saved, slopes):
    theta, x = saved
    w = _adjoint(lambda w: jax.vjp(lambda x: fn(theta, x), x)[1](w)[0], slopes[0], tol, max_steps)
    # The start decides at most which fixed point is found, so its slope is zero.
    return jax.vjp(lambda theta: fn(theta, x), theta)[1](w)[0], jnp.zeros_like(x)


_fixed.defvjp(_fixed_forward, _fixed_backward)


def _spectral_norm(fn: Callable, x: Array) -> Array:
    """|J|_2 of fn at x."""
    if x.size <= DENSE:
        return svd(jax.jacfwd(fn)(x)).s[0]
    pull, push = jax.vjp(fn, x)[1], lambda v: jax.jvp(fn, (x,), (v,))[1]

    def power(v):
        v = pull(push(v))[0]
        return v / jnp.maximum(norm(v), jnp.finfo(v.dtype).tiny)

    v = _iterate(power, jax.random.normal(jax.random.key(0), x.shape, x.dtype), 1e-4, 200).state
    return norm(push(v))


def _checked(fn, theta, start, tol, max_steps):
    theta = jax.tree.map(jnp.asarray, theta)
    wrap, x, back = _flat(lambda x: fn(theta, x), start)
    tol = 10 * float(jnp.finfo(x.dtype).eps) if tol is None else tol
    if not 0 < tol < 1:
        raise ValueError(f'tol: expected 0 < tol < 1, found {tol}')
    if max_steps < 1:
        raise ValueError(f'max_steps: expected at least 1, found {max_steps}')
    return lambda theta, x: wrap(lambda x: fn(theta, x))(x), theta, x, back, tol


@exact
def fixed_point(fn: Callable[[PyTree, PyTree], PyTree], theta: PyTree, start: PyTree, *, tol: float | None = None,
                max_steps: int = 1000, lipschitz: float | None = None) -> FixedPoint:
    """x* = f(theta, x*) by iterating, with dx*/dtheta from the implicit function theorem and a bound of the error.

    Formula: x <- f(theta, x) until |step| <= tol (1 + |x|). dx*/dtheta = (I - J)^-1 df/dtheta, J = df/dx; backwards
        w = u + J' w is iterated and the slope is (df/dtheta)' w: memory does not grow with the steps.
        bound = (|f(x) - x| + 4 eps |x|) / (1 - L): Banach's, where L is a Lipschitz constant of f around x. If
        `lipschitz` does not give one, L = rate = |J|_2 at x, exact for a linear f and right to first order in the
        error for another. Infinite for L >= 1.
    Paper: Banach 1922, Sur les operations dans les ensembles abstraits; Christianson 1994, Reverse accumulation and
        attractive fixed points; Bai, Kolter, Koltun 2019, Deep equilibrium models.
    Shapes: fn(theta, x): tree like start -> the same; theta, start any trees -> FixedPoint(x like start, rest []).
        All that is to be differentiated must come in through theta. Reverse mode, of any order.
    Errors: ValueError for a start that is not floating point, an fn that changes its size, tol outside 0 < tol < 1.
        An iteration that has not ended says converged = False.
    Example:
        A = jnp.array([[0.2, 0.1], [0.0, 0.5]])
        find = lambda b: fixed_point(lambda b, x: A @ x + b, b, jnp.zeros(2))
        found, exact_x = find(jnp.ones(2)), jnp.array([1.5, 2.0])
        assert found.converged and jnp.linalg.norm(found.x - exact_x) <= found.bound < 1e-5
        assert jnp.allclose(jax.grad(lambda b: find(b).x[0])(jnp.ones(2)), jnp.array([1.25, 0.25]), atol=1e-5)
    """
    f, theta, x, back, tol = _checked(fn, theta, start, tol, max_steps)
    x, steps, converged = _fixed(f, tol, max_steps, theta, x)
    at, fixed_theta = jax.lax.stop_gradient((x, theta))
    rate = _spectral_norm(lambda x: f(fixed_theta, x), at)
    off = norm(f(fixed_theta, at) - at)
    bound = _over(off + _rounding(at), rate if lipschitz is None else lipschitz)
    return FixedPoint(back(x), steps, converged, rate, bound)


def _rounding(x: Array) -> Array:
    return 4 * jnp.finfo(x.dtype).eps * norm(x)


def _over(error: Array, rate: Any) -> Array:
    """error / (1 - rate), infinite unless rate < 1."""
    rate = jnp.asarray(rate, error.dtype)
    return jnp.where(rate < 1, error / jnp.where(rate < 1, 1 - rate, 1), jnp.inf)


@exact
def implicit_gradient(fn: Callable[[PyTree, PyTree], PyTree], theta: PyTree, x: PyTree, *, u: PyTree,
                      tol: float | None = None, max_steps: int = 1000) -> ImplicitGradient:
    """The slopes of u' x*(theta) from a point near x*, however it was found, and how wrong they may be.

    Formula: g(x) = (df/dtheta)' w, w = u + J' w. Error <= |df/dtheta|_F |u + J' w - w| / (1 - L) for ending the
        iteration of w, and |g(f(x)) - g(x)| / (1 - L), to first order, for x not being x*; and rounding.
    Paper: Christianson 1994, Reverse accumulation and attractive fixed points; bounds: Blondel et al. 2022, Efficient
        and modular implicit differentiation.
    Shapes: fn, theta as in `fixed_point`; x, u alike -> ImplicitGradient(gradient like theta, bound []).
    Errors: ValueError as `fixed_point`, and for a u that has another size than x.
    Example:
        fn = lambda a, x: a * jnp.cos(x)
        exact_slope = jax.grad(lambda a: fixed_point(fn, a, 0.0 * a).x)(0.5)
        near = implicit_gradient(fn, jnp.array(0.5), jnp.array(0.46), u=jnp.array(1.0))
        assert 1e-3 < abs(near.gradient - exact_slope) <= near.bound < 0.02
    """
    f, theta, x, _, tol = _checked(fn, theta, x, tol, max_steps)
    u = ravel_pytree(u)[0].astype(x.dtype)
    if u.shape != x.shape:
        raise ValueError(f'u: expected {x.size} numbers, as x has, found {u.size}')
    flat_theta, back = ravel_pytree(theta)
    g = lambda t, x: f(back(t), x)

    def slopes(x):
        pull = jax.vjp(lambda x: g(flat_theta, x), x)[1]
        w = _adjoint(lambda w: pull(w)[0], u, tol, max_steps)
        return jax.vjp(lambda t: g(t, x), flat_theta)[1](w)[0], w, norm(u + pull(w)[0] - w)

    here, w, left = slopes(x)
    there, _, _ = slopes(g(flat_theta, x))
    size = norm(jax.jacfwd(g)(flat_theta, x).reshape(-1)) if x.size <= DENSE else _spectral_norm(
        lambda t: g(t, x), flat_theta)
    rate = _spectral_norm(lambda x: g(flat_theta, x), x)
    bound = _over(size * (left + _rounding(w)) + norm(there - here) + _rounding(here), rate)
    return ImplicitGradient(back(here), bound)
