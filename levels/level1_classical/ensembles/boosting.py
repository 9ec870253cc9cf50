"""Gradient boosting in XGBoost's form: second-order gains on histograms, all rounds one scan.

Formula: round t fits a tree to g, h, the derivatives of the loss by the margin; a split's gain is
    G_L^2 / (H_L + l) + G_R^2 / (H_R + l) - G^2 / (H + l), at least gamma; a leaf adds -rate G / (H + l).
Paper: Chen, Guestrin 2016, XGBoost: a scalable tree boosting system, KDD; Friedman 2001, Greedy function approximation.
Shapes: X [rows, features], NaN for missing values; y [rows] -> Boosted; trees are arrays [rounds, outputs, nodes].

Example:
    from levels.level1_classical.ensembles.boosting import gradient_boosting_regressor
    model = gradient_boosting_regressor(n_estimators=200, learning_rate=0.1, early_stopping_rounds=10)
    state = model.fit(key, X, y)
    state.loss, state.held_out, state.steps                  # curves, and how many rounds were kept
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from levels.level1_classical.ensembles.boosting_losses import REGRESSION, Loss, make
from levels.level1_classical.ensembles.histograms import Rule, digitise, gain_shares, grow, quantile_edges
from levels.level1_classical.ensembles.nodes import like, walk
from levels.level1_classical.ensembles.tree import accuracy_of, column, r2_of, whole
from levels.level1_classical.estimator import Estimator, choice, exact, hyper, labelled, rows


class Boosted(NamedTuple):
    """A fitted sum of trees; `held_out` is the loss of the rows held out, or `loss` again where there are none."""

    feature: Int[Array, 'rounds outputs nodes']
    threshold: Float[Array, 'rounds outputs nodes']
    left: Int[Array, 'rounds outputs nodes']
    missing_left: Bool[Array, 'rounds outputs nodes']
    value: Float[Array, 'rounds outputs nodes']         # of leaves, the rate included
    base: Float[Array, ' outputs']
    importances: Float[Array, ' features']              # share of the gain
    loss: Float[Array, ' rounds']
    held_out: Float[Array, ' rounds']
    steps: Int[Array, '']                               # rounds that are kept
    converged: Bool[Array, '']                          # whether the loss of the rows held out stopped falling


class Settings(NamedTuple):
    """Hyperparameters; the first four are static, the others may be traced."""

    n_estimators: int
    max_depth: int
    max_bins: int
    early_stopping_rounds: int | None
    learning_rate: Array | float
    reg_lambda: Array | float
    gamma: Array | float
    min_child_weight: Array | float
    subsample: Array | float
    colsample_bytree: Array | float
    validation_fraction: Array | float


def rule(s: Settings) -> Rule:
    """XGBoost's: payload is (g, h)."""
    worth = lambda v: v[0] ** 2 / jnp.maximum(v[1] + s.reg_lambda, 1e-30)

    def gain(left, right, total):
        least = jnp.maximum(s.min_child_weight, 1e-30)
        fine = (left[1] >= least) & (right[1] >= least)
        gained = worth(left) + worth(right) - worth(total)
        return jnp.where(fine & (gained >= s.gamma), gained, -jnp.inf)

    return Rule(gain, lambda total: total[1] > 0,
                lambda total: jnp.maximum(1e-6, 8 * jnp.finfo(total.dtype).eps * worth(total)))


class Carry(NamedTuple):
    """Where boosting stands."""

    margin: Float[Array, 'rows outputs']
    best: Float[Array, '']          # loss of the rows held out
    best_round: Int[Array, '']
    stopped: Bool[Array, '']


