"""How the networks learn, side by side, and what is measured inside them: signals forward, slopes back."""
from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from common import animals, cifar10, optim, photos, tasks
from common.task import Task
from common.wrappers import side_by_side, with_augment, with_transform
from levels.level3_vision.augment import random_crop, random_flip
from levels.level3_vision.pooling import avg_pool
from projects.level3_mini_resnet.network import Block, MiniResNet

KINDS = ('plain', 'residual')
ROWS = 256      # training images that signals and slopes are measured on
NAMES = {'animals': animals.NAMES, 'photo_patches': photos.NAMES, 'cifar10': cifar10.NAMES,
         'cifar10_subset': cifar10.NAMES}


def networks(c, n_classes: int) -> dict[str, MiniResNet]:
    """The networks of a config: 'plain_8', 'residual_8', 'plain_20'..."""
    return {f'{kind}_{depth}': MiniResNet((depth - 2) // (2 * len(c.widths)), n_classes, tuple(c.widths),
                                          kind == 'residual', jnp.dtype(c.dtype))
            for depth in c.depths for kind in KINDS}


def ready(c, images: np.ndarray) -> Callable[[dict], dict]:
    """batch -> what the networks see of it: channels with mean 0 and variance 1 over training images, then pooled."""
    some = images[::max(1, len(images) // 5000)].astype(np.float32) / 255
    mean, std = (f(some, axis=(0, 1, 2), keepdims=True) for f in (np.mean, np.std))

    def fn(batch: dict) -> dict:
        x = (batch['image'].astype(jnp.float32) / 255 - mean) / std
        return {**batch, 'image': avg_pool(x, (c.pool, c.pool)) if c.pool > 1 else x}
    return fn


def moved(c) -> Callable[[Array, Array], Array]:
    """A random crop and a random mirror image of one picture, as the config says."""
    def fn(key, image):
        crop, flip = jax.random.split(key)
        image = random_crop(crop, image, padding=c.crop)
        return random_flip(flip, image) if c.flip else image
    return fn


def build(c, nets: dict[str, MiniResNet], scaled: Callable[[dict], dict]) -> Task:
    """All networks, trained alike on the same batches from the same initial weights."""
    rate = optax.warmup_cosine_decay_schedule(0.0, c.rate, c.warmup, c.steps)
    kernels = lambda params: jax.tree.map(lambda p: p.ndim > 1, params)
    tx = optax.chain(optax.add_decayed_weights(c.weight_decay, kernels), optax.sgd(rate, momentum=c.momentum))
    policy = optim.Policy(jnp.dtype(c.dtype))
    task = side_by_side({name: tasks.classifier(net, tx, policy=policy) for name, net in nets.items()})
    task = with_transform(task, scaled)
    return with_augment(task, moved(c)) if c.crop or c.flip else task


class Inside(NamedTuple):
    """Of each block in turn: the root mean square of what it puts out, and of the slope of an example's loss there."""
    signal: Float[Array, ' blocks']
    slope: Float[Array, ' blocks']


def inside(net: MiniResNet) -> Callable[..., Inside]:
    """fn(variables, images, labels) -> Inside, the norms working with the batch's statistics as they do in training."""
    def forward(variables, images, labels, shifts):
        seen = {}

        def intercept(call, args, kwargs, context):
            y = call(*args, **kwargs)
            if isinstance(context.module, Block) and context.method_name == '__call__':
                name = context.module.name
                y = seen[name] = y + shifts[name] if shifts else y
            return y
        with nn.intercept_methods(intercept):
            logits, _ = net.apply(variables, images, train=True, mutable=['batch_stats'])
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).sum(), seen

    @jax.jit
    def fn(variables, images: Float[Array, 'b h w c'], labels: Int[Array, ' b']) -> Inside:
        shapes = jax.eval_shape(forward, variables, images, labels, {})[1]
        none = jax.tree.map(lambda y: jnp.zeros(y.shape, y.dtype), shapes)
        slopes, seen = jax.grad(forward, 3, has_aux=True)(variables, images, labels, none)
        size = lambda found: jnp.stack([jnp.sqrt(jnp.mean(jnp.square(found[name]))) for name in net.blocks])
        return Inside(size(seen), size(slopes))
    return fn
