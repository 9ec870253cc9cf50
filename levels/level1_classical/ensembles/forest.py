"""Random forests: trees on binned columns, each on its own draw of rows, each node on its own draw of features.

Formula: prediction = mean over trees of the leaf's mean of y, or of its shares of the classes (not of their votes).
Paper: Breiman 2001, Random forests, Machine Learning 45; Poisson draws: Oza, Russell 2001, Online bagging and boosting.
Shapes: X [rows, features], y [rows] -> Forest; trees are arrays [trees, nodes, ...].

Example:
    from levels.level1_classical.ensembles.forest import random_forest_classifier
    model = random_forest_classifier(n_estimators=100, max_depth=10)
    state = model.fit(key, X, y)
    state.oob_score, state.importances
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from levels.level1_classical import metrics
from levels.level1_classical.ensembles.histograms import Rule, digitise, gain_shares, grow, quantile_edges
from levels.level1_classical.ensembles.nodes import like, walk
from levels.level1_classical.ensembles.tree import accuracy_of, column, r2_of, whole
from levels.level1_classical.estimator import Estimator, choice, exact, hyper, labelled, rows, weighted_mean


class Forest(NamedTuple):
    """The trees, and what their growing told: the score on rows that trees did not see, and the impurity that each
    feature took away (mean over trees of its share)."""

    feature: Int[Array, 'trees nodes']
    threshold: Float[Array, 'trees nodes']
    left: Int[Array, 'trees nodes']
    value: Float[Array, 'trees nodes outputs']
    importances: Float[Array, ' features']
    oob_score: Float[Array, '']     # accuracy or R2; NaN if every row was seen by every tree


class Settings(NamedTuple):
    """Hyperparameters; the numbers of rows may be traced."""

    n_estimators: int
    max_depth: int | None
    max_features: str | int | None
    max_bins: int
    bootstrap: bool
    min_samples_split: Array | int
    min_samples_leaf: Array | int


def class_rule(s: Settings, criterion: str) -> Rule:
    """Payload is the weight of each class."""
    def worth(c):
        w = jnp.maximum(jnp.sum(c, 0), 1e-30)
        if criterion == 'gini':
            return jnp.sum(c * c, 0) / w
        c = jnp.maximum(c, 0)
        return jnp.sum(jax.scipy.special.xlogy(c, c / w[None]), 0)

    def gain(left, right, total):
        least = jnp.minimum(jnp.sum(left, 0), jnp.sum(right, 0))
        fine = (least > 0) & (least >= s.min_samples_leaf)
        return jnp.where(fine, worth(left) + worth(right) - worth(total), -jnp.inf)

    may = lambda c: (jnp.sum(c, 0) >= s.min_samples_split) & (jnp.max(c, 0) < jnp.sum(c, 0))
    return Rule(gain, may, lambda c: 8 * jnp.finfo(c.dtype).eps * jnp.sum(c, 0))


def number_rule(s: Settings, spread) -> Rule:
    """Payload is (weight, weight x y); within a level y is taken about the mean of its node, where sums round least."""
    worth = lambda v: v[1] ** 2 / jnp.maximum(v[0], 1e-30)

    def gain(left, right, total):
        least = jnp.minimum(left[0], right[0])
        fine = (least > 0) & (least >= s.min_samples_leaf)
        return jnp.where(fine, worth(left) + worth(right) - worth(total), -jnp.inf)

    def prepare(payload, total, slot):
        mean = jnp.append(total[:, 1] / jnp.maximum(total[:, 0], 1e-30), 0)[slot]
        return payload.at[:, 1].add(-payload[:, 0] * mean)

    return Rule(gain, lambda v: v[0] >= s.min_samples_split,
                lambda v: 8 * jnp.finfo(v.dtype).eps * v[0] * spread, prepare)


def some_features(key, d: int, count: int, slots: int) -> Int[Array, 'columns slots']:
    """`count` different features for each node: the first steps of a shuffle."""
    own = jnp.arange(slots)
    u = jax.random.uniform(key, (count, slots))

    def swap(j, order):
        other = j + jnp.minimum((u[j] * (d - j)).astype(jnp.int32), d - j - 1)
        mine, theirs = order[j], order[other, own]
        return order.at[other, own].set(mine).at[j].set(theirs)

    start = jnp.broadcast_to(jnp.arange(d, dtype=jnp.int32)[:, None], (d, slots))
    return jax.lax.fori_loop(0, count, swap, start)[:count]


def how_many(max_features, d: int) -> int:
    """The number of features that a node looks at."""
    if isinstance(max_features, str):
        return max(1, int(math.sqrt(d) if max_features == 'sqrt' else math.log2(d)))
    return d if max_features is None else min(max_features, d)


def plant(key, X, Y, weight, rule: Rule, payload, s: Settings):
    """(trees, sums of what trees say of the rows they did not see, how many such trees there were of each row)."""
    n, d = X.shape
    edges = quantile_edges(X, weight, min(s.max_bins, max(2, n)))
    codes = digitise(X, edges)
    count = how_many(s.max_features, d)
    every = jnp.arange(d, dtype=jnp.int32)
    # weights say how often a row is there; where they say less than once on average, they are only in proportion
    rate = weight * jnp.maximum(1, jnp.sum(weight > 0) / jnp.sum(weight))

    def one(said, key):
        draw_key, node_key = jax.random.split(key)
        seen = jax.random.poisson(draw_key, rate).astype(X.dtype) if s.bootstrap else weight
        columns = lambda level, slots: (count, every if count == d else some_features(
            jax.random.fold_in(node_key, level), d, count, slots))
        tree, leaf = grow(codes, edges, seen[:, None] * payload, depth=s.max_depth, rule=rule, columns=columns)
        w = tree.total if Y is None else tree.total[:, :1]
        w = jnp.sum(w, 1, keepdims=True)
        value = (tree.total if Y is None else tree.total[:, 1:]) / jnp.where(w > 0, w, 1)
        out = (seen == 0)[:, None]
        total, times = said
        said = total + jnp.where(out, value[leaf], 0), times + out[:, 0]
        return said, (tree.feature, tree.threshold, tree.left, value, gain_shares(tree.feature, tree.gain, d))

    outputs = payload.shape[1] if Y is None else payload.shape[1] - 1
    start = (jnp.zeros((n, outputs), X.dtype), jnp.zeros(n, X.dtype))
    (said, times), trees = jax.lax.scan(one, start, jax.random.split(key, s.n_estimators))
    return trees, said / jnp.maximum(times, 1)[:, None], (times > 0) & (weight > 0)


def _averaged(shares):
    """Of trees that have a split."""
    total = jnp.sum(shares)
    return jnp.sum(shares, 0) / jnp.where(total > 0, total, 1)


def averaged(state: Forest, X: Float[Array, 'rows features']) -> Float[Array, 'rows outputs']:
    """The mean over trees of what stands in the leaf of each row."""
    X = like(state, X).astype(state.threshold.dtype)

    def one(total, tree):
        return total + tree[3][walk(*tree[:3], X)], None

    start = jnp.zeros((len(X), state.value.shape[2]), state.value.dtype)
    return jax.lax.scan(one, start, state[:4])[0] / len(state.feature)


def _settings(n_estimators, max_depth, max_features, max_bins, bootstrap, min_samples_split, min_samples_leaf):
    for name, value, low in (('n_estimators', n_estimators, 1), ('max_bins', max_bins, 2)):
        whole(name, value, low, none=False)
    whole('max_depth', max_depth, 1)
    if isinstance(max_features, str):
        choice('max_features', max_features, ('sqrt', 'log2'))
    else:
        whole('max_features', max_features, 1)
    hyper('min_samples_split', min_samples_split, 2)
    hyper('min_samples_leaf', min_samples_leaf, 1)
    return Settings(n_estimators, max_depth, max_features, max_bins, bootstrap, min_samples_split, min_samples_leaf)


def random_forest_classifier(*, n_classes: int = 2, n_estimators: int = 100, criterion: str = 'gini',
                             max_depth: int | None = None, max_features: str | int | None = 'sqrt',
                             min_samples_split: int = 2, min_samples_leaf: int = 1, bootstrap: bool = True,
                             max_bins: int = 255) -> Estimator:
    """A random forest for classes.

    Formula: each tree sees a row as often as Poisson(weight) says, each node looks at `max_features` random features
        and takes the split with the greatest fall of gini or entropy; proba = mean of the leaves' shares.
    Paper: Breiman 2001, Random forests, Machine Learning 45.
    Shapes: fit X [rows, features], y [rows], weight [rows] -> Forest; predict [rows] int32, proba [rows, classes].
    max_features: 'sqrt', 'log2', a number, None for all. Splits are at the edges of at most max_bins quantiles.
    Cost: time trees x levels x (rows x max_features + nodes of a level x max_features x bins): with max_depth None
        levels go on until leaves are pure and are as wide as rows / 2, so give a depth where rows are many. Memory is a
        byte for each value of X, and trees x nodes; nodes are at most 2^(max_depth + 1) - 1 and 2 rows - 1.
    Errors: ValueError for bad shapes or values (`estimator.labelled`), settings out of range.
    Example:
        X = jax.random.normal(jax.random.key(1), (60, 3))
        y = (X[:, 0] > 0).astype(jnp.int32)
        model = random_forest_classifier(n_estimators=20, max_depth=3)
        state = model.fit(jax.random.key(0), X, y)
        assert state.oob_score > 0.8 and jnp.argmax(state.importances) == 0
    """
    choice('criterion', criterion, ('gini', 'entropy'))
    whole('n_classes', n_classes, 2, none=False)
    s = _settings(n_estimators, max_depth, max_features, max_bins, bootstrap, min_samples_split, min_samples_leaf)

    @exact
    def fit(key, X, y=None, weight=None) -> Forest:
        X, y, weight = labelled(X, y, weight, n_classes=n_classes)
        payload = jax.nn.one_hot(y, n_classes, dtype=X.dtype)
        (*trees, shares), said, known = plant(key, X, None, weight, class_rule(s, criterion), payload, s)
        right = jnp.sum(weight * known * (jnp.argmax(said, 1) == y))
        return Forest(*trees, _averaged(shares), right / jnp.sum(weight * known))

    predict = lambda state, X: jnp.argmax(averaged(state, X), 1).astype(jnp.int32)
    return Estimator(fit, predict, proba=averaged, score=accuracy_of(predict))


def random_forest_regressor(*, n_estimators: int = 100, max_depth: int | None = None,
                            max_features: str | int | None = None, min_samples_split: int = 2,
                            min_samples_leaf: int = 1, bootstrap: bool = True, max_bins: int = 255) -> Estimator:
    """A random forest for numbers: squared error.

    Formula: as `random_forest_classifier`, with the fall of the squared error, and the mean of the leaves' means.
    Paper: Breiman 2001, Random forests, Machine Learning 45.
    Shapes: fit X [rows, features], y [rows], weight [rows] -> Forest; predict [rows].
    Settings: as `random_forest_classifier`; max_features None, all of them, as is usual for numbers.
    Cost: time and memory as `random_forest_classifier`.
    Errors: ValueError for bad shapes or values (`estimator.rows`), settings out of range.
    Example:
        X = jax.random.normal(jax.random.key(1), (60, 3))
        y = 3 * X[:, 0]
        model = random_forest_regressor(n_estimators=20, max_depth=4)
        state = model.fit(jax.random.key(0), X, y)
        assert state.oob_score > 0.7 and jnp.argmax(state.importances) == 0
    """
    s = _settings(n_estimators, max_depth, max_features, max_bins, bootstrap, min_samples_split, min_samples_leaf)

    @exact
    def fit(key, X, y=None, weight=None) -> Forest:
        X, y, weight = rows(X, y, weight)
        middle = weighted_mean(column(y)[:, None], weight)[0]
        apart = y - middle
        spread = weighted_mean(apart[:, None] ** 2, weight)[0]
        payload = jnp.stack([jnp.ones_like(y), apart], 1)
        (*trees, value, shares), said, known = plant(key, X, apart, weight, number_rule(s, spread), payload, s)
        score = metrics.r2(apart, said[:, 0], weight=weight * known)
        return Forest(*trees, value + middle, _averaged(shares), score)

    predict = lambda state, X: averaged(state, X)[:, 0]
    return Estimator(fit, predict, score=r2_of(predict))
