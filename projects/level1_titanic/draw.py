"""Pictures of a run: how the models compare, whether their chances hold, for whom they err, and what they believe."""
import jax
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from scipy import stats

from common import passengers, plots
from common.runs import Run
from levels.level1_classical import metrics_scores, study
from levels.level1_classical.ensembles import drawing
from projects.level1_titanic import models

TITLES = {'majority': 'everybody alike', 'women': '"women survive"', 'logistic': 'logistic regression',
          'bayes': 'naive Bayes', 'knn': 'nearest neighbours', 'svm': 'support vectors', 'tree': 'decision tree',
          'forest': 'random forest', 'boosting': 'gradient boosting'}
COLORS = dict(zip(TITLES, ('0.6', '0.35', '#1f5fa8', '#edae49', '#00798c', '#6a4c93', '#2e933c', '#8a5a2b', '#d1495b')))
AGES = (('under 14', 0, 14), ('14 to 29', 14, 30), ('30 to 49', 30, 50), ('50 and over', 50, 200))
CLASSES = ('first class', 'second class', 'third class')
LEANING = ('logistic', 'forest', 'boosting')        # whose importances are looked at
BELIEVING = ('logistic', 'knn', 'tree', 'forest', 'boosting')


def some(found: dict, wanted: tuple[str, ...]) -> list[str]:
    """Those that are there; the first that is there where none is."""
    return [name for name in wanted if name in found] or list(found)[:1]


def groups(x: np.ndarray, features: tuple[str, ...]) -> dict[tuple[str, str], np.ndarray]:
    """(column, value) -> which rows: by sex, class, sex and class, age."""
    column = {name: x[:, i] for i, name in enumerate(features)}
    man, age = column['male'] == 1, column['age']
    level = [(column['second_class'] == 0) & (column['third_class'] == 0), column['second_class'] == 1,
             column['third_class'] == 1]
    found = {('sex', 'women'): ~man, ('sex', 'men'): man}
    found |= {('class', name): rows for name, rows in zip(CLASSES, level)}
    found |= {('sex and class', f'{who}, {name}'): rows & sex for who, sex in (('women', ~man), ('men', man))
              for name, rows in zip(CLASSES, level)}
    found |= {('age', name): (age >= low) & (age < high) for name, low, high in AGES}
    return found | {('age', 'unknown'): np.isnan(age)}


def slices(name: str, masks: dict, y: np.ndarray, proba: np.ndarray) -> list[dict]:
    """What each group met, what was expected for it, and how often the model was right about its members."""
    rows = []
    for (column, value), mask in masks.items():
        if mask.any():
            p, survived = proba[mask, 1].astype(np.float64), y[mask]
            rows.append({'model': name, 'column': column, 'slice': value, 'count': int(mask.sum()),
                         'survived': float(survived.mean()), 'predicted': float(p.mean()),
                         'accuracy': float(((p > 0.5) == survived).mean()),
                         'log_loss': float(-np.log(np.clip(np.where(survived, p, 1 - p), 1e-7, 1)).mean())})
    return rows


def everything(run: Run, dataset, found: dict, guesses: dict, scores: dict, comparison: dict, rows: list[dict],
               importance: dict) -> None:
    """Writes the pictures, of the first seed but for `models`."""
    c, y = run.config, dataset.train['survived']
    features = passengers.FEATURES[c.data]
    figures = {'models': compared(c, scores, comparison), 'calibration': calibration(c, y, guesses),
               'roc': roc(c, y, guesses, scores), 'slices': sliced(c, rows), 'importance': leaned_on(c, importance),
               'ages': by_age(c, found, dataset.train['x'], features)}
    if 'tree' in found:
        figures['tree'] = drawing.to_picture(found['tree'].state[-1], names=features, labels=('lost', 'saved'))
        figures['tree'].suptitle(f'The decision tree, {c.data}: n rows, and the share of the class named', fontsize=11)
    for name, figure in figures.items():
        plots.save(figure, run.plots / f'{name}.png')


def compared(c, scores: dict, comparison: dict) -> Figure:
    """Each model's folds of all seeds, and its differences from 'women survive' over the same folds."""
    loss = scores['log_loss']
    names = sorted(loss, key=lambda n: -loss[n].mean())
    figure = Figure(figsize=(13.5, 0.9 + 0.42 * len(names)), layout='constrained')
    axes = figure.subplots(1, 4, sharey=True)
    for ax, metric in ((axes[0], 'accuracy'), (axes[2], 'log_loss')):
        for at, name in enumerate(names):
            values = scores[metric][name].ravel()
            ax.plot(values, at + 0.25 * np.linspace(-1, 1, len(values)), 'o', ms=3, alpha=0.35, color=COLORS[name])
            ax.plot(values.mean(), at, '|', ms=18, mew=2.5, color=COLORS[name])
        ax.set(xlabel={'accuracy': 'accuracy: folds and mean', 'log_loss': 'log loss: folds and mean'}[metric])
    worst = np.quantile(np.concatenate([loss[n].ravel() for n in names]), 0.98)
    axes[2].set_xlim(None, min(axes[2].get_xlim()[1], 1.1 * worst))
    for ax, metric in ((axes[1], 'accuracy'), (axes[3], 'log_loss')):
        for at, name in enumerate(names):
            d = study.between(comparison[metric], name, 'women')
            if d and (metric == 'accuracy' or name != 'majority'):
                ax.plot([d['low'], d['high']], [at, at], color=COLORS[name], lw=2)
                ax.plot(d['mean'], at, 'o', ms=5, color=COLORS[name])
        ax.axvline(0, color='0.35', lw=1)
    axes[1].set(xlabel='accuracy above "women survive"\n(95 % interval)')
    axes[3].set(xlabel='log loss above "women survive"\n(95 % interval; below 0 is better)')
    axes[0].set_yticks(range(len(names)), [TITLES[n] for n in names])
    for ax in axes:
        ax.grid(alpha=0.25)
    seeds = len(next(iter(loss.values())))
    figure.suptitle(f'{len(names)} ways to tell who survived, {c.data}: {c.folds} folds, seeds: {seeds}', fontsize=11)
    return figure


