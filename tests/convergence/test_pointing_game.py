"""Heat maps find the thing: the pointing game on shapes whose place is known, of a small network trained here.

Each picture holds one of four shapes, which is its class, two blobs that say nothing, and noise. The hottest pixel must
lie in the box of the shape, which is about a tenth of the picture.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy import ndimage

from common import tasks
from common.task import train_fn
from levels.level3_vision.cam import (
    cam,
    grad_cam,
    grad_cam_plus,
    integrated_gradients,
    occlusion,
    pointing_game,
    upsample,
)
from levels.level3_vision.cnn import CNN
from levels.level3_vision.features import feature_maps

SIDE, SHAPE = 32, 10
TILES = np.zeros((4, SHAPE, SHAPE), np.float32)
TILES[0, [0, -1]] = TILES[0, :, [0, -1]] = 1                            # a frame
TILES[1, 4:6] = TILES[1, :, 4:6] = 1                                    # a cross
TILES[2] = np.eye(SHAPE) + np.eye(SHAPE)[::-1]                          # the same, turned
TILES[3, ::3] = 1                                                       # stripes
BLOB = np.exp(-(((np.indices((SHAPE, SHAPE)) - (SHAPE - 1) / 2) / 3) ** 2).sum(0)).astype(np.float32)


def pictures(n, seed):
    """images [n, 32, 32, 1], labels [n], masks [n, 32, 32]: the box of the shape; blobs may overlap it."""
    rng = np.random.default_rng(seed)
    images = 0.3 * rng.normal(size=(n, SIDE, SIDE)).astype(np.float32)
    labels, masks = rng.integers(0, 4, n).astype(np.int32), np.zeros((n, SIDE, SIDE), bool)
    for i in range(n):
        for tile in (BLOB, BLOB, TILES[labels[i]]):
            r, c = rng.integers(0, SIDE - SHAPE + 1, 2)
            images[i, r : r + SHAPE, c : c + SHAPE] += tile
        masks[i, r : r + SHAPE, c : c + SHAPE] = True
    return images[..., None], labels, masks


@functools.cache
def trained(seed):
    images, labels, _ = pictures(4096, seed=100 + seed)
    model = CNN(widths=(12, 16, 24), n_classes=4)
    task = tasks.classifier(model, optax.adam(5e-3))
    steps, size = 320, 64

    def batch(data, step):
        return {k: jax.lax.dynamic_slice_in_dim(v, step % (4096 // size) * size, size) for k, v in data.items()}

    data = {'image': jnp.asarray(images), 'label': jnp.asarray(labels)}
    carry, _ = jax.jit(train_fn(task, steps, batch))(jax.random.key(seed), data)
    return model, {'params': carry.state.params, **carry.state.extra}


@pytest.mark.slow
@pytest.mark.parametrize('seed', [0, 1])
def test_every_method_points_at_the_shape(seed):
    model, variables = trained(seed)
    x, labels, masks = (jnp.asarray(a) for a in pictures(128, seed))
    logits, maps = feature_maps(model, variables, x, layers=['block_2'])
    assert (jnp.argmax(logits, -1) == labels).mean() > 0.95
    score = lambda x: jnp.take_along_axis(model.apply(variables, x), labels[:, None], 1)[:, 0]
    named = {'variables': variables, 'x': x, 'labels': labels}
    found = {
        'cam': upsample(cam(maps['block_2'], variables['params']['head']['kernel'], labels=labels), (SIDE, SIDE)),
        'grad_cam': upsample(grad_cam(model, **named, layer='block_2'), (SIDE, SIDE)),
        'grad_cam_plus': upsample(grad_cam_plus(model, **named, layer='block_2'), (SIDE, SIDE)),
        'integrated_gradients': jax.jit(lambda x: integrated_gradients(score, x, steps=64).sum(-1))(x),
        'occlusion': jax.jit(functools.partial(occlusion, score, window=(8, 8), strides=(3, 3)))(x),
    }
    # occlusion sees in steps of its stride, so it may be off by half of one or so: the paper's tolerance, to scale
    wide = jnp.asarray(ndimage.binary_dilation(np.asarray(masks), np.ones((1, 5, 5))))
    hits = {name: float(pointing_game(heat, wide if name == 'occlusion' else masks).mean())
            for name, heat in found.items()}
    print(hits)
    few = x[:16]        # the whole of the score is shared out, up to what relus and maxima do between two steps
    one = lambda x: jnp.take_along_axis(model.apply(variables, x), labels[:16, None], 1)[:, 0]
    parts = jax.jit(lambda x: integrated_gradients(one, x, steps=2048))(few)
    change = one(few) - one(jnp.zeros_like(few))
    error = jnp.abs(parts.sum((1, 2, 3)) - change) / jnp.abs(change)
    print('completeness:', float(error.max()), float(jnp.median(error)))
    assert error.max() < 1e-3
    noise = jax.random.normal(jax.random.key(0), masks.shape)
    assert pointing_game(noise, masks).mean() < 0.2 and pointing_game(noise, wide).mean() < 0.3
    assert all(hit >= 0.9 for hit in hits.values()), hits
