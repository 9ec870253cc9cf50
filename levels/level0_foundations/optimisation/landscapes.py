"""Functions of two variables whose stationary points are known, and which start ends in which minimum.

Example:
    from levels.level0_foundations.optimisation.landscapes import basin_map, gallery, plot_basins
    himmelblau = gallery()['himmelblau']
    plots.save(plot_basins(himmelblau, basin_map(himmelblau, rate=0.01, steps=500)), Path('basins.png'))
"""

import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from common.task import Task, train_fn
from levels.level0_foundations.optimisers import sgd

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Landscape(NamedTuple):
    """A function [2] -> [], the box to look at, and all its stationary points there with what they are."""

    name: str
    fun: Callable[[Float[Array, ' 2']], Float[Array, '']]
    low: tuple[float, float]
    high: tuple[float, float]
    points: tuple[tuple[float, float], ...]
    kinds: tuple[str, ...]

    def minima(self) -> Float[np.ndarray, 'k 2']:
        return np.array([p for p, kind in zip(self.points, self.kinds) if kind == 'minimum']).reshape(-1, 2)


def _himmelblau(p):
    return (p[0] ** 2 + p[1] - 11) ** 2 + (p[0] + p[1] ** 2 - 7) ** 2


def _camel(p):
    x, y = p[0], p[1]
    return (4 - 2.1 * x ** 2 + x ** 4 / 3) * x ** 2 + x * y + (4 * y ** 2 - 4) * y ** 2


HIMMELBLAU = (
    ('minimum', (3.0, 2.0)), ('minimum', (-2.805118086952745, 3.131312518250573)),
    ('minimum', (-3.779310253377747, -3.2831859912861696)), ('minimum', (3.5844283403304917, -1.8481265269644036)),
    ('saddle', (-3.073025750764389, -0.08135304428796751)), ('saddle', (3.385154183607021, 0.07385187983774923)),
    ('saddle', (0.08667750455539637, 2.8842547011747763)), ('saddle', (-0.12796134673068008, -1.9537149802445766)),
    ('maximum', (-0.2708445906673476, -0.9230385564799815)),
)
CAMEL = (       # and each again on the other side of the origin, a saddle
    ('minimum', (0.08984201310031807, -0.7126564030207396)), ('minimum', (1.7036067149699814, -0.7960835686726252)),
    ('minimum', (1.6071047529201976, 0.5686514548841313)), ('saddle', (1.1092053368047865, -0.7682680925095399)),
    ('saddle', (1.2960702671671092, 0.6050843880386585)), ('saddle', (1.6380679841897785, 0.22867406904439405)),
    ('maximum', (1.2302298765166526, 0.16233458445899496)),
)
# roots of 4 x^3 - 32 x + 5: the function is a sum over coordinates, so its points are all pairs
TANG = {-2.903534027771177: 'minimum', 0.1567312567803401: 'maximum', 2.746802770990837: 'minimum'}


