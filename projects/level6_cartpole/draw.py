"""Pictures of CartPole: the learning curve over seeds, an episode as GIF and as text."""
from pathlib import Path

import numpy as np
from jaxtyping import Float
from matplotlib.animation import FuncAnimation, PillowWriter
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from scipy import stats

from common import plots

EDGE = 2.4                      # where the cart leaves the track
LEAN = np.deg2rad(12)           # where the pole has fallen
SECONDS = 0.02                  # of one step


def learning_curve(rows: list[dict], steps: int, marks: dict[str, float], title: str) -> Figure:
    """Return of greedy episodes over environment steps: mean over seeds, its 95 % interval, and each seed.

    steps: environment steps in one training step;  marks: values drawn as dashed lines
    """
    figure = Figure(figsize=(6.4, 4.0), layout='constrained')
    ax = figure.subplots()
    at, values = plots.series(rows, 'test', 'return')       # [n], [n, seeds]
    n = values.shape[1]
    mean = values.mean(1)
    ax.plot(at * steps, values, color=plots.COLORS[0], lw=0.7, alpha=0.35)
    ax.plot(at * steps, mean, color=plots.COLORS[0], lw=2, label='evaluation, greedy' + (
        f': mean of {n} seeds' if n > 1 else ''))
    if n > 1:
        half = stats.t.ppf(0.975, n - 1) * values.std(1, ddof=1) / np.sqrt(n)
        ax.fill_between(at * steps, mean - half, mean + half, color=plots.COLORS[0], alpha=0.2, lw=0,
                        label='95 % interval of the mean')
    at, values = plots.series(rows, 'train', 'return')      # NaN where no episode ended meanwhile
    known = ~np.isnan(values).all(1)
    if known.any():
        ax.plot(at[known] * steps, np.nanmean(values[known], 1), color=plots.COLORS[1], lw=1.2,
                label='training episodes, actions drawn')
    for i, (name, value) in enumerate(marks.items()):
        ax.axhline(value, color='0.45', ls=(0, (4, 2 + 2 * i)), lw=1)
        ax.annotate(f'{name} {value:.0f}', (0.01, value), xycoords=('axes fraction', 'data'), va='bottom', fontsize=8,
                    color='0.35')
    ax.set(xlabel='environment steps', ylabel='return of an episode', title=title, ylim=(0, None))
    ax.grid(alpha=0.25)
    ax.legend(fontsize=8, loc='lower right')
    return figure


def gif(obs: Float[np.ndarray, 'time 4'], title: str, path: Path, *, most: int = 125) -> Path:
    """One episode as an animation in the time it took; at most `most` frames.  Written in one move."""
    stride = max(1, -(-len(obs) // most))
    frames = obs[::stride]
    figure = Figure(figsize=(5.0, 2.6), layout='constrained')
    ax = figure.subplots()
    ax.set(xlim=(-EDGE, EDGE), ylim=(-0.25, 1.35), aspect='equal', yticks=[], xlabel='position of the cart (m)')
    ax.set_title(title, fontsize=9)
    ax.axhline(0, color='0.6', lw=1)
    cart = ax.add_patch(Rectangle((0, -0.12), 0.5, 0.24, color=plots.COLORS[0], zorder=2))
    pole, = ax.plot([], [], color=plots.COLORS[1], lw=5, solid_capstyle='round', zorder=3)
    clock = ax.text(0.99, 0.93, '', transform=ax.transAxes, ha='right', fontsize=8, color='0.35')

    def show(i):
        x, _, angle, _ = frames[i]
        cart.set_x(x - 0.25)
        pole.set_data([x, x + np.sin(angle)], [0.05, 0.05 + np.cos(angle)])
        clock.set_text(f'{i * stride * SECONDS:.1f} s')
        return cart, pole, clock

    tmp = path.with_name(f'{path.stem}.tmp.gif')
    FuncAnimation(figure, show, frames=len(frames), blit=False).save(
        tmp, writer=PillowWriter(fps=round(1 / (stride * SECONDS))), dpi=80)
    tmp.replace(path)
    return path


def text(obs: Float[np.ndarray, '4'], *, width: int = 61, height: int = 5) -> str:
    """One state as lines of text; the pole leans three times as far as it does."""
    x, _, angle, _ = obs
    column = lambda metres: round(float(metres + EDGE) / (2 * EDGE) * (width - 1))
    lines = []
    for level in range(height, 0, -1):
        row, at = [' '] * width, column(x) + round(float(3 * np.tan(angle) * level * 2))
        if 0 <= at < width:
            row[at] = '|' if abs(angle) < LEAN / 12 else '/' if angle > 0 else '\\'
        lines.append(''.join(row).rstrip())
    track, at = ['-'] * width, min(max(column(x), 1), width - 2)
    track[at - 1:at + 2] = '[=]'
    return '\n'.join([*lines, ''.join(track)])
