"""Pictures of a run: the scree, what components look like and rebuild, what they are good for, and the maps."""
import jax
import numpy as np
from matplotlib.figure import Figure

from common import plots
from common.results import interval
from common.runs import Run
from levels.level1_classical.unsupervised.pca import pca
from projects.level1_mnist_pca import maps, programs

DIGITS = ('#1f77b4', '#ff7f0e', '#2ca02c', '#d62728', '#9467bd', '#8c564b', '#e377c2', '#7f7f7f', '#bcbd22', '#17becf')
TITLES = {'random': 'two random directions', 'pca': 'PCA', 'tsne': 't-SNE', 'umap': 'UMAP'}
COLORS = {'pca': plots.COLORS[0], 'random': '0.55', 'raw': plots.COLORS[1], 'tsne': plots.COLORS[2],
          'umap': plots.COLORS[3]}


def slices(c, found, y: np.ndarray, labels: np.ndarray) -> list[dict]:
    """By digit, over all seeds: how often held-out ones are told right, how badly rebuilt, how well maps place them."""
    truth, at = y[found.tasks.test], list(c.dims).index(c.shown)
    rank = min(range(len(c.ranks)), key=lambda i: abs(c.ranks[i] - c.shown))
    rows = []
    for digit in range(10):
        own = truth == digit
        row = {'digit': digit, 'count': int(own.sum() / len(found.nulls)),
               f'mse_{c.ranks[rank]}': float(found.held.error[:, 0, rank][own].mean()),
               'mse_mean_digit': float(found.held.flat[own].mean())}
        for p, probe in enumerate(programs.PROBES):
            row |= {f'{probe}_raw': float(np.mean(found.held.raw[:, p][own] == digit))}
            row |= {f'{probe}_{basis}_{c.shown}': float(np.mean(found.held.guess[:, p, b, at][own] == digit))
                    for b, basis in enumerate(programs.BASES)}
        for name in maps.NAMES:
            said = np.concatenate([m[name].guess[labels[r] == digit] for m, r in zip(found.maps, found.map_rows)])
            row[f'map_{name}'] = float(np.mean(said == digit))
        rows.append(row)
    return rows


def everything(run: Run, found, values: dict, test: tuple, y: np.ndarray, rows: list[dict]) -> None:
    """Writes the pictures; maps are those of the first seed."""
    c = run.config
    figures = {'scree': scree(c, found, values), 'components': components(found), 'rebuilt': rebuilt(c, found, test),
               'probe': probe(c, values), 'maps': mapped(c, found, values, test, y), 'slices': sliced(c, rows)}
    for name, figure in figures.items():
        plots.save(figure, run.plots / f'{name}.png')


def scree(c, found, values: dict) -> Figure:
    """Variance along the components beside that of shuffled pixels; and how it adds up."""
    figure = Figure(figsize=(12.5, 4.2), layout='constrained')
    left, right = figure.subplots(1, 2)
    seen, nulls = found.variances[:300], found.nulls.reshape(-1, found.nulls.shape[-1])[:, :300]
    at, count = np.arange(1, len(seen) + 1), int(np.median(values['components_parallel']))
    left.semilogy(at, np.maximum(seen, 1e-6), color=plots.COLORS[0], label='digits')
    band = np.maximum([nulls.min(0), nulls.max(0)], 1e-6)[:, :len(at)]
    left.fill_between(at, *band, color=plots.COLORS[1],
                      alpha=0.7, label=f'pixels shuffled, {len(nulls)} times')
    left.axvline(count, color='0.3', ls=':', label=f'parallel analysis: {count} components')
    left.set(xlabel='component', ylabel='variance along it', title='scree')
    left.set_ylim(bottom=max(1e-5, 0.5 * float(seen[seen > 0].min())))
    total = np.cumsum(found.fitted.whole.explained_variance_ratio)
    right.plot(np.arange(1, len(total) + 1), 100 * total, color=plots.COLORS[0])
    for share, style in ((0.8, '-.'), (0.9, '--'), (0.95, ':')):
        enough = 1 + int(np.argmax(total >= share))
        right.plot([0, enough, enough], [100 * share, 100 * share, 0], color='0.4', ls=style, lw=1,
                   label=f'{share:.0%}: {enough} components')
    right.set(xlabel='components', ylabel='variance kept (%)', title='how it adds up', ylim=(0, 101),
              xlim=(0, min(len(total), 400)))
    for ax in (left, right):
        ax.grid(alpha=0.25)
        ax.legend(fontsize=9)
    figure.suptitle(f'How many components, {c.data}', fontsize=11)
    return figure


