"""What the solvers of logistic regression share, and those for smooth penalties: Newton and L-BFGS.

All of them minimise sum_i v_i loss(z_i, T_i) + sum_j l2_j ||W_j||^2 / 2 + l1_j |W_j|_1 over W [columns, outputs],
z = A diag(unit) W, where v sums to 1 and outputs is 1 (one margin for two classes) or the number of classes (softmax).
All stop by the same measure, which anyone can verify: the largest entry of the smallest subgradient is at most tol.

Formula: loss(z, T) = log(1 + exp z) - T z, or log sum exp z - z' T; gradient A' diag(v) (p - T) + l2 W.
Paper: Hastie, Tibshirani, Friedman 2009, The Elements of Statistical Learning, section 4.4; Nocedal, Wright 2006,
    Numerical Optimization, algorithm 7.4.
Shapes: A [rows, columns], T [rows, outputs], v [rows], unit, l1, l2 [columns].

The margins z are kept beside W, and those of a direction are found once: then a trial of a line search costs no product
with A, and the length of a step can be found almost exactly for nothing.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from common import lapack
from common.task import Task, solve
from levels.level1_classical.estimator import summed

MEMORY = 10     # pairs that L-BFGS keeps
PATIENCE = 20   # steps without a better gradient: it is down to rounding


class Problem(NamedTuple):
    """What is minimised; `unit` scales the columns, for which A itself need not be copied."""

    A: Float[Array, 'rows columns']
    unit: Float[Array, ' columns']
    T: Float[Array, 'rows outputs']
    v: Float[Array, ' rows']
    l1: Float[Array, ' columns']
    l2: Float[Array, ' columns']


class Point(NamedTuple):
    """W, its margins z, and the gradient of the smooth part."""

    W: Float[Array, 'columns outputs']
    z: Float[Array, 'rows outputs']
    G: Float[Array, 'columns outputs']


class Search(NamedTuple):
    """Where a solver stands; `memory` is its own."""

    at: Point
    residual: Float[Array, '']
    best: Float[Array, '']
    stale: Int[Array, '']
    moved: Float[Array, 'rows outputs']     # the margins' change in the last step
    memory: tuple


def losses(z, T):
    """The loss of each row."""
    if T.shape[1] == 1:
        return (jax.nn.softplus(z) - T * z)[:, 0]
    return jax.nn.logsumexp(z, 1) - jnp.sum(T * z, 1)


def probabilities(z):
    """Of class 1, or of every class."""
    return jax.nn.sigmoid(z) if z.shape[1] == 1 else jax.nn.softmax(z, 1)


def lead(z, T):
    """By how much the margin of a row's own class is above that of the best other one."""
    if T.shape[1] == 1:
        return ((2 * T - 1) * z)[:, 0]
    return jnp.sum(T * z, 1) - jnp.max(jnp.where(T > 0, -jnp.inf, z), 1)


def penalty(p: Problem, W):
    return jnp.sum(p.l2[:, None] * W**2) / 2 + jnp.sum(p.l1[:, None] * jnp.abs(W))


def objective(p: Problem, W, z):
    return p.v @ losses(z, p.T) + penalty(p, W)


def subgradient(p: Problem, W, G):
    """The largest entry of the smallest subgradient: 0 at the minimum and only there."""
    l1 = p.l1[:, None]
    return jnp.max(jnp.where(W != 0, jnp.abs(G + l1 * jnp.sign(W)), jnp.maximum(jnp.abs(G) - l1, 0)))


def forth(p: Problem, W):
    """The margins of W."""
    return p.A @ (p.unit[:, None] * W)


def back(p: Problem, R):
    """A' R in the units of W; in this order, which for a tall A is several times as fast as A.T @ R."""
    return p.unit[:, None] * summed(lambda r, a: r.T @ a, R, p.A).T


def point(p: Problem, W, z) -> Point:
    return Point(W, z, back(p, p.v[:, None] * (probabilities(z) - p.T)) + p.l2[:, None] * W)


