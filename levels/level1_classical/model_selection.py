"""Cross-validation: scikit-learn's folds as masks, and searches in which folds and hyperparameters are one program.

Formula: score(f, p) = metric on test rows of fold f of the model with parameters p fitted on its training rows.
Paper: Stone 1974, Cross-validatory choice and assessment of statistical predictions, JRSS B 36; Varma, Simon 2006, Bias
    in error estimation when using cross-validation for model selection, BMC Bioinformatics 7 (nested).
Shapes: masks [folds, rows]; scores [folds, points].

Example:
    from levels.level1_classical import model_selection as ms
    folds = ms.splits('kfold', X, n_splits=10, shuffle=True, random_state=0)
    found = ms.grid_search(ridge, X, y, folds, {'alpha': np.logspace(-3, 3, 200)})
    found.best, found.scores.shape                            # {'alpha': 1.2}, (10, 200)
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float
from scipy import stats
from sklearn import model_selection as theirs

from common import lapack
from levels.level1_classical import metrics, metrics_labels, metrics_scores
from levels.level1_classical.estimator import Estimator, choice, exact, floats, hyper, rows

SPLITTERS = {
    'kfold': theirs.KFold, 'stratified': theirs.StratifiedKFold, 'group': theirs.GroupKFold,
    'stratified_group': theirs.StratifiedGroupKFold, 'time_series': theirs.TimeSeriesSplit,
    'repeated': theirs.RepeatedKFold, 'repeated_stratified': theirs.RepeatedStratifiedKFold,
}
METRICS: dict[str, Callable[..., Array]] = {
    'r2': metrics.r2,
    'neg_mse': lambda y, p, **kw: -metrics.mse(y, p, **kw),
    'neg_rmse': lambda y, p, **kw: -metrics.rmse(y, p, **kw),
    'neg_mae': lambda y, p, **kw: -metrics.mae(y, p, **kw),
}
OF_CLASSES: dict[str, tuple[str, Callable[..., Array]]] = {     # of what a classifier says, by which method
    'accuracy': ('predict', metrics_labels.accuracy),
    'f1': ('predict', metrics_labels.f_beta),                   # of class 1, of two
    'neg_log_loss': ('proba', lambda y, p, **kw: -metrics_scores.log_loss(y, p, **kw)),
}


class Splits(NamedTuple):
    """Which rows each fold trains on and is tested on, on the host; leading axes may be more than one (nested)."""

    train: Bool[np.ndarray, '*folds rows']
    test: Bool[np.ndarray, '*folds rows']


class Found(NamedTuple):
    """What a search found; points are in the order of scikit-learn's ParameterGrid."""

    points: dict[str, np.ndarray]       # name -> [points]
    scores: Float[np.ndarray, 'folds points']
    index: int                          # of the best mean score, the first among equals
    best: dict[str, Any]


def splits(kind: str, X, y=None, *, groups=None, **options) -> Splits:
    """The folds of scikit-learn's splitter of that kind: np.flatnonzero of a mask is its array of indices.

    kind: a name of SPLITTERS; options: that splitter's own (n_splits, shuffle, random_state, n_repeats, gap, ...).
    Shapes: X [rows, ...], y, groups [rows] -> masks [folds, rows].
    Errors: ValueError for an unknown kind, and scikit-learn's own.
    """
    splitter = SPLITTERS[choice('kind', kind, SPLITTERS)](**options)
    return masks(splitter.split(np.zeros(len(X)), None if y is None else np.asarray(y), groups), len(X))


def masks(indices, n: int) -> Splits:
    """Pairs of index arrays, as any splitter yields them, as masks over n rows."""
    pairs = list(indices)
    out = np.zeros((2, len(pairs), n), bool)
    for f, pair in enumerate(pairs):
        for side, rows_of in enumerate(pair):
            out[side, f, rows_of] = True
    return Splits(*out)


def nested(outer: Splits, kind: str, y=None, *, groups=None, **options) -> Splits:
    """Folds within the training rows of each outer fold: masks [outer, inner, rows].

    Choose on these, measure on the outer test rows: then no row has a say in choosing the model that it measures.
    Errors: ValueError as `splits`, or when outer folds have different numbers of inner ones.
    """
    parts = []
    for train in outer.train:
        own = np.flatnonzero(train)
        part = splits(kind, own, None if y is None else np.asarray(y)[own],
                      groups=None if groups is None else np.asarray(groups)[own], **options)
        full = np.zeros((2, len(part.train), len(train)), bool)
        full[0][:, own], full[1][:, own] = part
        parts.append(full)
    if len({p.shape for p in parts}) != 1:
        raise ValueError('outer: expected as many inner folds within each, found different numbers')
    return Splits(*np.stack(parts, 1))


