"""Decision trees for classes and numbers, with exact splits; the whole of it inside jit.

Formula: every node takes the feature and the threshold with the greatest fall of weight x impurity.
Paper: Breiman, Friedman, Olshen, Stone 1984, Classification and Regression Trees.
Shapes: X [rows, features], y [rows] (numbers: also [rows, targets]) -> Tree (`nodes.py`).

Example:
    from levels.level1_classical.ensembles.tree import decision_tree_classifier
    model = decision_tree_classifier(n_classes=3, max_depth=4)
    tree = model.fit(key, X, y)
    model.proba(tree, X)
    print(to_text(tree))                                     # drawing.py
    prune(tree, 0.01)                                        # pruning.py
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from levels.level1_classical import metrics
from levels.level1_classical.ensembles.exact_splits import Limits, grow
from levels.level1_classical.ensembles.nodes import Tree, like, walk
from levels.level1_classical.ensembles.pruning import best_first, prune
from levels.level1_classical.estimator import Estimator, choice, concrete, hyper, labelled, rows


def leaf_values(tree: Tree, X: Float[Array, 'rows features']) -> Float[Array, 'rows outputs']:
    """What stands in the leaf of each row."""
    X = like(tree, X).astype(tree.threshold.dtype)
    return tree.value[walk(tree.feature, tree.threshold, tree.left, X)]


def classes(tree, X) -> Int[Array, ' rows']:
    """The class with the greatest share, the first among equal ones."""
    return jnp.argmax(leaf_values(tree, X), 1).astype(jnp.int32)


def r2_of(predict):
    """`score` of a regressor: R2 of its predictions."""

    def score(state, X, y=None, weight=None) -> Float[Array, '']:
        X, y, weight = rows(X, y, weight)
        return metrics.r2(y, predict(state, X), weight=weight)

    return score


def accuracy_of(predict):
    """`score` of a classifier: the share of rows that it gets right."""

    def score(state, X, y=None, weight=None) -> Float[Array, '']:
        X, y, weight = rows(X, y, weight)
        return jnp.sum(weight * (predict(state, X) == y)) / jnp.sum(weight)

    return score


def whole(name: str, value, low: int, *, none: bool = True):
    """A static whole number >= low, or None.  Errors: ValueError."""
    if none and value is None:
        return value
    if isinstance(value, bool) or not hasattr(value, '__index__'):
        raise ValueError(f'{name}: expected a whole number{" or None" if none else ""}, found {value!r}')
    return int(hyper(name, int(value), low))


def _grown(X, Y, weight, criterion, max_depth, min_samples_split, min_samples_leaf, max_leaf_nodes,
           min_impurity_decrease, ccp_alpha) -> Tree:
    limits = Limits(max_depth, min_samples_split, min_samples_leaf, min_impurity_decrease)
    tree = grow(X, Y, weight, criterion=criterion, limits=limits)
    if max_leaf_nodes is not None:
        tree = best_first(tree, max_leaf_nodes)
    if concrete(ccp_alpha) and ccp_alpha == 0:
        return tree
    return prune(tree, ccp_alpha)


def _checked(max_depth, min_samples_split, min_samples_leaf, max_leaf_nodes, min_impurity_decrease, ccp_alpha):
    whole('max_depth', max_depth, 1)
    whole('max_leaf_nodes', max_leaf_nodes, 2)
    hyper('min_samples_split', min_samples_split, 2)
    hyper('min_samples_leaf', min_samples_leaf, 1)
    hyper('min_impurity_decrease', min_impurity_decrease, 0)
    hyper('ccp_alpha', ccp_alpha, 0)
    return max_depth, min_samples_split, min_samples_leaf, max_leaf_nodes, min_impurity_decrease, ccp_alpha


def decision_tree_classifier(*, n_classes: int = 2, criterion: str = 'gini', max_depth: int | None = None,
                             min_samples_split: int = 2, min_samples_leaf: int = 1, max_leaf_nodes: int | None = None,
                             min_impurity_decrease=0.0, ccp_alpha=0.0) -> Estimator:
    """A decision tree for classes.

    Formula: node impurity gini 1 - sum_c p_c^2, or entropy -sum_c p_c log2 p_c; the split is the threshold midway
        between neighbouring values with the greatest fall of weight x impurity; proba is p of the leaf.
    Paper: Breiman, Friedman, Olshen, Stone 1984, Classification and Regression Trees, chapters 2 to 4.
    Shapes: fit X [rows, features], y [rows], weight [rows] -> Tree (arrays [nodes, ...], value [nodes, classes]);
        predict [rows] int32, proba [rows, classes].
    Limits: max_depth and max_leaf_nodes are static (None: no limit; a tree has 2 rows - 1 nodes at most, and that
        bound sizes its arrays); the numbers of rows, min_impurity_decrease and ccp_alpha may be traced. A row of weight
        w counts ceil(w) rows. max_leaf_nodes keeps the best splits first; ccp_alpha prunes (`pruning.prune`).
    Cost: time rows x features x levels (plus one sort), memory a few times that of X.
    Errors: ValueError for bad shapes or values (`estimator.labelled`), limits out of range, an unknown criterion.
    Example:
        X = jnp.array([[0.0, 5.0], [1.0, 3.0], [2.0, 4.0], [3.0, 1.0]])
        y = jnp.array([0, 0, 1, 1])
        tree = decision_tree_classifier().fit(jax.random.key(0), X, y)
        assert tree.feature[0] == 0 and tree.threshold[0] == 1.5
        decision_tree_classifier().proba(tree, X)            # [[1, 0], [1, 0], [0, 1], [0, 1]]
    """
    choice('criterion', criterion, ('gini', 'entropy'))
    whole('n_classes', n_classes, 2, none=False)
    limits = _checked(max_depth, min_samples_split, min_samples_leaf, max_leaf_nodes, min_impurity_decrease, ccp_alpha)

    def fit(key, X, y=None, weight=None) -> Tree:
        X, y, weight = labelled(X, y, weight, n_classes=n_classes)
        return _grown(X, jax.nn.one_hot(y, n_classes, dtype=X.dtype), weight, criterion, *limits)

    return Estimator(fit, classes, proba=leaf_values, score=accuracy_of(classes))


def regressed(tree: Tree, X: Float[Array, 'rows features']) -> Float[Array, ' rows']:
    """The mean of y in the leaf of each row."""
    return leaf_values(tree, X)[:, 0]


def decision_tree_regressor(*, max_depth: int | None = None, min_samples_split: int = 2, min_samples_leaf: int = 1,
                            max_leaf_nodes: int | None = None, min_impurity_decrease=0.0, ccp_alpha=0.0) -> Estimator:
    """A decision tree for numbers: squared error.

    Formula: node impurity sum w (y - mean)^2 / sum w; the split is the threshold midway between neighbouring values
        with the greatest fall of weight x impurity; prediction is the mean of the leaf.
    Paper: Breiman, Friedman, Olshen, Stone 1984, Classification and Regression Trees, chapter 8.
    Shapes: fit X [rows, features], y [rows], weight [rows] -> Tree (arrays [nodes, ...], value [nodes, 1]); predict
        [rows].
    Limits: as `decision_tree_classifier`.
    Cost: time and memory as `decision_tree_classifier`.
    Errors: ValueError for bad shapes or values (`estimator.rows`), y that is not [rows], limits out of range.
    Example:
        X = jnp.arange(6.0)[:, None]
        y = jnp.array([1.0, 1.0, 1.0, 5.0, 5.0, 6.0])
        tree = decision_tree_regressor(max_depth=1).fit(jax.random.key(0), X, y)
        assert tree.threshold[0] == 2.5
        decision_tree_regressor().predict(tree, X)           # [1, 1, 1, 5.33, 5.33, 5.33]
    """
    limits = _checked(max_depth, min_samples_split, min_samples_leaf, max_leaf_nodes, min_impurity_decrease, ccp_alpha)

    def fit(key, X, y=None, weight=None) -> Tree:
        X, y, weight = rows(X, y, weight)
        return _grown(X, column(y)[:, None], weight, 'squares', *limits)

    return Estimator(fit, regressed, score=r2_of(regressed))


def column(y: Float[Array, ' rows']) -> Float[Array, ' rows']:
    """y, which must be [rows].  Errors: ValueError."""
    if y.ndim != 1:
        raise ValueError(f'y: expected [rows], found shape {y.shape}')
    return y
