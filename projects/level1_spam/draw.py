"""Pictures of a run: how the models compare, what they trade, which words they go by, and where they fail."""
import jax
import numpy as np
from matplotlib.figure import Figure
from scipy import stats

from common import plots
from common.runs import Run
from levels.level1_classical import metrics_scores
from projects.level1_spam import models

TITLES = {'always_ham': 'always ham', 'keywords': 'keyword rule', 'bernoulli': 'Bernoulli naive Bayes',
          'multinomial': 'multinomial naive Bayes', 'complement': 'complement naive Bayes',
          'logistic_counts': 'logistic, counts', 'logistic_tfidf': 'logistic, tf-idf', 'svm_counts': 'SVM, counts',
          'svm_tfidf': 'SVM, tf-idf'}
COLORS = dict(zip(TITLES, ('0.6', '0.35', '#2e933c', '#8a5a2b', '#edae49', '#7fb3e6', '#1f5fa8', '#e59aa3', '#d1495b')))


def everything(run: Run, y: np.ndarray, states: dict, words: tuple[str, ...], decisions: dict, chances: dict,
               scores: dict, comparison: dict, rows: list[dict]) -> None:
    """Writes the pictures, of the first seed but for `models`."""
    c = run.config
    figures = {'models': compared(c, scores, comparison), 'precision_recall': precision_recall(c, y, decisions, scores),
               'words': telling_words(c, states, words), 'confusion': confusions(c, y, decisions),
               'calibration': calibration(c, y, chances), 'slices': sliced(c, rows)}
    for name, figure in figures.items():
        plots.save(figure, run.plots / f'{name}.png')


