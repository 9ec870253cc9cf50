"""The network and its training, and logistic regression on the same pixels."""
from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float
from sklearn.linear_model import LogisticRegression

from common import optim, tasks
from common.task import Task
from common.wrappers import with_augment, with_ema, with_transform
from levels.level3_vision.augment import chain, color_jitter, random_flip
from levels.level3_vision.cnn import CNN
from levels.level3_vision.rand_augment import affine

CLASSES = ('normal', 'pneumonia')


def network(c) -> CNN:
    """The network of a config; its last maps go through a mean into a linear layer, as Grad-CAM likes it."""
    return CNN(widths=c.widths, n_classes=len(CLASSES), dropout=c.dropout, dtype=jnp.dtype(c.dtype))


def scaled(batch: dict) -> dict:
    """Pixels 0..255 as 0..1."""
    return {**batch, 'image': batch['image'].astype(jnp.float32) / 255}


def moved(key: Array, image: Float[Array, 'h w c']) -> Float[Array, 'h w c']:
    """A random shift (up to 2 pixels), turn (up to 10 degrees) and scaling (up to 10 %); the border is black."""
    shift, turn, scale = jax.random.split(key, 3)
    angle = jax.random.uniform(turn, (), minval=-0.17, maxval=0.17)
    size = jax.random.uniform(scale, (), minval=0.9, maxval=1.1)
    matrix = jnp.array([[jnp.cos(angle), -jnp.sin(angle)], [jnp.sin(angle), jnp.cos(angle)]]) / size
    return affine(image, jnp.concatenate([matrix, jax.random.uniform(shift, (2, 1), minval=-2, maxval=2)], 1))


AUGMENT = chain(moved, random_flip, partial(color_jitter, brightness=0.25, contrast=0.25, saturation=0.0, hue=0.0))


def class_weights(labels: np.ndarray) -> Float[np.ndarray, ' classes']:
    """Weights with which all classes count alike: rows / (classes times rows of the class)."""
    return (len(labels) / (len(CLASSES) * np.bincount(labels, minlength=len(CLASSES)))).astype(np.float32)


def build(c, labels: np.ndarray) -> Task:
    """Training by weighted cross-entropy; `labels` are those of the training rows."""
    rate = optax.warmup_cosine_decay_schedule(0.0, c.rate, c.warmup, c.steps, end_value=c.rate / 100)
    tx = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(rate, weight_decay=c.weight_decay))
    task = tasks.classifier(network(c), tx, policy=optim.Policy(jnp.dtype(c.dtype)))
    task = with_ema(task, c.ema, get=lambda fit: {'params': fit.params, **fit.extra},     # with its running statistics
                    put=lambda fit, v: fit._replace(params=v['params'], extra={k: v[k] for k in fit.extra}))
    task = with_augment(task, AUGMENT) if c.augment else task
    task = with_transform(task, scaled)
    return weighted(task, class_weights(labels)) if c.balance else task


def weighted(task: Task, weights: Float[np.ndarray, ' classes']) -> Task:
    """Training counts each row by the weight of its class, in the loss and in the metrics of training."""
    def step(key, state, batch):
        return task.step(key, state, {**batch, 'mask': jnp.asarray(weights)[batch['label']]})
    return task._replace(step=step)


def logit(c, labels: np.ndarray) -> Callable:
    """(state, pictures) -> [n], the log-odds of pneumonia at the share that it has in the training rows.

    Training with equal weights learns log-odds as if both classes were alike frequent; here the true odds come back in.
    """
    model = network(c)
    odds = float(np.log(labels.mean() / (1 - labels.mean()))) if c.balance else 0.0

    @jax.jit
    def fn(state, images):
        out = model.apply(state.ema, scaled({'image': images})['image']).astype(jnp.float32)
        return out[:, 1] - out[:, 0] + odds

    return lambda state, images: np.concatenate([
        np.asarray(fn(state, images[at:at + 1000])) for at in range(0, len(images), 1000)])


def logistic(c, train: dict, rows: dict[str, dict]) -> dict[str, Float[np.ndarray, ' n']]:
    """Log-odds by logistic regression on the pixels, of each part of `rows`; its penalty is scikit-learn's own."""
    flat = lambda images: images.reshape(len(images), -1) / 255.0
    model = LogisticRegression(max_iter=2000, class_weight='balanced' if c.balance else None, C=0.1)
    model.fit(flat(train['image']), train['label'])
    odds = float(np.log(train['label'].mean() / (1 - train['label'].mean()))) if c.balance else 0.0
    return {name: model.decision_function(flat(part['image'])) + odds for name, part in rows.items()}
