"""Probabilities from margins: Platt's sigmoid of one pair of classes, and their coupling for several.

Formula: p(second | f) = 1 / (1 + exp(A f + B)), A and B of least cross-entropy with the targets (n_+ + 1) / (n_+ + 2)
    and 1 / (n_- + 2); coupled p minimises sum_(i<j) (r_ji p_i - r_ij p_j)^2 with sum p = 1.
Paper: Platt 1999, Probabilistic outputs for support vector machines; Lin, Lin, Weng 2007, A note on Platt's
    probabilistic outputs for support vector machines; Wu, Lin, Weng 2004, Probability estimates for multi-class
    classification by pairwise coupling, JMLR 5 (the second method).
Shapes: margins [rows] -> (A, B) [2]; pairs [rows, pairs] -> [rows, classes].

Example:
    slope = sigmoid_fit(margins, y, weight)
    p = jax.nn.sigmoid(-(slope[0] * margins + slope[1]))
"""

import itertools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from common import lapack

STEPS = 50


def sigmoid_fit(f: Float[Array, ' rows'], positive, weight: Float[Array, ' rows']) -> Float[Array, ' 2']:
    """(A, B) by Newton's method with step halving; rows of weight 0 have no part."""
    scale = jnp.maximum(jnp.max(jnp.where(weight > 0, jnp.abs(f), 0)), jnp.finfo(f.dtype).tiny)
    f = f / scale
    yes, no = jnp.sum(weight * positive), jnp.sum(weight * ~positive)
    target = jnp.where(positive, (yes + 1) / (yes + 2), 1 / (no + 2))
    loss = lambda ab: weight @ (jax.nn.softplus(z := ab[0] * f + ab[1]) - (1 - target) * z)
    halves = 0.5 ** jnp.arange(12, dtype=f.dtype)

    def step(now):
        ab, n, _ = now
        p = jax.nn.sigmoid(ab[0] * f + ab[1])       # of the first class
        slope, bend = weight * (p - (1 - target)), weight * p * (1 - p)
        g = jnp.stack([slope @ f, jnp.sum(slope)])
        haa, hab, hbb = bend @ f**2, bend @ f, jnp.sum(bend)
        ridge = jnp.finfo(f.dtype).eps * (haa + hbb) + jnp.finfo(f.dtype).tiny
        haa, hbb = haa + ridge, hbb + ridge
        move = jnp.stack([hab * g[1] - hbb * g[0], hab * g[0] - haa * g[1]]) / (haa * hbb - hab**2)
        tried = ab[None] + halves[:, None] * move[None]
        value = jax.vmap(loss)(tried)
        best = jnp.argmin(value)
        better = value[best] < loss(ab)
        return jnp.where(better, tried[best], ab), n + 1, better

    start = jnp.stack([jnp.zeros((), f.dtype), jnp.log((no + 1) / (yes + 1))])
    ab, _, _ = jax.lax.while_loop(lambda s: s[2] & (s[1] < STEPS), step, (start, 0, jnp.asarray(True)))
    return ab / jnp.stack([scale, jnp.ones_like(scale)])


def coupled(second: Float[Array, 'rows pairs'], n_classes: int) -> Float[Array, 'rows classes']:
    """Probabilities of all classes from those of the second of each pair (0, 1), (0, 2), ... against the first."""
    if n_classes == 2:
        return jnp.concatenate([1 - second, second], 1)
    second = jnp.clip(second, 1e-7, 1 - 1e-7)
    against = jnp.zeros((len(second), n_classes, n_classes), second.dtype)      # [r, i, j]: i rather than j
    for p, (i, j) in enumerate(itertools.combinations(range(n_classes), 2)):
        against = against.at[:, j, i].set(second[:, p]).at[:, i, j].set(1 - second[:, p])
    own = jnp.sum(against**2, 1)        # sum over j of r_ji^2
    Q = -against * jnp.swapaxes(against, 1, 2) + own[:, :, None] * jnp.eye(n_classes, dtype=second.dtype)[None]
    # minimise p'Qp with sum p = 1. Pairs that agree make Q singular; with its multiplier beside it the system is not
    edged = jnp.pad(Q, ((0, 0), (0, 1), (0, 1)), constant_values=1).at[:, -1, -1].set(0)
    right = jnp.zeros((len(Q), n_classes + 1, 1), Q.dtype).at[:, -1].set(1)
    p = jnp.maximum(jax.vmap(lapack.solve)(edged, right)[:, :n_classes, 0], 0)
    return p / jnp.sum(p, 1, keepdims=True)
