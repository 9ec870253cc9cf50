"""MobileNetV2 and V3: inverted residuals, in V3 with squeeze and excitation and the hard swish.

Formula: x <- x + P(D(E(x))): more channels, one filter per channel, fewer channels (see blocks.py);
    hard_swish(x) = x min(max(x + 3, 0), 6) / 6.
Paper: Sandler, Howard, Zhu, Zhmoginov, Chen 2018, MobileNetV2: inverted residuals and linear bottlenecks, table 2;
    Howard et al. 2019, Searching for MobileNetV3, tables 1 and 2.
Shapes: x [batch, height, width, channels] -> logits [batch, n_classes]. 3,504,872 parameters for V2, 5,483,032 for V3
    large, 2,542,856 for V3 small.

Example:
    from levels.level3_vision.mobilenet import MobileNetV2, MobileNetV3
    model = MobileNetV3(size='small', n_classes=10)
    variables = model.init(jax.random.key(0), jnp.zeros((1, 224, 224, 3)))
"""

from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from common.layers import Dropout
from levels.level3_vision.blocks import InvertedResidual, Kit, check_images, make_divisible, one_of

# (expansion, channels, how often, stride of the first)
V2_STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
# stages of blocks (kernel, expanded, channels, squeeze, hard swish, stride); then the widths of the last two layers
V3_STAGES = {
    'large': (
        ((3, 16, 16, False, False, 1),),
        ((3, 64, 24, False, False, 2), (3, 72, 24, False, False, 1)),
        ((5, 72, 40, True, False, 2), (5, 120, 40, True, False, 1), (5, 120, 40, True, False, 1)),
        ((3, 240, 80, False, True, 2), (3, 200, 80, False, True, 1), (3, 184, 80, False, True, 1),
         (3, 184, 80, False, True, 1)),
        ((3, 480, 112, True, True, 1), (3, 672, 112, True, True, 1)),
        ((5, 672, 160, True, True, 2), (5, 960, 160, True, True, 1), (5, 960, 160, True, True, 1)),
    ),
    'small': (
        ((3, 16, 16, True, False, 2),),
        ((3, 72, 24, False, False, 2), (3, 88, 24, False, False, 1)),
        ((5, 96, 40, True, True, 2), (5, 240, 40, True, True, 1), (5, 240, 40, True, True, 1)),
        ((5, 120, 48, True, True, 1), (5, 144, 48, True, True, 1)),
        ((5, 288, 96, True, True, 2), (5, 576, 96, True, True, 1), (5, 576, 96, True, True, 1)),
    ),
}
V3_HIDDEN = {'large': 1280, 'small': 1024}


class MobileNetV2(nn.Module):
    """Seventeen inverted residuals with ReLU6 and linear ends.

    Formula: x <- x + P(D(E(x))), E and D followed by batch norm and min(max(x, 0), 6), P by batch norm alone.
    Paper: Sandler, Howard, Zhu, Zhmoginov, Chen 2018, MobileNetV2, table 2.
    Shapes: x [batch, h, w, c] -> logits [batch, n_classes]; the sides are divided by 32. 3,504,872 parameters.
    Parameters: `stem_conv`, `stage<s>_<b>/{expand, depthwise, project}`, `last_conv`, each with its norm; `head`.
    Options: `width` multiplies the channels, rounded to multiples of 8 (the last layer never shrinks); `stages`
        replaces the table; `padding` 'SAME' and `norm_epsilon` 1e-3 are those of TensorFlow's weights (`blocks.Kit`).
    Errors: ValueError for a rank other than 4, an unknown padding.
    Sown: `Stage1` and on, the output of each stage, and `Last`.
    Example:
        model = MobileNetV2(n_classes=10, stages=((1, 8, 1, 1), (6, 16, 2, 2)))
        variables = model.init(jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
        logits = model.apply(variables, jnp.ones((2, 32, 32, 3)))
        assert logits.shape == (2, 10)
    """

    n_classes: int = 1000
    width: float = 1.0
    stages: Sequence[Sequence[int]] = V2_STAGES
    last: int = 1280
    stem_stride: int = 2            # 1 for images of 32 x 32
    activation: Callable[[Array], Array] = jax.nn.relu6
    dropout: float = 0.2
    padding: str = 'torch'
    norm_momentum: float = 0.9
    norm_epsilon: float = 1e-5
    frozen_norms: str = ''
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, '...'], *, train: bool = False) -> Float[Array, 'batch {self.n_classes}']:
        check_images(x, 1)
        kit = Kit(self.padding, self.norm_momentum, self.norm_epsilon, self.frozen_norms, self.dtype, self.param_dtype)
        f, scaled = self.activation, lambda channels: make_divisible(channels * self.width)
        x = kit.conv(scaled(32), 3, self.stem_stride, name='stem_conv')(x)
        x = f(kit.norm(self, 'stem_norm', train=train)(x))
        for s, (expansion, channels, count, stride) in enumerate(self.stages, 1):
            for b in range(count):
                x = InvertedResidual(x.shape[-1] * expansion, scaled(channels), 3, 1 if b else stride, activation=f,
                                     kit=kit, name=f'stage{s}_{b}')(x, train=train)
            self.sow('intermediates', f'Stage{s}', x)
        x = kit.conv(make_divisible(self.last * max(1.0, self.width)), 1, name='last_conv')(x)
        x = f(kit.norm(self, 'last_norm', train=train)(x))
        self.sow('intermediates', 'Last', x)
        x = Dropout(self.dropout)(x.mean((1, 2)), train=train)
        return kit.dense(self.n_classes, name='head', kernel_init=nn.initializers.normal(0.01))(x)


