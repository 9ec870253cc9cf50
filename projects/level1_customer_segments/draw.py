"""Pictures of a run: how many segments, where they are, what they are worth, and what they say of later spending."""
import numpy as np
from matplotlib.figure import Figure

from common import plots
from common.results import interval
from common.runs import Run

TITLES = {'kmeans': 'k-means', 'ward': 'ward', 'spectral': 'spectral', 'mean_shift': 'mean shift',
          'rule': 'RFM rule', 'random': 'random segments', 'regression': 'regression (no segments)'}
SEGMENTS = ('#1f5fa8', '#2e933c', '#edae49', '#d1495b', '#6a4c93', '#00798c', '#8d6a4f', '#e377c2', '#7f7f7f',
            '#bcbd22', '#17becf', '#393b79')
COLORS = {'kmeans': plots.COLORS[0], 'ward': plots.COLORS[2], 'spectral': '#6a4c93', 'mean_shift': '#00798c',
          'rule': plots.COLORS[3], 'random': '0.6', 'regression': '0.3'}


def everything(run: Run, train, cut: int, found, values: dict, errors: dict, out: dict, held, labels, profile: list,
               slices: list) -> None:
    """Writes the pictures; those of single customers are of the first seed."""
    figures = {'choice': choice(run.config, found, errors, train, held),
               'segments': places(train, labels, profile, cut), 'profiles': worth(profile, cut),
               'compared': compared(run.config, values), 'later': later(train, labels, profile, out),
               'slices': sliced(slices)}
    for name, figure in figures.items():
        plots.save(figure, run.plots / f'{name}.png')


def choice(c, found, errors: dict, train, held) -> Figure:
    """Silhouette, stability and held-out gain over the number of segments."""
    ks = np.arange(c.least, c.most + 1)
    figure = Figure(figsize=(13.5, 3.9), layout='constrained')
    axes = figure.subplots(1, 3)
    panels = (('silhouette', found.choice.silhouette, 'mean silhouette'),
              ('stability', found.choice.stability, 'adjusted Rand index of resampled refits'))
    for ax, (name, values, label) in zip(axes, panels):
        told = name == 'silhouette'     # one legend for both panels
        ax.plot(ks, values.mean(0), 'o-', color=plots.COLORS[0], label='mean over folds and seeds' if told else None)
        ax.fill_between(ks, values.min(0), values.max(0), color=plots.COLORS[0], alpha=0.2, lw=0,
                        label='their range' if told else None)
        for k, count in zip(*np.unique(found.picked, return_counts=True)):
            ax.axvline(k, color=plots.COLORS[1], ls='--', lw=1.2,
                       label=f'{k} chosen {count} of {len(found.picked)} times' if told else None)
        if not told:
            ax.axhline(c.stable, color='0.4', ls=':', label=f'asked for: {c.stable:g}')
        ax.set(xlabel='number of segments', ylabel=label, title=name)
    y = train.target.astype(np.float64)
    for name in ('kmeans', 'rule'):
        gain = np.zeros((*held.shape[:2], len(ks)))
        for s, f in np.ndindex(*held.shape[:2]):
            rows, said = held[s, f], getattr(found.choice, name)[s * (c.folds + 1) + f]
            gain[s, f] = 1 - ((said[:, rows] - y[rows]) ** 2).mean(1) / errors['mean'][s, f]
        axes[2].plot(ks, gain.mean((0, 1)), 'o-', color=COLORS[name], label=TITLES[name])
        axes[2].fill_between(ks, gain.min((0, 1)), gain.max((0, 1)), color=COLORS[name], alpha=0.2, lw=0)
    axes[2].axhline((1 - errors['regression'] / errors['mean']).mean(), color='0.3', ls=':', label=TITLES['regression'])
    axes[2].set(xlabel='number of segments', ylabel='share of variance explained, held out',
                title='log later spending (has no say in the choice)')
    for ax in axes:
        ax.set(xticks=ks)
        ax.grid(alpha=0.25)
        ax.legend(fontsize=8)
    figure.suptitle(f'How many segments, {c.data}', fontsize=11)
    return figure


