"""Pictures of a run: what depth does, curves, signals and slopes, maps block by block, confusions and mistakes."""
import jax
import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from common import plots, results
from common.experiment import Trained
from common.runs import Run, read_metrics
from levels.level3_vision.features import feature_maps
from projects.level3_mini_resnet.network import MiniResNet
from projects.level3_mini_resnet.training import KINDS, NAMES

COLORS = {'plain': plots.COLORS[1], 'residual': plots.COLORS[0]}
DASHES = (':', '--', '-')


def count(params) -> int:
    """Numbers in a tree."""
    return sum(x.size for x in jax.tree.leaves(params))


def style(c, name: str) -> dict:
    """Colour by kind, dashes by depth: the deepest is the solid line."""
    kind, depth = name.split('_')
    place = len(DASHES) - len(c.depths) + list(c.depths).index(int(depth))
    return {'color': COLORS[kind], 'ls': DASHES[max(0, place)], 'label': f'{kind}, {depth} layers'}


def depths(c, metrics: dict[str, list[float]], base: dict[str, float]) -> Figure:
    """Training loss and test accuracy over depth: each seed, the mean and its interval."""
    figure = Figure(figsize=(10.2, 3.9), layout='constrained')
    panels = (('train_loss', 'loss on the training images (nats)'), ('accuracy', 'test accuracy'))
    for ax, (metric, label) in zip(figure.subplots(1, 2), panels):
        for kind, shift in zip(KINDS, (-0.06, 0.06)):
            values = np.array([metrics[f'{metric}_{kind}_{depth}'] for depth in c.depths])
            at = np.arange(len(c.depths)) + shift
            found = [results.interval(list(v)) for v in values]
            ax.plot(at, [f['mean'] for f in found], '-', color=COLORS[kind], label=f'{kind}, mean of the seeds')
            ax.plot(np.repeat(at, values.shape[1]), values.ravel(), 'o', color=COLORS[kind], ms=4, alpha=0.5)
            if values.shape[1] > 1:
                half = [f['ci95'][1] - f['mean'] for f in found]
                ax.errorbar(at, [f['mean'] for f in found], half, fmt='none', color=COLORS[kind], capsize=4)
        for i, (text, value) in enumerate(base.items() if metric == 'accuracy' else ()):
            ax.axhline(value, color='0.45', ls=('--', ':')[i % 2], lw=1.2, label=f'{text}: {value:.3f}')
        if metric == 'accuracy':        # an interval of few seeds may well reach beyond
            ax.set_ylim(max(0.0, ax.get_ylim()[0]), min(1.01, ax.get_ylim()[1]))
        ax.set_xticks(range(len(c.depths)), [str(d) for d in c.depths])
        ax.set(xlabel='layers', ylabel=label, yscale='log' if metric == 'train_loss' else 'linear')
        ax.grid(alpha=0.25)
        ax.legend(fontsize=8, loc='best')
    figure.suptitle('What depth does to plain and to residual networks (bars: 95 % interval of the mean)', fontsize=11)
    return figure


def curves(c, rows: list[dict], names: list[str]) -> Figure:
    """Training loss and test accuracy over the steps, one line for each network: the mean of the seeds."""
    figure = Figure(figsize=(10.2, 3.9), layout='constrained')
    panels = (('train', 'loss', 'training loss (nats)'), ('test', 'accuracy', 'test accuracy'))
    for ax, (split, metric, label) in zip(figure.subplots(1, 2), panels):
        for name in names:
            steps, values = plots.series(rows, split, f'{metric}_{name}')
            ax.plot(steps, values.mean(1), **style(c, name))
        ax.set(xlabel='training step', ylabel=label, yscale='log' if metric == 'loss' else 'linear')
        ax.grid(alpha=0.25)
    figure.axes[0].legend(fontsize=8)
    figure.suptitle('The same batches, the same first weights: with and without what is carried past the blocks',
                    fontsize=11)
    return figure


