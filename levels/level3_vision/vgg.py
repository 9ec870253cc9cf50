"""VGG: 11 to 19 layers of 3x3 convolutions, with and without batch norm, and their features for perceptual losses.

Formula: x <- f(W * x + b) (with batch norm: f(BN(W * x + b))), one to four times, then the largest of each 2x2; five
    such groups; logits = W3 f(W2 f(W1 flatten(x) + b1) + b2) + b3.
Paper: Simonyan, Zisserman 2015, Very deep convolutional networks for large-scale image recognition, table 1; features
    as a loss: Johnson, Alahi, Fei-Fei 2016, Perceptual losses for real-time style transfer, section 3.2.

| depth | convolutions of a group | parameters  | with batch norm |
| 11    | 1, 1, 2, 2, 2           | 132,863,336 | 132,868,840     |
| 13    | 2, 2, 2, 2, 2           | 133,047,848 | 133,053,736     |
| 16    | 2, 2, 3, 3, 3           | 138,357,544 | 138,365,992     |
| 19    | 2, 2, 4, 4, 4           | 143,667,240 | 143,678,248     |

Example:
    from levels.level3_vision.vgg import VGG, perceptual_loss, vgg_features
    model = VGG(depth=16)
    variables = model.init(jax.random.key(0), jnp.zeros((1, 224, 224, 3)))
    loss = perceptual_loss(model, variables, images, targets)
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from common.layers import Dropout
from levels.level2_neural.mlp import activation_fn
from levels.level3_vision.blocks import Kit, check_images, one_of
from levels.level3_vision.pooling import adaptive_avg_pool, max_pool

DEPTHS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
FEATURES = ('relu1_2', 'relu2_2', 'relu3_3', 'relu4_3')     # those of Johnson et al., of 16 layers


class VGG(nn.Module):
    """VGG-11 to 19: five groups of 3x3 convolutions with a 2x2 pooling after each, three dense layers.

    Formula: x <- pool(f(W * ... f(W * x + b) + b)) five times; logits = W3 f(W2 f(W1 flatten(x) + b1) + b2) + b3.
    Paper: Simonyan, Zisserman 2015, table 1; the batch norms are torchvision's, after each convolution.
    Shapes: x [batch, h, w, c], sides of 32 and more -> logits [batch, n_classes]; before the dense layers the image is
        averaged into 7 x 7 fields, which for the paper's 224 x 224 does nothing.
    Parameters: `conv<g>_<i>` (and `norm<g>_<i>`), `dense6`, `dense7`, `head`. 138,357,544 at depth 16.
    Options: `width` and `hidden` scale it (64 and 4096); `groups` replaces the convolutions per group of `depth`.
    Errors: ValueError for an unknown depth, a rank other than 4, sides below 32 (or 2^groups), an unknown activation.
    Sown: `relu<g>_<i>`, after the activation of `conv<g>_<i>`: what `vgg_features` returns.
    Example:
        model = VGG(depth=11, n_classes=10, width=4, hidden=16, dropout=0.0)
        params = model.init(jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
        logits = model.apply(params, jnp.ones((2, 32, 32, 3)))
        assert logits.shape == (2, 10)
    """

    depth: int = 16
    n_classes: int = 1000
    batch_norm: bool = False
    width: int = 64
    hidden: int = 4096
    groups: Sequence[int] = ()
    activation: str | Callable[[Array], Array] = 'relu'
    dropout: float = 0.5        # after the first two dense layers
    norm_momentum: float = 0.9
    norm_epsilon: float = 1e-5
    frozen_norms: str = ''
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, '...'], *, train: bool = False) -> Float[Array, 'batch {self.n_classes}']:
        if not self.groups:
            one_of('depth', self.depth, DEPTHS)
        groups = self.groups or DEPTHS[self.depth]
        check_images(x, 2 ** len(groups))
        f = activation_fn(self.activation)
        kit = Kit('torch', self.norm_momentum, self.norm_epsilon, self.frozen_norms, self.dtype, self.param_dtype)
        for g, count in enumerate(groups, 1):
            for i in range(1, count + 1):
                x = kit.conv(self.width * min(2 ** (g - 1), 8), 3, name=f'conv{g}_{i}', bias=True)(x)
                if self.batch_norm:
                    x = kit.norm(self, f'norm{g}_{i}', train=train)(x)
                x = f(x)
                self.sow('intermediates', f'relu{g}_{i}', x)
            x = max_pool(x, (2, 2))
        x = adaptive_avg_pool(x, (7, 7)).reshape(x.shape[0], -1)
        small = nn.initializers.normal(0.01)
        for name in ('dense6', 'dense7'):
            x = f(kit.dense(self.hidden, name=name, kernel_init=small)(x))
            x = Dropout(self.dropout)(x, train=train)
        return kit.dense(self.n_classes, name='head', kernel_init=small)(x)


def vgg_features(model: VGG, variables: Mapping[str, Any], x: Float[Array, 'b h w c'],
                 names: Sequence[str] = FEATURES) -> dict[str, Float[Array, 'b fh fw fc']]:
    """{'relu1_2': ..., ...}: what the named activations of a VGG in evaluation are for the images x.

    Raises ValueError for a name that this network has not.
    """
    seen = model.apply(variables, x, mutable=['intermediates'])[1]['intermediates']
    if unknown := [name for name in names if name not in seen]:
        raise ValueError(f'names: expected some of {", ".join(sorted(seen))}; found {", ".join(unknown)}')
    return {name: seen[name][0] for name in names}


def perceptual_loss(model: VGG, variables: Mapping[str, Any], x: Float[Array, 'b h w c'], y: Float[Array, 'b h w c'],
                    names: Sequence[str] = FEATURES) -> Float[Array, ' b']:
    """Mean squared difference of the features of x and y, of each image, summed over the named activations.

    Gradients go to both x and y: images, or the networks that made them. Normalise both as the VGG was trained.
    """
    ours, theirs = (vgg_features(model, variables, images, names) for images in (x, y))
    return sum(jnp.square(ours[name] - theirs[name]).mean((1, 2, 3)) for name in names)
