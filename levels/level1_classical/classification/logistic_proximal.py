"""Solvers of logistic regression with absolute penalties: Newton by coordinate descent, and FISTA.

Formula: that of `logistic_solvers`; shrink(x, a) = sign(x) max(|x| - a, 0).
Paper: Lee, Sun, Saunders 2014, Proximal Newton-type methods for minimizing composite functions, SIAM J. Optim. 24;
    Beck, Teboulle 2009, A fast iterative shrinkage-thresholding algorithm, SIAM J. Imaging Sciences 2; begun anew:
    O'Donoghue, Candes 2015, Adaptive restart for accelerated gradient schemes.
Shapes: those of `logistic_solvers`.
"""

import jax
import jax.numpy as jnp

from common import lapack
from levels.level1_classical.classification.logistic_solvers import (
    PATIENCE,
    Problem,
    arrive,
    back,
    forth,
    hessian,
    objective,
    origin,
    point,
    run,
)


def shrink(x, by):
    return jnp.sign(x) * jnp.maximum(jnp.abs(x) - by, 0)


def proximal_newton(p: Problem, tol, max_iter):
    """For an absolute penalty: coordinate descent on the parabola of Newton's method, then a line search."""
    d, k = p.A.shape[1], p.T.shape[1]
    flat = lambda W: W.T.ravel()

    def target(H, g, w, l1):
        """The minimum of g'(u - w) + (u - w)'H(u - w) / 2 + l1 |u|, by sweeps over the coordinates."""
        def one(j, now):
            u, slope = now
            curve = H[j, j]
            new = jnp.where(curve > 0, shrink(curve * u[j] - slope[j], l1[j]) / jnp.where(curve > 0, curve, 1), u[j])
            return u.at[j].set(new), slope + (new - u[j]) * H[j]

        def sweep(loop):
            u, slope, _, n = loop
            new, slope = jax.lax.fori_loop(0, len(w), one, (u, slope))
            return new, slope, jnp.max(jnp.diagonal(H) * jnp.abs(new - u)), n + 1

        going = lambda loop: (loop[2] > 0.1 * tol) & (loop[3] < 200)
        u, slope, _, _ = jax.lax.while_loop(going, sweep, (w, g, jnp.full((), jnp.inf, w.dtype), 0))
        # Where signs hold this is a parabola: its bottom at once, which sweeps over related columns are slow to reach.
        free = (u != 0) | (l1 == 0)
        low = jnp.where(free, 8 * len(w) * jnp.finfo(w.dtype).eps * jnp.max(jnp.diagonal(H)), 1)
        factor = lapack.cholesky(jnp.where(free[:, None] & free[None], H, 0) + jnp.diag(low))
        new = u - lapack.cho_solve(factor, jnp.where(free, slope + l1 * jnp.sign(u), 0))
        return jnp.where(jnp.all((jnp.sign(new) == jnp.sign(u)) | (l1 == 0)), new, u)

    def step(p, s):
        at = s.at
        U = target(hessian(p, at.z), flat(at.G), flat(at.W), jnp.tile(p.l1, k)).reshape(k, d).T
        dz = forth(p, U - at.W)
        here = objective(p, at.W, at.z)
        # what the step promises to first order, never positive
        hope = jnp.sum(at.G * (U - at.W)) + jnp.sum(p.l1[:, None] * (jnp.abs(U) - jnp.abs(at.W)))
        there = lambda t: objective(p, at.W + t * (U - at.W), at.z + t * dz)
        poor = lambda t: there(t) > here + 1e-4 * t * hope + 4 * jnp.finfo(t.dtype).eps * jnp.abs(here)
        t = jax.lax.while_loop(lambda t: poor(t) & (t > 1e-6), lambda t: t / 2, jnp.ones((), U.dtype))
        return arrive(p, s, point(p, jnp.where(t == 1, U, at.W + t * (U - at.W)), at.z + t * dz))

    return run(p, step, tol, max_iter)


def fista(p: Problem, tol, max_iter):
    """Accelerated proximal gradients, begun anew when they turn back; for any penalty and any number of columns.

    The step is that of the largest curvature, A'VA's largest eigenvalue (30 power iterations, and a tenth for safety)
    times 1/4 for two classes, 1/2 for more, plus the largest l2.
    """
    share = 0.25 if p.T.shape[1] == 1 else 0.5
    spread = lambda u: back(p, p.v[:, None] * forth(p, u[:, None]))[:, 0]
    unit = lambda u: u / jnp.where(jnp.linalg.norm(u) > 0, jnp.linalg.norm(u), 1)
    u = jax.random.normal(jax.random.key(0), p.l2.shape, p.l2.dtype)
    u = jax.lax.fori_loop(0, 30, lambda i, u: unit(spread(u)), unit(u))
    rate = 1 / (1.1 * share * jnp.linalg.norm(spread(u)) + jnp.max(p.l2))

    def step(p, s):
        ahead, pace = s.memory          # ahead: where the gradient is taken
        W = shrink(ahead.W - rate * ahead.G, rate * p.l1[:, None])
        new = point(p, W, forth(p, W))
        turned = jnp.sum((ahead.W - W) * (W - s.at.W)) > 0
        faster = (1 + jnp.sqrt(1 + 4 * pace**2)) / 2
        momentum = jnp.where(turned, 0, (pace - 1) / faster)
        away = lambda a, b: a + momentum * (a - b)
        goes_on = point(p, away(new.W, s.at.W), away(new.z, s.at.z))
        return arrive(p, s, new, (goes_on, jnp.where(turned, 1, faster)))

    at = origin(p)
    return run(p, step, tol, max_iter, at, (at, jnp.ones((), p.A.dtype)), 50 * PATIENCE)
