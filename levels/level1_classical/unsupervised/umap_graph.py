"""What UMAP knows of the data: a fuzzy set of edges among nearest neighbours; and the curve of distances in the map.

Formula: w(i -> j) = exp(-max(0, d_ij - r_i) / s_i), r_i the distance to the nearest neighbour, s_i such that the
    weights of k neighbours sum to log2 k; an edge either way: w(i -> j) + w(j -> i) - w(i -> j) w(j -> i).
Paper: McInnes, Healy, Melville 2018, UMAP: uniform manifold approximation and projection, arXiv:1802.03426, sections
    3.1 and 4.1.
Shapes: distances [rows, k] -> r, s [rows], weights [rows, k].

Example:
    from levels.level1_classical.unsupervised.umap_graph import curve
    a, b = curve(spread=1.0, min_dist=0.1)
"""
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from common import lapack
from levels.level1_classical.unsupervised.tsne_affinity import returned

TOLERANCE, TRIES, LEAST = 1e-5, 64, 1e-3        # of the sum; halvings; the least s, as a share of the mean distance


@jax.jit
def curve(spread=1.0, min_dist=0.1):
    """(a, b) with which 1 / (1 + a d^(2b)) is nearest, in least squares at 300 distances up to 3 spread, to the curve
    that is 1 up to min_dist and exp(-(d - min_dist) / spread) beyond.  By Levenberg and Marquardt's method."""
    spread, min_dist = (jnp.asarray(v, float) for v in (spread, min_dist))
    d = jnp.linspace(0, 1, 300)[1:] * 3 * spread        # at 0 both curves are 1
    goal = jnp.where(d < min_dist, 1, jnp.exp(-(d - min_dist) / spread))
    residual = lambda ab: 1 / (1 + ab[0] * d ** (2 * ab[1])) - goal

    def step(i, now):
        ab, damp = now
        r, J = residual(ab), jax.jacfwd(residual)(ab)
        H = J.T @ J
        new = ab - lapack.solve(H + damp * jnp.diag(jnp.diagonal(H)), J.T @ r)
        better = (new > 0).all() & (jnp.sum(residual(new) ** 2) < jnp.sum(r**2))
        return jnp.where(better, new, ab), jnp.where(better, damp / 4, 4 * damp)

    return jax.lax.fori_loop(0, 60, step, (jnp.ones(2, d.dtype), jnp.asarray(1e-2, d.dtype)))[0]


@jax.jit
def smooth(distances: Float[Array, 'rows k'], local_connectivity=1.0):
    """(r, s), each [rows], of distances to k neighbours in order, the row itself among them as the first."""
    k = distances.shape[1]
    goal = jnp.log2(jnp.asarray(k, distances.dtype))
    whole = jnp.floor(jnp.asarray(local_connectivity, distances.dtype))
    part, whole = local_connectivity - whole, whole.astype(jnp.int32)
    everywhere = jnp.mean(distances)

    def one(row):
        zeros = jnp.sum(row <= 0)
        there = k - zeros
        nth = lambda n: row[jnp.clip(zeros + n - 1, 0, k - 1)]      # the n-th distance that is not zero
        lower = jnp.where(whole > 0, nth(whole), 0)
        between = lower + jnp.where(part > TOLERANCE, part * (nth(whole + 1) - lower), 0)
        r = jnp.where(there >= local_connectivity, between, jnp.where(there > 0, row[-1], 0))
        far = jnp.maximum(row[1:] - r, 0)

        def narrow(search):
            tries, s, low, high, _ = search
            off = jnp.sum(jnp.exp(-far / s)) - goal
            low, high = jnp.where(off > 0, low, s), jnp.where(off > 0, s, high)
            done = jnp.abs(off) < TOLERANCE
            return tries + 1, jnp.where(done, s, jnp.where(jnp.isinf(high), 2 * s, (low + high) / 2)), low, high, done

        first = jnp.ones((), row.dtype)
        begin = (0, first, 0 * first, jnp.inf * first, False)
        s = jax.lax.while_loop(lambda v: ~v[-1] & (v[0] < TRIES), narrow, begin)[1]
        return r, jnp.maximum(s, LEAST * jnp.where(r > 0, jnp.mean(row), everywhere))

    return jax.vmap(one)(distances)


def memberships(distances: Float[Array, 'rows k'], r: Float[Array, ' rows'], s: Float[Array, ' rows']):
    """w(i -> j) [rows, k]."""
    far = jnp.maximum(distances - r[:, None], 0)
    s = s[:, None]
    return jnp.where((far == 0) | (s == 0), 1, jnp.exp(-far / jnp.where(s == 0, 1, s)))


@jax.jit
def union(neighbours: Int[Array, 'rows n'], w: Float[Array, 'rows n'], mix=1.0):
    """(weights of the edges either way [rows, n], whether j lists i, too): `mix` from intersection, 0, to union, 1."""
    back = returned(neighbours, w)
    both = w * back
    return mix * (w + back - both) + (1 - mix) * both, returned(neighbours, jnp.ones_like(w)) > 0
