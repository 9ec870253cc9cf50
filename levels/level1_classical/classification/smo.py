"""Kernels, and sequential minimal optimisation: the dual of support vector machines, two variables at a time.

Formula: minimise 1/2 b' K b - t' b, low <= b <= high, sum b = 0. With g = K b - t the variables that may grow have
    b < high, those that may shrink b > low; b is the minimum when max of -g over the first exceeds min of -g over the
    second by no more than tol. A step takes i, the first maximum, and the j of the largest second-order decrease
    (g_j - g_i)^2 / (K_ii + K_jj - 2 K_ij), and moves b_i up and b_j down to the minimum or the box.
Paper: Platt 1998, Sequential minimal optimization; Fan, Chen, Lin 2005, Working set selection using second order
    information for training support vector machines, JMLR 6 (WSS 2).
Shapes: X [rows, features]; t, low, high, b [n], n = rows, or a multiple of it where rows stand for several variables.

Example:
    gram = gram_of(X, Kernel('rbf', 3, gamma, 0.0), X.mean(0))
    found = smo(gram, target, low, high, tol=1e-3, max_iter=100_000)
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

KERNELS = ('linear', 'rbf', 'poly', 'sigmoid')
HELD = 1 << 26          # entries up to which the matrix of kernels is held; beyond, its rows are made when needed
CELLS = 1 << 24         # entries of it at once, where only products are wanted
TINY = 1e-12            # the curvature of a pair that has none, or a negative one
ROUNDS = 4              # times that gradients are made anew, free of the rounding of many small updates


class Kernel(NamedTuple):
    """A kernel with its numbers, which may be traced; `degree` is a static whole number."""

    name: str
    degree: int
    gamma: Any
    coef0: Any

    def __call__(self, A: Float[Array, 'rows features'], B: Float[Array, 'others features']):
        """[rows, others].  For rbf the rows should lie about zero, or products cancel."""
        dots = A @ B.T
        if self.name == 'linear':
            return dots
        if self.name == 'rbf':
            square = jnp.sum(A**2, 1)[:, None] + jnp.sum(B**2, 1)[None] - 2 * dots
            return jnp.exp(-self.gamma * jnp.maximum(square, 0))
        if self.name == 'poly':
            return (self.gamma * dots + self.coef0) ** self.degree
        return jnp.tanh(self.gamma * dots + self.coef0)

    def diagonal(self, A: Float[Array, 'rows features']) -> Float[Array, ' rows']:
        """K(a, a) of each row."""
        if self.name == 'rbf':
            return jnp.ones(len(A), A.dtype)
        return jax.vmap(lambda a: self(a[None], a[None])[0, 0])(A)


class Gram(NamedTuple):
    """The matrix of kernels as functions: row(i) [rows], times(b) = K b [rows], and its diagonal [rows]."""

    row: Callable[[Array], Array]
    times: Callable[[Array], Array]
    diagonal: Float[Array, ' rows']


def products(kernel: Kernel, A, B, beta: Float[Array, 'others k']) -> Float[Array, 'rows k']:
    """kernel(A, B) @ beta, in chunks of rows of A."""
    size = max(1, min(len(A), CELLS // len(B)))
    chunks = jnp.pad(A, ((0, -len(A) % size), (0, 0))).reshape(-1, size, A.shape[1])
    return jax.lax.map(lambda a: kernel(a, B) @ beta, chunks).reshape(-1, beta.shape[1])[:len(A)]


def gram_of(A: Float[Array, 'rows features'], kernel: Kernel) -> Gram:
    """The kernels of all pairs of rows: held where there are at most HELD, else made row by row."""
    diagonal = kernel.diagonal(A)
    if len(A) ** 2 > HELD:
        return Gram(lambda i: kernel(A[i][None], A)[0], lambda b: products(kernel, A, A, b[:, None])[:, 0], diagonal)
    K = kernel(A, A)
    return Gram(lambda i: K[i], lambda b: K @ b, diagonal)


class Found(NamedTuple):
    """The minimum, its gradient, the number of steps, and whether it is one within tol."""

    beta: Float[Array, ' n']
    gradient: Float[Array, ' n']
    steps: Int[Array, '']
    converged: Bool[Array, '']


class _Search(NamedTuple):
    beta: Array
    gradient: Array
    steps: Array
    most: Array         # the largest -g of those that may grow
    first: Array        # and where it is
    least: Array        # the smallest -g of those that may shrink


def _peak(v):
    """(maximum, first place of it) of a vector, by reductions over a leading axis: CPUs do many lanes at a time."""
    n = len(v)
    lanes = 64 if n % 64 == 0 else 1
    most = jnp.max(jnp.max(v.reshape(-1, lanes), 0))
    place = jnp.where(v == most, jnp.arange(n, dtype=jnp.int32), n - 1)
    return most, jnp.min(jnp.min(place.reshape(-1, lanes), 0))


def smo(gram: Gram, target, low, high, *, tol, max_iter) -> Found:
    """Minimises the dual from b = 0.  Where a row stands for several variables they are rows 0 ... rows - 1 again."""
    rows = len(gram.diagonal)
    copies = len(target) // rows
    spread = lambda v: jnp.tile(v, copies)
    diagonal = spread(gram.diagonal)

    def looked(beta, gradient, steps):
        most, first = _peak(jnp.where(beta < high, -gradient, -jnp.inf))
        least = -_peak(jnp.where(beta > low, gradient, -jnp.inf))[0]
        return _Search(beta, gradient, steps, most, first, least)

    def open_(s):
        return (s.most - s.least > tol) & (s.steps < max_iter)

    def step(s):
        i = s.first
        row = spread(gram.row(i % rows))
        ahead = s.most + s.gradient
        bend = jnp.maximum(diagonal[i] + diagonal - 2 * row, TINY)
        j = _peak(jnp.where((s.beta > low) & (ahead > 0), ahead * ahead / bend, -1))[1]
        room = jnp.minimum(high[i] - s.beta[i], s.beta[j] - low[j])
        move = jnp.minimum(ahead[j] / bend[j], room)
        # at a bound it is the bound, not nearly so
        up = jnp.where(move == high[i] - s.beta[i], high[i], s.beta[i] + move)
        down = jnp.where(move == s.beta[j] - low[j], low[j], s.beta[j] - move)
        beta = s.beta.at[i].set(up).at[j].set(down)
        gradient = s.gradient + move * (row - spread(gram.row(j % rows)))
        return looked(beta, gradient, s.steps + 1)

    def anew(s):
        held = jnp.sum(s.beta.reshape(copies, rows), 0)
        return looked(s.beta, spread(gram.times(held)) - target, s.steps)

    def once_more(loop):
        s, rounds = loop
        return anew(jax.lax.while_loop(open_, step, s)), rounds + 1

    begin = looked(jnp.zeros_like(target), -target, jnp.int32(0))
    s, _ = jax.lax.while_loop(lambda loop: open_(loop[0]) & (loop[1] < ROUNDS), once_more, (begin, 0))
    return Found(s.beta, s.gradient, s.steps, s.most - s.least <= tol)


def offset(found: Found, low, high) -> Float[Array, '']:
    """The intercept: the mean of -g over the variables inside their box, or the middle of what the others allow."""
    free = (found.beta > low) & (found.beta < high)
    count = jnp.sum(free)
    most = jnp.max(jnp.where(found.beta < high, -found.gradient, -jnp.inf))
    least = jnp.min(jnp.where(found.beta > low, -found.gradient, jnp.inf))
    mean = -jnp.sum(jnp.where(free, found.gradient, 0)) / jnp.maximum(count, 1)
    either = jnp.where(jnp.isfinite(most), most, jnp.where(jnp.isfinite(least), least, 0))
    middle = jnp.where(jnp.isfinite(most) & jnp.isfinite(least), (most + least) / 2, either)
    return jnp.where(count > 0, mean, middle)
