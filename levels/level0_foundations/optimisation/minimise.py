"""Minima of smooth functions: gradient descent that finds its own rate, Newton's method, L-BFGS.

Each is a `common.task.Task` run by `solve`, on the device until the gradient is small, so each can be jitted, and
vmapped over starts or over whatever the function closes over. Parameters are any pytree of floats of one type.

Example:
    from levels.level0_foundations.optimisation.minimise import lbfgs
    found = lbfgs(loss, params)
    many = jax.vmap(lambda start: lbfgs(loss, start).x)(starts)
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, Int

from common.task import Task, solve
from levels.level0_foundations.optimisation.line_search import backtracking, wolfe

PyTree = Any
Fun = Callable[[PyTree], Float[Array, '']]


class Minimum(NamedTuple):
    """Where the search ended; `converged`: every entry of the gradient is at most tol."""

    x: PyTree
    value: Float[Array, '']
    gradient: PyTree
    steps: Int[Array, '']
    converged: Bool[Array, '']


class Place(NamedTuple):
    """Where a search stands. `stuck`: no length of step was good; `more`: what the method remembers."""

    x: Float[Array, ' d']
    value: Float[Array, '']
    gradient: Float[Array, ' d']
    stuck: Bool[Array, '']
    more: PyTree


def _run(fun: Fun, start: PyTree, memory: Callable, move: Callable, tol: float | None, max_steps: int, *,
         once_more: bool = False) -> Minimum:
    """`move(flat fun, place, done)` -> (the next x, whether it is good, what to remember given the next gradient).

    Where the gradient is at most tol it stops; with once_more after another step, kept if it does not make it larger.
    """
    x, back = ravel_pytree(jax.tree.map(jnp.asarray, start))
    if not jnp.issubdtype(x.dtype, jnp.floating) or x.size == 0:
        raise ValueError(f'start: expected floating point numbers; found {x.size} of {x.dtype}')
    if max_steps < 1 or (tol is not None and not tol >= 0):
        raise ValueError(f'tol, max_steps: expected tol >= 0, max_steps >= 1; found {tol}, {max_steps}')
    flat = lambda x: fun(back(x))
    goal = jnp.finfo(x.dtype).eps ** 0.5 if tol is None else tol

    size = lambda place: jnp.max(jnp.abs(place.gradient))

    def init(key, batch):
        value, gradient = jax.value_and_grad(flat)(x)
        return Place(x, value, gradient, jnp.asarray(False), memory(x))

    def step(key, place, batch):
        flatter = size(place) <= goal           # then there is nothing to do: stay
        new, good, remember = move(flat, place, flatter)
        value, gradient = jax.value_and_grad(flat)(new)
        there = Place(new, value, gradient, jnp.asarray(False), remember(new, gradient))
        keep = jnp.where(flatter, ~(once_more & (size(there) <= size(place))), ~good)
        return jax.tree.map(lambda a, b: jnp.where(keep, a, b), place._replace(stuck=~flatter), there), {}

    found = solve(Task(init, step), jax.random.key(0), None, max_steps=max_steps,
                  done=lambda old, new: new.stuck | (size(old if once_more else new) <= goal))
    end = found.state
    return Minimum(back(end.x), end.value, back(end.gradient), found.steps, size(end) <= goal)


def gradient_descent(fun: Fun, start: PyTree, *, tol: float | None = None, max_steps: int = 10_000) -> Minimum:
    """Downhill along the gradient, each step as long as Armijo's condition allows.

    Formula: x <- x - a f'(x), a the first of 2 a_before, a_before, a_before / 2, ... with 0.3 of the decrease that the
        slope promises. No rate has to be known: where no curvature is above L, a >= 0.7 / L once it was above that, and
        where none is below m each step takes at least 0.4 m / L off f(x) - min f.
    Paper: Cauchy 1847, Methode generale pour la resolution des systemes d'equations simultanees; Armijo 1966.
    Shapes: start any pytree of floats -> Minimum with x and gradient like it. tol: default square root of eps.
    Errors: ValueError for a start that is not floating point, tol < 0, max_steps < 1.
    Example:
        bowl = lambda p: jnp.sum((p['a'] - 3.0) ** 2) + 5 * p['b'] ** 2
        found = gradient_descent(bowl, {'a': jnp.zeros(2), 'b': jnp.ones(())})
        assert found.converged
        assert jnp.allclose(found.x['a'], 3.0, atol=1e-3)
    """
    def move(flat, place, done):
        step = backtracking(flat, place.x, -place.gradient, start=2 * place.more, c1=0.3)
        return place.x - step.size * place.gradient, step.found, lambda x, g: step.size

    return _run(fun, start, lambda x: jnp.ones((), x.dtype), move, tol, max_steps)


def newton(fun: Fun, start: PyTree, *, tol: float | None = None, max_steps: int = 100) -> Minimum:
    """Newton's method that descends everywhere: curvature counts by its size, also where it is negative.

    Formula: x <- x - a V |E|^-1 V' f'(x), V E V' the Hessian; |e| at least sqrt(eps) of the largest; a by
        Armijo from 1. Near a minimum the error is squared in each step, so one more is taken when the gradient is
        small, which rids x of what tol leaves; a saddle repels. Costs d^2 memory and d^3 time.
    Paper: Newton 1669, Raphson 1690; with |E|: Dauphin et al. 2014, Identifying and attacking the saddle point problem.
    Shapes: start any pytree of floats -> Minimum with x and gradient like it. tol: default square root of eps.
    Errors: ValueError for a start that is not floating point, tol < 0, max_steps < 1.
    Example:
        valley = lambda x: (1 - x[0]) ** 2 + 100 * (x[1] - x[0] ** 2) ** 2
        found = newton(valley, jnp.array([-1.2, 1.0]))
        assert found.converged and found.steps < 30
        assert jnp.allclose(found.x, 1.0, atol=1e-3)
    """
    def move(flat, place, done):
        values, vectors = jnp.linalg.eigh(jax.hessian(flat)(place.x))
        sizes = jnp.abs(values)
        eps = jnp.finfo(sizes.dtype).eps
        sizes = jnp.maximum(sizes, jnp.maximum(eps ** 0.5 * jnp.max(sizes), jnp.finfo(sizes.dtype).tiny))
        dot = lambda a, b: jnp.matmul(a, b, precision='highest')
        direction = -dot(vectors, dot(vectors.T, place.gradient) / sizes)
        step = backtracking(flat, place.x, direction)
        return place.x + jnp.where(done, 1, step.size) * direction, step.found, lambda x, g: ()

    return _run(fun, start, lambda x: (), move, tol, max_steps, once_more=True)


class Pairs(NamedTuple):
    """The last steps and changes of gradient, newest last, and 1 / their products: 0 for pairs not there."""

    steps: Float[Array, 'memory d']
    changes: Float[Array, 'memory d']
    inverse: Float[Array, ' memory']


def _two_loops(pairs: Pairs, gradient: Float[Array, ' d']) -> Float[Array, ' d']:
    """The inverse Hessian that the pairs tell of, times the gradient, without forming it."""
    dot = lambda a, b: jnp.vdot(a, b, precision='highest')

    def down(q, pair):
        s, y, r = pair
        a = r * dot(s, q)
        return q - a * y, a

    def up(q, pair):
        (s, y, r), a = pair
        return q + (a - r * dot(y, q)) * s, None

    q, a = jax.lax.scan(down, gradient, pairs, reverse=True)
    y = pairs.changes[-1]
    some = pairs.inverse[-1] > 0
    scale = jnp.where(some, 1 / jnp.where(some, pairs.inverse[-1] * dot(y, y), 1), 1)
    return jax.lax.scan(up, scale * q, (pairs, a))[0]


def lbfgs(fun: Fun, start: PyTree, *, memory: int = 10, tol: float | None = None, max_steps: int = 1000) -> Minimum:
    """Newton's method with a Hessian guessed from the last few gradients: memory times d numbers instead of d^2.

    Formula: x <- x - a H f'(x), H the inverse Hessian that maps the last changes of gradient to the last steps (two
        loops), from H = s'y / y'y; a by the strong Wolfe conditions, which keep H positive definite.
    Paper: Nocedal 1980, Updating quasi-Newton matrices with limited storage; Liu, Nocedal 1989, Mathematical
        Programming 45.
    Shapes: start any pytree of floats -> Minimum with x and gradient like it. tol: default square root of eps.
    Errors: ValueError for a start that is not floating point, memory < 1, tol < 0, max_steps < 1.
    Example:
        chain = lambda x: jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)
        found = lbfgs(chain, jnp.zeros(10))
        assert found.converged
        assert jnp.allclose(found.x, 1.0, atol=1e-3)
    """
    if memory < 1:
        raise ValueError(f'memory: expected at least 1; found {memory}')

    def empty(x):
        table = jnp.zeros((memory, x.size), x.dtype)
        return Pairs(table, table, jnp.zeros(memory, x.dtype))

    def move(flat, place, done):
        pairs = place.more
        direction = -_two_loops(pairs, place.gradient)
        first = jnp.where(pairs.inverse[-1] > 0, 1, 1 / jnp.maximum(1, jnp.linalg.norm(place.gradient)))
        step = wolfe(flat, place.x, direction, start=first)

        def remember(x, gradient):
            s, y = x - place.x, gradient - place.gradient
            product = jnp.vdot(s, y, precision='highest')
            good = product > jnp.finfo(x.dtype).eps * jnp.vdot(y, y)
            new = (s, y, 1 / jnp.where(good, product, 1))
            return Pairs(*(jnp.where(good, jnp.concatenate([old[1:], v[None]]), old) for old, v in zip(pairs, new)))

        # a length that only decreases is still progress; its pair is dropped if the curvature is not positive
        return place.x + step.size * direction, step.size > 0, remember

    return _run(fun, start, empty, move, tol, max_steps)
