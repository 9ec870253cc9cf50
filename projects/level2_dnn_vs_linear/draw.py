"""Pictures: who wins on which table, predictions against the truth, what was learned of one column, training."""
import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from common import plots
from projects.level2_dnn_vs_linear import models
from projects.level2_dnn_vs_linear.tables import NAMES, NOISE, TITLES, Folds, Tables

COLORS = {'network': plots.COLORS[0], 'linear': plots.COLORS[1]}
WORDS = {'network': 'the network wins', 'linear': 'the line wins', 'undecided': 'undecided'}


def compared(c, rmse: dict[str, np.ndarray], found: dict[str, dict]) -> Figure:
    """RMSE of every fold of all seeds, and the paired difference with its interval, in % of the line's RMSE."""
    figure = Figure(figsize=(11, 4.2), layout='constrained')
    panels = figure.subplots(1, 4, width_ratios=(1, 1, 1, 1.9))
    for i, (ax, name) in enumerate(zip(panels, NAMES)):
        for at, kind in enumerate(COLORS):
            values = rmse[kind][..., i].ravel()
            spread = at + 0.18 * np.linspace(-1, 1, len(values))
            ax.plot(spread, values, 'o', ms=4, alpha=0.5, mew=0, color=COLORS[kind])
            ax.plot(at, values.mean(), '_', ms=34, mew=2.5, color=COLORS[kind])
        ax.axhline(rmse['mean'][..., i].mean(), color='0.4', ls='--', lw=1.2, label='the mean, of every row')
        if name in NOISE:
            ax.axhline(NOISE[name], color='0.4', ls=':', lw=1.2, label='noise: the least there is')
        ax.set_xticks([0, 1], ['network', 'line'])
        ax.set(xlim=(-0.6, 1.6), ylim=(0, 1.12 * max(v[..., i].max() for v in rmse.values())), title=TITLES[name],
               ylabel='RMSE of a test fold' if i == 0 else None)
        ax.title.set_fontsize(9)
        ax.grid(alpha=0.25, axis='y')
    known = max((ax.get_legend_handles_labels() for ax in panels[:3]), key=lambda found: len(found[1]))
    figure.legend(*known, loc='outside lower left', ncols=2, fontsize=8)
    right = panels[-1]
    for at, name in enumerate(reversed(NAMES)):
        d, scale = found[name], 100 / found[name]['rmse_linear']
        color = COLORS.get(d['winner'], '0.4')
        right.plot([d['low'] * scale, d['high'] * scale], [at, at], color=color, lw=2.5)
        right.plot(d['mean'] * scale, at, 'o', color=color)
        right.text(d['mean'] * scale, at + 0.14, WORDS[d['winner']], ha='center', fontsize=8, color=color)
    right.axvline(0, color='0.35', lw=1)
    right.set_yticks(range(len(NAMES)), [TITLES[n] for n in reversed(NAMES)], fontsize=8)
    right.set(ylim=(-0.5, len(NAMES) - 0.4), xlabel='RMSE of the network above that of the line (%)',
              title='difference over the same folds, 95 % interval')
    right.margins(x=0.2)
    right.title.set_fontsize(9)
    right.grid(alpha=0.25)
    seeds = len(rmse['network'])
    figure.suptitle(f'A deep network against least squares: {c.folds} folds, seeds: {seeds}', fontsize=11)
    return figure


def predicted(tables: Tables, folds: Folds, said: dict[str, np.ndarray]) -> Figure:
    """What each says of rows that it has not seen, against the truth; the first seed."""
    figure = Figure(figsize=(10.2, 6.6), layout='constrained')
    axes = figure.subplots(2, len(NAMES), sharex='col', sharey='col')
    own = folds.test[:, 0].argmax(1)
    for row, kind in zip(axes, COLORS):
        for i, (ax, name) in enumerate(zip(row, NAMES)):
            guess, truth = said[kind][0][np.arange(len(own)), own, i], tables.y[:, i]
            ax.scatter(truth, guess, s=9 if len(truth) < 2000 else 1, alpha=0.45, lw=0, color=COLORS[kind])
            ends = [truth.min(), truth.max()]
            ax.plot(ends, ends, color='0.3', lw=0.8)
            label_worst(ax, truth, guess)
            r2 = 1 - ((guess - truth) ** 2).mean() / truth.var()
            ax.set_title(f'{TITLES[name]}: {"network" if kind == "network" else "line"}, R2 {r2:.3f}', fontsize=9)
            ax.grid(alpha=0.25)
    for ax in axes[-1]:
        ax.set(xlabel='truth')
    for ax in axes[:, 0]:
        ax.set(ylabel='prediction')
    figure.suptitle('Predictions of rows that were not seen, first seed (circles: the three worst, by their row)',
                    fontsize=11)
    return figure


