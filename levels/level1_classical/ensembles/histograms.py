"""Trees on columns that were cut into bins: what boosting and forests grow.

Formula: the sums of each (bin, node) of a column are one scatter; every edge between bins is a threshold, its left side
    the sum of the bins up to it; rows whose value is missing (NaN) are tried on both sides.
Paper: Chen, Guestrin 2016, XGBoost: a scalable tree boosting system, KDD, sections 2 and 3; bins: Ke et al. 2017,
    LightGBM: a highly efficient gradient boosting decision tree, NeurIPS.
Shapes: X [rows, features] -> edges [features, bins - 1] and codes [features, rows] -> Grown.

One pass over the rows for each column and level, whatever the number of nodes; memory is that of the codes (a byte for
each value) and of one column's table, bins x nodes.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from common.scatter import scatter

SAMPLE = 1 << 14        # rows that quantiles are taken of: sorting is what costs, and 64 rows for each bin are enough
TABLE = 1 << 18         # numbers in the table of a batch of columns: what a core's cache holds


class Rule(NamedTuple):
    """What the sums of nodes' payloads, [k, slots], mean to a method."""

    gain: Callable      # (left, right, all) -> gain of the split, -inf where it is not allowed
    may: Callable       # (all) -> whether the node may be split
    tie: Callable       # (all) -> gains that differ by less are equal, and one that is smaller is none
    prepare: Callable = lambda payload, total, slot: payload     # the rows' [rows, k] that are added up at this level


class Grown(NamedTuple):
    """A tree as arrays [nodes]; feature -1 is a leaf, the right child is left + 1."""

    feature: Int[Array, ' nodes']
    threshold: Float[Array, ' nodes']
    left: Int[Array, ' nodes']
    missing_left: Bool[Array, ' nodes']
    gain: Float[Array, ' nodes']
    total: Float[Array, 'nodes k']      # of the payload


class Front(NamedTuple):
    """The level to be split next, as in `exact_splits`: node number = first + slot."""

    tree: Grown
    slot: Int[Array, ' rows']
    node: Int[Array, ' rows']
    first: Int[Array, '']
    width: Int[Array, '']
    level: Int[Array, '']


def ascending(x: Float[Array, ' n']) -> Float[Array, ' n']:
    """x sorted, by its bits read as integers: on a CPU several times faster than by its values."""
    kind = jnp.dtype(f'int{8 * x.dtype.itemsize}')
    flip = lambda i: jnp.where(i < 0, i ^ jnp.iinfo(kind).max, i)
    bits = jnp.sort(flip(jax.lax.bitcast_convert_type(x, kind)))
    return jax.lax.bitcast_convert_type(flip(bits), x.dtype)


def quantile_edges(X: Float[Array, 'rows features'], weight, bins: int) -> Float[Array, 'features edges']:
    """Thresholds: midway between all neighbouring values where these are few enough, else at quantiles; then +inf.

    Quantiles are of the weighted rows, of at most SAMPLE of them, evenly spaced; NaN and rows without weight are out.
    """
    if len(X) > SAMPLE:
        before = jnp.cumsum(weight > 0)
        nth = 1 + (jnp.arange(SAMPLE) * (before[-1] / SAMPLE)).astype(before.dtype)
        take = jnp.searchsorted(before, nth)
        X, weight = X[take], weight[take]

    def one(x):
        there = (weight > 0) & ~jnp.isnan(x)
        apart, x = jnp.where(there, x, jnp.inf), ascending(jnp.where(there, x, jnp.inf))
        after = jnp.append(x[1:], jnp.inf)
        # a search and a scatter bring the weights into order sooner than sorting pairs does
        mass = jnp.cumsum(jnp.zeros_like(x).at[jnp.searchsorted(x, apart)].add(jnp.where(there, weight, 0)))
        ends = (x < jnp.inf) & (x < after)          # the last of equal values
        passed = jnp.floor(mass * (bins / mass[-1]))
        before = jnp.concatenate([jnp.zeros(1, x.dtype), jax.lax.cummax(jnp.where(ends, passed, 0))[:-1]])
        cut = ends & (after < jnp.inf) & ((jnp.sum(ends) <= bins) | (passed > before))
        middle = x + (after - x) / 2
        middle = jnp.where(middle < after, middle, x)
        to = jnp.where(cut, jnp.cumsum(cut) - 1, bins)
        return scatter(jnp.full(bins - 1, jnp.inf, x.dtype), to, middle)

    return jax.lax.map(one, X.T)