def grid(count: int, width: float, height: float, **shared):
    """(figure, its axes in a row or two)."""
    rows = 1 if count <= 4 else 2
    columns = -(-count // rows)
    figure = Figure(figsize=(0.6 + width * columns, 0.6 + height * rows), layout='constrained')
    axes = figure.subplots(rows, columns, squeeze=False, **shared).ravel()
    for ax in axes[count:]:
        ax.axis('off')
    for ax in axes[count - columns:count]:      # the lowest of each column
        ax.tick_params(labelbottom=True)
    return figure, axes[:count]


def calibration(c, y: np.ndarray, guesses: dict) -> Figure:
    """How many of those survived who were given a chance of 10, 20, ... %; bars are their 95 % intervals (Wilson)."""
    names = [n for n in guesses if n not in models.RULES]
    figure, axes = grid(len(names), 2.7, 2.9, sharex=True, sharey=True)
    for ax, name in zip(axes, names):
        p = guesses[name][:, 1]
        place = np.minimum((p * 10).astype(int), 9)
        ax.plot([0, 1], [0, 1], color='0.6', lw=1)
        for survived, color in ((1, '#2e933c'), (0, '0.55')):
            share = np.bincount(place[y == survived], minlength=10) / len(y) * 0.6
            ax.bar(np.arange(10) / 10 + 0.05, share, 0.09, bottom=(1 - share) * survived, color=color, alpha=0.35)
        for b in range(10):
            n, k = (place == b).sum(), y[place == b].sum()
            if n >= 5:
                low, high = stats.binomtest(int(k), int(n)).proportion_ci(method='wilson')
                ax.plot([p[place == b].mean()] * 2, [low, high], color=COLORS[name], lw=1.2)
                ax.plot(p[place == b].mean(), k / n, 'o', ms=4.5, color=COLORS[name])
        ax.set(xlim=(0, 1), ylim=(0, 1), aspect='equal')
        ax.set_title(f'{TITLES[name]}\nBrier score {np.mean((p - y) ** 2):.3f}', fontsize=9)
    figure.supxlabel('chance given (out of fold)', fontsize=10)
    figure.supylabel('share that survived', fontsize=10)
    figure.suptitle(f'Do chances hold?  {c.data}.  Grey, from below: how often each was given to the lost; green, from '
                    'above: to the saved', fontsize=10)
    return figure


def roc(c, y: np.ndarray, guesses: dict, scores: dict) -> Figure:
    """Survivors found against the lost who were taken for survivors, at every threshold."""
    figure = Figure(figsize=(6.4, 5.2), layout='constrained')
    ax = figure.subplots()
    for name in sorted(guesses, key=lambda n: -scores['auc'][n].mean()):
        curve = jax.device_get(jax.jit(metrics_scores.roc_curve)(y, guesses[name][:, 1]))
        rule = name in models.RULES
        ax.plot(curve.fpr, curve.tpr, color=COLORS[name], lw=1.5, ls='--' if rule else '-',
                label=f'{scores["auc"][name].mean():.3f} {TITLES[name]}')
    ax.set(xlabel='share of the lost that is called saved', ylabel='share of the saved that is called saved',
           xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), title=f'ROC curves out of fold, {c.data}')
    ax.legend(title='area (mean over folds)', fontsize=8, title_fontsize=8, loc='lower right')
    ax.grid(alpha=0.25)
    return figure


