"""The networks, and how they are trained: one cycle of SGD, decay of kernels alone, crops, flips and cutout."""
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from common import optim, tasks
from common.task import Task
from common.wrappers import with_augment, with_transform
from levels.level2_neural.regularisation import with_decay
from levels.level3_vision.augment import chain, random_crop, random_erase, random_flip
from levels.level3_vision.cnn import ConvBlock
from levels.level3_vision.lenet import LeNet5
from levels.level3_vision.mobilenet import MobileNetV2
from levels.level3_vision.pooling import global_max_pool, max_pool
from levels.level3_vision.resnet import ResNet

# MobileNetV2's table with strides for 32 x 32, and without its widest stage
STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1))


class ResNet9(nn.Module):
    """Eight 3x3 convolutions and a linear layer: three halvings, a residual block after the first and the third.

    Source: Page 2018, How to train your ResNet, part 4, which won the CIFAR-10 race of DAWNBench (Coleman et al. 2017)
    with width 64. Logits are an eighth of what the linear layer says, so that they begin small.
    """

    width: int = 64
    n_classes: int = 10
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Float[Array, 'b h w c'], *, train: bool = False) -> Float[Array, 'b {self.n_classes}']:
        def block(x, times: int, name: str):
            return ConvBlock(times * self.width, dtype=self.dtype, name=name)(x, train=train)

        x = block(x, 1, 'stem')
        for i, (times, residual) in enumerate(((2, True), (4, False), (8, True)), 1):
            x = max_pool(block(x, times, f'halving{i}'))
            if residual:
                x = x + block(block(x, times, f'first{i}'), times, f'second{i}')
        return nn.Dense(self.n_classes, use_bias=False, dtype=self.dtype, name='head')(global_max_pool(x)) / 8


class Mirrored(nn.Module):
    """In evaluation the mean of the logits of an image and of its mirror image; in training the network as it is."""

    inner: nn.Module

    @nn.compact
    def __call__(self, x: Float[Array, 'b h w c'], *, train: bool = False) -> Float[Array, 'b classes']:
        y = self.inner(x, train=train)
        return y if train else (y + self.inner(jnp.flip(x, 2), train=False)) / 2


class Network(NamedTuple):
    """How it is called, how it is made from a config and a dtype, and its own peak learning rate."""

    title: str
    make: Callable
    rate: float


NETWORKS = {
    'lenet': Network('LeNet-5', lambda c, dtype: LeNet5(dtype=dtype), 0.02),
    'resnet9': Network('ResNet-9', lambda c, dtype: ResNet9(c.width, dtype=dtype), 0.1),
    'resnet18': Network('ResNet-18', lambda c, dtype: ResNet(depth=18, n_classes=10, stem='cifar', width=c.width,
                                                             dtype=dtype), 0.1),
    'mobilenet': Network('MobileNetV2', lambda c, dtype: MobileNetV2(
        n_classes=10, width=0.5, stages=STAGES, last=512, stem_stride=1, dropout=0.0, dtype=dtype), 0.1),
}


def network(c, name: str) -> nn.Module:
    """The network of that name, with flips at test time where the config has them."""
    inner = NETWORKS[name].make(c, jnp.dtype(c.dtype))
    return Mirrored(inner) if c.test_flip else inner


def scaled(mean: tuple[float, ...], std: tuple[float, ...], batch: dict) -> dict:
    """Bytes as numbers of mean 0 and deviation 1 in each channel."""
    whole = lambda values: jnp.asarray(values, jnp.float32)[None, None, None]
    return {**batch, 'image': (batch['image'].astype(jnp.float32) - whole(mean)) / whole(std)}


def augmentation(c) -> Callable | None:
    """What a training image, of mean 0, goes through: what is cut off or out becomes the mean colour."""
    square = (c.cutout / 32) ** 2
    fns = [functools.partial(random_crop, padding=c.crop)] * bool(c.crop) + [random_flip] * c.flip
    if c.cutout:
        fns.append(functools.partial(random_erase, p=1.0, area=(square, square), aspect=(1.0, 1.0), fill=0.0))
    return chain(*fns) if fns else None


def one_cycle(peak: float, climb: float, steps: int) -> optax.Schedule:
    """From a twentieth of `peak` up to it in the first part of the steps, then down to a hundredth."""
    at, height = jnp.array([0.0, climb * steps, steps]), jnp.array([0.05, 1.0, 0.01])
    return lambda step: peak * jnp.interp(step, at, height)


def build(c, name: str, steps: int, mean: tuple[float, ...], std: tuple[float, ...]) -> Task:
    """The training of one network over so many steps, on bytes."""
    rate = one_cycle(c.rate or NETWORKS[name].rate, c.climb, steps)
    tx = with_decay(optax.sgd(rate, momentum=c.momentum, nesterov=True), rate, c.weight_decay)
    task = tasks.classifier(network(c, name), tx, smoothing=c.smoothing, policy=optim.Policy(jnp.dtype(c.dtype)))
    changed = augmentation(c)
    task = with_augment(task, changed) if changed else task
    return with_transform(task, functools.partial(scaled, mean, std))
