"""Pictures of a run: how models compare, coefficients and error over what was tried, predictions, errors by place."""
from itertools import combinations_with_replacement

import jax
import numpy as np
from matplotlib.figure import Figure

from common import housing, plots
from common.runs import Run
from levels.level1_classical import study
from projects.level1_house_prices import models

SLICED = {'hprice2': ('lowstat', 'rooms', 'crime'),
          'california_housing': ('median_income', 'latitude', 'housing_median_age')}
TITLES = {'mean': 'mean predictor', 'ols': 'least squares', 'ridge': 'ridge', 'lasso': 'lasso',
          'elastic': 'elastic net', 'sgd': 'stochastic gradient', 'knn': 'nearest neighbours',
          'svr': 'support vectors', 'tree': 'decision tree', 'forest': 'random forest',
          'boosting': 'gradient boosting'}
COLORS = dict(zip(TITLES, ('0.5', '#1f5fa8', '#d1495b', '#2e933c', '#8c9a00', '#6a4c93', '#00798c', '#b5651d',
                           '#7f7f00', '#e07a1f', '#a0195b')))


def some(found: dict, *wanted: str) -> list[str]:
    """Those that are there; the first that is there where none is."""
    return [name for name in wanted if name in found] or list(found)[:1]


def slices(c, name: str, train: dict, guess: np.ndarray) -> list[dict]:
    """Error by quarter of the price and of a few features: bias (prediction - truth), RMSE and count of each slice."""
    price, x = train['price'], train['x']
    columns = {'price': price} | {n: x[:, housing.FEATURES[c.data].index(n)] for n in SLICED[c.data]}
    rows = []
    for column, values in columns.items():
        edges = np.unique(np.nanquantile(values, [0, 0.25, 0.5, 0.75, 1]))
        place = np.clip(np.searchsorted(edges, values, side='right') - 1, 0, len(edges) - 2)
        for q in range(len(edges) - 1):
            error = (guess - price)[place == q].astype(np.float64)
            rows.append({'model': name, 'column': column, 'low': float(edges[q]), 'high': float(edges[q + 1]),
                         'count': len(error), 'bias': float(error.mean()), 'rmse': float(np.sqrt((error**2).mean()))})
    return rows


def everything(run: Run, dataset, found: dict, rmse: dict, r2: dict, comparison: dict, rows: list[dict]) -> None:
    """Writes the pictures, of the first seed but for `models`."""
    c, price = run.config, dataset.train['price']
    figures = {'models': compared(c, rmse, comparison), 'cv': curves(c, found, rmse), 'slices': sliced(c, rows),
               'predicted': predicted(c, price, found, rmse, r2)}
    if paths := [name for name in ('ridge', 'lasso') if name in found]:
        figures['path'] = path(c, dataset.train, paths)
    for name, figure in figures.items():
        plots.save(figure, run.plots / f'{name}.png')


def compared(c, rmse: dict, comparison: dict) -> Figure:
    """Each model's RMSE on the folds of all seeds, and its difference from ridge over the same folds."""
    names = sorted(rmse, key=lambda n: -rmse[n].mean())
    against = some(rmse, 'ridge')[0]
    figure = Figure(figsize=(11, 1.3 + 0.36 * len(names)), layout='constrained')
    left, right = figure.subplots(1, 2, sharey=True)
    for at, name in enumerate(names):
        values = rmse[name].ravel()
        left.plot(values, at + 0.28 * np.linspace(-1, 1, len(values)), 'o', ms=3, alpha=0.35, color=COLORS[name], mew=0)
        left.plot(values.mean(), at, '|', ms=16, mew=2.5, color=COLORS[name])
        d = study.between(comparison, name, against)
        if d and name != 'mean':
            right.plot([d['low'], d['high']], [at, at], color=COLORS[name], lw=2)
            right.plot(d['mean'], at, 'o', ms=5, color=COLORS[name])
    right.axvline(0, color='0.35', lw=1)
    left.set_yticks(range(len(names)), [TITLES[n] for n in names])
    left.set(xlabel='RMSE (1000 $): folds and mean')
    right.set(xlabel=f'RMSE above that of {TITLES[against]} (1000 $), 95 % interval')
    for ax in (left, right):
        ax.grid(alpha=0.25)
    seeds = len(next(iter(rmse.values())))
    figure.suptitle(f'{len(names) - 1} models on {c.data}: {c.folds} folds, seeds: {seeds}', fontsize=11)
    return figure


