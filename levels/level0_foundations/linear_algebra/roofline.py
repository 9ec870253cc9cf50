"""How fast the products are here: FLOP/s and bytes/s of each, and beside what peaks.

    python -m levels.level0_foundations.linear_algebra.roofline --sizes 64 256 1024 --precision=highest

prints both peaks and a line for each method and size.
"""

import argparse
import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from levels.level0_foundations.linear_algebra.products import METHODS, PRECISIONS, matmul, product_cost


class Peaks(NamedTuple):
    """The best this device did just now: flop_per_s of a large product, byte_per_s of a large copy."""

    flop_per_s: float
    byte_per_s: float


class Roofline(NamedTuple):
    """One measurement.  attainable: FLOP/s under the roof; bound: which half of it; share: flop_per_s of attainable."""

    method: str
    seconds: float
    flop_per_s: float
    byte_per_s: float
    intensity: float
    attainable: float
    bound: str
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
    """Measures both roofs: the faster `dot_general` of two sizes, and reading and writing `words` numbers."""
    product = jax.jit(lambda A: matmul(A, A, precision=precision))
    rates = [2 * n**3 / seconds(product, jnp.ones((n, n), dtype)) for n in (max(size // 4, 1), size)]
    x = jnp.ones(words, dtype)
    size_of = x.dtype.itemsize
    copy = jax.jit(lambda x: x + 1, donate_argnums=0)   # in place: new pages would be timed, and not memory

    def again():
        nonlocal x
        x = copy(x)
        return x

    return Peaks(max(rates), 2 * words * size_of / seconds(again))


def roofline(m: int, k: int, n: int, *, method: str = 'dot_general', precision: str = 'highest',
             dtype: str = 'float32', block: int = 64, repeats: int = 5, roof: Peaks | None = None) -> Roofline:
    """Times one product and says what bounds it: arithmetic, or memory.

    Formula: flop_per_s = 2 m k n / t; intensity and byte_per_s = bytes / t with the method's bytes of `product_cost`
        (what it asks for; caches answer most of that). attainable = min(peak, 2 m k n bandwidth / b), b = the least
        possible bytes, every entry once: one roof for all methods. bound = 'arithmetic' or 'memory', the smaller
        of the two. What stays in a cache can exceed the half that is of memory.
    Paper: Williams, Waterman, Patterson 2009, Roofline: an insightful visual performance model for multicore
        architectures.
    Shapes: sizes of A [m, k], B [k, n] -> Roofline, Python numbers. roof: of `peaks()`, measured if not given.
    Errors: ValueError as `matmul` and `product_cost`.
    Example:
        roof = peaks(size=64, words=4096)
        row = roofline(64, 64, 64, method='blocked', block=32, roof=roof, repeats=1)
        assert row.flop_per_s > 0 and row.byte_per_s > 0 and row.bound in ('arithmetic', 'memory')
        assert abs(row.intensity - row.flop_per_s / row.byte_per_s) < 1e-6 * row.intensity
    """
    cost = product_cost(m, k, n, method=method, dtype=dtype, block=block)
    roof = peaks(dtype=dtype, precision=precision) if roof is None else roof
    keys = jax.random.split(jax.random.key(0))
    A, B = jax.random.normal(keys[0], (m, k), dtype), jax.random.normal(keys[1], (k, n), dtype)
    fn = jax.jit(lambda A, B: matmul(A, B, method=method, precision=precision, block=block))
    t = seconds(fn, A, B, repeats=repeats)
    memory = product_cost(m, k, n, dtype=dtype).intensity * roof.byte_per_s
    attainable = min(roof.flop_per_s, memory)
    rate = cost.flops / t
    return Roofline(method, t, rate, cost.bytes / t, cost.intensity, attainable,
                    'memory' if memory < roof.flop_per_s else 'arithmetic', rate / attainable)


def table(sizes: tuple[int, ...] = (64, 256, 1024), *, precision: str = 'highest', dtype: str = 'float32',
          methods: tuple[str, ...] = METHODS, roof: Peaks | None = None) -> list[tuple[int, Roofline]]:
    """A roofline of square products: (size, measurement) for each method; the naive one only up to 256."""
    roof = peaks(dtype=dtype, precision=precision) if roof is None else roof
    return [(n, roofline(n, n, n, method=method, precision=precision, dtype=dtype, roof=roof))
            for n in sizes for method in methods if method != 'naive' or n <= 256]


def main(argv: list[str] | None = None) -> int:
    """Prints the peaks and the table."""
    parser = argparse.ArgumentParser(description='FLOP/s and bytes/s of three matrix products, beside the peaks.')
    parser.add_argument('--sizes', type=int, nargs='+', default=[64, 256, 1024], metavar='N', help='of square matrices')
    parser.add_argument('--precision', default='highest', choices=PRECISIONS)
    parser.add_argument('--dtype', default='float32', choices=('float32', 'bfloat16', 'float16'))
    args = parser.parse_args(argv)
    if min(args.sizes) < 1:
        parser.error(f'--sizes: expected at least 1, found {min(args.sizes)}')
    roof = peaks(dtype=args.dtype, precision=args.precision)
    print(f'{jax.devices()[0].device_kind}, {args.dtype}, {args.precision}: peaks {roof.flop_per_s / 1e9:.1f} GFLOP/s, '
          f'{roof.byte_per_s / 1e9:.1f} GB/s')
    for n, row in table(tuple(args.sizes), precision=args.precision, dtype=args.dtype, roof=roof):
        print(f'{n:5d} {row.method:12s} {row.seconds * 1e3:9.3f} ms {row.flop_per_s / 1e9:9.2f} GFLOP/s '
              f'{row.byte_per_s / 1e9:8.2f} GB/s {row.intensity:7.2f} FLOP/byte {row.share:7.1%} of attainable, '
              f'bound by {row.bound}')
    return 0


if __name__ == '__main__':
    raise SystemExit(main())
