"""What all trees share: their nodes as arrays, the walk from the root to a leaf, how good a split is, importances.

Formula: a row goes to node `left` where x[feature] <= threshold, else to `left + 1`; feature -1 is a leaf.
Paper: Breiman, Friedman, Olshen, Stone 1984, Classification and Regression Trees, sections 2.4, 4.3 and 8.4.
Shapes: every array of a Tree is [nodes, ...], of a size that is fixed before the tree is grown; node 0 is the root,
    children have higher numbers than their parents; nodes that were never made, or are cut off, are reached by none.

Example:
    leaf = walk(tree.feature, tree.threshold, tree.left, X)
    tree.value[leaf]
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from common.scatter import scatter
from levels.level1_classical.estimator import features


class Tree(NamedTuple):
    """A grown tree; `weight` is that of the training rows in the node, `importances` sum to 1 (0 without a split)."""

    feature: Int[Array, ' nodes']
    threshold: Float[Array, ' nodes']
    left: Int[Array, ' nodes']
    value: Float[Array, 'nodes outputs']        # mean of y, or shares of the classes
    impurity: Float[Array, ' nodes']
    weight: Float[Array, ' nodes']
    importances: Float[Array, ' features']


def walk(feature, threshold, left, X: Float[Array, 'rows features'], missing_left=None) -> Int[Array, ' rows']:
    """The leaf of each row.  NaN goes right, or left where `missing_left` of the node says so."""
    rows = jnp.arange(len(X))

    def deeper(node):
        f = feature[node]
        x = X[rows, jnp.maximum(f, 0)]
        goes_left = x <= threshold[node]
        if missing_left is not None:
            goes_left = jnp.where(jnp.isnan(x), missing_left[node], goes_left)
        return jnp.where(f < 0, node, left[node] + 1 - goes_left.astype(node.dtype))

    return jax.lax.while_loop(lambda node: jnp.any(feature[node] >= 0), deeper, jnp.zeros(len(X), left.dtype))


def like(state, X, *, allow_nan: bool = False) -> Float[Array, 'rows features']:
    """X checked, with the features of the fit.  Errors: ValueError for another number of them."""
    X = features(X, allow_nan=allow_nan)
    if X.shape[1] != len(state.importances):
        raise ValueError(f'X: expected {len(state.importances)} features as in fit, found {X.shape[1]}')
    return X


def reached(tree: Tree) -> Bool[Array, ' nodes']:
    """Which nodes are part of the tree."""
    inner = tree.feature >= 0
    n = len(inner)
    start = jnp.zeros(n, bool).at[0].set(True)

    def down(state):
        seen, front = state
        first = jnp.where(front & inner, tree.left, n)
        front = scatter(jnp.zeros(n, bool), jnp.stack([first, first + 1]), True)
        return seen | front, front

    return jax.lax.while_loop(lambda s: s[1].any(), down, (start, start))[0]


def leaves(tree: Tree) -> Int[Array, '']:
    """How many leaves it has."""
    return jnp.sum(reached(tree) & (tree.feature < 0))


def gains(tree: Tree) -> Float[Array, ' nodes']:
    """What each split takes from the impurity, times the weight of its node; 0 for leaves."""
    cost = tree.impurity * tree.weight
    left = jnp.maximum(tree.left, 0)
    gain = jnp.maximum(cost - cost[left] - cost[jnp.minimum(left + 1, len(left) - 1)], 0)
    return jnp.where((tree.feature >= 0) & reached(tree), gain, 0)


def importances(tree: Tree) -> Float[Array, ' features']:
    """The gain of each feature's splits, as a share of all."""
    return shares(jnp.zeros_like(tree.importances).at[jnp.maximum(tree.feature, 0)].add(gains(tree)))


def shares(x: Float[Array, ' n']) -> Float[Array, ' n']:
    """x over its sum; zeros if that is zero."""
    total = jnp.sum(x)
    return x / jnp.where(total > 0, total, 1)
