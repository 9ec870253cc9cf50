"""Pictures: accuracy over CPU seconds, what training sees, who is taken for whom, the worst mistakes."""
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from common import cifar10, data, datasets, photos, plots
from projects.level3_cifar10 import models

NAMES = {'photo_patches': photos.NAMES, 'cifar10': cifar10.NAMES, 'cifar10_subset': cifar10.NAMES}


def time(c, curves: dict[str, dict[int, list]], base: dict[str, float]) -> Figure:
    """Test accuracy against CPU seconds of training: a line for each seed, the goal, the baselines."""
    figure = Figure(figsize=(7.2, 4.4), layout='constrained')
    ax = figure.subplots()
    for (name, of_seed), color in zip(curves.items(), plots.COLORS):
        for i, curve in enumerate(of_seed.values()):
            _, seconds, accuracy = np.array(curve).T
            ax.plot(seconds, accuracy, 'o-', ms=3.5, lw=1.4, color=color, alpha=0.85,
                    label=models.NETWORKS[name].title if i == 0 else None)
    for i, (text, value) in enumerate(base.items()):
        ax.axhline(value, color='0.45', ls=('--', ':')[i % 2], lw=1.2, label=f'{text}: {value:.3f}')
    ax.axhline(c.goal, color='0.15', lw=0.8, label=f'goal: {c.goal}')
    ax.set(xlabel='CPU seconds of training (compilation and evaluation apart)', ylabel='test accuracy', xlim=(0, None))
    ax.grid(alpha=0.25)
    ax.legend(fontsize=8, loc='best')
    seeds = len(next(iter(curves.values())))
    figure.suptitle(f'{c.data}: accuracy over CPU time, seeds: {seeds}', fontsize=11)
    return figure


def recipe(c, dataset: datasets.Dataset, state: Any, stats: tuple) -> dict[str, Figure]:
    """Of the first seed: confusion matrix, mistakes; and what augmentation makes of training images."""
    test, title, names = dataset.test, models.NETWORKS[c.model].title, NAMES[c.data]
    p, truth = scores(c, state, test, stats), test['label']
    guess, bad = p.argmax(1), plots.worst(p, truth, 32)
    text = [f'{names[truth[i]]}\nas {names[guess[i]]} ({p[i, guess[i]]:.0%})' for i in bad]
    table = plots.confusion(truth, guess, names, f'{title} on {c.data}, seed {c.seed}')
    table.axes[0].tick_params(axis='x', rotation=45)
    return {'confusion': table, 'augmented': augmented(c, dataset.train),
            'mistakes': plots.images(test['image'][bad], text, f'{title}: its {len(bad)} most confident mistakes')}


def scores(c, state: Any, test: dict, stats: tuple) -> np.ndarray:
    """Probabilities [n, classes] that the network of a state gives."""
    model = models.network(c, c.model)
    look = lambda images: models.scaled(*stats, {'image': images})['image']
    one = jax.jit(lambda state, images: jax.nn.softmax(model.apply(
        {'params': state.params, **state.extra}, look(images), train=False).astype(jnp.float32)))
    size = min(1000, len(test['label']))
    parts = [np.asarray(one(state, batch['image'])) for batch in data.padded(test, size)]
    return np.concatenate(parts)[:len(test['label'])]


def augmented(c, train: dict, count: int = 8) -> Figure:
    """A few training images, and under each what three draws of its augmentation make of it."""
    images = train['image'][:count].astype(np.float32) / 255
    rows, middle = [images], images.mean((0, 1, 2))
    fn = models.augmentation(c)
    for draw in range(3 if fn else 0):
        keys = jax.random.split(jax.random.key(draw), count)
        rows.append(np.asarray(jax.vmap(fn)(keys, images - middle)) + middle)
    text = [NAMES[c.data][label] for label in train['label'][:count]] + [''] * count * (len(rows) - 1)
    return plots.images(np.clip(np.concatenate(rows), 0, 1), text, 'Training images, and three draws of each', count)
