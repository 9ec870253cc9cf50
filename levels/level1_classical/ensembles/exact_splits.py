"""Trees whose splits are the best of all: the columns are sorted once, and stay sorted within every node.

Formula: of all thresholds midway between neighbours take the one with the greatest fall of weight x impurity:
    squares (gini): sum_t s_t^2 / w of both sides, s_t = sum w (y_t - mean of the node); entropy: sum_t c_t log(c_t/w).
Paper: Breiman, Friedman, Olshen, Stone 1984, Classification and Regression Trees; levels of nodes at once: Mehta,
    Agrawal, Rissanen 1996, SLIQ: a fast scalable classifier for data mining.
Shapes: X [rows, features], Y [rows, outputs] (one column for each class) -> Tree.

All nodes of a level are split together: one pass over the positions of the sorted columns, in which the rows of a node
lie side by side, whatever their number. So a level costs rows x features however many nodes it has, there is no bound
on the depth, and memory is a few times that of X. A row of weight w counts as ceil(w) rows where rows are counted.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from common.scatter import scatter
from levels.level1_classical.ensembles.nodes import Tree, importances

CRITERIA = ('squares', 'gini', 'entropy')       # squares of one-hot classes are gini; they differ in scale only


class Limits(NamedTuple):
    """What stops a node from being split; all but `depth` may be traced."""

    depth: int | None
    split: Array | int          # rows in the node
    leaf: Array | int           # rows on either side
    decrease: Array | float     # fall of the impurity, times the node's share of the weight


class Front(NamedTuple):
    """The level that is to be split next.  Its nodes have slots 0, 1, ...; slot `len(X)` is that of all other rows."""

    tree: Tree
    order: Int[Array, 'rows features']      # row numbers, sorted by each feature within each node
    slot: Int[Array, ' rows']               # of each row
    first: Int[Array, '']                   # number of the node in slot 0
    width: Int[Array, '']                   # how many slots are in use
    level: Int[Array, '']


def score(sums, criterion: str):
    """The part of minus weight x impurity that a split can change; sums [..., 1 + outputs + 1]: weight, sums, rows."""
    w, s = sums[..., 0], sums[..., 1:-1]
    w = jnp.where(w > 0, w, 1)
    if criterion == 'entropy':
        s = jnp.maximum(s, 0)       # what is left of a class by subtraction may fall below
        return jnp.sum(jax.scipy.special.xlogy(s, s / w[..., None]), -1)
    return jnp.sum(s * s, -1) / w


def statistics(Y, weight, slot, slots: int, criterion: str):
    """(weight, mean, impurity, whether all rows are alike) of every node, and its rows' Y less the mean."""
    by = lambda v: jnp.zeros((slots + 1, *v.shape[1:]), v.dtype).at[slot].add(v)
    total = by(weight)
    safe = jnp.where(total > 0, total, 1)
    mean = by(weight[:, None] * Y) / safe[:, None]
    mean = mean + by(weight[:, None] * (Y - mean[slot])) / safe[:, None]        # once more: long sums round
    apart = Y - mean[slot]
    if criterion == 'entropy':
        impurity = -jnp.sum(jax.scipy.special.xlogy(mean, mean), 1) / jnp.log(2.0).astype(Y.dtype)
    else:
        impurity = by(weight * jnp.sum(apart**2, 1)) / safe
        impurity = impurity / (1 if criterion == 'gini' else Y.shape[1])
    high = jnp.full((slots + 1, Y.shape[1]), -jnp.inf, Y.dtype).at[slot].max(Y)
    low = jnp.full((slots + 1, Y.shape[1]), jnp.inf, Y.dtype).at[slot].min(Y)
    return total, mean, impurity, (high <= low).all(1), apart


def search(X, order, slot_at, payload, total, tie, leaf, criterion: str):
    """(gain, threshold) [rows, features]: the best split of the node up to each position; it is whole at its last.

    Gains that differ by less than `tie` [slots] are equal, and the first of them wins: rounding decides nothing.
    """
    d = X.shape[1]
    columns = jnp.arange(d)
    fresh = jnp.concatenate([jnp.ones(1, bool), slot_at[1:] != slot_at[:-1]])

    def step(carry, at):
        left, last, best, threshold = carry
        rows, slot, new = at
        x = X[rows, columns]
        left, best = jnp.where(new, 0, left), jnp.where(new, -jnp.inf, best)
        right = total[slot][None] - left
        ok = ~new & (x > last) & (left[:, -1] >= leaf) & (right[:, -1] >= leaf)
        gain = jnp.where(ok, score(left, criterion) + score(right, criterion), -jnp.inf)
        middle = last + (x - last) / 2
        better = gain > best + tie[slot]
        threshold = jnp.where(better, jnp.where(middle < x, middle, last), threshold)
        best = jnp.where(better, gain, best)
        return (left + payload[rows], x, best, threshold), (best, threshold)

    zero = jnp.zeros(d, X.dtype)
    return jax.lax.scan(step, (jnp.zeros((d, payload.shape[1]), X.dtype), zero, zero, zero), (order, slot_at, fresh))[1]