def points(grid: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """All combinations of the values of each name, in the order of scikit-learn's ParameterGrid: name -> [points]."""
    names = sorted(grid)
    values = np.meshgrid(*(np.asarray(grid[n]) for n in names), indexing='ij')
    return {n: v.reshape(-1) for n, v in zip(names, values)}


def search(make: Callable[..., Estimator], metric: str = 'r2', *, in_turn: bool | str = False) -> Callable[..., Array]:
    """(key, X, y, weight, train, test, points) -> scores [folds, points], the pure function within `grid_search`.

    Training on a fold is fitting with the weights of the other rows at 0, so any estimator that honours weights does.
    What does not depend on the hyperparameters (scalers, Gram matrices, decompositions) vmap computes once for a fold.
    in_turn: one after the other in the same program, for models whose memory would not go as often as there are folds.
        'folds': the points of a fold at once, so that they share what does not depend on them.
    """
    measured = {name: ('predict', fn) for name, fn in METRICS.items()} | OF_CLASSES
    method, measure = measured[choice('metric', metric, measured)]

    def one(key, X, y, weight, train, test, point):
        model = make(**point)
        state = model.fit(key, X, y, weight * train)
        target = y.astype(jnp.int32) if metric in OF_CLASSES else y
        return measure(target, getattr(model, method)(state, X), weight=weight * test)

    if in_turn:
        def turns(key, X, y, weight, train, test, points):
            every = (lambda fn, at: jax.vmap(fn)(at)) if in_turn == 'folds' else jax.lax.map
            fold = lambda f: every(lambda point: one(key, X, y, weight, *f, point), points)
            return jax.lax.map(fold, (train, test))
        return turns
    over_points = jax.vmap(one, (None, None, None, None, None, None, 0))
    return jax.vmap(over_points, (None, None, None, None, 0, 0, None))


@functools.lru_cache(maxsize=64)
def search_program(make: Callable[..., Estimator], metric: str = 'r2') -> Callable[..., Array]:
    """`search` jitted, and remembered: equal arguments share one program."""
    return jax.jit(search(make, metric))


def grid_search(make: Callable[..., Estimator], X, y, folds: Splits, grid: Mapping[str, Any], *, metric: str = 'r2',
                key=None, weight=None) -> Found:
    """All folds times all points of the grid as one vmapped program.

    Formula: scores[f, p] = metric(y, make(**p) fitted on train[f], test[f]); best = the largest mean over folds.
    Paper: Stone 1974, Cross-validatory choice and assessment of statistical predictions, JRSS B 36.
    Shapes: X [rows, features], y [rows, *targets], folds' masks [folds, rows], grid name -> [values] -> Found(scores
        [folds, points]).
    make: a factory whose hyperparameters named in the grid are continuous; it is compiled once and remembered. (What
        cannot be traced, a solver's name say, is bound by functools.partial, one search for each.)
    Errors: ValueError for bad shapes or values (`estimator.rows`), an unknown metric, masks of another length.
    Example:
        from levels.level1_classical.regression.ridge import ridge
        X = jax.random.normal(jax.random.key(0), (30, 3))
        y = X @ jnp.array([1.0, -2.0, 0.5])
        found = grid_search(ridge, X, y, splits('kfold', X, n_splits=5), {'alpha': [0.01, 100.0]})
        assert found.best == {'alpha': 0.01} and found.scores.shape == (5, 2)
    """
    given = arguments(X, y, folds, grid, key=key, weight=weight)
    return _found(points(grid), np.asarray(search_program(make, metric)(*given)))


def arguments(X, y, folds: Splits, grid: Mapping[str, Any], *, key=None, weight=None) -> tuple:
    """What `search`'s function is called with, checked; for those who compile and run it apart."""
    X, y, weight = rows(X, y, weight, allow_nan=True)
    train, test = (_mask(m, len(X), X.dtype) for m in folds)
    at = {n: jnp.asarray(v, X.dtype if v.dtype.kind == 'f' else None) for n, v in points(grid).items()}
    return jax.random.key(0) if key is None else key, X, y, weight, train, test, at


def _mask(mask, n: int, dtype):
    if mask.ndim != 2 or mask.shape[1] != n:
        raise ValueError(f'folds: expected masks [folds, {n}], found shape {mask.shape}')
    return jnp.asarray(mask, dtype)


def _found(at: dict, scores: np.ndarray) -> Found:
    index = int(np.argmax(scores.mean(0)))
    return Found(at, scores, index, {n: v[index].item() for n, v in at.items()})


class Blocks(NamedTuple):
    """Rows grouped so that every fold's training set is a union of groups; `rows` is padded, there `real` is False."""

    rows: np.ndarray        # [blocks, size]
    real: np.ndarray        # [blocks, size]
    member: np.ndarray      # [folds, blocks]


def blocks(train: Bool[np.ndarray, 'folds rows']) -> Blocks:
    """Rows that the same folds train on form one block: k-fold has k of them, a time series k + 1."""
    patterns, own = np.unique(train.T, axis=0, return_inverse=True)
    return Blocks(*_padded([np.flatnonzero(own.ravel() == b) for b in range(len(patterns))]), patterns.T)


def _padded(groups: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    index, real = (np.zeros((len(groups), max(map(len, groups))), t) for t in (np.int32, bool))
    for g, members in enumerate(groups):
        index[g, :len(members)], real[g, :len(members)] = members, True
    return index, real


@functools.partial(jax.jit, static_argnames=('metric', 'fit_intercept'))
@exact
def _ridge_scores(X, y, weight, alphas, parts: Blocks, test, real, metric: str, fit_intercept: bool):
    Z = jnp.concatenate([X, y], 1)
    d = X.shape[1]

    def block(rows_of, there):          # weight, means and centred products of one block
        w = jnp.where(there, weight[rows_of], 0)
        total = jnp.sum(w)
        z = Z[rows_of]
        mean = w @ z / jnp.where(total > 0, total, 1) if fit_intercept else jnp.zeros(Z.shape[1], Z.dtype)
        z = jnp.sqrt(w)[:, None] * (z - mean[None])
        return total, mean, z.T @ z

    totals, means, products = jax.vmap(block)(parts.rows, parts.real)

    def fold(member, rows_of, there):
        share = jnp.where(member, totals, 0)
        mean = share @ means / jnp.sum(share)
        apart = jnp.sqrt(share)[:, None] * (means - mean[None])
        G = jnp.tensordot(member.astype(Z.dtype), products, 1) + apart.T @ apart
        values, V = lapack.eigh(G[:d, :d])
        pull = V.T @ G[:d, d:]
        values = jnp.maximum(values, 0)
        kept = lambda a: (values > max(d, 10) * jnp.finfo(X.dtype).eps * values[-1]) | (a > 0)
        shrink = lambda a: jnp.where(kept(a), 1 / jnp.where(kept(a), values + a, 1), 0)
        x, target, w = X[rows_of] - mean[None, :d], y[rows_of], jnp.where(there, weight[rows_of], 0)
        seen = x @ V
        predicted = lambda a: seen @ (shrink(a)[:, None] * pull) + mean[None, d:]
        return jax.vmap(lambda a: METRICS[metric](target, predicted(a), weight=w))(alphas)

    return jax.vmap(fold)(parts.member, test, real)


def ridge_search(X, y, folds: Splits, alphas, *, metric: str = 'r2', weight=None, fit_intercept: bool = True) -> Found:
    """`grid_search(ridge, ...)` over alpha alone, over ONE Gram matrix: for all folds together the work of one.

    Formula: rows that the same folds train on form a block with mean m_b, weight n_b and centred products P_b; a fold's
        are sum P_b + sum n_b (m_b - m)(m_b - m)' over its training blocks, whose eigenvectors serve every alpha. Blocks
        are added and never subtracted, so a test row leaves no trace in its fold, not even a rounding.
    Paper: Chan, Golub, LeVeque 1983, Algorithms for computing the sample variance, The American Statistician 37;
        Hastie, Tibshirani, Friedman 2009, The Elements of Statistical Learning, section 7.10.
    Shapes: X [rows, features], y [rows, *targets], folds' masks [folds, rows], alphas [k] -> Found(scores [folds, k]).
    Errors: ValueError for bad shapes or values (`estimator.rows`), alphas that are not [k] or negative, masks of
        another length.
    Example:
        X = jax.random.normal(jax.random.key(0), (30, 3))
        y = X @ jnp.array([1.0, -2.0, 0.5])
        found = ridge_search(X, y, splits('kfold', X, n_splits=5), np.logspace(-2, 2, 9))
        assert found.scores.shape == (5, 9) and found.best == {'alpha': 0.01}
    """
    choice('metric', metric, METRICS)
    X, y, weight = rows(X, y, weight)
    alphas = np.asarray(hyper('alphas', alphas, 0))
    for m in (*folds, alphas[None]):
        if m.ndim != 2 or m.shape[1] not in (len(X), len(alphas)):
            raise ValueError(f'folds, alphas: expected masks [folds, {len(X)}] and [k], found {m.shape}')
    test, real = _padded([np.flatnonzero(t) for t in folds.test])
    scores = _ridge_scores(X, y.reshape(len(y), -1), weight, floats(alphas).astype(X.dtype), blocks(folds.train), test,
                           real, metric, fit_intercept)
    return _found({'alpha': alphas}, np.asarray(scores))


def paired_interval(differences: Float[np.ndarray, '*runs'], *, test_share: float) -> dict[str, float]:
    """Mean difference of two models over folds and repetitions, with a 95 % interval that knows that folds overlap.

    Formula: mean +- t(J - 1) sqrt((1 / J + r) var), J differences, r = test rows / training rows. The plain t interval
        (r = 0) takes folds for independent and is far too narrow.
    Paper: Nadeau, Bengio 2003, Inference for the generalization error, Machine Learning 52, section 5.
    Shapes: differences of any shape -> {'mean', 'low', 'high'}.  Errors: ValueError for fewer than two differences.
    Example:
        paired_interval(rmse_a - rmse_b, test_share=0.1)      # a tenth of the rows is in each test fold
    """
    d = np.asarray(differences, np.float64).ravel()
    if d.size < 2:
        raise ValueError(f'differences: expected two or more, found {d.size}')
    half = stats.t.ppf(0.975, d.size - 1) * np.sqrt((1 / d.size + test_share / (1 - test_share)) * d.var(ddof=1))
    return {'mean': float(d.mean()), 'low': float(d.mean() - half), 'high': float(d.mean() + half)}
