"""Metrics of predicted classes: accuracy, precision, recall, F, correlation, agreement; weighted, masked, in parts.

Formula: all follow from the confusion matrix C, C_ij = sum of the weights of rows of class i that were called j.
Paper: Sokolova, Lapalme 2009, A systematic analysis of performance measures for classification tasks, Information
    Processing and Management 45.
Shapes: y, p [rows] of classes 0 ... n_classes - 1; weight, mask [rows]; result [], or [classes] with average='none'.

Example:
    f_beta(y, p, n_classes=3, average='macro')
    C = sum(confusion_matrix(y[i], p[i], n_classes=3) for i in batches)     # streaming: matrices are added
    label_summary(C, average='macro')       # {'accuracy': ..., 'precision': ..., 'recall': ..., 'f': ..., ...}

A division by zero (a class that is never predicted has no precision) gives 0, as scikit-learn's does; where that gives
NaN, so do these. Classes that are neither in y nor in p are left out of means over classes.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from levels.level1_classical.estimator import choice, concrete, floats, holds, hyper

AVERAGES = ('binary', 'macro', 'micro', 'weighted', 'none')
KAPPAS = ('none', 'linear', 'quadratic')


def weights(n: int, weight=None, mask=None) -> Float[Array, ' n']:
    """weight times mask, 1 where there is none.  Errors: ValueError for another length."""
    w = jnp.ones(n, float) if weight is None else floats(weight)
    for name, factor in (('weight', w), ('mask', mask)):
        if factor is not None and jnp.shape(factor) != (n,):
            raise ValueError(f'{name}: expected [{n}], found shape {jnp.shape(factor)}')
    return w if mask is None else w * floats(mask).astype(w.dtype)


def classes(name: str, y, n_classes: int, w):
    """y as whole numbers; of rows without weight anything is welcome, and becomes 0.  Errors: ValueError."""
    y = jnp.asarray(y)
    if y.ndim != 1 or not len(y):
        raise ValueError(f'{name}: expected classes [rows], found shape {y.shape}')
    whole = jnp.where(w > 0, y, 0).astype(jnp.int32)
    if concrete(y, w) and holds(lambda: jnp.any((w > 0) & ((whole != y) | (whole < 0) | (whole >= n_classes)))):
        raise ValueError(f'{name}: expected classes 0 to {n_classes - 1}, found others')
    return whole


def confusion_matrix(y, p, *, n_classes: int = 2, weight=None, mask=None) -> Float[Array, 'classes classes']:
    """How much of class i was called j; matrices of parts add up to that of the whole.

    Formula: C_ij = sum of w over the rows with y = i, p = j.
    Paper: Sokolova, Lapalme 2009, A systematic analysis of performance measures for classification tasks.
    Shapes: y, p [rows], weight, mask [rows] -> [classes, classes].
    Errors: ValueError for shapes that differ, classes beyond n_classes.
    Example:
        y = jnp.array([0, 0, 1, 1, 1])
        p = jnp.array([0, 1, 1, 1, 0])
        C = confusion_matrix(y, p)
        assert (C == jnp.array([[1, 1], [1, 2]])).all()
    """
    if jnp.shape(y) != jnp.shape(p):
        raise ValueError(f'y, p: expected equal shapes, found {jnp.shape(y)} and {jnp.shape(p)}')
    w = weights(len(y), weight, mask)
    y, p = classes('y', y, n_classes, w), classes('p', p, n_classes, w)
    return jnp.zeros((n_classes, n_classes), w.dtype).at[y, p].add(jnp.where(w > 0, w, 0))


def _ratio(a, b, otherwise=0.0):
    return jnp.where(b == 0, otherwise, a / jnp.where(b == 0, 1, b))


def _averaged(C, top, bottom, average: str):
    """top / bottom of each class, or over classes: `binary` is class 1, `micro` the ratio of sums."""
    choice('average', average, AVERAGES)
    if average == 'binary':
        if len(C) != 2:
            raise ValueError(f'average: expected macro, micro, weighted or none for {len(C)} classes, '
                             f'found {average!r}')
        return _ratio(top[1], bottom[1])
    if average == 'micro':
        return _ratio(jnp.sum(top), jnp.sum(bottom))
    each = _ratio(top, bottom)
    if average == 'none':
        return each
    size = jnp.sum(C, 1)
    w = size if average == 'weighted' else (size + jnp.sum(C, 0) > 0).astype(C.dtype)
    return _ratio(jnp.sum(w * each), jnp.sum(w))


def _parts(C):
    """(hits, size of each class, size of each prediction)."""
    return jnp.diagonal(C), jnp.sum(C, 1), jnp.sum(C, 0)


def _precision(C, average):
    hits, _, called = _parts(C)
    return _averaged(C, hits, called, average)


def _recall(C, average):
    hits, size, _ = _parts(C)
    return _averaged(C, hits, size, average)


def _f(C, average, beta):
    hits, size, called = _parts(C)
    return _averaged(C, (1 + beta**2) * hits, beta**2 * size + called, average)


def _balanced(C):
    hits, size, _ = _parts(C)
    return _ratio(jnp.sum(_ratio(hits, size)), jnp.sum(size > 0), jnp.nan)


def _mcc(C):
    hits, size, called = (v / jnp.sum(C) for v in _parts(C))
    a, b = 1 - jnp.sum(size**2), 1 - jnp.sum(called**2)
    flat = jnp.max(size) >= 1, jnp.max(called) >= 1        # one class only: what is left in a or b is rounding
    below = jnp.where(flat[0] | flat[1], 0, jnp.sqrt(jnp.maximum(a * b, 0)))
    return _ratio(jnp.sum(hits) - size @ called, below)


def _kappa(C, kind):
    choice('kind', kind, KAPPAS)
    apart = jnp.abs(jnp.arange(len(C))[:, None] - jnp.arange(len(C))[None]).astype(C.dtype)
    price = {'none': (apart > 0).astype(C.dtype), 'linear': apart, 'quadratic': apart**2}[kind]
    _, size, called = _parts(C)
    by_chance = size[:, None] * called[None] / jnp.sum(C)
    return 1 - _ratio(jnp.sum(price * C), jnp.sum(price * by_chance), jnp.nan)


def label_summary(C: Float[Array, 'classes classes'], *, average: str = 'macro', beta=1.0) -> dict[str, Array]:
    """All metrics of this file from a confusion matrix, as of several parts that were added.

    Errors: ValueError for an unknown average, `binary` with more than two classes.
    """
    return {'accuracy': jnp.trace(C) / jnp.sum(C), 'balanced_accuracy': _balanced(C),
            'precision': _precision(C, average), 'recall': _recall(C, average), 'f': _f(C, average, beta),
            'mcc': _mcc(C), 'kappa': _kappa(C, 'none')}


def accuracy(y, p, *, weight=None, mask=None) -> Float[Array, '']:
    """The share of rows that are right.

    Formula: sum of w over rows with y = p / sum of w.
    Paper: Sokolova, Lapalme 2009, A systematic analysis of performance measures for classification tasks.
    Shapes: y, p [rows], weight, mask [rows] -> [].
    Errors: ValueError for shapes that differ.
    Example:
        y = jnp.array([0, 1, 2, 2])
        p = jnp.array([0, 1, 1, 2])
        assert accuracy(y, p) == 0.75
        accuracy(y, p, mask=jnp.array([1, 1, 0, 1]))         # 1.0
    """
    if jnp.shape(y) != jnp.shape(p) or jnp.ndim(y) != 1:
        raise ValueError(f'y, p: expected two arrays [rows], found shapes {jnp.shape(y)} and {jnp.shape(p)}')
    w = weights(len(y), weight, mask)
    return jnp.sum(jnp.where(jnp.asarray(y) == jnp.asarray(p), w, 0)) / jnp.sum(w)


def balanced_accuracy(y, p, *, n_classes: int = 2, weight=None, mask=None) -> Float[Array, '']:
    """The mean of the classes' recalls, of those that are there.

    Formula: mean over classes i with rows of C_ii / sum_j C_ij.
    Paper: Brodersen, Ong, Stephan, Buhmann 2010, The balanced accuracy and its posterior distribution, ICPR.
    Shapes: y, p [rows], weight, mask [rows] -> [].
    Errors: ValueError for shapes that differ, classes beyond n_classes.
    Example:
        y = jnp.array([0, 0, 0, 1])
        p = jnp.array([0, 0, 0, 0])
        assert accuracy(y, p) == 0.75
        assert balanced_accuracy(y, p) == 0.5
    """
    return _balanced(confusion_matrix(y, p, n_classes=n_classes, weight=weight, mask=mask))


def precision(y, p, *, n_classes: int = 2, average: str = 'binary', weight=None, mask=None) -> Float[Array, '*classes']:
    """How much of what is called a class belongs to it.

    Formula: C_ii / sum_j C_ji; `binary` of class 1, `macro` the mean over classes, `weighted` by their sizes, `micro`
        of the sums over classes, `none` of each.
    Paper: Sokolova, Lapalme 2009, A systematic analysis of performance measures for classification tasks.
    Shapes: y, p [rows], weight, mask [rows] -> [], or [classes] with average='none'.
    Errors: ValueError for shapes that differ, classes beyond n_classes, an unknown average.
    Example:
        y = jnp.array([0, 0, 1, 1])
        p = jnp.array([0, 1, 1, 1])
        assert jnp.allclose(precision(y, p), 2 / 3)
        precision(y, p, average='none')                      # [1, 2 / 3]
    """
    return _precision(confusion_matrix(y, p, n_classes=n_classes, weight=weight, mask=mask), average)


def recall(y, p, *, n_classes: int = 2, average: str = 'binary', weight=None, mask=None) -> Float[Array, '*classes']:
    """How much of a class is found.

    Formula: C_ii / sum_j C_ij; averages as in `precision`.
    Paper: Sokolova, Lapalme 2009, A systematic analysis of performance measures for classification tasks.
    Shapes: y, p [rows], weight, mask [rows] -> [], or [classes] with average='none'.
    Errors: ValueError for shapes that differ, classes beyond n_classes, an unknown average.
    Example:
        y = jnp.array([0, 0, 1, 1])
        p = jnp.array([0, 1, 1, 1])
        assert recall(y, p) == 1
        recall(y, p, average='macro')                        # 0.75
    """
    return _recall(confusion_matrix(y, p, n_classes=n_classes, weight=weight, mask=mask), average)


def f_beta(y, p, *, beta=1.0, n_classes: int = 2, average: str = 'binary', weight=None,
           mask=None) -> Float[Array, '*classes']:
    """The harmonic mean of precision and recall, recall counting beta times as much.

    Formula: (1 + beta^2) C_ii / (beta^2 sum_j C_ij + sum_j C_ji); averages as in `precision`.
    Paper: van Rijsbergen 1979, Information Retrieval, chapter 7.
    Shapes: y, p [rows], weight, mask [rows] -> [], or [classes] with average='none'.
    Errors: ValueError for shapes that differ, classes beyond n_classes, an unknown average, beta < 0.
    Example:
        y = jnp.array([0, 0, 1, 1])
        p = jnp.array([0, 1, 1, 1])
        assert jnp.allclose(f_beta(y, p), 0.8)
        f_beta(y, p, beta=2.0)                               # 10 / 11
    """
    hyper('beta', beta, 0)
    return _f(confusion_matrix(y, p, n_classes=n_classes, weight=weight, mask=mask), average, beta)


def mcc(y, p, *, n_classes: int = 2, weight=None, mask=None) -> Float[Array, '']:
    """Matthews' correlation of classes and predictions: 1 perfect, 0 no better than chance, negative worse.

    Formula: (tr C / n - sum_k t_k p_k) / sqrt((1 - sum t_k^2) (1 - sum p_k^2)), t and p the classes' and predictions'
        shares; 0 where either is all one class.
    Paper: Matthews 1975, Biochimica et Biophysica Acta 405; Gorodkin 2004, Comparing two K-category assignments.
    Shapes: y, p [rows], weight, mask [rows] -> [].
    Errors: ValueError for shapes that differ, classes beyond n_classes.
    Example:
        y = jnp.array([0, 0, 1, 1])
        assert mcc(y, y) == 1
        assert mcc(y, 1 - y) == -1
        mcc(y, jnp.zeros(4))                                 # 0.0
    """
    return _mcc(confusion_matrix(y, p, n_classes=n_classes, weight=weight, mask=mask))


def cohen_kappa(y, p, *, kind: str = 'none', n_classes: int = 2, weight=None, mask=None) -> Float[Array, '']:
    """Agreement beyond that of chance; NaN where both are all one class.

    Formula: 1 - sum P C / sum P E, E_ij = sum_j C_ij sum_i C_ij / n; P_ij = [i != j], for `linear` |i - j|, for
        `quadratic` (i - j)^2.
    Paper: Cohen 1960, A coefficient of agreement for nominal scales; Cohen 1968, Weighted kappa.
    Shapes: y, p [rows], weight, mask [rows] -> [].
    Errors: ValueError for shapes that differ, classes beyond n_classes, an unknown kind.
    Example:
        y = jnp.array([0, 0, 1, 1])
        assert cohen_kappa(y, y) == 1
        assert cohen_kappa(y, jnp.array([0, 1, 0, 1])) == 0
        cohen_kappa(y, jnp.array([0, 1, 1, 1]), kind='linear')
    """
    return _kappa(confusion_matrix(y, p, n_classes=n_classes, weight=weight, mask=mask), kind)
