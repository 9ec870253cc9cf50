"""Repulsion in t-SNE maps of two dimensions through a grid, in time rows + grid log grid.

Formula: sum_j K(y_i - y_j) q_j = sum_m B(y_i - m) (K' * sum_j q_j B(. - y_j))(m) with B the product of cubic B-splines
    and K' the kernel at the nodes, divided in Fourier space by the square of B's values there: then the sum takes the
    kernel's own values at the nodes, and elsewhere those of the splines through them. Charges 1 and y with K = (1 +
    d^2)^-2 give the forces, charges 1 with K = (1 + d^2)^-1 give Z, by Parseval's theorem.
Paper: Linderman, Rachh, Hoskins, Steinerberger, Kluger 2019, Fast interpolation-based t-SNE, Nature Methods 16 (they
    interpolate by polynomials in boxes); the splines: Essmann et al. 1995, A smooth particle mesh Ewald method,
    J. Chem. Phys. 103.
Shapes: Y [rows, 2] -> forces [rows, 2], Z [].

Example:
    from levels.level1_classical.unsupervised.tsne_grid import grid_repulsion
    forces, Z = grid_repulsion(Y)
"""
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from levels.level1_classical.unsupervised.tsne_forces import repulsion

SPACING = 0.5       # of the nodes: forces are then within about 1 % of the exact ones
SIZES = (128, 256, 512, 768, 1024, 2048)       # nodes to a side, of which the map fills a half


def splines(t):
    """The four cubic B-splines that are not zero at a fraction t between nodes [4, ...]."""
    return jnp.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]) / 6


def _kernels(size: int, dtype):
    """The two kernels in Fourier space [size / 2 + 1, size], real as they are even."""
    node = jnp.arange(size)
    d2 = (SPACING * jnp.minimum(node, size - node)).astype(dtype) ** 2
    w = 1 / (1 + d2[:, None] + d2[None])
    b = (2 + jnp.cos(2 * jnp.pi * node / size).astype(dtype)) / 3
    gain = (b[:, None] * b[None, :size // 2 + 1]) ** 2
    return tuple((jnp.fft.rfft2(k).real / gain).T for k in (w * w, w))


def kernel_tables(dtype):
    """The kernels of every size of grid, for `grid_repulsion`, which is called many times: 20 MB in float32."""
    return [_kernels(size, dtype) for size in SIZES]


def _through(size: int, kernels, Y):
    """The forces and Z through a grid of `size` nodes to a side, half of them left empty: the convolution is cyclic."""
    half = size // 2
    low, high = jnp.min(Y, 0), jnp.max(Y, 0)
    middle = ((low + high) / 2)[None]
    Y = Y - middle
    at = Y / SPACING + half // 2
    corner = jnp.floor(at)
    sx, sy = splines(at[:, 0] - corner[:, 0]), splines(at[:, 1] - corner[:, 1])
    ix, iy = (jnp.clip(corner[:, i].astype(jnp.int32) - 1, 0, half - 4) for i in (0, 1))
    node = ((ix[None, None] + jnp.arange(4)[:, None, None]) * half
            + iy[None, None] + jnp.arange(4)[None, :, None])                # [4, 4, rows]
    shares = sx[:, None] * sy[None]
    spread = lambda q: jnp.zeros(half * half, Y.dtype).at[node].add(shares if q is None else shares * q[None, None])
    grids = jnp.stack([spread(None), spread(Y[:, 0]), spread(Y[:, 1])]).reshape(3, half, half)
    # rows, then columns: neither transform is taken of rows that are known to be empty
    hats = jnp.fft.fft(jnp.swapaxes(jnp.fft.rfft(grids, n=size), 1, 2), n=size)     # [3, size / 2 + 1, size]
    square, plain = kernels
    back = jnp.swapaxes(jnp.fft.ifft(hats * square[None])[:, :, :half], 1, 2)
    ones, xs, ys = jnp.fft.irfft(back, n=size)[:, :, :half].reshape(3, -1)
    take = lambda g: jnp.sum(shares * g[node], (0, 1))
    one = take(ones)
    twice = jnp.where((jnp.arange(half + 1) % half) == 0, 1, 2).astype(Y.dtype)     # the other half of the spectrum
    power = jnp.sum((hats[0].real ** 2 + hats[0].imag ** 2) * plain, 1)
    Z = jnp.sum(power * twice) / size**2 - len(Y)
    return jnp.stack([Y[:, 0] * one - take(xs), Y[:, 1] * one - take(ys)], 1), Z


def grid_repulsion(Y: Float[Array, 'rows 2'], tables=None) -> tuple[Float[Array, 'rows 2'], Float[Array, '']]:
    """(sum_j w^2 (y_i - y_j) of each row, Z) approximately; as `tsne_forces.repulsion`, which is exact.

    The smallest grid that holds the map is used, as small maps come first; a map too wide for the largest, more than
    500 across, is summed exactly.
    """
    tables = kernel_tables(Y.dtype) if tables is None else tables
    wide = jnp.max(jnp.max(Y, 0) - jnp.min(Y, 0)) / SPACING
    which = jnp.sum((wide > jnp.asarray([size // 2 - 5 for size in SIZES])).astype(jnp.int32))
    grids = [lambda Y, tables, i=i: _through(SIZES[i], tables[i], Y) for i in range(len(SIZES))]
    return jax.lax.switch(which, [*grids, lambda Y, tables: repulsion(Y)], Y, tables)