def sliced(c, rows: list[dict]) -> Figure:
    """How often each model is right about each group (left), and by how much its mean chance is off (right)."""
    names = list(dict.fromkeys(r['model'] for r in rows))
    keys = list(dict.fromkeys((r['column'], r['slice']) for r in rows))
    at = {(r['model'], r['column'], r['slice']): r for r in rows}
    labels = [f'{value if column != "age" else "age " + value}  (n = {at[names[0], column, value]["count"]}, '
              f'{at[names[0], column, value]["survived"]:.0%} saved)' for column, value in keys]
    figure = Figure(figsize=(4.6 + 1.3 * len(names), 1.6 + 0.3 * len(keys)), layout='constrained')
    off = lambda r: r['predicted'] - r['survived']
    parts = ((lambda r: r['accuracy'], 'share that is right', 'YlGnBu', 0.5, 1.0, '{:.0%}'),
             (off, 'mean chance less share saved', 'RdBu_r', -0.15, 0.15, '{:+.0%}'))
    for ax, (value, title, colours, low, high, form) in zip(figure.subplots(1, 2, sharey=True), parts):
        table = np.array([[value(at[n, *key]) for n in names] for key in keys])
        ax.imshow(table, cmap=colours, vmin=low, vmax=high, aspect='auto')
        for (i, j), v in np.ndenumerate(table):
            dark = (v - low) / (high - low) > 0.6 if low > 0 else abs(v) > 0.1
            ax.text(j, i, form.format(v), ha='center', va='center', fontsize=8, color='white' if dark else 'black')
        ax.set_title(title, fontsize=10)
        ax.set_xticks(range(len(names)), [TITLES[n].replace(' ', '\n') for n in names], fontsize=8)
        ax.set_yticks(range(len(keys)), labels, fontsize=8)
        for i in range(1, len(keys)):
            if keys[i][0] != keys[i - 1][0]:
                ax.axhline(i - 0.5, color='black', lw=1)
    figure.suptitle(f'For whom models err, out of fold, {c.data}', fontsize=11)
    return figure


def leaned_on(c, importance: dict) -> Figure:
    """What the log loss of the test rows loses when a column is shuffled."""
    features = passengers.FEATURES[c.data]
    names = list(importance)
    order = np.argsort(np.mean([v.mean(1) for v in importance.values()], 0))
    figure = Figure(figsize=(0.9 + 2.1 * len(names), 1.1 + 0.3 * len(features)), layout='constrained')
    for ax, name in zip(np.atleast_1d(figure.subplots(1, len(names), sharey=True, sharex=True)), names):
        mean, spread = importance[name].mean(1)[order], importance[name].std(1)[order]
        ax.barh(range(len(order)), mean, 0.7, xerr=spread, color=COLORS[name], ecolor='0.3', error_kw={'lw': 1})
        ax.axvline(0, color='0.3', lw=0.8)
        ax.set_title(TITLES[name], fontsize=9)
        ax.set_yticks(range(len(order)), [features[i].replace('_', ' ') for i in order], fontsize=8)
        ax.grid(axis='x', alpha=0.25)
    figure.supxlabel('rise of the log loss when the column is shuffled (mean and spread of the shuffles)', fontsize=9)
    figure.suptitle(f'What models lean on: test passengers of {c.data}', fontsize=11)
    return figure


def people(x: np.ndarray, features: tuple[str, ...], ages: np.ndarray, male: bool, level: int) -> np.ndarray:
    """Rows that differ in age alone: boys are Master, girls and young women Miss; the rest as most of that class."""
    near = x[(x[:, features.index('third_class')] == (level == 3)) & (x[:, features.index('second_class')] ==
             (level == 2)) & (x[:, features.index('male')] == male)]
    row = dict.fromkeys(features, 0.0) | {n: float(np.nanmedian(near[:, features.index(n)])) for n in features[9:]}
    row |= {'male': male, 'second_class': level == 2, 'third_class': level == 3}
    title = lambda a: {'master': male and a < 14, 'miss': not male and a < 22, 'mrs': not male and a >= 22}
    return np.array([[float({**row, **title(a), 'age': a}[n]) for n in features] for a in ages], np.float32)


def by_age(c, found: dict, x: np.ndarray, features: tuple[str, ...]) -> Figure:
    """The chance that models give to men and women of each class over their age."""
    names = some(found, BELIEVING)
    ages = np.arange(1, 71)
    kinds = [(male, level) for male in (False, True) for level in (1, 2, 3)]
    rows = np.concatenate([people(x, features, ages, *kind) for kind in kinds])
    figure, axes = grid(len(names), 3.0, 3.4, sharex=True, sharey=True)
    for ax, name in zip(axes, names):
        p = np.asarray(models.proba_of(name, c.trees, c.rounds)(found[name].best, found[name].state, rows))[:, 1]
        for (male, level), chance in zip(kinds, p.reshape(len(kinds), -1)):
            ax.plot(ages, chance, '--' if male else '-', color=('#edae49', '#00798c', '#6a4c93')[level - 1], lw=1.6,
                    label=f'{"men" if male else "women"}, {CLASSES[level - 1]}')
        ax.set_title(TITLES[name], fontsize=10)
        ax.set(xlabel='age', ylim=(0, 1))
        ax.yaxis.set_major_formatter(PercentFormatter(1))
        ax.grid(alpha=0.25)
    axes[0].set(ylabel='chance of surviving')
    figure.legend(*axes[0].get_legend_handles_labels(), fontsize=8, loc='outside lower center', ncols=3)
    figure.suptitle(f'What models believe, {c.data} (Master until 14, Miss until 22, then Mr and Mrs)', fontsize=11)
    return figure
