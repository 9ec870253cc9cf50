"""Matplotlib and seaborn: plots that can be read, checked by what a figure is made of."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from levels.level0_foundations.lessons.colours import brightness, closest
from levels.level0_foundations.lessons.lesson import Exercise, exercise, need

APART = 10.0        # of colours in L*a*b*, by any of `colours.VISIONS`


@contextmanager
def _drawn(answer, *data) -> Iterator[Any]:
    """The figure that an answer makes of the data, drawn; pyplot's figures and settings are afterwards as before."""
    import matplotlib as mpl
    from matplotlib import pyplot as plt
    from matplotlib.figure import Figure
    before = set(plt.get_fignums())
    try:
        with mpl.rc_context():
            figure = answer(*data)
            need(isinstance(figure, Figure), f'expected a matplotlib Figure, found {type(figure).__name__}')
            need(figure.axes, 'the figure has no axes')
            figure.draw_without_rendering()
            yield figure
    finally:
        for number in set(plt.get_fignums()) - before:
            plt.close(number)


def _labelled(ax) -> None:
    need(ax.get_xlabel().strip() and ax.get_ylabel().strip(), 'both axes need a label that says what they show')


def _legend(figure, names) -> None:
    legends = [*figure.legends, *(ax.get_legend() for ax in figure.axes if ax.get_legend())]
    need(legends, 'a legend must say which is which')
    texts = {t.get_text() for legend in legends for t in legend.get_texts()}
    need(set(names) <= texts, f'the legend must name {", ".join(sorted(names))}')


def _line(ax, x, y, what: str):
    """The line of an axis that goes through the points."""
    for line in ax.lines:
        xy = np.asarray(line.get_xydata(), float)
        if xy.shape == (len(x), 2) and np.allclose(xy, np.stack([x, y], -1)):
            return line
    need(False, f'no line goes through the points of {what}')


@exercise(
    '''Write curves(losses): a Figure with one line for each entry of losses, a dictionary from a name to losses
    [steps], over the steps 1, 2, .... Label both axes, give it a title and a legend with the names, in colours
    that also people who do not see red and green can tell apart (four lines at most).''',
    'figure, ax = plt.subplots(); ax.plot(x, y, label=name); ax.legend(); ax.set(xlabel=..., ylabel=..., title=...).',
    'The first step is step 1: np.arange(1, len(y) + 1).',
    "seaborn.color_palette('colorblind') is one such set; lines that differ in brightness are another way.")
def curves(answer):
    rng = np.random.default_rng(0)
    for n in (1, 2, 4):
        losses = {f'model {c}': np.exp(-rng.random(9).cumsum()) for c in 'ABCD'[:n]}
        with _drawn(answer, losses) as figure:
            ax = figure.axes[0]
            lines = [_line(ax, np.arange(1, 10), y, f'{name} over the steps from 1') for name, y in losses.items()]
            _labelled(ax)
            need(ax.get_title() or figure.get_suptitle(), 'a title says what is seen')
            _legend(figure, losses)
            for vision in ('normal', 'protanopia', 'deuteranopia'):
                gap = closest([line.get_color() for line in lines], vision)
                need(gap > APART, f'two lines look alike ({vision}): their colours are {gap:.0f} apart, {APART:.0f} is '
                     'the least')


@exercise(
    '''Write scaling(n, seconds): a Figure of running time over problem size, both spread over many powers of ten: the
    measured points joined by a line labelled 'measured', and a line labelled 'n^2' through the first point that
    grows as n^2, at the same sizes. On axes where a power law is straight; labelled, with a legend.''',
    'log y = k log x + c: which axes make that a straight line?',
    "ax.set(xscale='log', yscale='log') or ax.loglog; plot the numbers themselves, not their logarithms.",
    'The second line is seconds[0] * (n / n[0]) ** 2.')
def scaling(answer):
    rng = np.random.default_rng(1)
    for _ in range(3):
        n = np.sort(10 ** rng.uniform(1, 6, 8))
        seconds = 1e-7 * n ** rng.uniform(1, 3) * np.exp(rng.normal(0, 0.1, 8))
        with _drawn(answer, n, seconds) as figure:
            ax = figure.axes[0]
            _line(ax, n, seconds, 'what was measured')
            _line(ax, n, seconds[0] * (n / n[0]) ** 2, 'n^2 from the first point on')
            need((ax.get_xscale(), ax.get_yscale()) == ('log', 'log'), 'on these axes a power law is not straight')
            _labelled(ax)
            _legend(figure, ['measured', 'n^2'])