def signals(c, found: dict[str, dict]) -> Figure:
    """Size of what the blocks put out and of the loss's slope there, before and after training."""
    figure = Figure(figsize=(10.2, 6.6), layout='constrained')
    grid = figure.subplots(2, 2, sharex=True, sharey='row')
    for row, (part, label) in zip(grid, (('signal', 'output of a block (RMS)'), ('slope', "loss's slope there (RMS)"))):
        for ax, (when, title) in zip(row, (('start', 'before training'), ('end', 'after training'))):
            for name, inside in found.items():
                values = getattr(inside[when], part)
                layer = 1 + 2 * np.arange(1, values.shape[1] + 1)
                ax.plot(layer, np.exp(np.log(np.maximum(values, 1e-30)).mean(0)), marker='.', **style(c, name))
            ax.set(yscale='log', title=title if part == 'signal' else None, ylabel=label if when == 'start' else None,
                   xlabel='after layer' if part == 'slope' else None)
            ax.grid(alpha=0.25)
    grid[0][0].legend(fontsize=8)
    figure.suptitle('What goes through the layers, forwards and back (geometric mean of the seeds)', fontsize=11)
    return figure


def walk(net: MiniResNet, variables, images: Float[np.ndarray, 'b h w c'], seen: Float[np.ndarray, 'b h w c'],
         title: str) -> Figure:
    """Pictures and what the stem and each block make of them: of each the channel that differs most over the image."""
    names = ['stem', *net.blocks]
    look = jax.jit(lambda variables, x: feature_maps(net, variables, x, layers=names)[1])
    maps = jax.device_get(look(variables, seen))
    channel = {name: maps[name].var((1, 2)).mean(0).argmax() for name in names}
    figure = Figure(figsize=(1.3 * (len(names) + 1), 1.35 * len(images) + 0.6), layout='constrained')
    for i, row in enumerate(figure.subplots(len(images), len(names) + 1, squeeze=False)):
        row[0].imshow(images[i, ..., 0] if images.shape[-1] == 1 else images[i], cmap='gray_r')
        for ax, name in zip(row[1:], names):
            ax.imshow(maps[name][i, ..., channel[name]], cmap='viridis')
        for ax, text in zip(row, ['image', *names]):
            ax.set(xticks=[], yticks=[])
            if i == 0:
                size = '' if text == 'image' else '\n{}x{}x{}'.format(*maps[text].shape[1:])
                ax.set_title(text + size, fontsize=8)
    figure.suptitle(title, fontsize=10)
    return figure


def everything(run: Run, nets: dict[str, MiniResNet], trained: Trained, norms: dict[str, dict], test: dict, scaled,
               base: dict[str, float]) -> None:
    """All pictures; what is of one network's guesses is of the first seed."""
    c, state, truth = run.config, trained.carries[0].state, test['label']
    variables = {name: {'params': fit.params, **fit.extra} for name, fit in state.items()}
    save = lambda figure, name: plots.save(figure, run.plots / f'{name}.png')
    save(depths(c, trained.metrics, base), 'depths')
    save(curves(c, read_metrics(run.dir), list(nets)), 'curves')
    save(signals(c, norms), 'signals')
    pick = [int(np.flatnonzero(truth == label)[0]) for label in sorted(set(truth.tolist()))[:4]]
    first = f'residual_{c.depths[0]}'
    save(walk(nets[first], variables[first], test['image'][pick], np.asarray(scaled({'image': test['image'][pick]})[
        'image']), f'{first.replace("_", ", ")} layers: block by block'), 'blocks')
    labels = [name[:6] for name in NAMES.get(c.data, [str(i) for i in range(10)])]
    for kind in KINDS:
        name, net = f'{kind}_{c.depths[-1]}', nets[f'{kind}_{c.depths[-1]}']
        score = jax.jit(lambda v, x, net=net: jax.nn.softmax(net.apply(v, scaled({'image': x})['image'])))
        p = np.concatenate([np.asarray(score(variables[name], test['image'][i:i + 1000]))
                            for i in range(0, len(truth), 1000)])
        what = f'{kind}, {c.depths[-1]} layers, {c.data}'
        save(plots.confusion(truth, p.argmax(1), labels, f'{what}, seed {c.seed}'), f'confusion_{kind}')
        bad = plots.worst(p, truth, 32)
        text = [f'{labels[truth[i]]} as {labels[p[i].argmax()]} ({p[i].max():.0%})' for i in bad]
        save(plots.images(test['image'][bad], text, f'{what}: its {len(bad)} most confident mistakes'),
             f'mistakes_{kind}')
