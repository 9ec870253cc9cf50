"""The product of two matrices three ways, its precision, and what it costs.

| method | form | reads and writes |
| --- | --- | --- |
| `naive` | every entry is one sum, taken term by term | every factor for every term |
| `blocked` | tiles that fit a cache, tile by tile | the factors once for each block row, block column |
| `dot_general` | XLA's own: the vendor's library or the matrix units | at best every entry once |

| precision | a product of two float32 numbers |
| --- | --- |
| `highest` | float32: 24 bits of each factor |
| `high` | three passes of fewer bits on a TPU (about 16 bits), TensorFloat-32 or better on a GPU, float32 on a CPU |
| `default` | what the device likes: float32 on a CPU, TensorFloat-32 (11 bits) on a GPU, bfloat16 (8 bits) on a TPU |
| `bf16` | factors rounded to bfloat16 (8 bits) on every device |

Sums are in float32 or better under all of them. `significant_bits` measures, on the device at hand, what is in the
second table; the result has the dtype of the factors.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from levels.level0_foundations.linear_algebra.arrays import batched, choice, matrix

METHODS = ('naive', 'blocked', 'dot_general')
PRECISIONS = ('highest', 'high', 'default', 'bf16')


class Cost(NamedTuple):
    """flops: multiplications and additions; bytes: moved to and from memory; intensity: flops per byte."""

    flops: int
    bytes: int
    intensity: float


def _tile(A: Array, B: Array, precision: str) -> Array:
    """A B for two matrices, summed in `_sums`' dtype."""
    if precision == 'bf16':
        A, B = A.astype(jnp.bfloat16), B.astype(jnp.bfloat16)
    return jax.lax.dot_general(A, B, (((1,), (0,)), ((), ())), preferred_element_type=_sums(A.dtype),
                               precision=None if precision == 'bf16' else precision)


def _sums(dtype: np.dtype) -> np.dtype:
    return jnp.promote_types(dtype, jnp.float32)


def _naive(A, B, *, precision, block):
    """vmap over rows, vmap over columns, scan over the terms of one sum: the triple loop."""
    rounded = (lambda x: x.astype(jnp.bfloat16)) if precision == 'bf16' else lambda x: x
    wide = _sums(A.dtype)
    # A product of two numbers has no lower precision than their dtype: the vector units know no other.
    term = lambda total, ab: (total + rounded(ab[0]).astype(wide) * rounded(ab[1]).astype(wide), None)
    entry = lambda a, b: jax.lax.scan(term, jnp.zeros((), wide), (a, b))[0]
    return jax.vmap(jax.vmap(entry, (None, 1)), (0, None))(A, B).astype(A.dtype)


