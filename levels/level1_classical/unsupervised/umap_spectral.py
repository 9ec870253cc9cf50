"""The leading eigenvectors of a graph of neighbours, from which UMAP starts: by a block Krylov method.

Formula: A = D^-1/2 S D^-1/2 of the symmetric weights S with degrees D; Rayleigh and Ritz's method on span(V, A V, ...,
    A^q V). The first eigenvector is D^1/2 1; the map is made of the next ones.
Paper: Belkin, Niyogi 2003, Laplacian eigenmaps, Neural Computation 15; Golub, Underwood 1977, The block Lanczos method.
Shapes: neighbours, weights [rows, n] -> [rows, k].

Example:
    from levels.level1_classical.unsupervised.umap_spectral import eigenmap
    Y = eigenmap(key, neighbours, weights, 2)
"""
import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from common import lapack

SPARE, BLOCKS = 2, 30       # vectors in a block beyond those asked for; blocks in the basis


def times(neighbours, t, V):
    """S V, where the symmetric S = T + T' and T has the entries `t` at `neighbours`: columns apart, as a CPU likes."""
    column = lambda v: jnp.sum(t * v[neighbours], 1) + jnp.zeros_like(v).at[neighbours].add(t * v[:, None])
    return jax.vmap(column, 1, 1)(V)


@functools.partial(jax.jit, static_argnames='k')
def eigenmap(key, neighbours: Int[Array, 'rows n'], t: Float[Array, 'rows n'], k: int) -> Float[Array, 'rows k']:
    """Eigenvectors 2 to k + 1 of A, of length 1.  Of a graph in pieces they are constant on each, but for a scale."""
    rows = len(neighbours)
    degree = times(neighbours, t, jnp.ones((rows, 1), t.dtype))[:, 0]
    root = jax.lax.rsqrt(jnp.where(degree > 0, degree, 1))[:, None]
    apply = lambda V: root * times(neighbours, t, root * V)
    width = min(k + 1 + SPARE, rows)
    blocks = min(BLOCKS, rows // width)
    V = lapack.qr(jax.random.normal(key, (rows, width), t.dtype))[0]

    def grow(i, basis):
        W = apply(basis[i])
        for _ in range(2):      # once is not enough: what is left is short, and its rounding is not
            W = W - jnp.einsum('qnb,qbc->nc', basis, jnp.einsum('qnb,nc->qbc', basis, W))
            W = lapack.qr(W)[0]
        return basis.at[i + 1].set(W)

    basis = jax.lax.fori_loop(0, blocks - 1, grow, jnp.zeros((blocks, rows, width), t.dtype).at[0].set(V))
    joined = lambda parts: jnp.moveaxis(parts, 0, 1).reshape(rows, -1)
    Q = joined(basis)
    T = Q.T @ joined(jax.lax.map(apply, basis))
    _, ritz = lapack.eigh((T + T.T) / 2)
    found = Q @ ritz[:, ::-1][:, 1:k + 1]
    return jnp.concatenate([found, jnp.zeros((rows, k - found.shape[1]), t.dtype)], 1)