def path(c, train: dict, chosen: list[str]) -> Figure:
    """Coefficients of ridge and lasso over the penalty, all training rows; the six largest in the middle are named."""
    figure = Figure(figsize=(6.8 * len(chosen), 4.2), layout='constrained')
    features = names(c)
    for ax, name in zip(np.atleast_1d(figure.subplots(1, len(chosen))), chosen):
        alphas = np.logspace(*np.log10(models.grid(name, 2)['alpha']), 40).astype(np.float32)
        make = models.maker(name, models.Sizes(c.degree, c.tol))
        fit = lambda a, x, y, make=make: make(alpha=a).fit(jax.random.key(0), x, y)[-1].coef
        coef = np.asarray(jax.jit(jax.vmap(fit, (0, None, None)))(alphas, train['x'], train['price']))
        largest = np.argsort(-abs(coef[len(alphas) // 2]))[:6]
        for j in range(coef.shape[1]):
            if j not in largest:
                ax.plot(alphas, coef[:, j], color='0.8', lw=0.8)
        for j, color in zip(largest, ('#1f5fa8', '#d1495b', '#2e933c', '#edae49', '#6a4c93', '#00798c')):
            ax.plot(alphas, coef[:, j], color=color, lw=1.6, label=features[j])
        top = 1.15 * np.abs(coef[len(alphas) // 3]).max()
        ax.set(xscale='log', xlabel='penalty alpha', ylabel='coefficient (1000 $ per standard deviation)',
               title=f'{TITLES[name]}: {(coef[0] != 0).sum()} coefficients at the left, {(coef[-1] != 0).sum()} right',
               ylim=(-top, top))
        ax.axhline(0, color='0.4', lw=0.6)
        ax.legend(fontsize=8, title='largest in the middle', title_fontsize=8, loc='upper left', bbox_to_anchor=(1, 1))
    figure.suptitle(f'Regularisation paths on {c.data}', fontsize=11)
    return figure


def names(c) -> list[str]:
    """Names of the columns that the penalised models see."""
    own = list(housing.FEATURES[c.data])
    return [' x '.join(t) for n in range(1, c.degree + 1) for t in combinations_with_replacement(own, n)]


def curves(c, found: dict, rmse: dict) -> Figure:
    """RMSE of the inner folds over what was tried, with its range over the outer folds, and where each fold chose."""
    tuned = [name for name, m in found.items() if len(next(iter(m.points.values()))) > 1] or list(found)[:1]
    columns = min(3, len(tuned))
    rows = -(-len(tuned) // columns)
    figure = Figure(figsize=(3.9 * columns + 0.4, 2.9 * rows + 0.9), layout='constrained')
    axes = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for ax in axes.flat[len(tuned):]:
        ax.axis('off')
    for ax, name in zip(axes.flat, tuned):
        m = found[name]
        hyper = next(iter(m.points))
        at, inner = m.points[hyper], np.sqrt(-m.inner)
        values = np.unique(at)
        lowest = np.stack([inner[:, at == v].min(1) for v in values], 1)     # over the other hyperparameters
        few = len(values) < 8
        ax.plot(values, lowest.mean(0), color=COLORS[name], marker='.' if few else None, label='mean over outer folds')
        ax.fill_between(values, lowest.min(0), lowest.max(0), color=COLORS[name], alpha=0.2, lw=0,
                        label='their range')
        ax.plot(at[m.chosen], inner[np.arange(len(m.chosen)), m.chosen], 'o', ms=4, color='0.2', alpha=0.6,
                label='choice of each outer fold')
        for other, style in (('ols', '--'), ('mean', ':')):
            if other in rmse:
                ax.axhline(rmse[other].mean(), color='0.45', ls=style, lw=1, label=TITLES[other])
        more = f' (at the best {", ".join(list(m.points)[1:])})' if len(m.points) > 1 else ''
        ax.set(xscale='log', xlabel=hyper.replace('_', ' ') + more.replace('_', ' '), title=TITLES[name])
        if few:
            ax.set_xticks(values, [f'{v:g}' for v in values])
            ax.set_xticks([], minor=True)
        ax.grid(alpha=0.25)
    for ax in axes[:, 0]:
        ax.set(ylabel='RMSE on inner folds (1000 $)')
    figure.legend(*axes[0][0].get_legend_handles_labels(), fontsize=8, loc='outside lower center', ncols=5)
    figure.suptitle(f'Nested cross-validation on {c.data}', fontsize=11)
    return figure


def predicted(c, price: np.ndarray, found: dict, rmse: dict, r2: dict) -> Figure:
    """Out-of-fold predictions against the truth, and what they miss."""
    chosen = some(found, 'ols', 'ridge', 'forest', 'boosting')
    figure = Figure(figsize=(0.6 + 3.4 * len(chosen), 7), layout='constrained')
    axes = figure.subplots(2, len(chosen), sharex='row', sharey='row', squeeze=False)
    for top, below, name in zip(axes[0], axes[1], chosen):
        guess, size = found[name].out_of_fold, 10 if len(price) < 2000 else 1
        top.scatter(price, guess, s=size, alpha=0.4, color=COLORS[name], lw=0)
        ends = [price.min(), price.max()]
        top.plot(ends, ends, color='0.3', lw=0.8)
        top.set(title=f'{TITLES[name]}\nR2 {r2[name][0].mean():.3f}, RMSE {rmse[name][0].mean():.2f} (mean of folds)',
                xlabel='true price (1000 $)')
        top.title.set_fontsize(9)
        below.scatter(guess, guess - price, s=size, alpha=0.4, color=COLORS[name], lw=0)
        below.axhline(0, color='0.3', lw=0.8)
        below.set(xlabel='predicted price (1000 $)')
    reach = np.quantile(np.concatenate([np.abs(found[n].out_of_fold - price) for n in chosen]), 0.998)
    axes[0][0].set(ylabel='predicted by the fold that did not see it (1000 $)',
                   ylim=(price.min() - reach / 2, price.max() + reach / 2))
    axes[1][0].set(ylabel='predicted - true (1000 $)', ylim=(-reach, reach),
                   xlim=(price.min() - reach / 2, price.max() + reach / 2))
    figure.suptitle(f'Out-of-fold predictions on {c.data}', fontsize=11)
    return figure


def sliced(c, rows: list[dict]) -> Figure:
    """RMSE and bias of ridge and boosting by quarter of each column."""
    columns = list(dict.fromkeys(r['column'] for r in rows))
    chosen = some(dict.fromkeys(r['model'] for r in rows), 'ridge', 'boosting')
    figure = Figure(figsize=(3.2 * len(columns), 0.6 + 3.0 * len(chosen)), layout='constrained')
    axes = figure.subplots(len(chosen), len(columns), sharey=True, squeeze=False)
    for i, name in enumerate(chosen):
        for ax, column in zip(axes[i], columns):
            mine = [r for r in rows if r['column'] == column and r['model'] == name]
            at = np.arange(len(mine))
            ax.bar(at - 0.2, [r['rmse'] for r in mine], 0.4, color=plots.COLORS[0], label='RMSE')
            ax.bar(at + 0.2, [r['bias'] for r in mine], 0.4, color=plots.COLORS[1], label='bias (predicted - true)')
            ax.axhline(0, color='0.3', lw=0.8)
            ax.set(title=column, xticks=at)
            ax.set_xticklabels([f'{r["low"]:.3g} to\n{r["high"]:.3g}\nn = {r["count"]}' for r in mine], fontsize=7)
        axes[i][0].set(ylabel=f'{TITLES[name]} (1000 $)')
    axes[0][0].legend(fontsize=8)
    figure.suptitle(f'Errors by quarter, out of fold, {c.data}', fontsize=11)
    return figure
