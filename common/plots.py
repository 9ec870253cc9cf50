"""Plots that read at a glance: axes, units and titles on each.  Figures are objects; no global state, no display."""
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from matplotlib.figure import Figure
from matplotlib.transforms import ScaledTranslation

COLORS = ('#1f5fa8', '#d1495b', '#2e933c', '#edae49')


def save(figure: Figure, path: Path) -> Path:
    """Writes a PNG, in one move."""
    tmp = path.with_name(path.name + '.tmp')
    figure.savefig(tmp, dpi=120, bbox_inches='tight', format='png')
    tmp.replace(path)
    return path


def series(rows: list[dict], split: str, name: str) -> tuple[np.ndarray, np.ndarray]:
    """(steps [n], values [n, seeds]) of one metric; seeds that ran in turn are put side by side."""
    units: dict[str, dict[int, np.ndarray]] = {}
    for row in rows:
        if row['split'] == split and name in row:
            units.setdefault(row.get('unit', ''), {})[row['step']] = np.atleast_1d(np.asarray(row[name], float))
    if not units:
        return np.zeros(0), np.zeros((0, 0))
    steps = sorted(set.intersection(*(set(u) for u in units.values())))
    return np.array(steps), np.array([np.concatenate([u[s] for u in units.values()]) for s in steps])


def curves(rows: list[dict], panels: Sequence[tuple[str, str]], title: str,
           baselines: dict[str, dict[str, float]] | None = None) -> Figure:
    """One panel per (metric, label of its axis): mean over seeds and its range, training and test, over steps.

    baselines: metric -> {name: value}, drawn as level lines and named in the legend, where close ones do not collide.
    """
    figure = Figure(figsize=(5.2 * len(panels), 4.8), layout='constrained')
    for ax, (name, label) in zip(np.atleast_1d(figure.subplots(1, len(panels))), panels):
        seen = []
        for split, color in zip(('train', 'test'), COLORS):
            steps, values = series(rows, split, name)
            if not len(steps):
                continue
            n = values.shape[1]
            seen.append(values)
            text = {'train': 'train, as augmented and regularised', 'test': 'test'}[split]
            ax.plot(steps, values.mean(1), color=color, label=text + (f', mean of {n} seeds' if n > 1 else ''))
            if n > 1:
                ax.fill_between(steps, values.min(1), values.max(1), color=color, alpha=0.2, lw=0, label='their range')
        marks = (baselines or {}).get(name, {})
        for i, (text, value) in enumerate(marks.items()):
            ax.axhline(value, color='0.45', ls=('--', ':', '-.')[i % 3], lw=1.2, label=f'{text}: {value:.3f}')
        if marks and seen:      # the first steps are far off; the comparison is what the panel is for
            bulk = np.concatenate([v.mean(1) for v in seen])
            low, high = min(*marks.values(), np.quantile(bulk, 0.15)), max(*marks.values(), bulk.max())
            ax.set_ylim(low - 0.15 * (high - low), high + 0.05 * (high - low))
        ax.set(xlabel='training step', ylabel=label)
        ax.grid(alpha=0.25)
        below = ax.transAxes + ScaledTranslation(0, -36 / 72, figure.dpi_scale_trans)       # points: under the label
        ax.legend(fontsize=8, loc='upper center', bbox_to_anchor=(0.5, 0), bbox_transform=below)
    figure.suptitle(title, fontsize=11)
    return figure


def confusion(truth: Int[np.ndarray, ' n'], guess: Int[np.ndarray, ' n'], names: Sequence[str], title: str) -> Figure:
    """How often each class was taken for each other; the diagonal is left white so that mistakes stand out."""
    k = len(names)
    table = np.zeros((k, k), int)
    np.add.at(table, (truth, guess), 1)
    figure = Figure(figsize=(1.6 + 0.48 * k, 1.3 + 0.45 * k), layout='constrained')
    ax = figure.subplots()
    wrong = np.where(np.eye(k, dtype=bool), 0, table)
    ax.imshow(wrong, cmap='Reds', vmin=0, vmax=max(1, wrong.max()))
    for i, j in np.ndindex(k, k):
        if table[i, j]:
            dark = wrong[i, j] > 0.6 * max(1, wrong.max())
            ax.text(j, i, table[i, j], ha='center', va='center', fontsize=8, color='white' if dark else 'black',
                    weight='bold' if i == j else 'normal')
    ax.set(xticks=range(k), yticks=range(k), xticklabels=names, yticklabels=names, xlabel='predicted class',
           ylabel='true class', title=f'{title}\n{np.trace(table)} of {table.sum()} right; red: mistakes')
    ax.title.set_fontsize(10)
    return figure


def images(pictures: Float[np.ndarray, 'n h w c'], captions: Sequence[str], title: str, columns: int = 8) -> Figure:
    """A sheet of pictures with a caption under each."""
    rows = max(1, -(-len(pictures) // columns))
    figure = Figure(figsize=(1.25 * columns, 1.6 * rows + 0.5), layout='constrained')
    for ax in figure.subplots(rows, columns, squeeze=False).flat:
        ax.axis('off')
    for ax, picture, caption in zip(figure.axes, pictures, captions):
        ax.imshow(picture[..., 0] if picture.shape[-1] == 1 else picture, cmap='gray_r')
        ax.set_title(caption, fontsize=7)
    figure.suptitle(title, fontsize=11)
    return figure


def worst(
    scores: Float[np.ndarray, 'n classes'], truth: Int[np.ndarray, ' n'], count: int
) -> Int[np.ndarray, ' count']:
    """Indices of the rows that were given to a wrong class with the most confidence (at most `count`)."""
    guess = scores.argmax(1)
    margin = scores[np.arange(len(truth)), guess] - scores[np.arange(len(truth)), truth]
    order = np.argsort(-margin, kind='stable')
    return order[guess[order] != truth[order]][:count]
