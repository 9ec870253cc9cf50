"""Where the network looks, and whether a shadow is there."""
import jax
import numpy as np

from levels.level3_vision.cam import grad_cam, occlusion, pointing_game, upsample
from projects.level3_pneumonia import models

LUNG = 0.25         # how bright the lungs of synthetic pictures are


def heat(c, state, pictures: dict[str, np.ndarray]) -> np.ndarray:
    """Grad-CAM of pneumonia by the last maps, at the size of the pictures [n, h, w]."""
    x = models.scaled({'image': pictures['image']})['image']
    layer = f'block_{len(c.widths) - 1}'
    maps = grad_cam(models.network(c), state.ema, x, labels=np.ones(len(x), np.int32), layer=layer)
    return np.asarray(upsample(maps, x.shape[1:3]))


def pointing(c, state, test: dict[str, np.ndarray]) -> dict[str, float]:
    """The share of shadows on which the hottest place of a map lies, and the share of pixels, which is chance."""
    shown = test['mask'].any((1, 2))
    some = {k: v[shown][:200] for k, v in test.items()}
    maps = {'grad_cam': heat(c, state, some), 'occlusion': covered(c, state, some)}
    hit = lambda m: float(pointing_game(m, some['mask'] > 0).mean())
    return {f'pointing_{k}': hit(m) for k, m in maps.items()} | {'pointing_chance': float((some['mask'] > 0).mean())}


def covered(c, state, pictures: dict[str, np.ndarray]) -> np.ndarray:
    """How far the log-odds of pneumonia fall when a window is made as dark as a healthy lung [n, h, w]."""
    score = lambda x: models.network(c).apply(state.ema, x) @ np.array([-1.0, 1.0], np.float32)
    x = models.scaled({'image': pictures['image']})['image']
    return np.asarray(jax.jit(lambda x: occlusion(score, x, window=(6, 6), strides=(2, 2), fill=LUNG))(x))
