"""Metrics of scores and probabilities: log loss, Brier, ROC, AUC, average precision, top-k; weighted and masked.

Formula: see each. Means of parts combine by their weights; curves need all scores at once, and rows of mask 0 in them
    change nothing.
Paper: Fawcett 2006, An introduction to ROC analysis, Pattern Recognition Letters 27; Gneiting, Raftery 2007, Strictly
    proper scoring rules, JASA 102.
Shapes: y [rows] of classes, scores [rows] or proba [rows, classes]; weight, mask [rows].

Example:
    roc_auc(y, proba[:, 1], weight=w), log_loss(y, proba)
    sums = [score_sums(y[i], proba[i]) for i in batches]                 # streaming
    score_summary(functools.reduce(lambda a, b: jax.tree.map(jnp.add, a, b), sums))
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from levels.level1_classical.estimator import floats, hyper
from levels.level1_classical.metrics_labels import classes, weights


class Scores(NamedTuple):
    """What parts add up."""

    weight: Float[Array, '']
    log_loss: Float[Array, '']
    brier: Float[Array, '']
    hits: Float[Array, '']


class Curve(NamedTuple):
    """A point for each row and one at the start; rows of equal score share theirs, so that lines between are right."""

    fpr: Float[Array, ' points']
    tpr: Float[Array, ' points']
    thresholds: Float[Array, ' points']     # from infinity down: positive is score >= threshold


def _probabilities(y, proba, weight, mask):
    """(y, proba [rows, classes], weights), rows without weight made harmless."""
    proba = floats(proba)
    if proba.ndim == 1:
        proba = jnp.stack([1 - proba, proba], 1)
    if proba.ndim != 2 or jnp.shape(y) != proba.shape[:1] or 0 in proba.shape:
        raise ValueError(f'y, proba: expected [rows] and [rows, classes] or [rows], found shapes {jnp.shape(y)} and '
                         f'{proba.shape}')
    w = weights(len(proba), weight, mask).astype(proba.dtype)
    return classes('y', y, proba.shape[1], w), jnp.where((w > 0)[:, None], proba, 0.5), w


def _own(y, proba):
    return jnp.take_along_axis(proba, y[:, None], 1)[:, 0]


def _loss(y, proba):
    eps = jnp.finfo(proba.dtype).eps
    return -jnp.log(jnp.clip(_own(y, proba), eps, 1 - eps))


def _squares(y, proba):
    total = jnp.sum((proba - (y[:, None] == jnp.arange(proba.shape[1])[None])) ** 2, 1)
    return total / 2 if proba.shape[1] == 2 else total


def _hits(y, scores, k):
    """Whether fewer than k scores stand before that of the own class; of equal ones the later class goes first."""
    own, later = _own(y, scores)[:, None], jnp.arange(scores.shape[1])[None] > y[:, None]
    return jnp.sum((scores > own) | ((scores == own) & later), 1) < k


def score_sums(y, proba, *, k: int = 1, weight=None, mask=None) -> Scores:
    """The sums of one part of the data; add them leaf by leaf.  Errors: ValueError for wrong shapes or classes."""
    y, proba, w = _probabilities(y, proba, weight, mask)
    return Scores(jnp.sum(w), jnp.sum(w * _loss(y, proba)), jnp.sum(w * _squares(y, proba)),
                  jnp.sum(w * _hits(y, proba, k)))


def score_summary(sums: Scores) -> dict[str, Float[Array, '']]:
    """log_loss, brier and top_k from sums."""
    return {'log_loss': sums.log_loss / sums.weight, 'brier': sums.brier / sums.weight,
            'top_k': sums.hits / sums.weight}


def log_loss(y, proba, *, weight=None, mask=None) -> Float[Array, '']:
    """Minus the mean log of the probability that was given to the class it was.

    Formula: -sum w log p(y) / sum w, p clipped to [eps, 1 - eps] of its type.
    Paper: Gneiting, Raftery 2007, Strictly proper scoring rules, prediction, and estimation, JASA 102.
    Shapes: y [rows], proba [rows, classes] or [rows] (of class 1), weight, mask [rows] -> [].
    Errors: ValueError for shapes that differ, classes beyond those of proba.
    Example:
        y = jnp.array([0, 1])
        proba = jnp.array([[0.5, 0.5], [0.75, 0.25]])
        assert jnp.allclose(log_loss(y, proba), jnp.log(8.0) / 2)
        log_loss(y, proba[:, 1])                             # the same
    """
    return score_summary(score_sums(y, proba, weight=weight, mask=mask))['log_loss']


def brier(y, proba, *, weight=None, mask=None) -> Float[Array, '']:
    """The mean squared error of probabilities: from 0 to 1 for two classes, to 2 for more.

    Formula: sum w sum_k (p_k - [y = k])^2 / sum w, half of it for two classes.
    Paper: Brier 1950, Verification of forecasts expressed in terms of probability, Monthly Weather Review 78.
    Shapes: y [rows], proba [rows, classes] or [rows] (of class 1), weight, mask [rows] -> [].
    Errors: ValueError for shapes that differ, classes beyond those of proba.
    Example:
        y = jnp.array([0, 1])
        p = jnp.array([0.5, 1.0])
        assert brier(y, p) == 0.125
        brier(y, p, weight=jnp.array([3.0, 1.0]))            # 0.1875
    """
    return score_summary(score_sums(y, proba, weight=weight, mask=mask))['brier']


def top_k(y, scores, *, k: int = 2, weight=None, mask=None) -> Float[Array, '']:
    """The share of rows whose class is among the k of the largest scores; of equal scores the later class goes first.

    Formula: sum of w over rows with fewer than k scores before the own / sum w.
    Paper: Russakovsky et al. 2015, ImageNet large scale visual recognition challenge, IJCV 115, section 4.1.
    Shapes: y [rows], scores [rows, classes] or [rows] (of class 1), weight, mask [rows] -> [].
    Errors: ValueError for shapes that differ, classes beyond those of scores, k < 1.
    Example:
        y = jnp.array([0, 1, 2])
        scores = jnp.array([[3.0, 2.0, 1.0], [3.0, 2.0, 1.0], [3.0, 2.0, 1.0]])
        assert jnp.allclose(top_k(y, scores, k=2), 2 / 3)
        top_k(y, scores, k=1)                                # 1 / 3
    """
    hyper('k', k, 1)
    y, scores, w = _probabilities(y, scores, weight, mask)
    return jnp.sum(w * _hits(y, scores, k)) / jnp.sum(w)


def _ranked(y, scores, weight, mask):
    """(hits, alarms, scores), all [rows], from the largest score down; sums are those at the end of equal scores."""
    scores = floats(scores)
    if scores.ndim != 1 or jnp.shape(y) != scores.shape or not len(scores):
        raise ValueError(f'y, scores: expected two arrays [rows], found shapes {jnp.shape(y)} and {scores.shape}')
    w = weights(len(scores), weight, mask).astype(scores.dtype)
    y, scores = classes('y', y, 2, w), jnp.where(w > 0, scores, -jnp.inf)
    order = jnp.argsort(-scores)
    y, scores, w = y[order], scores[order], w[order]
    last = jnp.append(scores[1:] != scores[:-1], True)
    end = jax.lax.cummin(jnp.where(last, jnp.arange(len(scores)), len(scores)), reverse=True)
    return jnp.cumsum(w * y)[end], jnp.cumsum(w * (1 - y))[end], scores


def roc_curve(y, scores, *, weight=None, mask=None) -> Curve:
    """What share of the negatives is called positive, and what share of the positives, at every threshold.

    Formula: fpr(t) = sum of w over y = 0, s >= t / sum over y = 0; tpr the same of y = 1; NaN where there is none.
    Paper: Fawcett 2006, An introduction to ROC analysis, Pattern Recognition Letters 27, algorithm 1.
    Shapes: y [rows] of 0 and 1, scores [rows], weight, mask [rows] -> Curve of [rows + 1] points; points of rows with
        equal scores, or without weight, stand there more than once.
    Errors: ValueError for shapes that differ, classes other than 0 and 1.
    Example:
        y = jnp.array([0, 0, 1, 1])
        curve = roc_curve(y, jnp.array([0.1, 0.4, 0.35, 0.8]))
        assert curve.fpr.tolist() == [0, 0, 0.5, 0.5, 1]
        assert curve.tpr.tolist() == [0, 0.5, 0.5, 1, 1]
    """
    hits, alarms, scores = _ranked(y, scores, weight, mask)
    first = lambda v, start: jnp.concatenate([jnp.full(1, start, v.dtype), v])
    share = lambda v: first(v, 0.0) / jnp.where(v[-1] > 0, v[-1], jnp.nan)
    return Curve(share(alarms), share(hits), first(scores, jnp.inf))


def roc_auc(y, scores, *, weight=None, mask=None) -> Float[Array, '']:
    """The area under the ROC curve: how often a positive has the larger score, ties counting half.

    Formula: sum over the curve of (fpr_i - fpr_(i-1)) (tpr_i + tpr_(i-1)) / 2; NaN where y is all one class.
    Paper: Hanley, McNeil 1982, The meaning and use of the area under a ROC curve, Radiology 143.
    Shapes: y [rows] of 0 and 1, scores [rows], weight, mask [rows] -> [].
    Errors: ValueError for shapes that differ, classes other than 0 and 1.
    Example:
        y = jnp.array([0, 0, 1, 1])
        assert roc_auc(y, jnp.array([0.1, 0.4, 0.35, 0.8])) == 0.75
        assert roc_auc(y, jnp.zeros(4)) == 0.5
        roc_auc(jnp.ones(4), jnp.arange(4.0))                # nan
    """
    hits, alarms, _ = _ranked(y, scores, weight, mask)
    # of sums and not of shares: in jit the difference of two equal shares may be a rounding
    before = jnp.concatenate([jnp.zeros(1, hits.dtype), hits[:-1]])
    positive, negative = (jnp.where(v[-1] > 0, v[-1], jnp.nan) for v in (hits, alarms))
    return jnp.sum(jnp.diff(alarms, prepend=0) / negative * (hits + before) / positive) / 2


def average_precision(y, scores, *, weight=None, mask=None) -> Float[Array, '']:
    """The mean of the precisions at the thresholds where recall grows, without lines drawn between them.

    Formula: sum over thresholds of (R_i - R_(i-1)) P_i; 0 where there is no positive.
    Paper: Davis, Goadrich 2006, The relationship between precision-recall and ROC curves, ICML.
    Shapes: y [rows] of 0 and 1, scores [rows], weight, mask [rows] -> [].
    Errors: ValueError for shapes that differ, classes other than 0 and 1.
    Example:
        y = jnp.array([0, 0, 1, 1])
        value = average_precision(y, jnp.array([0.1, 0.4, 0.35, 0.8]))
        assert jnp.allclose(value, 1 / 2 + 1 / 2 * 2 / 3)
        average_precision(y, jnp.zeros(4))                   # 0.5: the share of positives
    """
    hits, alarms, _ = _ranked(y, scores, weight, mask)
    called = hits + alarms
    precision = hits / jnp.where(called > 0, called, 1)
    return jnp.sum(jnp.diff(hits, prepend=0) * precision) / jnp.where(hits[-1] > 0, hits[-1], 1)