def grid(count: int, width: float, height: float, **shared):
    """(figure, its axes in a row or two)."""
    rows = 1 if count <= 4 else 2
    columns = -(-count // rows)
    figure = Figure(figsize=(0.6 + width * columns, 0.6 + height * rows), layout='constrained')
    axes = figure.subplots(rows, columns, squeeze=False, **shared).ravel()
    for ax in axes[count:]:
        ax.axis('off')
    return figure, axes[:count]


def difference(pairs: dict, a: str, b: str) -> dict:
    """a less b, whichever way round the pair was taken."""
    if f'{a} - {b}' in pairs:
        return pairs[f'{a} - {b}']
    d = pairs[f'{b} - {a}']
    return {'mean': -d['mean'], 'low': -d['high'], 'high': -d['low']}


def compared(c, scores: dict, comparison: dict) -> Figure:
    """F1 of each fold of all seeds; the differences from the keyword rule, and from the best model, on equal folds."""
    f1 = {name: v for name, v in scores['f1'].items() if name != 'always_ham'}
    names = sorted(f1, key=lambda n: f1[n].mean())
    best = names[-1]
    figure = Figure(figsize=(13, 1.3 + 0.42 * len(names)), layout='constrained')
    axes = figure.subplots(1, 3, sharey=True)
    for at, name in enumerate(names):
        values = f1[name].ravel()
        axes[0].plot(values, at + 0.25 * np.linspace(-1, 1, len(values)), 'o', ms=3, alpha=0.4, color=COLORS[name])
        axes[0].plot(values.mean(), at, '|', ms=18, mew=2.5, color=COLORS[name])
        for ax, other in zip(axes[1:], ('keywords', best)):
            if name != other and not (other == best and name == 'keywords'):
                d = difference(comparison['f1'], name, other)
                ax.plot([d['low'], d['high']], [at, at], color=COLORS[name], lw=2)
                ax.plot(d['mean'], at, 'o', ms=5, color=COLORS[name])
    axes[0].set(xlabel='F1 of spam: folds and mean')
    axes[1].set(xlabel='F1 above the keyword rule (95 % interval)')
    axes[2].set(xlabel=f'F1 above {TITLES[best]} (95 % interval)')
    axes[0].set_yticks(range(len(names)), [TITLES[n] for n in names])
    for ax in axes:
        ax.grid(alpha=0.25)
    for ax in axes[1:]:
        ax.axvline(0, color='0.35', lw=1)
    figure.suptitle(f'{len(names)} ways to find spam, {c.data}: {c.folds} folds, seeds: {len(f1[best])}', fontsize=11)
    return figure


def precision_recall(c, y: np.ndarray, decisions: dict, scores: dict) -> Figure:
    """Precision over recall out of fold; and ham that is lost for spam that is found."""
    figure = Figure(figsize=(12, 4.8), layout='constrained')
    left, right = figure.subplots(1, 2)
    names = sorted((n for n in decisions if n != 'always_ham'), key=lambda n: -scores['ap'][n].mean())
    for name in names:
        curve = jax.device_get(jax.jit(metrics_scores.roc_curve)(y, decisions[name]))
        hits, alarms = curve.tpr * y.sum(), curve.fpr * (1 - y).sum()
        label = f'{scores["ap"][name].mean():.3f} {TITLES[name]}'
        rule = name == 'keywords'       # a handful of thresholds, with nothing between them
        style = dict(color=COLORS[name], lw=1.5, label=label, **({'ls': '', 'marker': 'x'} if rule else {}))
        some = hits + alarms > 0
        left.plot(curve.tpr[some], (hits / np.maximum(hits + alarms, 1))[some], **style)
        right.plot(np.maximum(curve.fpr, 2e-4), curve.tpr, **style)
        called = decisions[name] > 0
        if rule:
            continue
        left.plot(called[y == 1].mean(), y[called].mean(), 'o', ms=6, color=COLORS[name])
        right.plot(max(called[y == 0].mean(), 2e-4), called[y == 1].mean(), 'o', ms=6, color=COLORS[name])
    left.set(xlabel='recall: share of the spam that is found', ylabel='precision: share of what is called spam that is',
             xlim=(0.5, 1.01), ylim=(0.5, 1.01))
    right.set(xscale='log', xlim=(2e-4, 1), ylim=(0.5, 1.01), xlabel='share of the ham that is called spam',
              ylabel='recall')
    right.axhline(0.9, color='0.5', lw=0.8, ls=':')
    left.legend(title='average precision (mean over folds)', fontsize=8, title_fontsize=8, loc='lower left')
    for ax in (left, right):
        ax.grid(alpha=0.25)
    figure.suptitle(f'Thresholds, out of fold, {c.data}; dots: where each model draws the line; crosses: one sign, two',
                    fontsize=11)
    return figure


def telling_words(c, states: dict, words: tuple[str, ...], count: int = 10) -> Figure:
    """The words of the largest weights of either sign."""
    figure, axes = grid(len(states), 2.9, 4.3)
    for ax, (name, state) in zip(axes, states.items()):
        columns, weight = models.importance(name, state)
        order = np.argsort(weight)
        shown = np.concatenate([order[:count], order[-count:]])
        ax.barh(range(len(shown)), weight[shown], 0.75,
                color=[plots.COLORS[0] if v < 0 else plots.COLORS[1] for v in weight[shown]])
        ax.set_yticks(range(len(shown)), [words[columns[j]][:16] for j in shown], fontsize=8)
        ax.axhline(count - 0.5, color='0.5', lw=0.8, ls=':')
        ax.axvline(0, color='0.3', lw=0.8)
        ax.set_title(TITLES[name], fontsize=9)
        ax.tick_params(axis='x', labelsize=8)
    figure.supxlabel('what one mention adds to the decision (tf-idf: before the length of the message is divided out)',
                     fontsize=9)
    figure.suptitle(f'Words that speak most for spam (red) and for ham (blue), {c.data}', fontsize=11)
    return figure


def confusions(c, y: np.ndarray, decisions: dict) -> Figure:
    """Messages of either kind that were called spam and ham, out of fold; mistakes are red."""
    names = [n for n in decisions if n != 'always_ham']
    figure, axes = grid(len(names), 2.5, 2.5)
    tables = {}
    for name in names:
        tables[name] = np.zeros((2, 2), int)
        np.add.at(tables[name], (y, (decisions[name] > 0).astype(int)), 1)
    most = max(t[0, 1] + t[1, 0] for t in tables.values())
    for ax, name in zip(axes, names):
        t = tables[name]
        ax.imshow(np.where(np.eye(2, dtype=bool), 0, t), cmap='Reds', vmin=0, vmax=max(1, most))
        for i, j in np.ndindex(2, 2):
            ax.text(j, i, f'{t[i, j]:,}', ha='center', va='center', fontsize=11, weight='bold' if i == j else 'normal',
                    color='white' if i != j and t[i, j] > 0.6 * most else 'black')
        ax.set_xticks((0, 1), ('ham', 'spam'), fontsize=8)
        ax.set_yticks((0, 1), ('ham', 'spam'), fontsize=8, rotation=90, va='center')
        ax.set_title(f'{TITLES[name]}\n{t[0, 1]} false alarms, {t[1, 0]} missed', fontsize=9)
    figure.supxlabel('called', fontsize=10)
    figure.supylabel('true', fontsize=10)
    figure.suptitle(f'Out of fold, {c.data}', fontsize=11)
    return figure


def calibration(c, y: np.ndarray, chances: dict) -> Figure:
    """What share is spam of the messages that were given a chance of 10, 20, ... %, with 95 % intervals (Wilson)."""
    figure, axes = grid(len(chances), 2.7, 3.2, sharex=True, sharey=True)
    for ax, (name, p) in zip(axes, chances.items()):
        place = np.minimum((p * 10).astype(int), 9)
        ax.plot([0, 1], [0, 1], color='0.6', lw=1)
        for b in range(10):
            n, k = int((place == b).sum()), int(y[place == b].sum())
            if n >= 5:
                low, high = stats.binomtest(k, n).proportion_ci(method='wilson')
                ax.plot([p[place == b].mean()] * 2, [low, high], color=COLORS[name], lw=1.2)
                ax.plot(p[place == b].mean(), k / n, 'o', ms=4.5, color=COLORS[name])
        between = ((p > 0.1) & (p < 0.9)).sum()
        ax.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect='equal')
        ax.tick_params(labelbottom=True)
        ax.set_title(f'{TITLES[name]}\nBrier {np.mean((p - y) ** 2):.4f}; {between} between 10 and 90 %', fontsize=8.5)
        ax.grid(alpha=0.25)
    figure.supxlabel('chance of spam given (out of fold)', fontsize=10)
    figure.supylabel('share that is spam', fontsize=10)
    figure.suptitle(f'Do chances hold? {c.data}; those of an SVM by a sigmoid fitted on the other folds', fontsize=11)
    return figure