def places(train, labels, profile: list, cut: int) -> Figure:
    """The customers by recency, frequency and money, coloured by segment; whole numbers are shaken a little."""
    figure = Figure(figsize=(13.5, 5.2), layout='constrained')
    axes = figure.subplots(1, 2)
    rng = np.random.default_rng(0)
    show = rng.permutation(len(labels))[:6000]
    recency, frequency, money = (train.x[show].astype(np.float64) + np.array([0, 0, 1])).T
    recency, shaken = (v + rng.uniform(-0.35, 0.35, len(show)) for v in (recency, frequency))
    colors = [SEGMENTS[i % len(SEGMENTS)] for i in labels[show]]
    for ax, (across, up, x_label, y_label) in zip(axes, (
            (recency, money, f'days since the last purchase, on day {cut}', '1 + money spent'),
            (shaken, money, 'number of purchases', '1 + money spent'))):
        ax.scatter(across, up, s=5, c=colors, alpha=0.4, lw=0)
        ax.set(xscale='log', yscale='log', xlabel=x_label, ylabel=y_label)
        ax.grid(alpha=0.2)
    for row in profile:
        axes[0].scatter([], [], s=30, color=SEGMENTS[row['segment'] % len(SEGMENTS)],
                        label=f'{row["segment"]}: {row["name"]} ({row["share"]:.0%})')
    figure.legend(loc='outside lower center', ncols=min(3, len(profile)), fontsize=9, frameon=False)
    figure.suptitle(f'Segments of k-means, {len(show):,} of {len(labels):,} customers', fontsize=11)
    return figure


def worth(profile: list, cut: int) -> Figure:
    """What a manager looks at: shares of customers, revenue and later revenue; the medians behind each name."""
    figure = Figure(figsize=(13, 1.6 + 0.85 * len(profile)), layout='constrained')
    left, right = figure.subplots(1, 2, width_ratios=[1.1, 1])
    at = np.arange(len(profile))[::-1]
    bars = (('share', 'of the customers', '0.7'), ('share_of_revenue', f'of the revenue before day {cut}',
            plots.COLORS[0]), ('share_of_later_revenue', 'of the revenue after it', plots.COLORS[2]))
    for i, (key, label, color) in enumerate(bars):
        drawn = left.barh(at + 0.27 * (1 - i), [100 * r[key] for r in profile], 0.25, color=color, label=label)
        left.bar_label(drawn, [f'{r[key]:.0%}' for r in profile], fontsize=8, padding=2)
    left.set(yticks=at, xlabel='per cent', xlim=(0, 110 * max(max(r[b[0]] for r in profile) for b in bars)))
    left.set_yticklabels([f'{r["segment"]}: ' + r['name'].replace(', ', ',\n') for r in profile], fontsize=9)
    left.legend(fontsize=8, loc='best')
    columns = {'days since\nlast purchase': 'recency', 'purchases': 'frequency', 'spent': 'money',
               'came back\nlater': 'bought_later', 'mean spent\nlater': 'mean_later'}
    table = np.array([[r[c] for c in columns.values()] for r in profile])
    shade = table / np.maximum(table.max(0), 1e-9)
    shade[:, 0] = 1 - shade[:, 0] + shade[:, 0].min()      # recent is good
    right.imshow(shade, cmap='Blues', vmin=0, vmax=1.6, aspect='auto')
    for i, j in np.ndindex(*table.shape):
        text = f'{table[i, j]:.0%}' if j == 3 else f'{table[i, j]:.0f}'
        right.text(j, i, text, ha='center', va='center', fontsize=11)
    right.set_xticks(range(len(columns)), columns, fontsize=8)
    right.set_yticks(range(len(profile)), [str(r['segment']) for r in profile])
    right.set(ylabel='segment', title='medians; share and mean of what came later')
    right.title.set_fontsize(10)
    figure.suptitle('What the segments are and what they are worth', fontsize=11)
    return figure