def components(found) -> Figure:
    """The mean digit and the first components as pictures."""
    figure = Figure(figsize=(11, 3.9), layout='constrained')
    whole = found.fitted.whole
    for i, ax in enumerate(figure.subplots(2, 8).flat):
        ax.axis('off')
        picture = whole.mean if i == 0 else whole.components[i - 1]
        top = np.abs(picture).max()
        ax.imshow(picture.reshape(28, 28), cmap='gray_r' if i == 0 else 'RdBu_r', vmin=0 if i == 0 else -top, vmax=top)
        ax.set_title('mean digit' if i == 0 else f'{i}: {whole.explained_variance_ratio[i - 1]:.1%}', fontsize=9)
    figure.suptitle('The mean digit and the first components, with their share of the variance; red and blue are '
                    'opposite', fontsize=11)
    return figure


def rebuilt(c, found, test: tuple) -> Figure:
    """Ten digits of the test set, one a class, rebuilt from more and more components."""
    pick = [int(np.flatnonzero(test[1] == d)[0]) for d in range(10)]
    X, ranks = test[0][pick], [r for r in c.ranks if r <= len(found.fitted.whole.components)]
    figure = Figure(figsize=(9.2, 0.92 * (len(ranks) + 1) + 0.6), layout='constrained')
    axes = figure.subplots(len(ranks) + 1, 11, width_ratios=[1.6, *[1] * 10])
    for line, rank in enumerate([*ranks, None]):
        text = 'as written'
        again = X
        if rank is not None:
            model, whole = pca(n_components=rank), found.fitted.whole
            state = whole._replace(components=whole.components[:rank],
                                   explained_variance=whole.explained_variance[:rank])
            back = jax.jit(lambda x, m=model, s=state: m.inverse(s, m.transform(s, x)))
            again = np.asarray(back(X))
            text = f'{rank} component{"s" if rank > 1 else ""}\nerror {np.mean((again - X) ** 2):.4f}'
        axes[line, 0].text(1, 0.5, text, ha='right', va='center', fontsize=9)
        for ax, picture in zip(axes[line, 1:], again):
            ax.imshow(picture.reshape(28, 28), cmap='gray_r', vmin=0, vmax=1)
    for ax in axes.flat:
        ax.axis('off')
    figure.suptitle('Digits of the test set rebuilt, with their mean squared error', fontsize=11)
    return figure


def probe(c, values: dict) -> Figure:
    """Accuracy over the number of dimensions, and squared error over the number of components, held out."""
    figure = Figure(figsize=(14, 4.2), layout='constrained')
    axes = figure.subplots(1, 3)
    mean = lambda name: float(np.mean(values[name]))

    def line(ax, names, at, color, label, style='o-'):
        found = [interval(values[n]) for n in names]
        ax.plot(at, [m['mean'] for m in found], style, color=color, label=label, ms=4)
        if found[0]['ci95'][0] is not None:
            ax.fill_between(at, *np.array([m['ci95'] for m in found]).T, color=color, alpha=0.25, lw=0)

    for ax, name, title in zip(axes, programs.PROBES, (f'{c.neighbors} nearest neighbours', 'logistic regression')):
        for basis, text in (('pca', 'components'), ('random', 'random directions')):
            line(ax, [f'accuracy_{name}_{basis}_{d}' for d in c.dims], c.dims, COLORS[basis], text)
        raw = mean(f'accuracy_{name}_raw')
        ax.axhline(raw, color=COLORS['raw'], ls='--', label=f'all 784 pixels: {raw:.3f}')
        ax.set(xscale='log', xlabel='dimensions', ylabel='accuracy on digits held out', title=title, ylim=(0, 1.02))
        ax.set_xticks(c.dims, [str(d) for d in c.dims])
    for basis, text in (('pca', 'components'), ('random', 'random directions')):
        line(axes[2], [f'mse_{basis}_{r}' for r in c.ranks], c.ranks, COLORS[basis], text)
    line(axes[2], [f'mse_seen_{r}' for r in c.ranks], c.ranks, COLORS['pca'], 'components, on the digits seen', 'x:')
    axes[2].axhline(mean('mse_mean_digit'), color='0.3', ls=':', label='the mean digit')
    axes[2].set(xscale='log', yscale='log', xlabel='dimensions', ylabel='mean squared error of a pixel',
                title='rebuilding digits, held out unless said')
    axes[2].set_xticks(c.ranks, [str(r) for r in c.ranks])
    for ax in axes:
        ax.minorticks_off()
        ax.grid(alpha=0.25)
        ax.legend(fontsize=8)
    figure.suptitle(f'What the dimensions are good for, {c.data} (bands: 95 % interval over seeds)', fontsize=11)
    return figure


