"""Pictures: ROC with the chosen thresholds, reliability before and after scaling, Grad-CAM over pictures."""
from collections.abc import Callable

import numpy as np
from matplotlib.figure import Figure
from scipy.special import expit

from common import plots
from levels.level1_classical import metrics_scores
from projects.level3_pneumonia import measures
from projects.level3_pneumonia.models import CLASSES

BLUE, RED, GREEN, YELLOW = plots.COLORS


def roc(y: np.ndarray, scores: list[np.ndarray], straight: np.ndarray, chosen: measures.Chosen, what: str) -> Figure:
    """The ROC curve of every seed and of logistic regression; where the first seed's thresholds are on it."""
    figure = Figure(figsize=(5.6, 5.2), layout='constrained')
    ax = figure.subplots()
    curve = lambda z: metrics_scores.roc_curve(y, np.asarray(z, np.float32))
    for i, z in enumerate(scores):
        found = curve(z)
        ax.plot(found.fpr, found.tpr, color=BLUE, lw=1.6 if i == 0 else 1, alpha=1 if i == 0 else 0.35,
                label=f'CNN, AUROC {np.mean([measures.auroc(y, s) for s in scores]):.3f}'
                      + (f' (mean of {len(scores)} seeds)' if len(scores) > 1 else '') if i == 0 else None)
    found = curve(straight)
    ax.plot(found.fpr, found.tpr, color=RED, lw=1.4, ls='--',
            label=f'logistic regression, AUROC {measures.auroc(y, straight):.3f}')
    for name, threshold, mark in (('balanced threshold', chosen.balanced, 'o'),
                                  ('threshold of fixed specificity', chosen.specific, 's')):
        sensitivity, specificity = measures.rates(y, scores[0], threshold)
        ax.plot(1 - specificity, sensitivity, mark, color=GREEN, ms=9, mfc='white', mew=2,
                label=f'{name}:\nsensitivity {sensitivity:.2f}, specificity {specificity:.2f}')
    ax.plot([0, 1], [0, 1], color='0.7', lw=0.8)
    ax.set(xlabel='1 - specificity', ylabel='sensitivity', xlim=(-0.02, 1.02), ylim=(-0.02, 1.02),
           title=f'{what}: test rows; thresholds are chosen on validation rows')
    ax.title.set_fontsize(10)
    ax.grid(alpha=0.25)
    ax.legend(fontsize=8, loc='lower right')
    return figure


def reliability(y: np.ndarray, scores: list[np.ndarray], y_held: np.ndarray, held: list[np.ndarray], count: int,
                what: str) -> Figure:
    """What was said against what was true, of all seeds together, before and after scaling by the temperature."""
    scales = [measures.temperature(y_held, z) for z in held]
    figure = Figure(figsize=(9.4, 5.0), layout='constrained')
    axes = figure.subplots(2, 2, height_ratios=(3, 1), sharex=True)
    for column, (name, by) in enumerate((('as trained', [1.0] * len(scores)), ('scaled', scales))):
        p = np.concatenate([expit(z / t) for z, t in zip(scores, by)])
        truth = np.tile(y, len(scores))
        b = measures.bins(truth, p, count)
        top, bottom = axes[:, column]
        edges = np.linspace(0, 1, count + 1)
        full = b.rows > 0
        top.plot([0, 1], [0, 1], color='0.5', lw=1, label='perfect')
        top.bar((edges[:-1] + edges[1:])[full] / 2, b.true[full], 0.9 / count, color=BLUE, alpha=0.35,
                label='share of pneumonia')
        top.plot(b.said[full], b.true[full], 'o-', color=BLUE, ms=4, lw=1.2)
        errors = [measures.ece(y, expit(z / t), count) for z, t in zip(scores, by)]
        heat = f', T = {np.mean(by):.2f}' if column else ''
        top.set(title=f'{name}{heat}: ECE {np.mean(errors):.3f}', ylim=(0, 1.02), xlim=(0, 1))
        top.title.set_fontsize(10)
        bottom.bar((edges[:-1] + edges[1:]) / 2, b.rows / len(scores), 0.9 / count, color='0.6')
        bottom.set(xlabel='probability of pneumonia that was said')
        for ax in (top, bottom):
            ax.grid(alpha=0.25)
    axes[0, 0].set(ylabel='share of pneumonia')
    axes[1, 0].set(ylabel='test rows')
    axes[0, 0].legend(fontsize=8, loc='upper left')
    seeds = f', mean of {len(scores)} seeds' if len(scores) > 1 else ''
    figure.suptitle(f'{what}: reliability on test rows{seeds}; the temperature is fitted on validation rows',
                    fontsize=11)
    return figure


def overlays(test: dict[str, np.ndarray], called: np.ndarray, p: np.ndarray, heat: Callable, what: str,
             count: int = 12) -> dict[str, Figure]:
    """'mistakes': those called wrong, surest first; 'grad_cam': sick ones called right, surest first."""
    y = test['label']
    sure = np.where(called == 1, p, 1 - p)
    wrong = np.flatnonzero(called != y)
    right = np.flatnonzero((called == y) & (y == 1))
    sheets = {'mistakes': (wrong[np.argsort(-sure[wrong], kind='stable')][:count], 'its surest mistakes'),
              'grad_cam': (right[np.argsort(-sure[right], kind='stable')][:count], 'pneumonia that it found')}
    return {name: sheet(test, rows, p, heat, f'{what}: {text}; Grad-CAM of pneumonia, first seed')
            for name, (rows, text) in sheets.items()}


def sheet(test: dict[str, np.ndarray], rows: np.ndarray, p: np.ndarray, heat: Callable, title: str) -> Figure:
    """Of each row the picture, and beside it the same under its heat map; true shadows are outlined where known."""
    across = 4
    down = max(1, -(-len(rows) // across))
    figure = Figure(figsize=(11, 1.62 * down + 0.7), layout='constrained')
    axes = figure.subplots(down, 2 * across, squeeze=False)
    for ax in axes.flat:
        ax.axis('off')
    maps = heat({k: v[rows] for k, v in test.items()}) if len(rows) else []
    for i, row in enumerate(rows):
        left, right = axes.flat[2 * i], axes.flat[2 * i + 1]
        picture = test['image'][row, ..., 0]
        for ax in (left, right):
            ax.imshow(picture, cmap='gray', vmin=0, vmax=255)
        most = maps[i].max()
        right.imshow(maps[i] / (most if most > 0 else 1), cmap='inferno', alpha=0.5, vmin=0, vmax=1)
        if 'mask' in test and test['mask'][row].any():
            left.contour(test['mask'][row], [0.5], colors=[GREEN], linewidths=1)
        left.set_title(f'{CLASSES[test["label"][row]]}', fontsize=8, loc='left')
        right.set_title(f'P(pneumonia) {p[row]:.2f}', fontsize=8, loc='left')
    known = '; green: the true shadow' if 'mask' in test else ''
    figure.suptitle(title + known, fontsize=11)
    return figure
