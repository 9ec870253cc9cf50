"""Residual networks of 18 to 152 layers and more: as published, with the stride moved, and with pre-activation.

Formula: v1, v1.5: x <- f(F(x) + shortcut(x)), F = BN W f(BN W ... x); v2: x <- F(a) + shortcut, a = f(BN x),
    F = W f(BN W ... a), and one f(BN x) after the last block. The shortcut is x itself, or where the shapes differ a
    1x1 convolution (v1: with batch norm, of x; v2: without, of a); or x with channels of zeros (`pad`), or 0 (`none`).
Paper: He, Zhang, Ren, Sun 2016, Deep residual learning for image recognition (v1); the same, Identity mappings in deep
    residual networks (v2); v1.5 is torchvision's: the stride of a bottleneck in its 3x3 convolution instead of its
    first 1x1. Zero-initialised last scale: Goyal et al. 2017, Accurate, large minibatch SGD, section 5.1.

| depth | blocks         | each block              | parameters, v1 and v1.5 |
| 18    | 2, 2, 2, 2     | 3x3, 3x3                | 11,689,512              |
| 34    | 3, 4, 6, 3     | 3x3, 3x3                | 21,797,672              |
| 50    | 3, 4, 6, 3     | 1x1, 3x3, 1x1 (4 times) | 25,557,032              |
| 101   | 3, 4, 23, 3    | 1x1, 3x3, 1x1 (4 times) | 44,549,160              |
| 152   | 3, 8, 36, 3    | 1x1, 3x3, 1x1 (4 times) | 60,192,808              |

Example:
    from levels.level3_vision.resnet import ResNet
    model = ResNet(depth=18, n_classes=10, stem='cifar')
    variables = model.init(jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
    logits, changed = model.apply(variables, images, train=True, mutable=['batch_stats'])
"""

from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from levels.level2_neural.mlp import activation_fn
from levels.level3_vision.blocks import Kit, check_images, one_of
from levels.level3_vision.pooling import max_pool

DEPTHS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
VERSIONS, STEMS, SHORTCUTS = ('v1', 'v1.5', 'v2'), ('imagenet', 'cifar'), ('conv', 'pad', 'none')