def mapped(c, found, values: dict, test: tuple, y: np.ndarray) -> Figure:
    """The four maps, digits by colour and by number; new digits as crosses."""
    figure = Figure(figsize=(12.5, 12.6), layout='constrained')
    labels = y[found.map_rows[0]]
    for ax, name in zip(figure.subplots(2, 2).flat, maps.NAMES):
        m = found.maps[0][name]
        for digit in range(10):
            own = m.place[labels == digit]
            ax.scatter(*own.T, s=9, color=DIGITS[digit], alpha=0.6, lw=0)
            if m.new is not None:
                new = m.new[test[1][:c.placed] == digit]
                ax.scatter(*new.T, s=16, marker='x', color=DIGITS[digit], alpha=0.8, lw=0.8)
        for digit in range(10):
            own = m.place[labels == digit]
            if len(own):
                ax.text(*np.median(own, 0), str(digit), fontsize=16, weight='bold', ha='center', va='center',
                        bbox={'boxstyle': 'circle,pad=0.15', 'fc': 'white', 'ec': DIGITS[digit], 'alpha': 0.85})
        text = f'{TITLES[name]}\ntrustworthiness {m.trust:.3f}, neighbours right {np.mean(m.guess == labels):.1%}'
        if m.new is not None:
            text += f', new digits {np.mean(m.new_guess == test[1][:c.placed]):.1%}'
        ax.set_title(text, fontsize=10)
        ax.set(xticks=[], yticks=[])
    new = '; crosses: test digits, placed afterwards' if found.maps[0]['pca'].new is not None else ''
    figure.suptitle(f'{len(labels):,} digits of {c.data} in two dimensions, seed {c.seed}{new}', fontsize=12)
    return figure


def sliced(c, rows: list[dict]) -> Figure:
    """By digit: how many are told right in the models' and the maps' coordinates."""
    figure = Figure(figsize=(13, 4), layout='constrained')
    left, right = figure.subplots(1, 2)
    at = np.arange(10)
    bars = ((f'knn_random_{c.shown}', f'{c.shown} random directions', COLORS['random']),
            (f'knn_pca_{c.shown}', f'{c.shown} components', COLORS['pca']),
            ('knn_raw', '784 pixels', COLORS['raw']))
    for i, (key, label, color) in enumerate(bars):
        left.bar(at + 0.27 * (i - 1), [100 * (1 - r[key]) for r in rows], 0.26, color=color, label=label)
    left.set(title=f'{c.neighbors} nearest neighbours, digits held out', ylabel='told wrong (%)')
    for i, name in enumerate(maps.NAMES):
        right.bar(at + 0.2 * (i - 1.5), [100 * (1 - r[f'map_{name}']) for r in rows], 0.19, color=COLORS[name],
                  label=TITLES[name])
    right.set(title=f'{maps.NEAR} nearest neighbours in the map, one left out', ylabel='told wrong (%)')
    for ax in (left, right):
        ax.set_xticks(at, [f'{r["digit"]}' for r in rows])
        ax.set(xlabel='digit', ylim=(0, 1.2 * ax.get_ylim()[1]))       # room for the legend
        ax.legend(fontsize=8, ncols=4, loc='upper center')
        ax.grid(axis='y', alpha=0.25)
    figure.suptitle(f'Errors by digit, {c.data}, over all seeds', fontsize=11)
    return figure
