"""How colours look: to most eyes, and to those that lack one kind of cone; how bright they are; a hash of a picture."""

import io

import numpy as np
from jaxtyping import Float

# what remains of linear RGB, Machado, Oliveira, Fernandes 2009, A physiologically-based model, severity 1
VISIONS = {
    'normal': np.eye(3),
    'protanopia': np.array([[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216],
                            [-0.003882, -0.048116, 1.051998]]),
    'deuteranopia': np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413],
                              [-0.011820, 0.042940, 0.968881]]),
}
_XYZ = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750],
                 [0.0193339, 0.1191920, 0.9503041]])      # of linear sRGB, white D65: IEC 61966-2-1


def lab(rgb: Float[np.ndarray, '*n 3'], vision: str = 'normal') -> Float[np.ndarray, '*n 3']:
    """CIE L*a*b* of sRGB colours in 0..1, as that vision sees them: distances are about as large as they look."""
    rgb = np.asarray(rgb, float)
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    xyz = np.clip(linear @ VISIONS[vision].T, 0, 1) @ _XYZ.T / _XYZ.sum(1)
    f = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = np.moveaxis(f, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], -1)


def closest(colours: list, vision: str) -> float:
    """The least distance in L*a*b* between two of matplotlib's colours; about 2 is the least that an eye can tell."""
    from matplotlib.colors import to_rgb
    seen = lab(np.array([to_rgb(c) for c in colours]), vision)
    return min((float(np.linalg.norm(a - b)) for i, a in enumerate(seen) for b in seen[:i]), default=np.inf)


def brightness(name: str) -> Float[np.ndarray, '256']:
    """L* along one of matplotlib's colour maps."""
    import matplotlib as mpl
    return lab(mpl.colormaps[name](np.linspace(0, 1, 256))[:, :3])[:, 0]


def picture_hash(figure, size: int = 16) -> int:
    """size^2 bits: is each of the picture's blocks brighter than the one to its left?  Alike pictures differ in few."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image
    memory = io.BytesIO()
    FigureCanvasAgg(figure).print_png(memory)
    grey = np.asarray(Image.open(memory).convert('L').resize((size + 1, size), Image.Resampling.BOX), int)
    return int(''.join('1' if bit else '0' for bit in (np.diff(grey, axis=1) > 2).ravel()), 2)