def _blocked(A, B, *, precision, block):
    """Tile by tile; edges are filled up with zeros, which add nothing."""
    m, n = A.shape[0], B.shape[1]
    tiles = lambda X: jnp.pad(X, [(0, -s % block) for s in X.shape])
    cut = lambda X: tiles(X).reshape(-(-X.shape[0] // block), block, -1, block).swapaxes(1, 2)
    At, Bt = cut(A), cut(B)                     # [rows, columns, block, block]
    wide = _sums(A.dtype)

    def tile(ij):
        add = lambda total, ab: (total + _tile(*ab, precision).astype(wide), None)
        return jax.lax.scan(add, jnp.zeros((block, block), wide), (At[ij[0]], Bt[:, ij[1]]))[0]

    grid = jnp.stack(jnp.meshgrid(jnp.arange(At.shape[0]), jnp.arange(Bt.shape[1]), indexing='ij'), -1)
    C = jax.lax.map(tile, grid.reshape(-1, 2)).reshape(At.shape[0], Bt.shape[1], block, block)
    return C.swapaxes(1, 2).reshape(At.shape[0] * block, -1)[:m, :n].astype(A.dtype)


def _dot(A, B, *, precision, block):
    return _tile(A, B, precision).astype(A.dtype)


def matmul(A: Float[Array, '*batch m k'], B: Float[Array, '*batch k n'], *, method: str = 'dot_general',
           precision: str = 'highest', block: int = 64) -> Float[Array, '*batch m n']:
    """A B by one of three methods, in a precision that is named and not left to the device.

    Formula: c_ij = sum_k a_ik b_kj; the order of the sums differs, so do the last bits: |error| <= k eps |A| |B|.
    Paper: blocks: McKellar, Coffman 1969, Organizing matrices and matrix operations for paged memory systems; Goto, van
        de Geijn 2008, Anatomy of high-performance matrix multiplication.
    Shapes: A [*batch, m, k], B [*batch, k, n] -> [*batch, m, n], of the dtype of both; batches broadcast. block: the
        side of a tile, of 'blocked'.
    Errors: ValueError for shapes that do not fit, unknown methods and precisions, block below 1.
    Example:
        A, B = jnp.arange(6.0).reshape(2, 3), jnp.ones((3, 2))
        for method in METHODS:
            assert matmul(A, B, method=method, block=2).tolist() == [[3, 3], [12, 12]]
        third = jnp.full((1, 1), 1 / 3)
        assert abs(matmul(third, jnp.eye(1), precision='bf16') - 1 / 3) > 1e-4      # 8 bits
    """
    choice('method', method, METHODS)
    choice('precision', precision, PRECISIONS)
    if block < 1:
        raise ValueError(f'block: expected at least 1, found {block}')
    A, B = matrix('A', A), matrix('B', B)
    if A.shape[-1] != B.shape[-2]:
        raise ValueError(f'B: expected [*batch, {A.shape[-1]}, n], found shape {B.shape}')
    dtype = jnp.promote_types(A.dtype, B.dtype)
    fn = {'naive': _naive, 'blocked': _blocked, 'dot_general': _dot}[method]
    return batched('(m,k),(k,n)->(m,n)', fn, A.astype(dtype), B.astype(dtype), precision=precision, block=block)


def product_cost(m: int, k: int, n: int, *, method: str = 'dot_general', dtype: str = 'float32',
                 block: int = 64) -> Cost:
    """What a product has to do: operations, and bytes moved if nothing but one tile stays in the cache.

    Formula: flops = 2 m k n. Words: dot_general m k + k n + m n (each once: the least possible); blocked
        m k ceil(n / b) + k n ceil(m / b) + m n, sizes rounded up to tiles; naive 2 m k n + m n, both factors of every
        term. For n^3 the intensity is about n / 6 at best and b / 4 blocked, in flops per byte of float32.
    Paper: Hong, Kung 1981, I/O complexity: the red-blue pebble game; Williams, Waterman, Patterson 2009, Roofline.
    Shapes: sizes of A [m, k] and B [k, n] -> Cost(flops, bytes, intensity), Python numbers.
    Errors: ValueError for sizes or block below 1, an unknown method.
    Example:
        cost = product_cost(128, 128, 128)
        assert cost.flops == 2 * 128**3 and cost.bytes == 3 * 128**2 * 4
        assert product_cost(128, 128, 128, method='blocked', block=32).bytes == 9 * 128**2 * 4
        assert product_cost(128, 128, 128, method='naive').intensity < 0.25
    """
    choice('method', method, METHODS)
    for name, value in {'m': m, 'k': k, 'n': n, 'block': block}.items():
        if value < 1:
            raise ValueError(f'{name}: expected at least 1, found {value}')
    size = jnp.dtype(dtype).itemsize
    if method == 'blocked':
        rows, terms, columns = (-(-v // block) for v in (m, k, n))
        # Padded tiles are read and multiplied like all others; the flops that count are those of the product.
        words = (rows * terms * columns * 2 + rows * columns) * block**2
    else:
        words = 2 * m * k * n + m * n if method == 'naive' else m * k + k * n + m * n
    flops = 2 * m * k * n
    return Cost(flops, words * size, flops / (words * size))


def significant_bits(*, precision: str = 'default', method: str = 'dot_general', dtype: str = 'float32',
                     size: int = 64) -> int:
    """How many bits of a factor a product on this device looks at, measured: 24 float32, 11 TensorFloat-32, 8 bfloat16.

    Multiplies a diagonal matrix of 1 + 2^-i with the identity and looks for the last i that comes out unharmed.
    """
    dtype = jnp.zeros((), dtype).dtype
    known = jnp.finfo(dtype).nmant
    size = max(size, known + 1)
    steps = np.minimum(np.arange(1, size + 1), known)
    d = (1 + 2.0**-steps).astype(dtype)
    out = np.asarray(matmul(jnp.diag(jnp.asarray(d)), jnp.eye(size, dtype=dtype), method=method, precision=precision))
    lost = np.diagonal(out) != d
    return int(steps[np.argmax(lost)]) if lost.any() else int(known) + 1
