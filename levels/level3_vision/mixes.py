"""Mixing the examples of a batch, and their labels: MixUp and CutMix.

A row's partner is the one at its place from the end of the batch, which is a random one as batches are shuffled. The
draws are made for the whole batch and partners fetched from it, so that every strategy makes the same pixels
(`common.parallel`).

Formula: each function's own.
Paper: Zhang, Cisse, Dauphin, Lopez-Paz 2018, mixup: beyond empirical risk minimization; Yun et al. 2019, CutMix:
    regularization strategy to train strong classifiers with localizable features.
Shapes: key, images [b, h, w, c], labels [b, n] -> images [b, h, w, c], labels [b, n], whose rows sum to what they did.

Example:
    from functools import partial
    from levels.level3_vision.mixes import cutmix, with_mix
    task = with_mix(tasks.classifier(model, tx), partial(cutmix, alpha=1.0), n_classes=10)
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from common import parallel
from common.task import Task
from levels.level3_vision.augment import rectangle

Mixed = tuple[Float[Array, 'b h w c'], Float[Array, 'b n']]


def mixup(
    key: Key[Array, ''], images: Float[Array, 'b h w c'], *, labels: Float[Array, 'b n'], alpha: float = 0.2
) -> Mixed:
    """Each example blended with its partner.

    Formula: x = w x_i + (1 - w) x_j, y = w y_i + (1 - w) y_j, w ~ Beta(alpha, alpha) for each row.
    Paper: Zhang, Cisse, Dauphin, Lopez-Paz 2018, mixup, equation 1.
    Shapes: images [b, ...], labels [b, n] of probabilities -> the same.
    Errors: ValueError for an alpha that is not above 0, or other shapes.
    Example:
        images, labels = jnp.stack([jnp.zeros((2, 2, 1)), jnp.ones((2, 2, 1))]), jnp.eye(2)
        x, y = mixup(jax.random.key(0), images, labels=labels)
        assert jnp.allclose(y.sum(1), 1)
        assert jnp.allclose(x[:, 0, 0, 0], y[:, 1])
    """
    _checked(images, labels, alpha)
    w = parallel.rows(lambda n: jax.random.beta(key, alpha, alpha, (n,), images.dtype), images.shape[0])
    blend = lambda a: (s := w.astype(a.dtype).reshape(-1, *(1,) * (a.ndim - 1))) * a + (1 - s) * _partner(a)
    return blend(images), blend(labels)


def cutmix(
    key: Key[Array, ''], images: Float[Array, 'b h w c'], *, labels: Float[Array, 'b n'], alpha: float = 1.0
) -> Mixed:
    """A rectangle of each example replaced by the partner's, and as much of its label.

    Formula: w ~ Beta(alpha, alpha); a rectangle of sides h sqrt(1 - w), w sqrt(1 - w) about a uniform pixel, cut at the
        border; y = v y_i + (1 - v) y_j, v the part of the pixels that stayed.
    Paper: Yun, Han, Oh, Chun, Choe, Yoo 2019, CutMix, equations 1 and 2.
    Shapes: images [b, h, w, c], labels [b, n] of probabilities -> the same.
    Errors: ValueError for an alpha that is not above 0, or other shapes.
    Example:
        images, labels = jnp.stack([jnp.zeros((8, 8, 1)), jnp.ones((8, 8, 1))]), jnp.eye(2)
        x, y = cutmix(jax.random.key(0), images, labels=labels)
        assert jnp.allclose(y.sum(1), 1)
        assert jnp.allclose(x.mean((1, 2, 3)), y[:, 1])
    """
    _checked(images, labels, alpha)
    if images.ndim != 4:
        raise ValueError(f'images: expected [b, h, w, c]; found shape {images.shape}')
    b, h, w, _ = images.shape

    def draw(n):
        cut, place = jax.random.split(key)
        share = jnp.sqrt(1 - jax.random.beta(cut, alpha, alpha, (n, 1)))
        sides = jnp.round(share * jnp.array([[h, w]])).astype(jnp.int32)
        middle = jax.random.randint(place, (n, 2), 0, jnp.array([[h, w]]))
        return jnp.concatenate([middle - sides // 2, sides], 1)

    boxes = parallel.rows(draw, b)
    inside = jax.vmap(lambda box: rectangle(box[:2], box[2:], (h, w)))(boxes)
    stayed = 1 - inside.mean((1, 2), dtype=labels.dtype)[:, None]
    return (jnp.where(inside[..., None], _partner(images), images), stayed * labels + (1 - stayed) * _partner(labels))


def _partner(a: Array) -> Array:
    return parallel.mine(jnp.flip(parallel.gather(a), 0))


def _checked(images: Array, labels: Array, alpha: float) -> None:
    if not alpha > 0:
        raise ValueError(f'alpha: expected a positive number; found {alpha}')
    if labels.ndim != 2 or labels.shape[0] != images.shape[0] or not jnp.issubdtype(labels.dtype, jnp.floating):
        raise ValueError(f'labels: expected probabilities [{images.shape[0]}, n]; found {labels.dtype} {labels.shape}')


def with_mix(
    task: Task, fn: Callable[..., Mixed], n_classes: int, *, image: str = 'image', label: str = 'label'
) -> Task:
    """Training sees the images and labels of `fn(key, images, labels=one-hot labels)`; evaluation sees its own.

    The key is folded from the step: the same pixels after a resume. Around `with_augment`, so that it mixes what was
    augmented, that is `with_augment(with_mix(task, ...), ...)`.
    """
    def step(key, state, batch):
        key, mix = jax.random.split(key)
        y = batch[label]
        y = jax.nn.one_hot(y, n_classes) if y.ndim == 1 else y
        x, y = fn(mix, jnp.asarray(batch[image], jnp.float32), labels=y)
        return task.step(key, state, {**batch, image: x, label: y})

    return task._replace(step=step)
