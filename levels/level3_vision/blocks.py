"""What the convolutional networks of this level share: how a layer is made, squeeze and excitation, inverted residuals.

Formula: an inverted residual (MBConv) is x + P(s(x) D(E(x))): E a 1x1 convolution to more channels, D one k x k filter
    per channel, s the gate of `SqueezeExcite`, P a 1x1 convolution back, each convolution followed by batch norm, E and
    D by an activation too; the sum only where the shapes agree.
Paper: Sandler et al. 2018, MobileNetV2, figure 4; Hu, Shen, Sun 2018, Squeeze-and-excitation networks, section 3;
    He et al. 2015, Delving deep into rectifiers, equation 14 (initial weights, by fan-out).
Shapes: x [batch, height, width, channels] -> [batch, height / stride, width / stride, out].

Example:
    from levels.level3_vision.blocks import InvertedResidual, Kit
    block = InvertedResidual(hidden=96, out=16, kit=Kit(epsilon=1e-3))
    variables = block.init(jax.random.key(0), x)
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from common.layers import batch_norm
from levels.level2_neural.dropout import DropPath
from levels.level3_vision.conv import Conv

PADDINGS = ('torch', 'SAME')


class Kit(NamedTuple):
    """How the layers of a network are made; a field of its modules.

    padding: 'torch' puts (k - 1) // 2 zeros on every side; 'SAME' as TensorFlow, which differs where the stride is 2.
    momentum: the share of the old running statistics, as in `common.layers.batch_norm` (torch's 0.1 is 0.9 here).
    frozen: regex of parameter paths, as of `optim.freeze`; batch norms whose scale ('stage1_0/norm2/scale') it matches
        use their running statistics in training too, and leave them as they are.
    """

    padding: str = 'torch'
    momentum: float = 0.9
    epsilon: float = 1e-5
    frozen: str = ''
    dtype: Any = None
    param_dtype: Any = jnp.float32

    def conv(self, features: int, kernel: int, stride: int = 1, *, name: str, groups: int = 1, bias: bool = False,
             scale: float = 2.0) -> Conv:
        """A convolution with He's initial weights (`scale` 0: with zeros)."""
        if self.padding not in PADDINGS:
            raise ValueError(f'padding: expected one of {", ".join(PADDINGS)}; found {self.padding!r}')
        side = (kernel - 1) // 2
        he = nn.initializers.variance_scaling(scale * groups, 'fan_out', 'normal')      # what one group fans out to
        return Conv(features, (kernel, kernel), (stride, stride), use_bias=bias, feature_group_count=groups, name=name,
                    padding='SAME' if self.padding == 'SAME' else ((side, side), (side, side)),
                    kernel_init=he if scale else nn.initializers.zeros, dtype=self.dtype, param_dtype=self.param_dtype)

    def norm(self, owner: nn.Module, name: str, *, train: bool, zero: bool = False) -> nn.Module:
        """Batch norm as torch computes it; `owner` is the module that it stands in, `zero` begins with scale 0."""
        path = '/'.join((*owner.path, name, 'scale'))
        held = bool(self.frozen) and re.search(self.frozen, path) is not None
        return batch_norm(train=train and not held, momentum=self.momentum, epsilon=self.epsilon, torch_var=True,
                          scale_init=nn.initializers.zeros if zero else nn.initializers.ones, name=name,
                          dtype=self.dtype, param_dtype=self.param_dtype)

    def dense(self, features: int, *, name: str, **kwargs) -> nn.Dense:
        return nn.Dense(features, name=name, dtype=self.dtype, param_dtype=self.param_dtype, **kwargs)


def make_divisible(channels: float, by: int = 8) -> int:
    """The nearest multiple of `by`, never below 0.9 of `channels` (Howard et al.'s rule for widths)."""
    rounded = max(by, int(channels + by / 2) // by * by)
    return rounded + by if rounded < 0.9 * channels else rounded


def check_images(x: Array, least: int) -> None:
    """ValueError unless x is [batch, height, width, channels] with sides of at least `least`."""
    if x.ndim != 4 or min(x.shape[1:3]) < least:
        raise ValueError(f'x: expected [batch, height, width, channels] with sides >= {least}; found shape {x.shape}')


def one_of(name: str, value: Any, known: Mapping[Any, Any] | tuple) -> None:
    """ValueError unless `value` is among `known`."""
    if value not in known:
        raise ValueError(f'{name}: expected one of {", ".join(map(str, known))}; found {value!r}')


class SqueezeExcite(nn.Module):
    """x * gate(W2 f(W1 mean(x) + b1) + b2), the mean over height and width: each channel by a number of its own.

    Parameters: `reduce`, `expand`, dense layers channels -> `width` -> channels.
    """

    width: int
    activation: Callable[[Array], Array] = jax.nn.relu
    gate: Callable[[Array], Array] = jax.nn.sigmoid
    kit: Kit = Kit()

    @nn.compact
    def __call__(self, x: Float[Array, 'b h w c']) -> Float[Array, 'b h w c']:
        he = nn.initializers.variance_scaling(2.0, 'fan_out', 'normal')
        s = self.kit.dense(self.width, name='reduce', kernel_init=he)(x.mean((1, 2)))
        s = self.gate(self.kit.dense(x.shape[-1], name='expand', kernel_init=he)(self.activation(s)))
        return x * s[:, None, None, :]


class InvertedResidual(nn.Module):
    """MBConv (formula, papers and shapes: the module's card).

    Parameters: `expand` (none where `hidden` is the input's width), `depthwise`, `squeeze` (where `squeezed` > 0),
    `project`, each convolution with its `<name>_norm`. `drop` is the rate of stochastic depth (Huang et al. 2016).
    """

    hidden: int
    out: int
    kernel: int = 3
    stride: int = 1
    squeezed: int = 0
    activation: Callable[[Array], Array] = jax.nn.relu6
    squeeze_activation: Callable[[Array], Array] = jax.nn.relu
    gate: Callable[[Array], Array] = jax.nn.sigmoid
    drop: float = 0.0
    always_expand: bool = False     # a 1x1 convolution even where it adds no channels
    kit: Kit = Kit()

    @nn.compact
    def __call__(self, x: Float[Array, 'b h w c'], *, train: bool = False) -> Float[Array, 'b oh ow o']:
        kit, f, y = self.kit, self.activation, x

        def layer(name: str, y: Array, features: int, *size: int, **kwargs) -> Array:
            return kit.norm(self, f'{name}_norm', train=train)(kit.conv(features, *size, name=name, **kwargs)(y))

        if self.hidden != x.shape[-1] or self.always_expand:
            y = f(layer('expand', y, self.hidden, 1))
        y = f(layer('depthwise', y, self.hidden, self.kernel, self.stride, groups=self.hidden))
        if self.squeezed:
            y = SqueezeExcite(self.squeezed, self.squeeze_activation, self.gate, kit, name='squeeze')(y)
        y = layer('project', y, self.out, 1)
        if self.stride != 1 or x.shape[-1] != self.out:
            return y
        return x + DropPath(self.drop)(y, train=train)