@exercise(
    '''Write intervals(names, values): a Figure with, for each model (names [m], at places 0, 1, ..., named on the
    axis), the mean of values [m, seeds] with an error bar of 1.96 standard errors each way (standard deviation
    by n - 1).''',
    'ax.errorbar(x, mean, yerr=half) draws points with bars; ax.set_xticks(x, names) names the places.',
    'A standard error is the standard deviation divided by the square root of the number of seeds.',
    'values.std(1, ddof=1); the axis of the values needs a label, too.')
def intervals(answer):
    rng = np.random.default_rng(2)
    for m, seeds in ((2, 5), (4, 9)):
        names, values = [f'model {i}' for i in range(m)], rng.normal(size=(m, seeds)) + np.arange(m)[:, None]
        with _drawn(answer, names, values) as figure:
            ax = figure.axes[0]
            bars = [c for c in ax.containers if hasattr(c, 'has_yerr') and c.has_yerr]
            need(bars, 'there are no error bars')
            parts = np.concatenate([np.stack(c.lines[2][0].get_segments()) for c in bars])
            need(parts.shape == (m, 2, 2), f'expected {m} error bars, found {len(parts)}')
            need(np.allclose(parts[:, :, 0], np.arange(m)[:, None]), 'model i stands at place i')
            need(np.allclose(parts.mean(1)[:, 1], values.mean(1)), 'a bar is not centred on its mean')
            half = 1.96 * values.std(1, ddof=1) / np.sqrt(seeds)
            need(np.allclose(np.ptp(parts[:, :, 1], axis=1) / 2, half), 'a bar does not reach 1.96 standard errors')
            need([t.get_text() for t in ax.get_xticklabels()] == names, 'each place needs the name of its model')
            need(ax.get_ylabel().strip(), 'say what the values are')


@exercise(
    '''Write compare(a, b): a Figure that compares two samples of different size, a [n] and b [m], by histograms on one
    axis: the same 20 bins for both, from the least to the largest of all values, areas of 1, transparent enough that
    both are seen; legend 'a' and 'b', axes labelled.''',
    'With bins=20 each sample gets bins of its own: compute the edges once, of both together.',
    'np.linspace(low, high, 21) has the edges of 20 bins.',
    'density=True makes the area 1; alpha below 1 lets the one behind shine through.')
def compare(answer):
    rng = np.random.default_rng(3)
    for n, m in ((100, 1000), (400, 30)):
        a, b = rng.normal(size=n), rng.normal(1, 2, m)
        edges = np.linspace(min(a.min(), b.min()), max(a.max(), b.max()), 21)
        with _drawn(answer, a, b) as figure:
            ax = figure.axes[0]
            groups = [c for c in ax.containers if hasattr(c, 'patches') and len(c.patches)]
            need([len(c.patches) for c in groups] == [20, 20], 'expected two histograms of 20 bars')
            for sample, bars in zip((a, b), groups):
                left, width, height = np.array([(p.get_x(), p.get_width(), p.get_height()) for p in bars.patches]).T
                need(np.allclose(left, edges[:-1]) and np.allclose(left + width, edges[1:]),
                     'the bins must be the same for both, from the least to the largest value')
                need(np.allclose(height, np.histogram(sample, edges, density=True)[0]), 'the area of each must be 1')
                need(all(p.get_alpha() is not None and p.get_alpha() < 0.9 for p in bars.patches),
                     'one histogram hides the other')
            _labelled(ax)
            _legend(figure, 'ab')


@exercise(
    '''Write confusion(counts, names): a Figure of a confusion matrix (counts [k, k], rows are the truth): an image of
    the rows divided by their sums, from 0 to 1, in a colour map that only gets brighter or only darker, with a
    colour bar; every cell carries its count as text; both axes name the classes and say which is the truth and
    which the prediction.''',
    'ax.imshow(shares, vmin=0, vmax=1, cmap=...) and figure.colorbar(image).',
    'counts / counts.sum(1, keepdims=True) divides the rows; ax.text(j, i, ...): the column comes first, as x does.',
    "jet gets brighter and darker again; viridis, cividis, 'Blues' do not. Labels with 'true' and 'predicted'.")