def label_worst(ax, truth: np.ndarray, guess: np.ndarray) -> None:
    """Names the three rows that are furthest from the truth by their numbers in the table, and circles them."""
    worst = np.argsort(-np.abs(guess - truth), kind='stable')[:3]
    ax.plot(truth[worst], guess[worst], 'o', ms=7, mfc='none', mec='0.2', mew=0.8)
    for up, i in zip((0, 8, -8), worst):        # points: two of them may be close
        left = truth[i] > np.mean(ax.get_xlim())
        ax.annotate(str(i), (truth[i], guess[i]), (-6 if left else 6, up), textcoords='offset points', fontsize=7,
                    ha='right' if left else 'left', va='center')


SHOWN = {'hprice2': 'lowstat', 'california_housing': 'median_income'}


def shapes(c, tables: Tables, folds: Folds, state) -> Figure:
    """One column moved, all others at their mean: what the first seed's networks, one for each fold, make of it."""
    figure = Figure(figsize=(10.2, 3.5), layout='constrained')
    shown = {'houses': SHOWN[c.data], 'curved': 'x3', 'line': 'x1'}
    params = jax.tree.map(lambda v: v.reshape(c.folds, len(NAMES), *v.shape[1:]), state.inner.ema)
    for i, (ax, name) in enumerate(zip(figure.subplots(1, len(NAMES)), NAMES)):
        column = tables.columns[name].index(shown[name])
        values = tables.x[:, i, column]
        at = np.linspace(*np.nanquantile(values, [0.01, 0.99]), 80)
        for fold in range(c.folds):
            train = ~folds.test[:, 0, fold]
            x = np.zeros((len(at), tables.x.shape[-1]), np.float32)
            x[:, column] = (at - np.nanmean(values[train])) / np.nanstd(values[train])
            p = jax.tree.map(lambda v, f=fold, i=i: v[f, i], params)
            y = np.asarray(models.network(c).apply({'params': p}, jnp.asarray(x)), np.float32)
            ax.plot(at, y * folds.std[0, fold, i] + folds.mean[0, fold, i], color=COLORS['network'], lw=1.2, alpha=0.7,
                    label='networks of the folds' if fold == 0 else None)
        if name == 'curved':
            shape = 20 * (at - 0.5) ** 2
            ax.plot(at, shape - shape.mean() + ax.lines[0].get_ydata().mean(), color='0.2', ls='--', label='truth')
        if name == 'line':
            ax.plot(at, 6.0 * (at - at.mean()) + ax.lines[0].get_ydata().mean(), color='0.2', ls='--', label='truth')
        ax.set(xlabel=shown[name], title=TITLES[name], ylabel='prediction' if i == 0 else None)
        ax.title.set_fontsize(9)
        ax.grid(alpha=0.25)
        ax.legend(fontsize=8)
    figure.suptitle('One column moved, the others at their mean (the truth is shifted to the same mean)', fontsize=11)
    return figure


def curves(rows: list[dict], found: dict[str, dict]) -> Figure:
    """Test RMSE of the networks over training, with the line's."""
    figure = Figure(figsize=(10.2, 3.3), layout='constrained')
    for ax, name in zip(figure.subplots(1, len(NAMES)), NAMES):
        steps, values = plots.series(rows, 'test', f'rmse_{name}')
        ax.plot(steps, values.mean(1), color=COLORS['network'], label='networks, mean')
        if values.shape[1] > 1:
            ax.fill_between(steps, values.min(1), values.max(1), color=COLORS['network'], alpha=0.2, lw=0,
                            label='range of the seeds')
        ax.axhline(found[name]['rmse_linear'], color=COLORS['linear'], ls='--', label='line')
        ax.set(xlabel='training step', title=TITLES[name])
        ax.set_ylabel('RMSE of the test folds' if name == NAMES[0] else '')
        ax.title.set_fontsize(9)
        ax.grid(alpha=0.25)
        ax.legend(fontsize=8)
    return figure