def gallery() -> dict[str, Landscape]:
    """What a gradient can meet: one minimum or several of unlike depth, saddles, hills, a valley, degenerate points.

    Formula: bowl x^2 + 3 y^2; saddle x^2 - y^2; monkey saddle x^3 - 3 x y^2; quartic x^4 + y^4; double well
        (x^2 - 1)^2 + y^2; Rosenbrock (1 - x)^2 + 100 (y - x^2)^2; Himmelblau (x^2 + y - 11)^2 + (x + y^2 - 7)^2;
        six-hump camel (4 - 2.1 x^2 + x^4 / 3) x^2 + x y + 4 (y^2 - 1) y^2; Styblinski-Tang, the sum of
        (x^4 - 16 x^2 + 5 x) / 2.
    Paper: Rosenbrock 1960, The Computer Journal 3; Himmelblau 1972, Applied nonlinear programming; Dixon, Szego 1978,
        Towards global optimization 2; Styblinski, Tang 1990, Neural Networks 3.
    Shapes: -> name: Landscape, its points [k][2] and their kinds [k] as in `convexity.KINDS`.
    Errors: none.
    Example:
        himmelblau = gallery()['himmelblau']
        assert himmelblau.kinds.count('minimum') == 4 and himmelblau.kinds.count('saddle') == 4
        assert himmelblau.fun(jnp.array([3.0, 2.0])) == 0
        assert himmelblau.minima().shape == (4, 2)
    """
    pairs = list(itertools.product(TANG, repeat=2))
    tang = [(p, TANG[p[0]] if TANG[p[0]] == TANG[p[1]] else 'saddle') for p in pairs]
    camel = [('saddle', (0.0, 0.0)), *CAMEL, *((kind, (-x, -y)) for kind, (x, y) in CAMEL)]
    both = lambda rows: (tuple(p for _, p in rows), tuple(kind for kind, _ in rows))
    box = lambda x, y: ((-x, -y), (x, y))
    origin = lambda kind: (((0.0, 0.0),), (kind,))
    rows = (
        Landscape('bowl', lambda p: p[0] ** 2 + 3 * p[1] ** 2, *box(2.0, 2.0), *origin('minimum')),
        Landscape('saddle', lambda p: p[0] ** 2 - p[1] ** 2, *box(2.0, 2.0), *origin('saddle')),
        Landscape('monkey saddle', lambda p: p[0] ** 3 - 3 * p[0] * p[1] ** 2, *box(2.0, 2.0), *origin('degenerate')),
        Landscape('quartic', lambda p: p[0] ** 4 + p[1] ** 4, *box(2.0, 2.0), *origin('degenerate')),
        Landscape('double well', lambda p: (p[0] ** 2 - 1) ** 2 + p[1] ** 2, *box(2.0, 1.5),
                  ((-1.0, 0.0), (0.0, 0.0), (1.0, 0.0)), ('minimum', 'saddle', 'minimum')),
        Landscape('rosenbrock', lambda p: (1 - p[0]) ** 2 + 100 * (p[1] - p[0] ** 2) ** 2, *box(2.0, 2.0),
                  ((1.0, 1.0),), ('minimum',)),
        Landscape('himmelblau', _himmelblau, *box(5.0, 5.0), *both(HIMMELBLAU)),
        Landscape('six-hump camel', _camel, *box(2.0, 1.1), *both(camel)),
        Landscape('styblinski-tang', lambda p: 0.5 * jnp.sum(p ** 4 - 16 * p ** 2 + 5 * p), *box(4.0, 4.0),
                  tuple(p for p, _ in tang), tuple(kind for _, kind in tang)),
    )
    return {row.name: row for row in rows}


class Basins(NamedTuple):
    """Which minimum each start of a grid reached, -1 for none; the starts' coordinates; and where each ended."""

    labels: Int[Array, 'rows columns']
    x: Float[Array, ' columns']
    y: Float[Array, ' rows']
    ends: Float[Array, 'rows columns 2']


def basin_map(landscape: Landscape, *, rate: float, momentum: float = 0.0, steps: int = 500, size: int = 100,
              near: float = 1e-2) -> Basins:
    """Gradient descent from every point of a grid at once: the map of which start ends where.

    Formula: x_(t+1) = x_t - rate f'(x_t) (with momentum if there is some) for all starts in one vmapped program; a
        start belongs to the minimum that it ends within `near` of, and to none (-1) otherwise.
    Paper: Nusse, Yorke 1996, Basins of attraction, Science 271.
    Shapes: -> Basins of size x size starts; labels count `landscape.minima()`.
    Errors: ValueError for size < 2, steps < 1, and what `sgd` refuses.
    Example:
        wells = gallery()['double well']
        basins = basin_map(wells, rate=0.05, steps=200, size=20)
        assert (basins.labels[:, :10] == 0).all()            # left of the saddle
        assert (basins.labels[:, 10:] == 1).all()
    """
    if size < 2 or steps < 1:
        raise ValueError(f'size, steps: expected size >= 2, steps >= 1; found {size}, {steps}')
    tx = sgd(rate, momentum=momentum)

    def step(key, state, batch):
        p, memory = state
        updates, memory = tx.update(jax.grad(landscape.fun)(p), memory, p)
        return (optax.apply_updates(p, updates), memory), {}

    run = train_fn(Task(lambda key, p: (p, tx.init(p)), step), steps)
    x, y = (jnp.linspace(a, b, size) for a, b in zip(landscape.low, landscape.high))
    starts = jnp.stack(jnp.meshgrid(x, y), -1)
    end = lambda p: run(jax.random.key(0), p)[0].state[0]
    ends = jax.jit(jax.vmap(jax.vmap(end)))(starts)
    minima = jnp.asarray(landscape.minima(), ends.dtype)
    gaps = jnp.linalg.norm(ends[:, :, None] - minima[None, None], axis=-1)
    # a start that ran off to infinity has NaN or infinite gaps, which are not within reach of anything
    gaps = jnp.where(jnp.isfinite(gaps), gaps, jnp.inf)
    labels = jnp.where(jnp.min(gaps, -1, initial=jnp.inf) < near, jnp.argmin(gaps, -1), -1) if len(minima) else (
        jnp.full(gaps.shape[:2], -1))
    return Basins(labels, x, y, ends)


