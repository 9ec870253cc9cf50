"""Pictures of a run: coefficients and error over the penalty, predictions and the truth, errors by kind of place."""
from itertools import combinations_with_replacement

import jax
import numpy as np
from matplotlib.figure import Figure

from common import housing, plots
from common.runs import Run
from projects.level1_house_prices import models

SLICED = {'hprice2': ('lowstat', 'rooms', 'crime'),
          'california_housing': ('median_income', 'latitude', 'housing_median_age')}
TITLES = {'ols': 'least squares', 'ridge': 'ridge', 'lasso': 'lasso', 'mean': 'mean predictor'}
COLORS = dict(zip(('ols', 'ridge', 'lasso'), plots.COLORS))


def slices(c, train: dict, guess: np.ndarray) -> list[dict]:
    """Error by quarter of the price and of a few features: bias (prediction - truth), RMSE and count of each slice."""
    price, x = train['price'], train['x']
    columns = {'price': price} | {n: x[:, housing.FEATURES[c.data].index(n)] for n in SLICED[c.data]}
    rows = []
    for name, column in columns.items():
        edges = np.unique(np.nanquantile(column, [0, 0.25, 0.5, 0.75, 1]))
        place = np.clip(np.searchsorted(edges, column, side='right') - 1, 0, len(edges) - 2)
        for q in range(len(edges) - 1):
            error = (guess - price)[place == q].astype(np.float64)
            rows.append({'column': name, 'low': float(edges[q]), 'high': float(edges[q + 1]), 'count': len(error),
                         'bias': float(error.mean()), 'rmse': float(np.sqrt((error**2).mean()))})
    return rows


def everything(run: Run, dataset, found: dict, rmse: dict, r2: dict, rows: list[dict]) -> None:
    """Writes the four pictures, of the first seed."""
    c = run.config
    figures = {'path': path(c, dataset.train), 'cv': curves(c, found, rmse), 'slices': sliced(c, rows),
               'predicted': predicted(c, dataset.train['price'], found, rmse, r2)}
    for name, figure in figures.items():
        plots.save(figure, run.plots / f'{name}.png')


def path(c, train: dict) -> Figure:
    """Coefficients of ridge and lasso over the penalty, all training rows; the six largest at the weakest are named."""
    figure = Figure(figsize=(13.5, 4.2), layout='constrained')
    features = names(c)
    for ax, name in zip(figure.subplots(1, 2), ('ridge', 'lasso')):
        alphas = np.logspace(*np.log10(models.grid(name, 2)['alpha']), 40).astype(np.float32)
        make = models.maker(name, c.degree, c.tol)
        fit = lambda a, make=make: make(a).fit(jax.random.key(0), train['x'], train['price'])[-1].coef
        coef = np.asarray(jax.jit(jax.vmap(fit))(alphas))
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
    """RMSE of the inner folds over the penalty, with its range over the outer folds, and where each fold chose."""
    figure = Figure(figsize=(11, 4.2), layout='constrained')
    axes = figure.subplots(1, 2, sharey=True)
    for ax, name in zip(axes, ('ridge', 'lasso')):
        m = found[name]
        alphas, inner = m.points['alpha'], np.sqrt(-m.inner)
        ax.plot(alphas, inner.mean(0), color=COLORS[name], label='mean over outer folds')
        ax.fill_between(alphas, inner.min(0), inner.max(0), color=COLORS[name], alpha=0.2, lw=0,
                        label='their range')
        ax.plot(alphas[m.chosen], inner[np.arange(len(m.chosen)), m.chosen], 'o', ms=4, color='0.2',
                label='choice of each outer fold')
        ax.axhline(np.sqrt(-found['ols'].inner).mean(), color='0.45', ls='--', lw=1, label='least squares, no products')
        ax.axhline(rmse['mean'].mean(), color='0.45', ls=':', lw=1, label='mean predictor')
        ax.set(xscale='log', xlabel='penalty alpha', title=TITLES[name])
        ax.grid(alpha=0.25)
        ax.legend(fontsize=8)
    axes[0].set(ylabel='RMSE on inner folds (1000 $)')
    figure.suptitle(f'Nested cross-validation on {c.data}', fontsize=11)
    return figure


def predicted(c, price: np.ndarray, found: dict, rmse: dict, r2: dict) -> Figure:
    """Out-of-fold predictions against the truth, and what they miss."""
    figure = Figure(figsize=(12, 7.2), layout='constrained')
    axes = figure.subplots(2, 3, sharex='row', sharey='row')
    for top, below, (name, m) in zip(axes[0], axes[1], found.items()):
        guess, size = m.out_of_fold, 10 if len(price) < 2000 else 1
        top.scatter(price, guess, s=size, alpha=0.4, color=COLORS[name], lw=0)
        ends = [price.min(), price.max()]
        top.plot(ends, ends, color='0.3', lw=0.8)
        top.set(title=f'{TITLES[name]}: R2 {r2[name].mean():.3f}, RMSE {rmse[name].mean():.2f} (means over folds)',
                xlabel='true price (1000 $)')
        top.title.set_fontsize(9)
        below.scatter(guess, guess - price, s=size, alpha=0.4, color=COLORS[name], lw=0)
        below.axhline(0, color='0.3', lw=0.8)
        below.set(xlabel='predicted price (1000 $)')
    reach = np.quantile(np.concatenate([np.abs(m.out_of_fold - price) for m in found.values()]), 0.998)
    axes[0][0].set(ylabel='predicted by the fold that did not see it (1000 $)',
                   ylim=(price.min() - reach / 2, price.max() + reach / 2))
    axes[1][0].set(ylabel='predicted - true (1000 $)', ylim=(-reach, reach),
                   xlim=(price.min() - reach / 2, price.max() + reach / 2))
    figure.suptitle(f'Out-of-fold predictions on {c.data}', fontsize=11)
    return figure


def sliced(c, rows: list[dict]) -> Figure:
    """RMSE and bias of ridge by quarter of each column."""
    columns = list(dict.fromkeys(r['column'] for r in rows))
    figure = Figure(figsize=(3.2 * len(columns), 3.8), layout='constrained')
    axes = figure.subplots(1, len(columns), sharey=True)
    for ax, column in zip(axes, columns):
        mine = [r for r in rows if r['column'] == column]
        at = np.arange(len(mine))
        ax.bar(at - 0.2, [r['rmse'] for r in mine], 0.4, color=plots.COLORS[0], label='RMSE')
        ax.bar(at + 0.2, [r['bias'] for r in mine], 0.4, color=plots.COLORS[1], label='bias (predicted - true)')
        ax.axhline(0, color='0.3', lw=0.8)
        ax.set(title=column, xticks=at)
        ax.set_xticklabels([f'{r["low"]:.3g} to\n{r["high"]:.3g}\nn = {r["count"]}' for r in mine], fontsize=7)
    axes[0].set(ylabel='1000 $')
    axes[0].legend(fontsize=8)
    figure.suptitle(f'Errors of ridge by quarter, out of fold, {c.data}', fontsize=11)
    return figure