def digitise(X: Float[Array, 'rows features'], edges) -> Int[Array, 'features rows']:
    """The bin of each value: how many edges lie below it; NaN has a bin of its own, the last."""
    bins = edges.shape[1] + 1
    kind = jnp.uint8 if bins < 256 else jnp.int32
    one = lambda at: jnp.where(jnp.isnan(at[0]), bins, jnp.searchsorted(at[1], at[0])).astype(kind)
    return jax.lax.map(one, (X.T, edges))


def best_edges(table, missing, total, rule: Rule):
    """(gain, bin, whether missing goes left) [columns, slots]: the best split of every column in every node.

    table [bins + 1, k, columns, slots], the last bin that of NaN; `missing`: whether there is any, and a second side.
    One step for each bin, wide as all columns and nodes: a loop over columns would spend its time on overhead.
    """
    bins = len(table) - 1
    total = total[:, None]      # [k, 1, slots]
    tie = rule.tie(total)

    def along(sides):
        def edge(carry, now):
            left, best, where, side = carry
            here, b = now
            left = left + here
            for goes_left in sides:
                sums = left + table[bins] if goes_left else left
                gain = rule.gain(sums, total - sums, total)
                better = gain > best + tie
                best, where = jnp.where(better, gain, best), jnp.where(better, b, where)
                side = jnp.where(better, goes_left, side)
            return (left, best, where, side), None

        zero = jnp.zeros(table.shape[2:], jnp.int32)
        start = (jnp.zeros_like(table[0]), jnp.full(zero.shape, -jnp.inf, table.dtype), zero, zero > 0)
        return jax.lax.scan(edge, start, (table[:bins], jnp.arange(bins, dtype=jnp.int32)))[0][1:]

    return jax.lax.cond(missing, lambda: along((False, True)), lambda: along((False,)))


