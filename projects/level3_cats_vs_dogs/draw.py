"""Pictures: accuracy over the number of pictures, what transfer adds, and the loss over training."""
import numpy as np
from matplotlib.figure import Figure

from common import plots, results

COLORS = dict(zip(('scratch', 'finetune', 'probe'), plots.COLORS))
WORDS = {'scratch': 'from scratch', 'finetune': 'all layers fine-tuned', 'probe': 'new head on a frozen body'}
SIMPLE = {'logistic regression': '--', 'RBF SVM': ':'}


def learning_curves(sizes: tuple[int, ...], metrics: dict[str, list[float]], simple: dict[str, np.ndarray],
                    what: str) -> Figure:
    """Test accuracy over the number of pictures, and what transfer adds to it, in pairs."""
    figure = Figure(figsize=(11, 4.4), layout='constrained')
    left, right = figure.subplots(1, 2)
    n = len(metrics[f'scratch_{sizes[0]}'])
    for name, color in COLORS.items():
        values = np.array([metrics[f'{name}_{size}'] for size in sizes])
        left.plot(sizes, values.mean(1), 'o-', color=color, ms=4, label=WORDS[name])
        if n > 1:
            left.fill_between(sizes, values.min(1), values.max(1), color=color, alpha=0.15, lw=0)
    for name, values in simple.items():
        left.plot(sizes, values.mean(0), ls=SIMPLE[name], color='0.4', lw=1.2, label=f'{name} on pixels')
    left.set(ylabel='test accuracy', title='mean' + (f' and range of {n} seeds' if n > 1 else ''))
    shift = {'finetune': 0.97, 'probe': 1.03}
    for name, by in shift.items():
        found = [results.interval(metrics[f'{name}_gain_{size}']) for size in sizes]
        mean = np.array([d['mean'] for d in found])
        at = np.array(sizes) * by
        if n > 1:
            ends = np.array([d['ci95'] for d in found])
            right.errorbar(at, mean, yerr=np.abs(ends - mean[:, None]).T, fmt='o', color=COLORS[name], ms=4,
                           capsize=3, label=WORDS[name])
        else:
            right.plot(at, mean, 'o', color=COLORS[name], ms=4, label=WORDS[name])
    right.axhline(0, color='0.35', lw=1)
    right.set(ylabel='accuracy above that from scratch',
              title='in pairs, 95 % interval over seeds' if n > 1 else 'in pairs')
    for ax in (left, right):
        ax.set_xscale('log')
        ax.set_xticks(sizes, [str(s) for s in sizes])
        ax.minorticks_off()
        ax.set_xlabel('pictures of cats and dogs to learn from')
        ax.title.set_fontsize(10)
        ax.grid(alpha=0.25)
        ax.legend(fontsize=8)
    figure.suptitle(f'Cats against dogs, {what}: with and without a network that learned something else first',
                    fontsize=11)
    return figure


def training(c, rows: list[dict], what: str) -> Figure:
    """Loss and accuracy on training batches; lines where a new size begins."""
    figure = Figure(figsize=(11, 3.6), layout='constrained')
    each = (c.steps - c.source_steps) // len(c.sizes)
    for ax, (name, label) in zip(figure.subplots(1, 2), (('loss', 'cross-entropy (nats)'), ('accuracy', 'accuracy'))):
        steps, values = plots.series(rows, 'train', name)
        ax.plot(steps, values.mean(1), color=plots.COLORS[0], lw=1.2)
        top = ax.get_ylim()[1]
        ax.axvspan(0, c.source_steps, color='0.93', zorder=0)
        ax.text(c.source_steps / 2, top, 'source task', ha='center', va='bottom', fontsize=8)
        for i, n in enumerate(c.sizes):
            begin = c.source_steps + i * each
            ax.axvline(begin, color='0.6', lw=0.8)
            ax.text(begin + each / 2, top, n, ha='center', va='bottom', fontsize=8)
        ax.set(xlabel='training step', ylabel=label)
        ax.grid(alpha=0.25)
    figure.suptitle(f'Cats against dogs, {what}: training batches of the source task, then of so many pictures '
                    '(all three networks together)', fontsize=11)
    return figure
