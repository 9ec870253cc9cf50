"""EfficientNet B0 to B7: inverted residuals with squeeze and excitation, scaled in width, depth and resolution at once.

Formula: x <- x + drop_path(P(s(x) D(E(x)))) with f = silu (see blocks.py); widths times w, numbers of blocks times d.
Paper: Tan, Le 2019, EfficientNet: rethinking model scaling for convolutional neural networks, table 1 and section 5.

| variant | w   | d   | image | dropout | parameters |
| b0      | 1.0 | 1.0 | 224   | 0.2     | 5,288,548  |
| b1      | 1.0 | 1.1 | 240   | 0.2     | 7,794,184  |
| b2      | 1.1 | 1.2 | 260   | 0.3     | 9,109,994  |
| b3      | 1.2 | 1.4 | 300   | 0.3     | 12,233,232 |
| b4      | 1.4 | 1.8 | 380   | 0.4     | 19,341,616 |
| b5      | 1.6 | 2.2 | 456   | 0.4     | 30,389,784 |
| b6      | 1.8 | 2.6 | 528   | 0.5     | 43,040,704 |
| b7      | 2.0 | 3.1 | 600   | 0.5     | 66,347,960 |

Weights come in three conventions, equal in their parameters and not in what they compute:

| `convention` | padding, stride 2   | epsilon               | momentum, ours       | whose weights                   |
| torch        | the same all around | 1e-5, from b5 on 1e-3 | 0.9, from b5 on 0.99 | torchvision                     |
| timm         | the same all around | 1e-5                  | 0.9                  | timm `efficientnet_`            |
| tf           | SAME: right, bottom | 1e-3                  | 0.99                 | TensorFlow, Keras, Hugging Face |
| tf           | SAME: right, bottom | 1e-3                  | 0.9 in the library   | timm `tf_efficientnet_`         |

'torch' and 'timm' are one up to b4. The momentum, the share of the old running statistics (torch's 0.1 is 0.9 here),
matters to further training alone; `norm_momentum` sets it.

Example:
    from levels.level3_vision.efficientnet import EfficientNet
    model = EfficientNet('b0', convention='tf')
    variables = model.init(jax.random.key(0), jnp.zeros((1, 224, 224, 3)))
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from common.layers import Dropout
from levels.level3_vision.blocks import InvertedResidual, Kit, check_images, make_divisible, one_of

# (kernel, stride of the first, expansion, channels, how often)
STAGES = ((3, 1, 1, 16, 1), (3, 2, 6, 24, 2), (5, 2, 6, 40, 2), (3, 2, 6, 80, 3), (5, 1, 6, 112, 3), (5, 2, 6, 192, 4),
          (3, 1, 6, 320, 1))
VARIANTS = {'b0': (1.0, 1.0, 0.2), 'b1': (1.0, 1.1, 0.2), 'b2': (1.1, 1.2, 0.3), 'b3': (1.2, 1.4, 0.3),
            'b4': (1.4, 1.8, 0.4), 'b5': (1.6, 2.2, 0.4), 'b6': (1.8, 2.6, 0.5), 'b7': (2.0, 3.1, 0.5)}
LARGE = ('b5', 'b6', 'b7')      # torchvision alone has TensorFlow's batch norm, and not its padding, in these


class EfficientNet(nn.Module):
    """EfficientNet B0 to B7.

    Formula: x <- x + drop_path(P(s(x) D(E(x)))), f = silu, s = sigmoid(W2 f(W1 mean)); sizes by `variant`.
    Paper: Tan, Le 2019, EfficientNet, table 1; stochastic depth: Huang et al. 2016.
    Shapes: x [batch, h, w, c] -> logits [batch, n_classes]; the sides are divided by 32. 5,288,548 parameters for b0.
    Parameters: `stem_conv`, `stage<s>_<b>/{expand, depthwise, squeeze, project}`, `last_conv`, convolutions each with a
        norm; `head`.
    Options: `convention` 'torch', 'timm' or 'tf' (the module's second table: torchvision's b5 to b7 and timm's differ
        in epsilon), of which `padding`, `norm_epsilon` and `norm_momentum` replace a part; `stages` replaces the table;
        `dropout` None is the variant's; `drop_path` is the rate of the last block, falling linearly to 0 at the first.
    Errors: ValueError for an unknown variant, convention or padding, a rank other than 4.
    Sown: `Stage1` and on, the output of each stage, and `Last`.
    Example:
        model = EfficientNet('b0', n_classes=10, stages=((3, 1, 1, 8, 1), (3, 2, 6, 16, 2)))
        variables = model.init(jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
        logits = model.apply(variables, jnp.ones((2, 32, 32, 3)))
        assert logits.shape == (2, 10)
    """

    variant: str = 'b0'
    n_classes: int = 1000
    convention: str = 'torch'
    stages: Sequence[Sequence[int]] = STAGES
    stem_stride: int = 2
    activation: Callable[[Array], Array] = jax.nn.silu
    dropout: float | None = None
    drop_path: float = 0.2
    padding: str | None = None
    norm_momentum: float | None = None
    norm_epsilon: float | None = None
    frozen_norms: str = ''
    dtype: Any = None
    param_dtype: Any = jnp.float32

    def kit(self) -> Kit:
        """How the layers are made, by the convention and what replaces parts of it."""
        given = lambda value, usual: usual if value is None else value
        google = self.convention == 'tf'
        large = google or (self.convention == 'torch' and self.variant in LARGE)
        padding, epsilon = 'SAME' if google else 'torch', 1e-3 if large else 1e-5
        return Kit(given(self.padding, padding), given(self.norm_momentum, 0.99 if large else 0.9),
                   given(self.norm_epsilon, epsilon), self.frozen_norms, self.dtype, self.param_dtype)

    @nn.compact
    def __call__(self, x: Float[Array, '...'], *, train: bool = False) -> Float[Array, 'batch {self.n_classes}']:
        one_of('variant', self.variant, VARIANTS)
        one_of('convention', self.convention, ('torch', 'timm', 'tf'))
        check_images(x, 1)
        width, depth, dropout = VARIANTS[self.variant]
        kit, f, scaled = self.kit(), self.activation, lambda channels: make_divisible(channels * width)
        x = kit.conv(scaled(32), 3, self.stem_stride, name='stem_conv')(x)
        x = f(kit.norm(self, 'stem_norm', train=train)(x))
        counts = [math.ceil(stage[4] * depth) for stage in self.stages]
        done, total = 0, sum(counts)
        for s, ((kernel, stride, expansion, channels, _), count) in enumerate(zip(self.stages, counts), 1):
            for b in range(count):
                x = InvertedResidual(x.shape[-1] * expansion, scaled(channels), kernel, 1 if b else stride,
                                     max(1, x.shape[-1] // 4), f, f, drop=self.drop_path * done / total, kit=kit,
                                     name=f'stage{s}_{b}')(x, train=train)
                done += 1
            self.sow('intermediates', f'Stage{s}', x)
        x = kit.conv(4 * x.shape[-1], 1, name='last_conv')(x)
        x = f(kit.norm(self, 'last_norm', train=train)(x))
        self.sow('intermediates', 'Last', x)
        x = Dropout(dropout if self.dropout is None else self.dropout)(x.mean((1, 2)), train=train)
        return kit.dense(self.n_classes, name='head')(x)
