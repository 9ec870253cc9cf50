"""Pictures that move, shown in a notebook as one animated PNG: what nothing but a browser is needed for."""

import io
import tempfile
from pathlib import Path
from typing import Any


class Moving:
    """An animation that a notebook shows as a picture: `png` is an animated PNG of that many seconds."""

    def __init__(self, png: bytes, frames: int, seconds: float):
        self.png, self.frames, self.seconds = png, frames, seconds

    def _repr_png_(self) -> bytes:
        return self.png

    def __repr__(self) -> str:
        return f'{self.frames} frames, {self.seconds:.1f} seconds'


def moving(source: Any, *, fps: int = 12, rest: float = 1.0, colours: int = 64) -> Moving:
    """An animated PNG of a GIF (its path; it keeps its speed) or of one of matplotlib's animations, in few colours.

    The last frame stays `rest` seconds longer than the others.
    Errors: ValueError for a file with a single frame, a negative rest, and for colours outside 2 .. 256.
    """
    from PIL import Image, ImageSequence
    if not 2 <= colours <= 256:
        raise ValueError(f'colours: expected 2 to 256, found {colours}')
    if rest < 0:
        raise ValueError(f'rest: expected seconds, 0 or more; found {rest}')
    if not isinstance(source, str | Path):
        from matplotlib import pyplot as plt
        from matplotlib.animation import PillowWriter
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / 'moving.png'      # without loss; a GIF would choose its colours first
            source.save(path, writer=PillowWriter(fps=fps))
            plt.close(source._fig)                  # or the notebook shows the last frame once more
            return moving(path, rest=rest, colours=colours)
    with Image.open(source) as file:
        each = [(f.convert('RGB'), f.info.get('duration') or 1000 / fps) for f in ImageSequence.Iterator(file)]
    if len(each) < 2:
        raise ValueError(f'source: expected at least 2 frames, found {len(each)}')
    frames = [f.point(lambda v: 255 if v > 249 else v) for f, _ in each]        # a GIF's white is not quite white
    some = frames[::max(1, len(frames) // 6)]       # one palette for all, of some of them side by side
    wide = Image.new('RGB', (len(some) * some[0].width, some[0].height))
    for i, frame in enumerate(some):
        wide.paste(frame, (i * frame.width, 0))
    entries = wide.quantize(colours - 1, dither=Image.Dither.NONE).getpalette()[:3 * (colours - 1)]
    palette = Image.new('P', (1, 1))
    palette.putpalette([*entries, 255, 255, 255])
    drawn = [f.quantize(palette=palette, dither=Image.Dither.NONE) for f in frames]
    for frame, quantized in zip(frames, drawn, strict=True):    # white, most of a picture, might become its neighbour
        quantized.paste(len(entries) // 3, mask=frame.convert('L').point(lambda v: 255 * (v == 255)))
    first, *others = drawn
    memory, times = io.BytesIO(), [t for _, t in each]
    times[-1] += 1000 * rest
    first.save(memory, 'PNG', save_all=True, append_images=others, duration=times, loop=0)
    return Moving(memory.getvalue(), len(each), sum(times) / 1000)