def origin(p: Problem) -> Point:
    return point(p, jnp.zeros((p.A.shape[1], p.T.shape[1]), p.A.dtype), jnp.zeros_like(p.T))


def begin(p: Problem, at: Point, memory=()) -> Search:
    residual = subgradient(p, at.W, at.G)
    return Search(at, residual, residual, jnp.zeros((), jnp.int32), jnp.zeros_like(p.T), memory)


def arrive(p: Problem, old: Search, new: Point, memory=()) -> Search:
    residual = subgradient(p, new.W, new.G)
    stale = jnp.where(residual < old.best, 0, old.stale + 1)
    return Search(new, residual, jnp.minimum(residual, old.best), stale, new.z - old.at.z, memory)


def run(p: Problem, step, tol, max_iter, at=None, memory=(), patience=PATIENCE):
    """(Search, steps, converged), from W = 0 if no other point is given."""
    start = begin(p, origin(p) if at is None else at, memory)
    found = solve(Task(lambda key, p: start, lambda key, s, p: (step(p, s), {})), jax.random.key(0), p,
                  max_steps=max_iter, done=lambda old, new: (new.residual <= tol) | (new.stale >= patience))
    return found.state, found.steps, found.state.residual <= tol


def length(p: Problem, at: Point, D, dz):
    """How far to go along D: where the slope of the objective, a convex function of one number, is a tenth of the
    first or less, by Newton's method within a bracket.  Every trial is elementwise work on the margins."""
    def look(t):
        z = at.z + t * dz
        prob = probabilities(z)
        slope = p.v @ jnp.sum((prob - p.T) * dz, 1) + jnp.sum(p.l2[:, None] * (at.W + t * D) * D)
        spread = jnp.sum(prob * dz**2, 1) - jnp.sum(prob * dz, 1) ** 2
        return slope, p.v @ spread + jnp.sum(p.l2[:, None] * D**2)

    first = jnp.sum(at.G * D)       # the slope at 0

    def cond(loop):
        _, slope, _, _, _, n = loop
        return (jnp.abs(slope) > 0.1 * jnp.abs(first)) & (n < 20)

    def body(loop):
        t, slope, curve, low, high, n = loop
        low, high = jnp.where(slope < 0, t, low), jnp.where(slope < 0, high, t)
        new = t - slope / jnp.where(curve > 0, curve, 1)
        between = jnp.where(jnp.isinf(high), 4 * t, (low + high) / 2)
        new = jnp.where((curve > 0) & (new > low) & (new < jnp.minimum(high, 4 * t)), new, between)
        return (new, *look(new), low, high, n + 1)

    one, zero = jnp.ones((), D.dtype), jnp.zeros((), D.dtype)
    return jax.lax.while_loop(cond, body, (one, *look(one), zero, jnp.full((), jnp.inf, D.dtype), 0))[0]


def hessian(p: Problem, z):
    """[outputs * columns] squared: of two outputs k, l the products A' diag(v p_k (1[k = l] - p_l)) A."""
    prob = probabilities(z)
    k = z.shape[1]
    product = lambda curve: p.unit[:, None] * ((p.A * (p.v * curve)[:, None]).T @ p.A) * p.unit[None]
    if k == 1:
        return product((prob * (1 - prob))[:, 0]) + jnp.diag(p.l2)
    d = p.A.shape[1]
    first, second = jnp.triu_indices(k)
    blocks = jax.lax.map(lambda i: product(prob[:, i[0]] * ((i[0] == i[1]) - prob[:, i[1]])),
                         jnp.stack([first, second], 1))
    H = jnp.zeros((k, k, d, d), p.A.dtype).at[first, second].set(blocks).at[second, first].set(blocks)
    return H.transpose(0, 2, 1, 3).reshape(k * d, k * d) + jnp.diag(jnp.tile(p.l2, k))