class ResNet(nn.Module):
    """Residual network for images: a stem, stages of blocks, the mean over the image, a linear classifier.

    Formula: x <- f(F(x) + shortcut(x)) in v1 and v1.5, x <- F(f(BN x)) + shortcut in v2 (see the module's card).
    Paper: He, Zhang, Ren, Sun 2016, Deep residual learning for image recognition; Identity mappings (v2).
    Shapes: x [batch, h, w, c] -> logits [batch, n_classes]; stage s has width * 2^(s - 1) channels (4 times that with
        bottlenecks) and sides halved from the second on, after a stem that divides them by 4 ('cifar': by 1).
    Parameters: `stem_conv`, `stem_norm`, `stage<s>_<b>/{conv<i>, norm<i>, shortcut, shortcut_norm}`, `head`; v2 has no
        `stem_norm` and no `shortcut_norm`, but `norm` before the head. 25,557,032 at depth 50.
    Options: `blocks`, `bottleneck` replace those of `depth`, so (3, 3, 3) and width=16 with the stem 'cifar' is the
        ResNet-20 of CIFAR; `shortcut` where shapes differ: 'conv', or 'pad', which has no parameters (section 4.2);
        with 'none' no block has one: the plain network that residual ones are compared with; `zero_init` starts
        every block as its shortcut, if it has one (scale 0 of the last norm; in v2 a kernel of zeros);
        `frozen_norms` is a regex of batch norms that hold their statistics (`blocks.Kit`).
    Errors: ValueError for an unknown depth, version, stem, shortcut or activation, a rank other than 4.
    Sown: `Stem`, `Stage1` and on, the output of each.
    Example:
        model = ResNet(blocks=(1, 1), width=8, n_classes=10, stem='cifar')
        variables = model.init(jax.random.key(0), jnp.zeros((1, 16, 16, 3)))
        logits = model.apply(variables, jnp.ones((2, 16, 16, 3)))
        assert logits.shape == (2, 10)
    """

    depth: int = 50
    n_classes: int = 1000
    version: str = 'v1.5'
    stem: str = 'imagenet'
    blocks: Sequence[int] = ()
    bottleneck: bool | None = None  # None: from 50 layers on
    width: int = 64
    zero_init: bool = True
    shortcut: str = 'conv'
    activation: str | Callable[[Array], Array] = 'relu'
    norm_momentum: float = 0.9
    norm_epsilon: float = 1e-5
    frozen_norms: str = ''
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, '...'], *, train: bool = False) -> Float[Array, 'batch {self.n_classes}']:
        one_of('version', self.version, VERSIONS)
        one_of('stem', self.stem, STEMS)
        one_of('shortcut', self.shortcut, SHORTCUTS)
        if not self.blocks:
            one_of('depth', self.depth, DEPTHS)
        check_images(x, 1)
        f, before = activation_fn(self.activation), self.version == 'v2'
        kit = Kit('torch', self.norm_momentum, self.norm_epsilon, self.frozen_norms, self.dtype, self.param_dtype)
        deep = self.bottleneck if self.bottleneck is not None else not self.blocks and self.depth >= 50
        size = (7, 2) if self.stem == 'imagenet' else (3, 1)
        x = kit.conv(self.width, *size, name='stem_conv')(x)
        if not before:
            x = f(kit.norm(self, 'stem_norm', train=train)(x))
        if self.stem == 'imagenet':
            x = max_pool(x, (3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))
        self.sow('intermediates', 'Stem', x)
        for s, count in enumerate(self.blocks or DEPTHS[self.depth], 1):
            for b in range(count):
                stride = 2 if s > 1 and b == 0 else 1
                x = _Block(self.width * 2 ** (s - 1), stride, deep, self.version, self.shortcut,
                           self.zero_init, f, kit, name=f'stage{s}_{b}')(x, train=train)
            self.sow('intermediates', f'Stage{s}', x)
        if before:
            x = f(kit.norm(self, 'norm', train=train)(x))
        return kit.dense(self.n_classes, name='head')(x.mean((1, 2)))


class _Block(nn.Module):
    """Two 3x3 convolutions, or 1x1, 3x3 and a 1x1 to four times the channels, beside a shortcut."""

    width: int
    stride: int
    bottleneck: bool
    version: str
    skip: str
    zero_init: bool
    activation: Callable[[Array], Array]
    kit: Kit

    @nn.compact
    def __call__(self, x: Float[Array, 'b h w c'], *, train: bool) -> Float[Array, 'b oh ow o']:
        f, kit, stride, before = self.activation, self.kit, self.stride, self.version == 'v2'
        first, second = (stride, 1) if self.version == 'v1' else (1, stride)
        sizes = [(self.width, 3, stride), (self.width, 3, 1)]
        if self.bottleneck:
            sizes = [(self.width, 1, first), (self.width, 3, second), (4 * self.width, 1, 1)]
        last, out = len(sizes), sizes[-1][0]
        y = f(kit.norm(self, 'norm1', train=train)(x)) if before else x
        shortcut, fits = x, stride == 1 and x.shape[-1] == out
        if not fits and self.skip == 'pad':
            shortcut = jnp.pad(x[:, ::stride, ::stride], ((0, 0), (0, 0), (0, 0), (0, out - x.shape[-1])))
        elif not fits and self.skip == 'conv':
            shortcut = kit.conv(out, 1, stride, name='shortcut')(y)
            if not before:
                shortcut = kit.norm(self, 'shortcut_norm', train=train)(shortcut)
        for i, size in enumerate(sizes, 1):
            zero = self.zero_init and i == last and self.skip != 'none'
            if before and i > 1:
                y = f(kit.norm(self, f'norm{i}', train=train)(y))
            y = kit.conv(*size, name=f'conv{i}', scale=0.0 if zero and before else 2.0)(y)
            if not before:
                y = kit.norm(self, f'norm{i}', train=train, zero=zero)(y)
                y = f(y) if i < last else y
        y = y if self.skip == 'none' else y + shortcut
        return y if before else f(y)