def partition(order, slot_at, goes_right, stays, start, lefts):
    """`order` with the rows of every node that is split sorted into its left and its right child, else as they were."""
    d = order.shape[1]
    fresh = jnp.concatenate([jnp.ones(1, bool), slot_at[1:] != slot_at[:-1]])

    def step(carry, at):
        right_before, new_order = carry
        rows, slot, new, i = at
        right = goes_right[rows]
        right_before = jnp.where(new, 0, right_before)
        to = start[slot] + jnp.where(right, lefts[slot] + right_before, i - start[slot] - right_before)
        to = jnp.where(stays[slot], i, to)
        return (right_before + right, new_order.at[to, jnp.arange(d)].set(rows, unique_indices=True)), None

    n = len(order)
    return jax.lax.scan(step, (jnp.zeros(d, order.dtype), order),
                        (order, slot_at, fresh, jnp.arange(n, dtype=order.dtype)))[0][1]


def grow(X: Float[Array, 'rows features'], Y: Float[Array, 'rows outputs'], weight: Float[Array, ' rows'], *,
         criterion: str, limits: Limits) -> Tree:
    """The tree of greedy best splits.  Of equal ones the first feature and the lowest threshold win."""
    n, d = X.shape
    depth = n if limits.depth is None else limits.depth
    nodes = 2 * n - 1 if depth >= n.bit_length() else min(2 * n - 1, 2 ** (depth + 1) - 1)
    present = weight > 0
    rows = jnp.ceil(weight)
    middle = weight @ Y / jnp.sum(weight)
    Y = Y - middle[None] if criterion == 'squares' else Y       # about zero the sums round less
    scale = (1 / Y.shape[1] if criterion == 'squares' else 1 / jnp.log(2.0) if criterion == 'entropy' else 1)
    i32 = lambda v: jnp.asarray(v, jnp.int32)
    slots = jnp.arange(n, dtype=jnp.int32)

    def level(front: Front) -> Front:
        tree, slot = front.tree, front.slot
        total, mean, impurity, pure, apart = statistics(Y, weight, slot, n, criterion)
        # counts of classes are exact as they are; numbers lose least about the mean of their node
        payload = jnp.stack([weight, *(weight[:, None] * (apart if criterion == 'squares' else Y)).T, rows], 1)
        sums = jnp.zeros((n + 1, payload.shape[1]), X.dtype).at[slot].add(payload)
        now = score(sums, criterion)
        tie = 8 * jnp.finfo(X.dtype).eps * (jnp.abs(now) + total * impurity / scale)
        slot_at = slot[front.order[:, 0]]
        there = jnp.zeros(n + 1, jnp.int32).at[slot].add(1)
        start = jnp.full(n + 1, n, jnp.int32).at[slot_at].min(slots)
        may = (slots < front.width) & ~pure[:n] & (sums[:n, -1] >= limits.split) & (front.level < depth)

        def find():
            gain, threshold = search(X, front.order, slot_at, payload, sums, tie, limits.leaf, criterion)
            end = jnp.clip(start + there - 1, 0, n - 1)[:n]
            most = jnp.max(gain[end], 1)
            feature = jnp.argmax(gain[end] >= (most - tie[:n])[:, None], 1).astype(jnp.int32)
            return most, threshold[end, feature], feature

        nothing = lambda: (jnp.full(n, -jnp.inf, X.dtype), jnp.zeros(n, X.dtype), jnp.zeros(n, jnp.int32))
        gain, threshold, feature = jax.lax.cond(may.any(), find, nothing)
        fall = jnp.maximum(gain - now[:n], 0) * scale / jnp.sum(weight)
        splits = may & (gain > -jnp.inf) & (fall >= limits.decrease)
        rank = jnp.cumsum(splits, dtype=jnp.int32) - 1
        after = front.first + front.width
        node = jnp.where(slots < front.width, front.first + slots, nodes)
        put = lambda old, new: scatter(old, node, new)
        shift = middle[None] if criterion == 'squares' else 0
        tree = tree._replace(
            feature=put(tree.feature, jnp.where(splits, feature, -1)),
            threshold=put(tree.threshold, jnp.where(splits, threshold, 0)),
            left=put(tree.left, jnp.where(splits, after + 2 * rank, 0)), value=put(tree.value, mean[:n] + shift),
            impurity=put(tree.impurity, impurity[:n]), weight=put(tree.weight, total[:n]))

        own = jnp.minimum(slot, n - 1)
        moves = (slot < n) & splits[own]
        right = moves & (X[jnp.arange(n), feature[own]] > threshold[own])
        lefts = jnp.zeros(n + 1, jnp.int32).at[slot].add(i32(moves & ~right))
        stays = jnp.append(~splits, True)
        order = partition(front.order, slot_at, right, stays, start, lefts)
        return Front(tree, order, jnp.where(moves, 2 * rank[own] + right, n), after,
                     2 * jnp.sum(splits, dtype=jnp.int32), front.level + 1)

    flat = lambda v, t: jnp.full(nodes, v, t)
    tree = Tree(flat(-1, jnp.int32), flat(0, X.dtype), flat(0, jnp.int32), jnp.zeros((nodes, Y.shape[1]), X.dtype),
                flat(0, X.dtype), flat(0, X.dtype), jnp.zeros(d, X.dtype))
    order = jnp.argsort(jnp.where(present[:, None], X, jnp.inf), axis=0).astype(jnp.int32)
    front = Front(tree, order, jnp.where(present, 0, n).astype(jnp.int32), i32(0), i32(1), i32(0))
    front = jax.lax.while_loop(lambda f: f.width > 0, level, front)
    return front.tree._replace(importances=importances(front.tree))