def curvature(p: Problem, z):
    """G -> H^-1 G, by Cholesky."""
    d, k = p.A.shape[1], p.T.shape[1]
    H = hessian(p, z)
    size = jnp.max(jnp.diagonal(H))
    # A shift of all classes alike changes no probability: those directions get a curvature; the gradient there is 0.
    if k > 1:
        H = H + size / k * jnp.tile(jnp.eye(d, dtype=H.dtype), (k, k))
    H = H + 8 * len(H) * jnp.finfo(H.dtype).eps * size * jnp.eye(len(H), dtype=H.dtype)
    factor = lapack.cholesky(H)
    return lambda G: lapack.cho_solve(factor, G.T.ravel()).reshape(k, d).T


def newton(p: Problem, tol, max_iter):
    """Newton's method for smooth penalties; quadratic at the end.  Work of a step: rows (columns outputs)^2 / 2."""
    def step(p, s):
        D = -curvature(p, s.at.z)(s.at.G)
        dz = forth(p, D)
        t = length(p, s.at, D, dz)
        return arrive(p, s, point(p, s.at.W + t * D, s.at.z + t * dz))

    return run(p, step, tol, max_iter)


def lbfgs(p: Problem, tol, max_iter, at=None, inverse=None):
    """L-BFGS for smooth penalties.  Work of a step: 4 rows columns outputs.

    inverse: G -> H^-1 G of a Hessian that is about right; without one it is a multiple of the identity.
    """
    dot = lambda a, b: jnp.sum(a * b)

    def two_loops(G, S, Y, rho):
        """The last pair stands first; pairs that are not there yet have rho 0 and change nothing."""
        def down(q, pair):
            s, y, r = pair
            a = r * dot(s, q)
            return q - a * y, a

        def up(q, pair):
            s, y, r, a = pair
            return q + s * (a - r * dot(y, q)), None

        q, alphas = jax.lax.scan(down, G, (S, Y, rho))
        if inverse is None:
            curve = rho[0] * dot(Y[0], Y[0])
            q = q / jnp.where(curve > 0, curve, 1)
        else:
            q = inverse(q)
        return jax.lax.scan(up, q, (S, Y, rho, alphas), reverse=True)[0]

    def step(p, s):
        S, Y, rho = s.memory
        D = -two_loops(s.at.G, S, Y, rho)
        dz = forth(p, D)
        t = length(p, s.at, D, dz)
        new = point(p, s.at.W + t * D, s.at.z + t * dz)
        y, move = new.G - s.at.G, t * D
        sy = dot(move, y)
        good = sy > jnp.finfo(sy.dtype).eps * dot(y, y)
        push = lambda kept, value: jnp.where(good, jnp.roll(kept, 1, 0).at[0].set(value), kept)
        return arrive(p, s, new, (push(S, move), push(Y, y), push(rho, 1 / jnp.where(good, sy, 1))))

    none = jnp.zeros((MEMORY, p.A.shape[1], p.T.shape[1]), p.A.dtype)
    return run(p, step, tol, max_iter, at, (none, none, jnp.zeros(MEMORY, p.A.dtype)))


def sketched(p: Problem, tol, max_iter):
    """Newton on every 8th row, then L-BFGS on all of them from there, with those rows' Hessian to begin with.

    For many rows: two or three steps of 4 rows columns outputs are all that is left to do.
    """
    some = p._replace(A=p.A[::8], T=p.T[::8], v=p.v[::8])
    some = some._replace(v=some.v / jnp.where(jnp.sum(some.v) > 0, jnp.sum(some.v), 1))
    W = newton(some, 1e-4, 8)[0].at.W
    z = forth(p, W)
    # rows that are separable, or that lack a class, lead far away
    W, z = (jnp.where(objective(p, W, z) < objective(p, 0 * W, 0 * z), v, 0) for v in (W, z))
    return lbfgs(p, tol, max_iter, point(p, W, z), curvature(some, z[::8]))
