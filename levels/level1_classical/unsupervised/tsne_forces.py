"""The gradient of t-SNE, exact: from a whole matrix P, or from its nearest neighbours and all pairs in chunks.

Formula: w_ij = (1 + |y_i - y_j|^2 / v)^(-(v + 1) / 2) with v = max(dimensions - 1, 1), Z = sum w, q = w / Z; KL = sum p
    log(p / q); its gradient at y_i is 2 (v + 1) / v sum_j (p_ij - q_ij) u_ij (y_i - y_j), u = w^(2 / (v + 1)).
Paper: van der Maaten 2009, Learning a parametric embedding by preserving local structure, AISTATS (v); van der Maaten
    2014, Accelerating t-SNE using tree-based algorithms, JMLR 15 (attraction and repulsion apart).
Shapes: Y [rows, k] -> forces [rows, k], Z [].

Example:
    from levels.level1_classical.unsupervised.tsne_forces import exact_gradient
    slope, kl = exact_gradient(P, Y), divergence(P, Y)
"""
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from levels.level1_classical.unsupervised.tsne_affinity import chunked

BLOCK = 2**18       # pairs at a time: what a cache holds


def freedom(Y) -> int:
    """The degrees of freedom v of the kernel."""
    return max(Y.shape[1] - 1, 1)


def kernels(squared, v: int):
    """(u, w) of squared distances."""
    u = 1 / (1 + squared / v)
    return u, u if v == 1 else u ** ((v + 1) / 2)


def _pairs(some, columns):
    return sum((part[:, None] - whole[None]) ** 2 for part, whole in zip(some.T, columns, strict=True))


def _pull(weights, some, more):
    """sum_j weights_ij (y_i - y_j), `more` being [y, 1]: products of matrices sum rows faster than reductions do."""
    sums = weights @ more
    return some * sums[:, -1:] - sums[:, :-1]


def _placed(Y):
    """(Y about zero, for then little cancels; the same with a column of ones)."""
    Y = Y - jnp.mean(Y, 0)[None]
    return Y, jnp.concatenate([Y, jnp.ones_like(Y[:, :1])], 1)


def repulsion(Y: Float[Array, 'rows k']) -> tuple[Float[Array, 'rows k'], Float[Array, '']]:
    """(sum_j w u (y_i - y_j) of each row, Z): all pairs, in chunks; rows^2 time, rows memory."""
    v = freedom(Y)
    Y, more = _placed(Y)

    def some(part):
        u, w = kernels(_pairs(part, Y.T), v)
        return _pull(w * u, part, more), (w @ more[:, -1:])[:, 0]

    forces, totals = chunked(some, len(Y), Y, size=max(1, BLOCK // len(Y)))
    return forces, jnp.sum(totals - 1)


def _gaps(Y, neighbours):
    return [column[:, None] - column[neighbours] for column in Y.T]


def attraction(Y: Float[Array, 'rows k'], neighbours: Int[Array, 'rows n'], p: Float[Array, 'rows n']):
    """sum_j p_ij u_ij (y_i - y_j) of p_ij = (p(j | i) + p(i | j)) / (2 rows), `p` being p(j | i): [rows, k].

    Each edge i -> j pulls both of its ends. Columns apart: a CPU gathers and scatters single numbers best.
    """
    gaps = _gaps(Y, neighbours)
    u, _ = kernels(sum(g**2 for g in gaps), freedom(Y))
    pull = p / (2 * len(Y)) * u
    forces = [jnp.sum(pull * g, 1) - jnp.zeros_like(Y[:, 0]).at[neighbours].add(pull * g) for g in gaps]
    return jnp.stack(forces, 1)


def closeness(Y: Float[Array, 'rows k'], neighbours: Int[Array, 'rows n'], p: Float[Array, 'rows n']):
    """sum_ij p_ij log w_ij []."""
    v = freedom(Y)
    logs = jnp.log1p(sum(g**2 for g in _gaps(Y, neighbours)) / v)
    return -(v + 1) / 2 * jnp.sum(jnp.sum(p * logs, 1)) / len(Y)


def exact_gradient(P: Float[Array, 'rows rows'], Y: Float[Array, 'rows k'], exaggeration=1.0) -> Float[Array, 'rows k']:
    """The gradient of the divergence for the whole P, times `exaggeration`."""
    v = freedom(Y)
    Y, more = _placed(Y)

    def some(part, p):
        u, w = kernels(_pairs(part, Y.T), v)
        return _pull(p * u, part, more), _pull(w * u, part, more), (w @ more[:, -1:])[:, 0] - 1

    near, far, totals = chunked(some, len(Y), Y, P, size=max(1, BLOCK // len(Y)))
    return 2 * (v + 1) / v * (exaggeration * near - far / jnp.sum(totals))


def divergence(P: Float[Array, 'rows rows'], Y: Float[Array, 'rows k']) -> Float[Array, '']:
    """sum p log(p / q) for the whole P, whose sum is 1."""
    def some(part, p):
        _, w = kernels(_pairs(part, Y.T), freedom(Y))
        own = jnp.where(p > 0, p * jnp.log(jnp.where(p > 0, p, 1) / w), 0)
        return jnp.sum(own, 1), jnp.sum(w, 1) - 1

    errors, totals = chunked(some, len(Y), Y, P, size=max(1, BLOCK // len(Y)))
    return jnp.sum(errors) + jnp.log(jnp.sum(totals))
