"""How fast the products are here: FLOP/s and bytes/s of each, and beside what peaks."""

import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from levels.level0_foundations.linear_algebra.products import Cost, matmul, product_cost


class Peaks(NamedTuple):
    """The best this device did just now: flop_per_s of a large product, byte_per_s of a large copy."""

    flop_per_s: float
    byte_per_s: float


class Roofline(NamedTuple):
    """One measurement.  attainable: min(peak flops/s, intensity * peak bytes/s); share: flop_per_s of that."""

    method: str
    seconds: float
    flop_per_s: float
    byte_per_s: float
    intensity: float
    attainable: float
    share: float


def seconds(fn: Callable, *args, repeats: int = 5) -> float:
    """The shortest of some calls, after one that compiles: noise only ever adds."""
    jax.block_until_ready(fn(*args))
    best = float('inf')
    for _ in range(repeats):
        begin = time.perf_counter()
        jax.block_until_ready(fn(*args))
        best = min(best, time.perf_counter() - begin)
    return best


def peaks(*, size: int = 1024, words: int = 1 << 24, dtype: str = 'float32', precision: str = 'highest') -> Peaks:
    """Measures both roofs: `dot_general` of [size, size], and reading and writing `words` numbers."""
    A = jnp.ones((size, size), dtype)
    product = jax.jit(lambda A, B: matmul(A, B, precision=precision))
    x = jnp.ones(words, dtype)
    copied = seconds(jax.jit(lambda x: x + 1), x)
    return Peaks(2 * size**3 / seconds(product, A, A), 2 * words * x.dtype.itemsize / copied)


def roofline(m: int, k: int, n: int, *, method: str = 'dot_general', precision: str = 'highest',
             dtype: str = 'float32', block: int = 64, repeats: int = 5, roof: Peaks | None = None) -> Roofline:
    """Times one product and says what bounds it: arithmetic, or memory.

    Formula: flop_per_s = 2 m k n / t, byte_per_s = bytes / t with the bytes of `product_cost` (a model: caches may
        hold more than one tile, then it exceeds the memory's own); attainable = min(peak, intensity * bandwidth).
    Paper: Williams, Waterman, Patterson 2009, Roofline: an insightful visual performance model for multicore
        architectures.
    Shapes: sizes of A [m, k], B [k, n] -> Roofline, Python numbers. roof: of `peaks()`, measured if not given.
    Errors: ValueError as `matmul` and `product_cost`.
    Example:
        roof = peaks(size=64, words=4096)
        row = roofline(64, 64, 64, method='blocked', block=32, roof=roof, repeats=1)
        assert row.flop_per_s > 0 and row.byte_per_s > 0
        assert abs(row.intensity - row.flop_per_s / row.byte_per_s) < 1e-6 * row.intensity
    """
    cost: Cost = product_cost(m, k, n, method=method, dtype=dtype, block=block)
    roof = peaks(dtype=dtype, precision=precision) if roof is None else roof
    keys = jax.random.split(jax.random.key(0))
    A, B = jax.random.normal(keys[0], (m, k), dtype), jax.random.normal(keys[1], (k, n), dtype)
    fn = jax.jit(lambda A, B: matmul(A, B, method=method, precision=precision, block=block))
    t = seconds(fn, A, B, repeats=repeats)
    attainable = min(roof.flop_per_s, cost.intensity * roof.byte_per_s)
    rate = cost.flops / t
    return Roofline(method, t, rate, cost.bytes / t, cost.intensity, attainable, rate / attainable)


def table(sizes: tuple[int, ...] = (64, 256, 1024), *, precision: str = 'highest', dtype: str = 'float32',
          methods: tuple[str, ...] = ('naive', 'blocked', 'dot_general')) -> list[tuple[int, Roofline]]:
    """A roofline of square products: (size, measurement) for each method; the naive one only up to 256."""
    roof = peaks(dtype=dtype, precision=precision)
    return [(n, roofline(n, n, n, method=method, precision=precision, dtype=dtype, roof=roof))
            for n in sizes for method in methods if method != 'naive' or n <= 256]


if __name__ == '__main__':
    for n, row in table():
        print(f'{n:5d} {row.method:12s} {row.seconds * 1e3:9.3f} ms {row.flop_per_s / 1e9:9.2f} GFLOP/s '
              f'{row.byte_per_s / 1e9:8.2f} GB/s {row.intensity:7.2f} FLOP/byte {row.share:6.1%} of attainable')
