"""The network, block by block: a stem, stages of blocks, the mean over the image, a linear layer.

Formula: a plain block is y = f(N(W2 f(N(W1 x)))); a residual one y = f(N(W2 f(N(W1 x))) + x), where x is first
    subsampled and given channels of zeros if the block has a stride. W 3x3 convolutions, N batch norm, f ReLU.
Paper: He, Zhang, Ren, Sun 2016, Deep residual learning for image recognition, section 4.2 and option A of section 3.3.

| part      | output              | layers | of 8-16-32 channels, n = 1 |
| stem      | h, widths[0]        | 1      | 3x3, 8                     |
| stage 1   | h, widths[0]        | 2 n    | two 3x3, 8                 |
| stage 2   | h / 2, widths[1]    | 2 n    | two 3x3, 16, first stride 2|
| stage 3   | h / 4, widths[2]    | 2 n    | two 3x3, 32, first stride 2|
| head      | mean, then linear   | 1      | 10 classes                 |

Both kinds have the same parameters under the same names, so with one key they begin with the same weights: what they
are compared for is the `+ x`.  `levels.level3_vision.resnet.ResNet` is the same network as a component; a test holds
both together.
"""
from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from levels.level3_vision.cnn import ConvBlock
from levels.level3_vision.pooling import global_avg_pool


def carried(x: Float[Array, 'b h w c'], width: int, stride: int) -> Float[Array, 'b oh ow width']:
    """x past a block: every `stride`-th row and column, and channels of zeros up to `width`; no parameters."""
    return jnp.pad(x[:, ::stride, ::stride], ((0, 0), (0, 0), (0, 0), (0, width - x.shape[-1])))


class Block(nn.Module):
    """Two convolutions, each with its norm; where `residual`, what came in is added before the last activation."""
    width: int
    stride: int = 1
    residual: bool = True
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Float[Array, 'b h w c'], *, train: bool = False) -> Float[Array, 'b oh ow o']:
        y = ConvBlock(self.width, strides=(self.stride, self.stride), dtype=self.dtype, name='first')(x, train=train)
        y = ConvBlock(self.width, activation=lambda y: y, dtype=self.dtype, name='second')(y, train=train)
        return nn.relu(y + carried(x, self.width, self.stride) if self.residual else y)


class MiniResNet(nn.Module):
    """A network of 2 n len(widths) + 2 layers, plain or residual: [b, h, w, c] -> logits [b, n_classes].

    Parameters: `stem/{conv,norm}`, `stage<s>_<b>/{first,second}/{conv,norm}`, `head`.
    """
    n: int
    n_classes: int
    widths: Sequence[int] = (16, 32, 64)
    residual: bool = True
    dtype: Any = None

    @property
    def blocks(self) -> dict[str, tuple[int, int]]:
        """Name of each block, in order -> (width, stride)."""
        return {f'stage{s}_{b}': (width, 2 if s > 1 and b == 0 else 1)
                for s, width in enumerate(self.widths, 1) for b in range(self.n)}

    @nn.compact
    def __call__(self, x: Float[Array, 'b h w c'], *, train: bool = False) -> Float[Array, 'b {self.n_classes}']:
        x = ConvBlock(self.widths[0], dtype=self.dtype, name='stem')(x, train=train)
        for name, (width, stride) in self.blocks.items():
            x = Block(width, stride, self.residual, self.dtype, name=name)(x, train=train)
        return nn.Dense(self.n_classes, dtype=self.dtype, name='head')(global_avg_pool(x))