def grow(codes: Int[Array, 'features rows'], edges, payload: Float[Array, 'rows k'], *, depth: int | None, rule: Rule,
         columns: Callable) -> tuple[Grown, Int[Array, ' rows']]:
    """(the tree, the leaf of each row).

    columns(level, slots) -> (how many, features [columns] or [columns, slots]): where splits are looked for.
    """
    n = codes.shape[1]
    bins = edges.shape[1] + 1
    edges = jnp.pad(edges, ((0, 0), (0, 1)), constant_values=jnp.inf)       # all that is not missing goes left
    depth = n if depth is None else depth
    wide = min(n, 2 ** min(depth, n.bit_length()))      # nodes of a level
    most = max(1, wide // 2)                            # those that can be split
    nodes = min(2 * n - 1, 2 ** (min(depth, n.bit_length()) + 1) - 1)
    rows, own = jnp.arange(n), jnp.arange(wide, dtype=jnp.int32)
    missing = jnp.any(codes == bins)

    def level(slots: int, front: Front) -> Front:
        tree, slot = front.tree, front.slot
        total = jnp.zeros((wide + 1, payload.shape[1]), payload.dtype).at[slot].add(payload)
        may = (own < front.width) & rule.may(total[:wide].T) & (front.level < depth)
        place = jnp.where(may, jnp.cumsum(may, dtype=jnp.int32) - 1, slots)     # among those to be split
        place = jnp.where(place < slots, place, slots)
        of_row = jnp.append(place, slots)[slot]

        def find():
            sums = jnp.zeros((slots + 1, payload.shape[1]), payload.dtype).at[place].set(total[:wide])[:slots]
            added = rule.prepare(payload, sums, of_row)
            inside = jnp.zeros((slots + 1, payload.shape[1]), payload.dtype).at[of_row].add(added)[:slots].T
            count, features = columns(front.level, slots)
            tie = rule.tie(inside)
            cells = (bins + 1) * (slots + 1)
            batch = max(1, min(len(features), TABLE // (cells * payload.shape[1])))       # of columns

            def some(i, best):
                def one(j, table):
                    feature = features[i * batch + j]
                    mine = codes[feature] if feature.ndim == 0 else codes[jnp.append(feature, 0)[of_row], rows]
                    at = mine.astype(jnp.int32) * (slots + 1) + of_row
                    return table.at[j].set(jnp.zeros_like(table[0]).at[at].add(added))

                table = jnp.zeros((batch, cells, payload.shape[1]), payload.dtype)
                table = jax.lax.fori_loop(0, jnp.minimum(batch, count - i * batch), one, table)
                table = table.reshape(batch, bins + 1, slots + 1, -1)[:, :, :slots].transpose(1, 3, 0, 2)
                gain, where, side = best_edges(table, missing, inside, rule)
                top = jnp.max(gain, 0)
                column = jnp.argmax(gain >= (top - tie)[None], 0)
                pick = lambda v: jnp.take_along_axis(v, column[None], 0)[0]
                better = top > best[0] + tie
                found = top, (i * batch + column).astype(jnp.int32), pick(where), pick(side)
                return tuple(jnp.where(better, a, b) for a, b in zip(found, best))

            zero = jnp.zeros(slots, jnp.int32)
            start = (jnp.full(slots, -jnp.inf, payload.dtype), zero, zero, zero > 0)
            gain, column, where, side = jax.lax.fori_loop(0, (count + batch - 1) // batch, some, start)
            feature = features[column] if features.ndim == 1 else features[column, jnp.arange(slots)]
            return jnp.where(gain > tie, gain, -jnp.inf), feature.astype(jnp.int32), where, side

        zero = jnp.zeros(slots, jnp.int32)
        nothing = lambda: (jnp.full(slots, -jnp.inf, payload.dtype), zero, zero, zero > 0)
        found = jax.lax.cond(may.any(), find, nothing)
        gain, feature, where, side = (jnp.append(v, v[:1])[place] for v in found)
        splits = may & (place < slots) & (gain > -jnp.inf)
        rank = jnp.cumsum(splits, dtype=jnp.int32) - 1
        after = front.first + front.width
        node = jnp.where(own < front.width, front.first + own, nodes)
        put = lambda old, new: scatter(old, node, new)
        tree = Grown(put(tree.feature, jnp.where(splits, feature, -1)),
                     put(tree.threshold, jnp.where(splits, edges[feature, where], 0)),
                     put(tree.left, jnp.where(splits, after + 2 * rank, 0)),
                     put(tree.missing_left, splits & side), put(tree.gain, jnp.where(splits, gain, 0)),
                     put(tree.total, total[:wide]))
        mine = jnp.minimum(slot, wide - 1)
        moves = (slot < wide) & splits[mine]
        code = codes[feature[mine], rows].astype(jnp.int32)
        right = jnp.where(code == bins, ~side[mine], code > where[mine])
        child = 2 * rank[mine] + right
        return Front(tree, jnp.where(moves, child, wide), jnp.where(moves, after + child, front.node), after,
                     2 * jnp.sum(splits, dtype=jnp.int32), front.level + 1)

    zero = jnp.zeros(nodes, jnp.int32)
    tree = Grown(zero - 1, jnp.zeros(nodes, edges.dtype), zero, zero > 0, jnp.zeros(nodes, payload.dtype),
                 jnp.zeros((nodes, payload.shape[1]), payload.dtype))
    i32 = lambda v: jnp.asarray(v, jnp.int32)
    front = Front(tree, jnp.zeros(n, jnp.int32), jnp.zeros(n, jnp.int32), i32(0), i32(1), i32(0))
    # tables are as wide as a level may get: the first levels, which have few nodes, have small ones
    for slots in (*(c for c in (32, 128, 512, 2048) if c < most), most):
        here = lambda f, slots=slots: (f.width > 0) & (f.level <= depth) & ((slots == most) | (f.width <= slots))
        front = jax.lax.while_loop(here, functools.partial(level, slots), front)
    return front.tree, front.node


def gain_shares(feature, gain, d: int) -> Float[Array, ' features']:
    """The gain of each feature's splits, over all trees, as a share of all."""
    by = scatter(jnp.zeros(d, gain.dtype), jnp.where(feature >= 0, feature, d), gain, 'add')
    total = jnp.sum(by)
    return by / jnp.where(total > 0, total, 1)
