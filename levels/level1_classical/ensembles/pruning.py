"""Smaller trees out of a grown one: cost-complexity pruning with its whole path, and a limit on the leaves.

Formula: g(t) = (R(t) - R(T_t)) / (leaves of T_t - 1), R = impurity x weight / weight of the root, T_t the branch at t;
    the branch with the smallest g becomes a leaf, again and again; those g are the alphas of the path.
Paper: Breiman, Friedman, Olshen, Stone 1984, Classification and Regression Trees, section 3.3.
Shapes: a Tree of n nodes -> Path of (n + 1) / 2 entries at most; trees keep their arrays, cut nodes become leaves.

Example:
    path = pruning_path(tree)
    trees = jax.vmap(prune, (None, 0))(tree, path.alpha)     # every tree of the path
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from common.scatter import scatter
from levels.level1_classical.ensembles.nodes import Tree, gains, importances, reached


class Path(NamedTuple):
    """Entry 0 is the whole tree, the last one the root alone; entries from `count` on repeat the last."""

    alpha: Float[Array, ' entries']
    impurity: Float[Array, ' entries']      # of the leaves that are left, weighted
    count: Int[Array, '']


class Cut(NamedTuple):
    """Where the search for the weakest branch stands."""

    feature: Int[Array, ' nodes']
    branch: Float[Array, ' nodes']      # R(T_t)
    size: Float[Array, ' nodes']        # leaves of T_t
    alpha: Float[Array, '']             # what the next cut costs


def _parents(tree: Tree) -> Int[Array, ' nodes']:
    """The number of each node's parent; the root's, and that of nodes which are not there, is past the end."""
    n = len(tree.feature)
    first = jnp.where((tree.feature >= 0) & reached(tree), tree.left, n)
    own = jnp.arange(n, dtype=jnp.int32)
    return scatter(jnp.full(n, n, jnp.int32), jnp.stack([first, first + 1]), own)


def _start(tree: Tree, parent):
    """(R of each node, the Cut before anything is cut): a node of the tree adds to all of its ancestors."""
    there = reached(tree)
    risk = tree.impurity * tree.weight / tree.weight[0]
    leaf = there & (tree.feature < 0)
    n = len(risk)
    at = jnp.where(leaf, jnp.arange(n, dtype=jnp.int32), n)

    def up(state):
        branch, size, at = state
        branch = scatter(branch, at, jnp.where(leaf, risk, 0), 'add')
        return branch, scatter(size, at, 1, 'add'), jnp.where(at < n, parent[jnp.minimum(at, n - 1)], n)

    zero = jnp.zeros_like(risk)
    branch, size, _ = jax.lax.while_loop(lambda s: (s[2] < n).any(), up, (zero, zero, at))
    feature = jnp.where(there, tree.feature, -1)
    return risk, Cut(feature, branch, size, jnp.asarray(0, risk.dtype))


def _strength(risk, cut: Cut):
    return jnp.where(cut.feature >= 0, (risk - cut.branch) / jnp.maximum(cut.size - 1, 1), jnp.inf)


def _sever(risk, parent, left, cut: Cut) -> Cut:
    """The weakest branch becomes a leaf; its ancestors hear of it, what hung below is no longer looked at."""
    n = len(risk)
    strength = _strength(risk, cut)
    weakest = jnp.argmin(strength).astype(jnp.int32)
    lost, fewer = risk[weakest] - cut.branch[weakest], 1 - cut.size[weakest]

    def up(state):
        branch, size, at = state
        return scatter(branch, at, lost, 'add'), scatter(size, at, fewer, 'add'), parent[at]

    branch, size, _ = jax.lax.while_loop(lambda s: s[2] < n, up, (cut.branch, cut.size, weakest))

    def down(state):        # children have higher numbers: mark them until nothing is new
        gone, front = state
        first = jnp.where(front & (cut.feature >= 0), left, n)
        front = scatter(jnp.zeros(n, bool), jnp.stack([first, first + 1]), True)
        return gone | front, front

    own = jnp.zeros(n, bool).at[weakest].set(True)
    gone, _ = jax.lax.while_loop(lambda s: s[1].any(), down, (own, own))
    return Cut(jnp.where(gone, -1, cut.feature), branch, size, strength[weakest])


def pruning_path(tree: Tree) -> Path:
    """The alphas at which cost-complexity pruning takes away a branch, and the impurity that is left.

    Formula: alpha = min_t (R(t) - R(T_t)) / (leaves of T_t - 1) over inner nodes t, then the branch T_t is cut.
    Paper: Breiman, Friedman, Olshen, Stone 1984, Classification and Regression Trees, section 3.3.
    Shapes: a Tree of n nodes -> Path(alpha, impurity [(n + 1) / 2], count []).
    Errors: none; a root alone has a path of one entry. Time grows as cuts x nodes, memory as nodes.
    Example:
        X, y = jnp.arange(4.0)[:, None], jnp.array([0.0, 0.0, 1.0, 3.0])
        from levels.level1_classical.ensembles.tree import decision_tree_regressor
        tree = decision_tree_regressor().fit(jax.random.key(0), X, y)
        path = pruning_path(tree)
        assert path.count == 3 and jnp.allclose(path.alpha[:3], jnp.array([0, 1 / 6, 4 / 3]))
    """
    parent = _parents(tree)
    risk, cut = _start(tree, parent)
    entries = (len(risk) + 1) // 2

    def one(cut, _):
        alive = cut.feature[0] >= 0
        cut = jax.lax.cond(alive, lambda: _sever(risk, parent, tree.left, cut), lambda: cut)
        return cut, (cut.alpha, cut.branch[0], alive)

    _, (alpha, impurity, alive) = jax.lax.scan(one, cut, None, length=entries - 1)
    join = lambda a, b: jnp.concatenate([jnp.asarray(a)[None], b])
    return Path(join(cut.alpha, alpha), join(cut.branch[0], impurity), 1 + jnp.sum(alive, dtype=jnp.int32))


def _with(tree: Tree, feature) -> Tree:
    tree = tree._replace(feature=feature)
    return tree._replace(importances=importances(tree))


def prune(tree: Tree, alpha) -> Tree:
    """The smallest subtree that minimises impurity + alpha x leaves; alpha may be traced.

    Formula: weakest branches are cut as long as their alpha is not above the given one; alpha 0 cuts nothing.
    Paper: Breiman, Friedman, Olshen, Stone 1984, Classification and Regression Trees, section 3.3.
    Shapes: Tree -> Tree with the same arrays, [].
    Errors: none; a negative alpha cuts nothing.
    Example:
        X, y = jnp.arange(4.0)[:, None], jnp.array([0.0, 0.0, 1.0, 3.0])
        from levels.level1_classical.ensembles.tree import decision_tree_regressor
        tree = decision_tree_regressor().fit(jax.random.key(0), X, y)
        small = prune(tree, 0.6)
        assert jnp.sum(reached(tree)) == 5 and jnp.sum(reached(small)) == 3
    """
    parent = _parents(tree)
    risk, cut = _start(tree, parent)
    go_on = lambda c: (alpha > 0) & (jnp.min(_strength(risk, c)) <= alpha)
    cut = jax.lax.while_loop(go_on, lambda c: _sever(risk, parent, tree.left, c), cut)
    return _with(tree, jnp.where(reached(tree), cut.feature, tree.feature))


def best_first(tree: Tree, most: int) -> Tree:
    """At most `most` leaves: the tree that grows when the split with the greatest gain comes first."""
    n = len(tree.feature)
    gain = jnp.where(tree.feature >= 0, gains(tree), -jnp.inf)

    def open_one(state, _):
        ready, kept = state
        worth = jnp.where(ready, gain, -jnp.inf)
        best = jnp.argmax(worth)
        found = worth[best] > -jnp.inf
        children = jnp.where(found, tree.left[best], n) + jnp.arange(2, dtype=jnp.int32)
        return (scatter(ready.at[best].set(False), children, True),
                scatter(kept, jnp.where(found, best, n), True)), None

    start = (jnp.zeros(n, bool).at[0].set(True), jnp.zeros(n, bool))
    (_, kept), _ = jax.lax.scan(open_one, start, None, length=min(most, (n + 1) // 2) - 1)
    return _with(tree, jnp.where(kept, tree.feature, -1))