def sliced(c, rows: list[dict]) -> Figure:
    """Spam that is found (left) and ham that is lost (right), by kind of message."""
    names = list(dict.fromkeys(r['model'] for r in rows))
    keys = list(dict.fromkeys((r['column'], r['slice']) for r in rows))
    at = {(r['model'], r['column'], r['slice']): r for r in rows}
    labels = [f'{value}  ({r["spam"]} spam, {r["count"] - r["spam"]} ham)' for column, value in keys
              for r in [at[names[0], column, value]]]
    figure = Figure(figsize=(4.2 + 1.25 * len(names), 2.2 + 0.32 * len(keys)), layout='constrained')
    parts = (('recall', 'share of the spam that is found', 'YlGnBu', 0.5, 1.0),
             ('false_alarms', 'share of the ham that is called spam', 'Reds', 0.0, 0.1))
    for ax, (field, title, colours, low, high) in zip(figure.subplots(1, 2, sharey=True), parts):
        table = np.array([[np.nan if (v := at[n, *key][field]) is None else v for n in names] for key in keys])
        ax.imshow(table, cmap=colours, vmin=low, vmax=high, aspect='auto')
        for i, j in np.ndindex(*table.shape):
            if np.isfinite(table[i, j]):
                dark = (table[i, j] - low) / (high - low) > 0.6
                ax.text(j, i, f'{table[i, j]:.{0 if field == "recall" else 1}%}', ha='center', va='center',
                        fontsize=8, color='white' if dark else 'black')
        ax.set_xticks(range(len(names)), [TITLES[n] for n in names], rotation=40, ha='right', fontsize=8)
        ax.set_yticks(range(len(keys)), labels, fontsize=8)
        ax.set_title(title, fontsize=10)
        for i in range(1, len(keys)):
            if keys[i][0] != keys[i - 1][0]:
                ax.axhline(i - 0.5, color='white', lw=3)
    figure.suptitle(f'Errors by kind of message, out of fold, {c.data}', fontsize=11)
    return figure
