"""Pictures of a run: curves, what was confused, mistakes, and what went through the layers, forwards and back."""
import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from common import plots
from common.optim import Fit
from common.runs import Run, read_metrics
from levels.level2_neural.backprop import Chain, Passes
from levels.level2_neural.backprop_task import flat

BLUE, RED = plots.COLORS[:2]
ROWS = 500      # training images whose passes are drawn


def layers(seen: Passes, title: str) -> Figure:
    """For each layer the spread of what it gave (forwards) and of the slope of the loss there (back)."""
    names = list(seen.values)
    figure = Figure(figsize=(11, 1.6 + 0.34 * len(names)), layout='constrained')
    for ax, tensors, color, what in zip(figure.subplots(1, 2, sharey=True), (seen.values, seen.slopes), (BLUE, RED), (
            'values, forwards', 'slopes of the loss (logarithm of the size), backwards')):
        numbers = [np.asarray(tensors[name]).ravel() for name in names]
        if color == RED:        # sizes over many powers of ten; zeros, of units that are off, are counted apart
            off = [np.mean(n == 0) for n in numbers]
            numbers = [np.log10(np.abs(n[n != 0])) if (n != 0).any() else np.zeros(1) for n in numbers]
        parts = ax.violinplot(numbers, range(len(names)), orientation='horizontal', showextrema=False, widths=0.85)
        for body in parts['bodies']:
            body.set(facecolor=color, alpha=0.45)
        ax.plot([np.median(n) for n in numbers], range(len(names)), 'o', color=color, ms=4, label='median')
        if color == RED:
            right = ax.get_xlim()[1]
            for i, share in enumerate(off):
                if share > 0.005:
                    ax.text(right, i, f' {share:.0%} zero', va='center', fontsize=8, color='0.35')
        ax.set(title=what, xlabel='value' if color == BLUE else 'log10 of |slope|', yticks=range(len(names)),
               yticklabels=names)
        ax.grid(alpha=0.25)
        ax.legend(fontsize=8, loc='upper left')
    figure.axes[0].invert_yaxis()
    figure.suptitle(title, fontsize=11)
    return figure


def weights(kernel: np.ndarray, title: str, count: int = 32) -> Figure:
    """Kernels of the first layer as images: those with the largest weights; red is positive, blue negative."""
    most = np.argsort(-np.linalg.norm(kernel, axis=0))[:count]
    columns, side = 8, round(len(kernel) ** 0.5)
    figure = Figure(figsize=(8, 1.02 * -(-len(most) // columns) + 0.5), layout='constrained')
    for ax in figure.subplots(-(-len(most) // columns), columns, squeeze=False).flat:
        ax.axis('off')
    for ax, unit in zip(figure.axes, most):
        size = np.abs(kernel[:, unit]).max()
        ax.imshow(kernel[:, unit].reshape(side, side), cmap='RdBu_r', vmin=-size, vmax=size)
    figure.suptitle(title, fontsize=11)
    return figure


def everything(run: Run, net: Chain, fit: Fit, images, labels, test_images, test: dict,
               base: dict[str, float]) -> None:
    """All pictures of the first seed (the curves are of all seeds)."""
    c, names = run.config, [str(i) for i in range(10)]
    what = f'MLP {"-".join(map(str, c.hidden))} by hand on {c.data}'
    p = np.asarray(jax.jit(lambda fit, x: jax.nn.softmax(net.forward(fit.params, fit.extra, flat(x))[0]))(
        fit, test_images))
    guess, truth = p.argmax(1), test['label']
    plots.save(plots.curves(read_metrics(run.dir), [('loss', 'cross-entropy (nats)'), ('accuracy', 'accuracy')], what,
                            {'accuracy': base}), run.plots / 'curves.png')
    plots.save(plots.confusion(truth, guess, names, f'{what}, seed {c.seed}'), run.plots / 'confusion.png')
    bad = plots.worst(p, truth, 32)
    text = [f'{truth[i]} as {guess[i]} ({p[i, guess[i]]:.0%})' for i in bad]
    plots.save(plots.images(test['image'][bad], text, f'{what}: its {len(bad)} most confident mistakes'),
               run.plots / 'mistakes.png')
    passes = jax.jit(lambda fit, x, y: net.passes(fit.params, fit.extra, flat(x), y, train=True, key=jax.random.key(0)))
    seen = jax.device_get(passes(fit, jnp.asarray(images[:ROWS]), jnp.asarray(labels[:ROWS])))
    plots.save(layers(seen, f'{what}: one way forward and back, {ROWS} training images'), run.plots / 'layers.png')
    plots.save(weights(np.asarray(fit.params['0 dense']['kernel']), f'{what}: what units of the first layer look for'),
               run.plots / 'weights.png')