def boost(key, X, y, weight, loss: Loss, s: Settings) -> Boosted:
    """All rounds."""
    n, d = X.shape
    row_key, split_key = jax.random.split(key)
    train = weight
    if s.early_stopping_rounds is not None:
        train = jnp.where(jax.random.uniform(split_key, (n,)) >= s.validation_fraction, weight, 0)
    test = weight - train
    edges = quantile_edges(X, train, min(s.max_bins, max(2, n)))
    codes = digitise(X, edges)
    base = loss.base(y, train)
    several, how = len(base), rule(s)
    mean = lambda values, w: jnp.sum(w * values) / jnp.maximum(jnp.sum(w), 1e-30)

    def one_round(carry, i):
        rows_key, columns_key = jax.random.split(jax.random.fold_in(row_key, i))
        seen = train * (jax.random.uniform(rows_key, (n,)) < s.subsample)
        count = jnp.clip(jnp.round(s.colsample_bytree * d).astype(jnp.int32), 1, d)
        # those drawn come first, in their own order: of equal splits the first column's wins whatever the key
        order = jnp.argsort(jax.random.permutation(columns_key, d) >= count, stable=True)
        g, h = loss.derivatives(carry.margin, y)

        def one_output(k):
            payload = seen[:, None] * jnp.stack([g[:, k], h[:, k]], 1)
            tree, leaf = grow(codes, edges, payload, depth=s.max_depth, rule=how,
                              columns=lambda level, slots: (count, order))
            G, H = tree.total[:, 0], tree.total[:, 1]
            value = -G / jnp.maximum(H + s.reg_lambda, 1e-30)
            if loss.leaf is not None:
                value = loss.leaf(y - carry.margin[:, k], seen, leaf, len(G))
            value = jnp.where(H > 0, s.learning_rate * value, 0)
            return tree, value, value[leaf]

        tree, value, added = jax.lax.map(one_output, jnp.arange(several))
        margin = carry.margin + added.T
        each = loss.value(margin, y)
        now, held_out = mean(each, train), mean(each, test)
        if s.early_stopping_rounds is None:
            return carry._replace(margin=margin), (tree._replace(total=value), now, now)
        better = held_out < carry.best
        best_round = jnp.where(better, i, carry.best_round)
        carry = Carry(margin, jnp.minimum(held_out, carry.best), best_round,
                      i - best_round >= s.early_stopping_rounds)
        return carry, (tree._replace(total=value), now, held_out)

    def step(carry, i):
        if s.early_stopping_rounds is None:
            return one_round(carry, i)
        same = jax.eval_shape(one_round, carry, i)[1]
        rest = lambda c, i: (c, jax.tree.map(lambda v: jnp.zeros(v.shape, v.dtype), same))
        return jax.lax.cond(carry.stopped, rest, one_round, carry, i)

    i32 = lambda v: jnp.asarray(v, jnp.int32)
    start = Carry(jnp.broadcast_to(base[None], (n, several)), jnp.asarray(jnp.inf, X.dtype), i32(0), jnp.asarray(False))
    end, (tree, curve, held_out) = jax.lax.scan(step, start, jnp.arange(s.n_estimators, dtype=jnp.int32))
    steps = i32(s.n_estimators) if s.early_stopping_rounds is None else end.best_round + 1
    kept = (jnp.arange(s.n_estimators) < steps)[:, None, None]
    feature = jnp.where(kept, tree.feature, -1)
    return Boosted(feature, tree.threshold, tree.left, tree.missing_left, jnp.where(kept, tree.total, 0), base,
                   gain_shares(feature, jnp.where(kept, tree.gain, 0), d), curve, held_out, steps, end.stopped)


def margins(state: Boosted, X: Float[Array, 'rows features']) -> Float[Array, 'rows outputs']:
    """base plus what every tree says."""
    X = like(state, X, allow_nan=True).astype(state.threshold.dtype)

    def one(total, tree):
        say = lambda t: t[-1][walk(*t[:3], X, t[3])]
        return total + jax.lax.map(say, tree).T, None

    start = jnp.broadcast_to(state.base[None], (len(X), len(state.base)))
    trees = (state.feature, state.threshold, state.left, state.missing_left, state.value)
    return jax.lax.scan(one, start, trees)[0]


def _settings(n_estimators, max_depth, max_bins, early_stopping_rounds, learning_rate, reg_lambda, gamma,
              min_child_weight, subsample, colsample_bytree, validation_fraction) -> Settings:
    for name, value, low in (('n_estimators', n_estimators, 1), ('max_depth', max_depth, 1), ('max_bins', max_bins, 2)):
        whole(name, value, low, none=False)
    whole('early_stopping_rounds', early_stopping_rounds, 1)
    hyper('learning_rate', learning_rate, 0, open_low=True)
    for name, value in (('reg_lambda', reg_lambda), ('gamma', gamma), ('min_child_weight', min_child_weight)):
        hyper(name, value, 0)
    for name, value in (('subsample', subsample), ('colsample_bytree', colsample_bytree),
                        ('validation_fraction', validation_fraction)):
        hyper(name, value, 0, 1, open_low=True)
    return Settings(n_estimators, max_depth, max_bins, early_stopping_rounds, learning_rate, reg_lambda, gamma,
                    min_child_weight, subsample, colsample_bytree, validation_fraction)