def confusion(answer):
    rng = np.random.default_rng(4)
    for k in (2, 4):
        counts, names = rng.integers(1, 60, (k, k)), [f'class {i}' for i in range(k)]
        with _drawn(answer, counts, names) as figure:
            ax = next((a for a in figure.axes if a.images), None)
            need(ax is not None, 'there is no image')
            image = ax.images[0]
            need(np.allclose(image.get_array(), counts / counts.sum(1, keepdims=True)), 'the image must show each row '
                 'divided by its sum')
            need(image.get_clim() == (0, 1), 'the colours must span 0 to 1')
            steps = np.diff(brightness(image.get_cmap().name))
            need((steps > -0.3).all() or (steps < 0.3).all(), 'along the colour map the brightness must go one way')
            need(image.colorbar is not None, 'a colour bar must say what the colours mean')
            texts = {tuple(np.round(t.get_position()).astype(int)): t.get_text() for t in ax.texts}
            need(texts == {(j, i): str(counts[i, j]) for i in range(k) for j in range(k)}, 'a cell lacks its count, or '
                 'has that of another')
            for axis in ('x', 'y'):
                labels = [t.get_text() for t in getattr(ax, f'get_{axis}ticklabels')()]
                need([t for t in labels if t] == names, f'the {axis} axis must name the classes')
            need('true' in ax.get_ylabel().lower() and 'predicted' in ax.get_xlabel().lower(), "the axes must say "
                 "'true' and 'predicted'")


@exercise(
    '''Write panels(table): a Figure of small multiples, for a DataFrame with the columns x, y and group: one scatter
    plot for each group, in the order of their first appearance, with the name of the group in its title, and all
    with the same limits on both axes. seaborn may help.''',
    'plt.subplots(1, k, sharex=True, sharey=True, squeeze=False) has k panels with common limits.',
    "Or sns.relplot(table, x='x', y='y', col='group'), whose figure is its attribute figure.",
    'Points that are compared between panels need the same scales.')
def panels(answer):
    import pandas as pd
    rng = np.random.default_rng(5)
    for k in (2, 3):
        groups = rng.permutation(['red', 'green', 'blue'])[:k]
        names = np.concatenate([groups, rng.choice(groups, 30)])
        table = pd.DataFrame({'group': names, 'x': rng.normal(size=len(names)), 'y': rng.normal(size=len(names))})
        table.loc[table['group'] == groups[0], 'y'] *= 10
        with _drawn(answer, table) as figure:
            axes = [ax for ax in figure.axes if ax.collections]
            need(len(axes) == k, f'expected {k} panels with points, found {len(axes)}')
            for ax, name in zip(axes, groups):
                want = table.loc[table['group'] == name, ['x', 'y']].to_numpy()
                need(name in ax.get_title(), 'each panel must be titled with its group, in the order of the table')
                found = np.concatenate([np.asarray(c.get_offsets()) for c in ax.collections])
                need(sorted(found.tolist()) == sorted(want.tolist()),
                     f'panel {name} must show its points, and no others')
            need(len({(ax.get_xlim(), ax.get_ylim()) for ax in axes}) == 1, 'the panels have different limits')


def plot_lesson() -> tuple[Exercise, ...]:
    """Six exercises: curves, a power law, error bars, histograms, a confusion matrix, small multiples.

    Formula: the figure is drawn and its parts are read: data of lines and bars, scales, labels, legends, and the
        distance of colours in L*a*b* as three kinds of eyes see them.
    Paper: Hunter 2007, Matplotlib: a 2D graphics environment; Machado, Oliveira, Fernandes 2009; Waskom 2021, seaborn.
    Shapes: as each task says; an answer returns a matplotlib Figure.
    Errors: AssertionError of `check`, one line, for an answer that is not right yet.
    Example:
        from matplotlib.figure import Figure
        exercises = {e.name: e for e in plot_lesson()}
        try: exercises['curves'].check(lambda losses: Figure())
        except AssertionError as error: line = str(error)
        assert line == 'the figure has no axes'
    """
    return curves, scaling, intervals, compare, confusion, panels