def plot_basins(landscape: Landscape, basins: Basins) -> 'Figure':
    """The map in colours, with the function's level lines, its stationary points, and a legend that names the minima.

    Formula: colour = `basins.labels`; white where a start reached no minimum. Level lines at powers of the height.
    Paper: Nusse, Yorke 1996, Basins of attraction, Science 271.
    Shapes: Basins of one landscape -> a matplotlib Figure; write it with `common.plots.save`.
    Errors: none.
    Example:
        wells = gallery()['double well']
        basins = basin_map(wells, rate=0.05, steps=100, size=10)
        figure = plot_basins(wells, basins)
        assert 'double well' in figure.axes[0].get_title()
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    labels, x, y = (np.asarray(v) for v in basins[:3])
    minima = landscape.minima()
    colours = mpl.colormaps['Set2'](np.arange(max(1, len(minima))) % 8)
    picture = np.ones((*labels.shape, 4))
    picture[labels >= 0] = colours[labels[labels >= 0]]
    figure = Figure(figsize=(6.4, 5.2), layout='constrained')
    ax = figure.subplots()
    half = 0.5 * (x[1] - x[0]), 0.5 * (y[1] - y[0])
    ax.imshow(picture, origin='lower', aspect='auto', interpolation='nearest',
              extent=(x[0] - half[0], x[-1] + half[0], y[0] - half[1], y[-1] + half[1]))
    fine = [np.linspace(v[0], v[-1], 200) for v in (x, y)]
    grid = jnp.asarray(np.stack(np.meshgrid(*fine), -1), jnp.float32)
    heights = np.asarray(jax.jit(jax.vmap(jax.vmap(landscape.fun)))(grid))
    levels = heights.min() + np.ptp(heights) * np.linspace(0.02, 1, 14) ** 2.5
    ax.contour(*fine, heights, levels, colors='0.25', linewidths=0.6, alpha=0.6)
    for i, (a, b) in enumerate(minima):
        share = np.mean(labels == i)
        ax.plot(a, b, 'o', color=colours[i], mec='black', ms=9,
                label=f'minimum ({a:.2f}, {b:.2f}): {share:.0%} of starts')
    for kind, mark in (('saddle', 'x'), ('maximum', '^'), ('degenerate', 's')):
        found = np.array([p for p, k in zip(landscape.points, landscape.kinds) if k == kind]).reshape(-1, 2)
        if len(found):
            ax.plot(*found.T, mark, color='black', ms=7, ls='', label=kind)
    if (labels < 0).any():
        ax.plot([], [], 's', color='white', mec='0.5', label=f'no minimum: {np.mean(labels < 0):.0%} of starts')
    ax.set(xlabel='start, first coordinate', ylabel='start, second coordinate',
           title=f'{landscape.name}: where gradient descent from each start ends')
    figure.legend(*ax.get_legend_handles_labels(), loc='outside lower center', ncols=2, fontsize=8)
    return figure