def gradient_boosting_regressor(*, loss: str = 'squared', quantile=0.5, n_estimators: int = 100, learning_rate=0.3,
                                max_depth: int = 6, reg_lambda=1.0, gamma=0.0, min_child_weight=1.0, subsample=1.0,
                                colsample_bytree=1.0, max_bins: int = 255, early_stopping_rounds: int | None = None,
                                validation_fraction=0.1) -> Estimator:
    """Gradient boosted trees for numbers: the mean, or a quantile.

    Formula: f = base + sum_t tree_t; loss 'squared' (y - f)^2 / 2 or 'quantile' (leaves take the quantile of what is
        left); gain and leaves as in this file's head, with `reg_lambda`, `gamma`, `min_child_weight` (least H of a
        child), of a random share `subsample` of the rows and `colsample_bytree` of the columns.
    Paper: Chen, Guestrin 2016, XGBoost, KDD, equations 5 to 7 and algorithm 3 (missing values).
    Shapes: fit X [rows, features], y [rows], weight [rows] -> Boosted; predict [rows]. NaN in X is a missing value;
        every split learns its side.
    early_stopping_rounds: a random `validation_fraction` of the rows is held out, and once their loss has not fallen
        for so many rounds the rest is skipped and the best number of rounds kept. Shares and penalties may be traced.
    Cost: time rows x features x max_depth x rounds; memory rows x features bytes and rounds x 2^(max_depth + 1).
        Quantiles are those of 16,384 rows at most.
    Errors: ValueError for bad shapes or values (`estimator.rows`), settings out of range, an unknown loss.
    Example:
        X = jnp.array([[0.0], [1.0], [2.0], [jnp.nan]])
        y = jnp.array([1.0, 1.0, 5.0, 5.0])
        model = gradient_boosting_regressor(n_estimators=20, max_depth=2, reg_lambda=0.0)
        state = model.fit(jax.random.key(0), X, y)
        assert jnp.allclose(model.predict(state, X), y, atol=0.01)
    """
    choice('loss', loss, REGRESSION)
    hyper('quantile', quantile, 0, 1, open_low=True)
    s = _settings(n_estimators, max_depth, max_bins, early_stopping_rounds, learning_rate, reg_lambda, gamma,
                  min_child_weight, subsample, colsample_bytree, validation_fraction)

    @exact
    def fit(key, X, y=None, weight=None) -> Boosted:
        X, y, weight = rows(X, y, weight, allow_nan=True)
        return boost(key, X, column(y), weight, make(loss, quantile=quantile), s)

    predict = lambda state, X: margins(state, X)[:, 0]
    return Estimator(fit, predict, score=r2_of(predict))


def gradient_boosting_classifier(*, n_classes: int = 2, n_estimators: int = 100, learning_rate=0.3, max_depth: int = 6,
                                 reg_lambda=1.0, gamma=0.0, min_child_weight=1.0, subsample=1.0, colsample_bytree=1.0,
                                 max_bins: int = 255, early_stopping_rounds: int | None = None,
                                 validation_fraction=0.1) -> Estimator:
    """Gradient boosted trees for classes: logistic for two, softmax with a tree for each class for more.

    Formula: two classes: p = 1 / (1 + exp(-f)), g = p - y, h = p (1 - p); more: p = softmax(f), g_k = p_k - [y = k],
        h_k = 2 p_k (1 - p_k); all else as `gradient_boosting_regressor`.
    Paper: Chen, Guestrin 2016, XGBoost, KDD; Friedman, Hastie, Tibshirani 2000, Additive logistic regression.
    Shapes: fit X [rows, features], y [rows], weight [rows] -> Boosted; predict [rows] int32, proba [rows, classes],
        decision [rows] of two classes, else [rows, classes]. NaN in X is a missing value.
    Cost: time and memory as `gradient_boosting_regressor`, times the classes if there are more than two.
    Errors: ValueError for bad shapes or values (`estimator.labelled`), settings out of range.
    Example:
        X = jnp.array([[0.0], [1.0], [2.0], [jnp.nan]])
        y = jnp.array([0, 0, 1, 1])
        model = gradient_boosting_classifier(n_estimators=10, min_child_weight=0.0)
        state = model.fit(jax.random.key(0), X, y)
        assert list(model.predict(state, X)) == [0, 0, 1, 1]
    """
    whole('n_classes', n_classes, 2, none=False)
    s = _settings(n_estimators, max_depth, max_bins, early_stopping_rounds, learning_rate, reg_lambda, gamma,
                  min_child_weight, subsample, colsample_bytree, validation_fraction)

    @exact
    def fit(key, X, y=None, weight=None) -> Boosted:
        X, y, weight = labelled(X, y, weight, n_classes=n_classes, allow_nan=True)
        return boost(key, X, y, weight, make('logistic' if n_classes == 2 else 'softmax', n_classes=n_classes), s)

    def decision(state, X):
        f = margins(state, X)
        return f[:, 0] if n_classes == 2 else f

    def proba(state, X):
        f = margins(state, X)
        return jax.nn.softmax(jnp.concatenate([jnp.zeros_like(f), f], 1) if n_classes == 2 else f, 1)

    def predict(state, X):
        f = margins(state, X)
        return ((f[:, 0] > 0) if n_classes == 2 else jnp.argmax(f, 1)).astype(jnp.int32)

    return Estimator(fit, predict, proba=proba, decision=decision, score=accuracy_of(predict))
