"""A plane that moves: the grid of a map of the plane, from where it is to where the map takes it, as a GIF."""

from pathlib import Path

import numpy as np
from jaxtyping import Float

from levels.level0_foundations.linear_algebra.transforms import Affine


def grid_lines(*, lines: int = 9, points: int = 2, reach: float = 2.0) -> Float[np.ndarray, 'lines2 points 2']:
    """The lines of a square grid, vertical ones first, each as points along it."""
    if lines < 2 or points < 2:
        raise ValueError(f'lines, points: expected at least 2, found {lines} and {points}')
    at, along = np.linspace(-reach, reach, lines), np.linspace(-reach, reach, points)
    up = np.stack(np.broadcast_arrays(at[:, None], along[None]), -1)
    return np.concatenate([up, up[..., ::-1]])


def frames(map_: Affine, points: Float[np.ndarray, '*points 2'], n: int) -> Float[np.ndarray, 'n *points 2']:
    """Where the points are at n moments from 0 to 1: ((1 - t) I + t A) x + t a."""
    A, a = (np.asarray(v, np.float64) for v in map_)
    t = np.linspace(0, 1, n).reshape(n, *[1] * points.ndim)
    return (1 - t) * points + t * (points @ A.T + a)


def animate_grid(map_: Affine, path: str | Path, *, steps: int = 30, hold: int = 10, lines: int = 9,
                 fps: int = 15) -> Path:
    """Draws a grid, the two unit vectors and the unit square while a map moves them; needs no screen.

    Formula: frame t shows the points ((1 - t) I + t A) x + t a, t from 0 to 1, then `hold` times the end. The title
        has the determinant of the frame: the area of the shaded square, with its sign.
    Paper: the picture is in every book; here after Strang 2016, Introduction to linear algebra, section 8.1.
    Shapes: Affine(matrix [2, 2], shift [2]) -> the path of a GIF of steps + hold frames.
    Errors: ValueError for a map that is not of the plane, fewer than 2 steps, a path that does not end in .gif.
    Example:
        import tempfile
        from levels.level0_foundations.linear_algebra.transforms import rotation
        made = animate_grid(rotation(0.5), tempfile.mkdtemp() + '/turn.gif', steps=2, hold=0, lines=3)
        assert made.read_bytes()[:3] == b'GIF'
    """
    path = Path(path)
    shapes = [np.shape(v) for v in map_]
    if shapes != [(2, 2), (2,)]:
        raise ValueError(f'map_: expected a matrix [2, 2] and a shift [2], found shapes {shapes}')
    if steps < 2 or hold < 0:
        raise ValueError(f'steps, hold: expected at least 2 and 0, found {steps} and {hold}')
    if path.suffix != '.gif':
        raise ValueError(f'path: expected a name that ends in .gif, found {path.name!r}')
    from matplotlib.animation import FuncAnimation, PillowWriter
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    moving = frames(map_, grid_lines(lines=lines), steps)
    square = frames(map_, np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]]), steps)
    figure = Figure(figsize=(4, 4), dpi=80)
    FigureCanvasAgg(figure)         # a canvas of its own: neither pyplot's state nor a display is touched
    ax = figure.add_subplot(aspect='equal')
    reach = 1.05 * max(1.0, np.abs(moving).max())
    ax.set(xlim=(-reach, reach), ylim=(-reach, reach))
    drawn = [ax.plot([], [], color='C0' if i < lines else 'C7', lw=0.8)[0] for i in range(2 * lines)]
    area = ax.fill(*square[0].T, color='C1', alpha=0.4)[0]
    arrows = [ax.plot([], [], color=color, lw=2.5)[0] for color in ('C3', 'C2')]

    def draw(i):
        i = min(i, steps - 1)
        for line, xy in zip(drawn, moving[i], strict=True):
            line.set_data(*xy.T)
        for arrow, k in zip(arrows, (1, 3), strict=True):
            arrow.set_data(*square[i][[0, k]].T)
        area.set_xy(square[i])
        ax.set_title(f'det = {np.linalg.det(square[i][[1, 3]] - square[i][[0, 0]]):.2f}')
        return [*drawn, *arrows, area]

    FuncAnimation(figure, draw, frames=steps + hold, blit=False).save(path, writer=PillowWriter(fps=fps))
    return path
