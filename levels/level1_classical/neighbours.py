"""The k nearest rows, exactly, without ever holding the whole matrix of distances.

Formula: of each query x the k rows y least in (d(x, y), row number): euclidean ||x - y||, manhattan |x - y|_1, cosine
    1 - x'y / (||x|| ||y||).
Paper: Cover, Hart 1967, Nearest neighbor pattern classification, IEEE Trans. Inf. Theory 13.
Shapes: X_train [rows, features], X_query [queries, features] -> distances, indices [queries, k].

Products of matrices are fast but cancel: ||x||^2 - 2 x'y + ||y||^2 of rows far from zero has no correct digit. Here
they only nominate k + 8 candidates among centred rows. Candidates are ranked by differences, in twice the precision,
and a query is done when the bound on the rounding of the products shows that none outside can be nearer. The few that
fail (ties, clusters far apart) are searched again, by differences alone.

Example:
    from levels.level1_classical.neighbours import nearest
    distances, indices = nearest(X, queries, 10)
    distances, indices = nearest(X, X, 15, exclude_self=True)       # a graph of neighbours
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from levels.level1_classical.estimator import choice, exact, features, floats

METRICS = ('euclidean', 'manhattan', 'cosine')
SPARE = 8               # candidates beyond k
BLOCK = 1 << 16         # rows compared at once
CELLS = 1 << 23         # entries of a matrix held at once
AGAIN = 32              # queries of the second search at once
LANES = 8               # features added in one pass by differences
FEW = 1 << 14           # entries of X up to which differences alone are used


class Neighbours(NamedTuple):
    """Of each query the nearest rows, nearest first; the row of lower number first where distances are equal."""

    distances: Float[Array, 'queries k']
    indices: Int[Array, 'queries k']


def _length(m: int, c: int) -> int:
    """How many to a group, so that about as many groups are searched as entries in the c best of them."""
    return max(1, int((m / c) ** 0.5))


def largest(score: Float[Array, 'queries rows'], c: int):
    """The c largest of each row and where they are, as `lax.top_k`, but for ties: which of them is taken is open.

    Maxima of strided groups come first. The c largest entries lie in the c groups of largest maximum, and these few
    are searched: several times faster than searching all.
    """
    n, m = score.shape
    length = _length(m, c)
    if length < 4 or m % length or jax.default_backend() != 'cpu':
        return jax.lax.top_k(score, c)
    groups = m // length
    grid = score.reshape(n, length, groups)
    group = jax.lax.top_k(jnp.max(grid, 1), c)[1]
    inside = jnp.take_along_axis(grid, group[:, None, :], 2).reshape(n, length * c)
    value, at = jax.lax.top_k(inside, c)
    return value, (at // c) * groups + jnp.take_along_axis(group, at % c, 1)


def _far(x) -> float:
    """The square length of a row that is absent: infinity would be no number in a product."""
    return float(jnp.finfo(x.dtype).max) / 8


def _by_products(x, block):
    return jnp.concatenate([2 * x, jnp.ones_like(x[:, :1])], 1) @ block[0].T


def _by_differences(x, block, power: int):
    """Minus the sum over features of |x - y|^power; LANES of them in each pass over the matrix."""
    y, penalty = block
    pad = -x.shape[1] % LANES
    parts = lambda v: jnp.pad(v, ((0, 0), (0, pad))).T.reshape(-1, LANES, len(v))
    size = jnp.square if power == 2 else jnp.abs

    def add(total, now):
        a, b = now
        return total - sum(size(a[i][:, None] - b[i][None]) for i in range(LANES)), None

    start = jnp.broadcast_to(-penalty[None], (len(x), len(y)))
    return jax.lax.scan(add, start, (parts(x), parts(y)))[0]


def _candidates(score, select, x, blocks, c: int):
    """(score, row) of the c rows of largest score, over all blocks of rows: each [queries, c]."""
    n, size = len(x), blocks[0].shape[1]

    def one(best, now):
        number, *block = now
        value, at = select(score(x, block), min(c, size))
        value = jnp.where(value > -_far(x) / 2, value, -jnp.inf)
        value = jnp.concatenate([best[0], value], 1)        # those of earlier blocks stand first, and win ties
        row = jnp.concatenate([best[1], (at + number * size).astype(jnp.int32)], 1)
        value, at = jax.lax.top_k(value, c)
        return (value, jnp.take_along_axis(row, at, 1)), None

    start = jnp.full((n, c), -jnp.inf, x.dtype), jnp.zeros((n, c), jnp.int32)
    number = jnp.arange(len(blocks[0]))
    return jax.lax.scan(one, start, (number, *blocks))[0]


def _two_sum(a, b):
    """a + b and what its rounding left out."""
    s = a + b
    v = s - a
    return s, (a - (s - v)) + (b - v)


def _add(total, part):
    """Sum of two numbers, each of a leading and a trailing part."""
    s, e = _two_sum(total[0], part[0])
    e = e + total[1] + part[1]
    lead = s + e
    return lead, e - (lead - s)


def _square(d, e):
    """(d + e)^2 as leading and trailing part: half the bits of d at a time, whose products have no rounding."""
    if d.dtype != jnp.float32:
        return d * d, 2 * d * e
    top = jax.lax.bitcast_convert_type(jax.lax.bitcast_convert_type(d, jnp.uint32) & jnp.uint32(0xFFFFF000), d.dtype)
    low = d - top
    s, e1 = _two_sum(top * top, 2 * top * low)
    return s, e1 + low * low + 2 * d * e


def _measure(x, y, power: int):
    """sum |x - y|^power over the last axis in twice the precision: x [queries, features], y [queries, c, features]."""

    def add(total, now):
        a, b = now
        d, e = _two_sum(jnp.broadcast_to(a[:, None], b.shape), -b)
        return _add(total, _square(d, e) if power == 2 else (jnp.abs(d), jnp.sign(d) * e)), None

    zero = jnp.zeros(y.shape[:2], y.dtype)
    return jax.lax.scan(add, (zero, zero), (x.T, jnp.moveaxis(y, 2, 0)))[0]


def _ranked(x, X, found, power: int, k: int):
    """(measure, row) of the k nearest among the candidates, ordered by measure and then by number."""
    score, row = found
    lead, trail = _measure(x, X[row], power)
    lead = jnp.where(score == -jnp.inf, jnp.inf, lead)
    lead, _, row = jax.lax.sort((lead, trail, row), num_keys=3)
    return lead[:, :k], row[:, :k]


def _unit(X, which: int):
    """Rows of length 1, so that ||x - y||^2 / 2 is the cosine distance; rows of zeros, whose distance to all is 1, get
    a coordinate of their own."""
    norm = jnp.linalg.norm(X, axis=1, keepdims=True)
    zero = (norm == 0).astype(X.dtype)
    own = [zero, 0 * zero] if which == 0 else [0 * zero, zero]
    return jnp.concatenate([X / jnp.where(norm > 0, norm, 1), *own], 1)


@functools.partial(jax.jit, static_argnames=('k', 'metric'))
@exact
def _nearest(X, Q, weight, k: int, metric: str):
    power = 1 if metric == 'manhattan' else 2
    if metric == 'cosine':
        X, Q = _unit(X, 0), _unit(Q, 1)
    rows, d = X.shape
    c = min(k + SPARE, rows)
    length = _length(min(BLOCK, rows), c)
    size = -(-min(BLOCK, rows) // length) * length
    there = jnp.pad(weight > 0, (0, -rows % size))[:, None]
    Y = jnp.pad(X, ((0, -rows % size), (0, 0)))
    blocked = lambda v: v.reshape(-1, size, *v.shape[1:])
    pairs = blocked(Y), blocked(jnp.where(there[:, 0], 0, _far(Y)))
    differences = functools.partial(_by_differences, power=power)
    at_once = max(1, min(len(Q), CELLS // size, CELLS // (c * d)))
    over_chunks = lambda f: [v.reshape(-1, *v.shape[2:])[:len(Q)] for v in jax.lax.map(f, _chunks(Q, at_once))]

    def second(q):      # the first of equal scores is taken, as in `lax.top_k`
        return _ranked(q, X, _candidates(differences, jax.lax.top_k, q, pairs, c), power, k)

    if rows * d <= FEW or c == rows:
        measure, row = over_chunks(second)
    else:
        direct = power == 1 or d <= LANES       # few features: differences cost no more than products
        middle = jnp.sum(jnp.where(there, Y, 0), 0) / jnp.maximum(jnp.sum(there), 1)
        Y = jnp.where(there, Y - middle[None], 0)
        square = jnp.sum(Y**2, 1)
        products = (blocked(jnp.concatenate([Y, jnp.where(there, -square[:, None], -_far(Y))], 1)),)
        reach, slack = jnp.sqrt(jnp.max(square)), (d + 8) * jnp.finfo(X.dtype).eps

        def first(q):
            x = q - middle[None]
            found = _candidates(differences, largest, q, pairs, c) if direct else \
                _candidates(_by_products, largest, x, products, c)
            measure, row = _ranked(q, X, found, power, k)
            own = jnp.sum(x**2, 1)
            edge = -found[0][:, -1] + (0 if direct else own)    # nothing outside is nearer than this, but for rounding
            wrong = slack * (edge if direct else (jnp.sqrt(own) + reach) ** 2)
            return measure, row, (measure[:, -1] < edge - wrong) | (edge == jnp.inf)

        def search(now):
            measure, row, sure = now
            which = jax.lax.top_k((~sure).astype(jnp.int32), min(AGAIN, len(Q)))[1]
            m, r = second(Q[which])
            return measure.at[which].set(m), row.at[which].set(r), sure.at[which].set(True)

        measure, row, _ = jax.lax.while_loop(lambda now: ~now[2].all(), search, tuple(over_chunks(first)))
    distances = measure if power == 1 else measure / 2 if metric == 'cosine' else jnp.sqrt(measure)
    return Neighbours(distances, row)


def _chunks(Q, size: int):
    pad = -len(Q) % size
    return jnp.concatenate([Q, jnp.broadcast_to(Q[:1], (pad, Q.shape[1]))]).reshape(-1, size, Q.shape[1])


def nearest(X_train: Float[Array, 'rows features'], X_query: Float[Array, 'queries features'], k: int, *, weight=None,
            metric: str = 'euclidean', exclude_self: bool = False) -> Neighbours:
    """The k nearest rows of each query, exactly; equal distances in order of row number.

    Formula: the k rows y least in (d(x, y), number), d(x, y) = ||x - y||, |x - y|_1 or 1 - x'y / (||x|| ||y||).
    Paper: Cover, Hart 1967, Nearest neighbor pattern classification, IEEE Trans. Inf. Theory 13.
    Shapes: X_train [rows, features], X_query [queries, features] -> distances, indices [queries, k], nearest first.
    weight: [rows]; rows of weight 0 are absent (where fewer than k are left, the distances beyond are infinite).
    exclude_self: X_query is X_train, and no row is a neighbour of itself.
    Time grows with queries x rows x features, memory with rows and queries alone: 2^23 distances are held at once.
    Where it ranks, float32 has twice its precision: sets of neighbours are those of the data, not of their rounding.
    Errors: ValueError for bad shapes or values, features that differ, k outside 1 ... rows (less 1 for exclude_self),
        an unknown metric.
    Example:
        X = jnp.array([[100.0, 0.0], [100.01, 0.0], [100.03, 0.0]])
        distances, indices = nearest(X, X[:1], 2)
        assert indices.tolist() == [[0, 1]]
        nearest(X, X, 1, exclude_self=True).indices          # [[1], [0], [1]]
    """
    choice('metric', metric, METRICS)
    X, Q = features(X_train), features(X_query)
    Q = Q.astype(X.dtype)
    if X.shape[1] != Q.shape[1]:
        raise ValueError(f'X_query: expected {X.shape[1]} features as in X_train, found {Q.shape[1]}')
    if exclude_self and X.shape != Q.shape:
        raise ValueError(f'X_query: expected X_train {X.shape} for exclude_self, found {Q.shape}')
    most = len(X) - exclude_self
    if not 1 <= k <= most:
        raise ValueError(f'k: expected 1 to {most}, the rows there are, found {k}')
    weight = jnp.ones(len(X), X.dtype) if weight is None else floats(weight)
    if weight.shape != X.shape[:1]:
        raise ValueError(f'weight: expected [{len(X)}], found shape {weight.shape}')
    found = _nearest(X, Q, weight, k + exclude_self, metric)
    if not exclude_self:
        return found
    here = found.indices == jnp.arange(len(X), dtype=jnp.int32)[:, None]
    here = jnp.where(here.any(1, keepdims=True), here, jnp.arange(k + 1)[None] == k)    # else the last one goes
    keep = jnp.argsort(here, axis=1, stable=True)[:, :k]
    return jax.tree.map(lambda v: jnp.take_along_axis(v, keep, 1), found)