class MobileNetV3(nn.Module):
    """Inverted residuals found by search, with squeeze and excitation, hard swish, and a head after the pooling.

    Formula: x <- x + P(s(x) D(E(x))); s a gate min(max(z + 3, 0), 6) / 6 of each channel; f ReLU or hard_swish.
    Paper: Howard et al. 2019, Searching for MobileNetV3, tables 1 and 2.
    Shapes: x [batch, h, w, c] -> logits [batch, n_classes]; the sides are divided by 32. 5,483,032 parameters for
        'large', 2,542,856 for 'small'.
    Parameters: `stem_conv`, `stage<s>_<b>/{expand, depthwise, squeeze, project}`, `last_conv`, convolutions each with a
        norm; `dense`, `head`.
    Options: `width` multiplies the channels, rounded to multiples of 8; `stages` replaces the table of `size` (and
        then `hidden` its last width). Batch norm as published and in torchvision: epsilon 1e-3, momentum 0.01 in
        torch's way, 0.99 here; timm's weights want 1e-5, those that it calls `tf_` 1e-3 and the padding 'SAME'.
    Errors: ValueError for an unknown size or padding, a rank other than 4.
    Sown: `Stage1` and on, the output of each stage, and `Last`.
    Example:
        model = MobileNetV3(n_classes=10, stages=(((3, 16, 8, True, True, 2),),), hidden=16)
        variables = model.init(jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
        logits = model.apply(variables, jnp.ones((2, 32, 32, 3)))
        assert logits.shape == (2, 10)
    """

    size: str = 'large'
    n_classes: int = 1000
    width: float = 1.0
    stages: Sequence[Sequence[Sequence[int]]] = ()
    hidden: int = 0                 # 0: that of `size`, scaled
    stem_stride: int = 2
    relu: Callable[[Array], Array] = jax.nn.relu
    swish: Callable[[Array], Array] = jax.nn.hard_swish
    dropout: float = 0.2
    padding: str = 'torch'
    norm_momentum: float = 0.99
    norm_epsilon: float = 1e-3
    frozen_norms: str = ''
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, '...'], *, train: bool = False) -> Float[Array, 'batch {self.n_classes}']:
        one_of('size', self.size, V3_STAGES)
        check_images(x, 1)
        kit = Kit(self.padding, self.norm_momentum, self.norm_epsilon, self.frozen_norms, self.dtype, self.param_dtype)
        scaled = lambda channels: make_divisible(channels * self.width)
        x = kit.conv(scaled(16), 3, self.stem_stride, name='stem_conv')(x)
        x = self.swish(kit.norm(self, 'stem_norm', train=train)(x))
        for s, blocks in enumerate(self.stages or V3_STAGES[self.size], 1):
            for b, (kernel, expanded, channels, squeeze, swish, stride) in enumerate(blocks):
                hidden = scaled(expanded)
                x = InvertedResidual(hidden, scaled(channels), kernel, stride,
                                     make_divisible(hidden // 4) if squeeze else 0, self.swish if swish else self.relu,
                                     self.relu, jax.nn.hard_sigmoid, kit=kit, name=f'stage{s}_{b}')(x, train=train)
            self.sow('intermediates', f'Stage{s}', x)
        x = kit.conv(6 * x.shape[-1], 1, name='last_conv')(x)
        x = self.swish(kit.norm(self, 'last_norm', train=train)(x))
        self.sow('intermediates', 'Last', x)
        small = nn.initializers.normal(0.01)
        x = kit.dense(self.hidden or scaled(V3_HIDDEN[self.size]), name='dense', kernel_init=small)(x.mean((1, 2)))
        x = Dropout(self.dropout)(self.swish(x), train=train)
        return kit.dense(self.n_classes, name='head', kernel_init=small)(x)
