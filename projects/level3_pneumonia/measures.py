"""How good and how sure: thresholds chosen on validation rows, ROC, calibration, temperature scaling.

Formula: sensitivity = share of the sick that are called sick, specificity = share of the healthy that are not; ECE =
    sum over bins of probability of (rows / all) |mean probability - share of the sick|; temperature scaling p =
    sigmoid(z / T), T the one of least log loss on the validation rows.
Paper: Fawcett 2006, An introduction to ROC analysis; Naeini, Cooper, Hauskrecht 2015, Obtaining well calibrated
    probabilities using Bayesian binning; Guo, Pleiss, Sun, Weinberger 2017, On calibration of modern neural networks.
"""
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import minimize_scalar
from scipy.special import expit

from levels.level1_classical import metrics_scores

Scores, Labels = Float[np.ndarray, ' n'], Int[np.ndarray, ' n']


class Chosen(NamedTuple):
    """By the validation rows alone: thresholds of log-odds (sick: at or above), and a temperature."""

    balanced: float
    specific: float
    temperature: float


class Bins(NamedTuple):
    """Of each bin of probability: rows, their mean probability, the share of the sick; NaN where there are no rows."""

    rows: np.ndarray
    said: np.ndarray
    true: np.ndarray


def rates(y: Labels, z: Scores, threshold: float) -> tuple[float, float]:
    """(sensitivity, specificity) when z >= threshold is called sick."""
    called = z >= threshold
    return float(called[y == 1].mean()), float((~called)[y == 0].mean())


def balanced_threshold(y: Labels, z: Scores) -> float:
    """Halfway between two scores, where sensitivity + specificity is largest; the middle one of equally good ones."""
    scores = np.unique(z)
    between = np.concatenate([[scores[0] - 1], (scores[1:] + scores[:-1]) / 2, [scores[-1] + 1]])
    sick, well = np.sort(z[y == 1]), np.sort(z[y == 0])
    sum_ = 1 - np.searchsorted(sick, between) / len(sick) + np.searchsorted(well, between) / len(well)
    best = np.flatnonzero(sum_ >= sum_.max() - 1e-12)
    return float(between[best[len(best) // 2]])


def specific_threshold(y: Labels, z: Scores, specificity: float) -> float:
    """The least threshold with at least that specificity."""
    well = np.sort(z[y == 0])
    below = int(np.ceil(specificity * len(well) - 1e-9))
    return float(np.nextafter(well[below - 1], np.inf, dtype=well.dtype)) if below else -np.inf


def log_loss(y: Labels, z: Scores) -> float:
    """Mean of -log p(y), p = sigmoid(z)."""
    return float(np.logaddexp(0, np.where(y == 1, -z, z)).mean())


def temperature(y: Labels, z: Scores) -> float:
    """T of least log loss of z / T, from 0.05 to 20.  The loss is convex in 1 / T."""
    z = np.asarray(z, np.float64)
    found = minimize_scalar(lambda t: log_loss(y, z * np.exp(-t)), bounds=(np.log(0.05), np.log(20)), method='bounded',
                            options={'xatol': 1e-6})
    return float(np.exp(found.x))


def choose(y: Labels, z: Scores, specificity: float) -> Chosen:
    """All that validation rows decide."""
    return Chosen(balanced_threshold(y, z), specific_threshold(y, z, specificity), temperature(y, z))


def bins(y: Labels, p: Scores, count: int) -> Bins:
    """Rows by their probability, in `count` bins of equal width."""
    which = np.minimum((p * count).astype(int), count - 1)
    rows = np.bincount(which, minlength=count)
    with np.errstate(invalid='ignore'):
        mean = lambda v: np.bincount(which, v, count) / rows
        return Bins(rows, mean(p), mean(y))


def ece(y: Labels, p: Scores, count: int) -> float:
    """Expected calibration error of the probabilities of being sick."""
    b = bins(y, p, count)
    return float(np.nansum(b.rows * np.abs(b.said - b.true)) / len(y))


def auroc(y: Labels, z: Scores) -> float:
    """Area under the ROC curve."""
    return float(metrics_scores.roc_auc(y, np.asarray(z, np.float32)))


def measure(y: Labels, z: Scores, chosen: Chosen, count: int) -> dict[str, float]:
    """What is reported of the test rows; nothing here is chosen by them."""
    called = (z >= chosen.balanced).astype(int)
    sensitivity, specificity = rates(y, z, chosen.specific)
    return {
        'accuracy': float((called == y).mean()), 'auroc': auroc(y, z), 'loss': log_loss(y, z),
        'balanced_accuracy': float(np.mean(rates(y, z, chosen.balanced))),
        'sensitivity': sensitivity, 'specificity': specificity, 'temperature': chosen.temperature,
        'ece': ece(y, expit(z), count), 'ece_scaled': ece(y, expit(z / chosen.temperature), count),
        'loss_scaled': log_loss(y, z / chosen.temperature)}