def compared(c, values: dict) -> Figure:
    """Gain and top share of each model with the interval over seeds."""
    figure = Figure(figsize=(12, 3.8), layout='constrained')
    panels = (('gain', 'share of the variance of log later spending explained, held out'),
              ('top_share', 'share of the later revenue from the best-ranked fifth (dotted: at random)'))
    for ax, (kind, label) in zip(figure.subplots(1, 2), panels):
        names = [n for n in TITLES if f'{kind}_{n}' in values]
        for at, name in enumerate(names[::-1]):
            m = interval(values[f'{kind}_{name}'])
            low, high = m['ci95'] if m['ci95'][0] is not None else (m['mean'], m['mean'])
            ax.barh(at, m['mean'], 0.6, color=COLORS[name], xerr=[[m['mean'] - low], [high - m['mean']]], capsize=3)
            ax.text(max(high, 0), at, f'  {m["mean"]:.3f}', va='center', fontsize=8)
        if kind == 'top_share':
            ax.axvline(0.2, color='0.3', ls=':', lw=1)
        ax.set_yticks(range(len(names)), [TITLES[n] for n in names[::-1]])
        ax.set(xlabel=label, xlim=(min(0, *ax.get_xlim()), 1.12 * ax.get_xlim()[1]))
        ax.spines[['top', 'right']].set_visible(False)
    figure.suptitle(f'Ways to make segments compared on {c.data} (bars: 95 % interval over seeds)', fontsize=11)
    return figure


def later(train, labels, profile: list, out: dict) -> Figure:
    """What each segment spent later; and the share of later revenue among the customers ranked highest."""
    figure = Figure(figsize=(13, 4.4), layout='constrained')
    left, right = figure.subplots(1, 2)
    for row in profile:
        spent = train.later[labels == row['segment']].astype(np.float64)
        error = 1.96 * spent.std() / np.sqrt(len(spent))
        left.bar(row['segment'], spent.mean(), 0.6, yerr=error, capsize=4, color=SEGMENTS[row['segment']])
        left.text(row['segment'], spent.mean() + error, f'{row["bought_later"]:.0%} came back\n', ha='center',
                  va='bottom', fontsize=8)
    left.set(xticks=[r['segment'] for r in profile], ylabel='mean money spent later', title='by segment of k-means')
    left.set_xticklabels([f'{r["segment"]}: ' + r['name'].replace(', ', ',\n') for r in profile], fontsize=8)
    left.margins(y=0.15)
    revenue = train.later.astype(np.float64)
    for name in ('regression', 'kmeans', 'rule', 'random'):
        said = out[name][0].round(5)
        order = np.argsort(-said, kind='stable')
        ends = np.append(np.flatnonzero(np.diff(said[order])), len(said) - 1)     # ties: a straight line
        right.plot([0, *(100 * (ends + 1) / len(said))], [0, *(100 * np.cumsum(revenue[order])[ends] / revenue.sum())],
                   color=COLORS[name], label=TITLES[name], lw=1.6)
    right.set(xlabel='customers, best-ranked first (%)', ylabel='share of the later revenue (%)', xlim=(0, 100),
              ylim=(0, 102), title='who brings the later revenue, held out')
    right.grid(alpha=0.25)
    right.legend(fontsize=8)
    figure.suptitle('What the segments say of later spending', fontsize=11)
    return figure


def spanned(row: dict) -> str:
    """The values of a slice, and how many customers it has."""
    low, high = f'{row["low"]:.0f}', f'{row["high"]:.0f}'
    return f'{low}\n\nn = {row["count"]:,}' if low == high else f'{low} to\n{high}\nn = {row["count"]:,}'


def sliced(rows: list[dict]) -> Figure:
    """RMSE and bias of k-means by kind of customer, out of fold."""
    columns = list(dict.fromkeys(r['column'] for r in rows))
    figure = Figure(figsize=(3.7 * len(columns), 3.8), layout='constrained')
    axes = figure.subplots(1, len(columns), sharey=True)
    for ax, column in zip(axes, columns):
        mine = [r for r in rows if r['column'] == column]
        at = np.arange(len(mine))
        ax.bar(at - 0.2, [r['rmse'] for r in mine], 0.4, color=plots.COLORS[0], label='RMSE')
        ax.bar(at + 0.2, [r['bias'] for r in mine], 0.4, color=plots.COLORS[1], label='bias (said - true)')
        ax.axhline(0, color='0.3', lw=0.8)
        ax.set(title=column, xticks=at)
        ax.set_xticklabels([spanned(r) for r in mine], fontsize=7)
    axes[0].set(ylabel='log(1 + money spent later)')
    axes[0].legend(fontsize=8)
    figure.suptitle('Errors of k-means by kind of customer, out of fold', fontsize=11)
    return figure
