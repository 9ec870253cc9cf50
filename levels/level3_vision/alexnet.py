"""AlexNet: as published in 2012, and the "one weird trick" version of 2014 that torchvision has.

Formula: b[i] = a[i] / (k + alpha sum_j a[j]^2)^beta over the n channels j nearest to i (response normalisation).
Paper: Krizhevsky, Sutskever, Hinton 2012, ImageNet classification with deep convolutional neural networks, section 3;
    Krizhevsky 2014, One weird trick for parallelizing convolutional neural networks, section 5.

| layer  | `original`                                | `one_weird_trick`       |
| conv1  | 96 of 11x11 / 4, no padding, f, norm      | 64 of 11x11 / 4, pad 2  |
| pool1  | 3x3 / 2                                   | 3x3 / 2                 |
| conv2  | 256 of 5x5, pad 2, 2 groups, f, norm      | 192 of 5x5, pad 2       |
| pool2  | 3x3 / 2                                   | 3x3 / 2                 |
| conv3  | 384 of 3x3, pad 1                         | 384 of 3x3, pad 1       |
| conv4  | 384 of 3x3, pad 1, 2 groups               | 256 of 3x3, pad 1       |
| conv5  | 256 of 3x3, pad 1, 2 groups               | 256 of 3x3, pad 1       |
| pool5  | 3x3 / 2                                   | 3x3 / 2, mean of 6 x 6  |
| dense6 | 4096, dropout after it                    | 4096, dropout before it |
| dense7 | 4096, dropout after it                    | 4096, dropout before it |
| head   | n_classes                                 | n_classes               |
|        | 60,965,224 parameters                     | 61,100,840 parameters   |

Example:
    from levels.level3_vision.alexnet import AlexNet
    model = AlexNet(variant='original')
    params = model.init(jax.random.key(0), jnp.zeros((1, 227, 227, 3)))
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from common.layers import Dropout
from levels.level2_neural.mlp import activation_fn
from levels.level3_vision.blocks import check_images, one_of
from levels.level3_vision.conv import Conv
from levels.level3_vision.pooling import adaptive_avg_pool, max_pool

# Of each variant (channels, kernel, stride, padding, groups, bias, pooled after it) for width 64.
LAYERS = {
    'original': ((96, 11, 4, 0, 1, 0.0, True), (256, 5, 1, 2, 2, 1.0, True), (384, 3, 1, 1, 1, 0.0, False),
                 (384, 3, 1, 1, 2, 1.0, False), (256, 3, 1, 1, 2, 1.0, True)),
    'one_weird_trick': ((64, 11, 4, 2, 1, 0.0, True), (192, 5, 1, 2, 1, 0.0, True), (384, 3, 1, 1, 1, 0.0, False),
                        (256, 3, 1, 1, 1, 0.0, False), (256, 3, 1, 1, 1, 0.0, True)),
}


def local_response_norm(x: Float[Array, '*places channels'], *, size: int = 5, alpha: float = 1e-4, beta: float = 0.75,
                        k: float = 2.0) -> Float[Array, '*places channels']:
    """Divides each number by the strength of the channels around its own.

    Formula: b[i] = a[i] / (k + alpha sum_j a[j]^2)^beta over the channels j with |i - j| <= size // 2.
    Paper: Krizhevsky, Sutskever, Hinton 2012, section 3.3. torch's alpha is `size` times this one (it takes the mean).
    Shapes: [..., channels] -> the same.
    Errors: ValueError unless size is odd and positive.
    Example:
        x = jnp.array([[1.0, 2.0, 3.0]])
        y = local_response_norm(x, size=3, alpha=1.0, beta=1.0, k=0.0)
        assert jnp.allclose(y, jnp.array([[1 / 5, 2 / 14, 3 / 13]]))
        assert local_response_norm(x).shape == x.shape
    """
    if size < 1 or size % 2 == 0:
        raise ValueError(f'size: expected an odd number of channels; found {size}')
    side = size // 2
    squares = jnp.pad(jnp.square(x), ((0, 0),) * (x.ndim - 1) + ((side, side),))
    total = sum(squares[..., i : i + x.shape[-1]] for i in range(size))
    return x / (k + alpha * total) ** beta


class AlexNet(nn.Module):
    """AlexNet in both its forms.

    Formula: five convolutions (the module's table), three poolings, logits = W8 f(W7 f(W6 flatten(x) + b6) + b7) + b8.
    Paper: Krizhevsky, Sutskever, Hinton 2012 (`original`); Krizhevsky 2014 (`one_weird_trick`).
    Shapes: x [batch, h, w, c], sides of 67 and more, -> logits [batch, n_classes]. `original` is for 227 x 227: its
        dense layers belong to one size of image, and 224 x 224, which the paper writes, is padded to 227 x 227 with
        zeros. `one_weird_trick` is for 224 x 224 and averages others into 6 x 6 fields.
    Parameters: `conv1` to `conv5`, `dense6`, `dense7`, `head`: 60,965,224 and 61,100,840. Half of the kernels of
        conv2, conv4 and conv5 of the original see half of the channels (`groups`), as on its two cards.
    Options: `width` (64) and `hidden` (4096) scale it. Initial weights: N(0, 0.01^2), biases 1 where section 5 says so.
    Errors: ValueError for an unknown variant, a rank other than 4, sides below 67, an unknown activation.
    Sown: `Conv1` to `Conv5`, after activation and normalisation, before pooling.
    Example:
        model = AlexNet(n_classes=10, width=8, hidden=16, dropout=0.0)
        params = model.init(jax.random.key(0), jnp.zeros((1, 67, 67, 3)))
        logits = model.apply(params, jnp.ones((2, 67, 67, 3)))
        assert logits.shape == (2, 10)
    """

    variant: str = 'one_weird_trick'
    n_classes: int = 1000
    width: int = 64
    hidden: int = 4096
    activation: str | Callable[[Array], Array] = 'relu'
    dropout: float = 0.5
    kernel_init: Callable[..., Any] = nn.initializers.normal(0.01)
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, '...'], *, train: bool = False) -> Float[Array, 'batch {self.n_classes}']:
        one_of('variant', self.variant, LAYERS)
        check_images(x, 67)
        f, original = activation_fn(self.activation), self.variant == 'original'
        kinds = {'dtype': self.dtype, 'param_dtype': self.param_dtype, 'kernel_init': self.kernel_init}
        if original and x.shape[1:3] == (224, 224):
            x = jnp.pad(x, ((0, 0), (1, 2), (1, 2), (0, 0)))
        for i, (features, kernel, stride, pad, groups, bias, pooled) in enumerate(LAYERS[self.variant], 1):
            x = f(Conv(features * self.width // 64, (kernel, kernel), (stride, stride), ((pad, pad), (pad, pad)),
                       feature_group_count=groups, bias_init=nn.initializers.constant(bias), name=f'conv{i}',
                       **kinds)(x))
            x = local_response_norm(x) if original and i < 3 else x
            self.sow('intermediates', f'Conv{i}', x)
            x = max_pool(x, (3, 3), strides=(2, 2)) if pooled else x
        x = (x if original else adaptive_avg_pool(x, (6, 6))).reshape(x.shape[0], -1)
        drop = Dropout(self.dropout)
        for name in ('dense6', 'dense7'):
            x = x if original else drop(x, train=train)
            x = f(nn.Dense(self.hidden, name=name, bias_init=nn.initializers.constant(float(original)), **kinds)(x))
            x = drop(x, train=train) if original else x
        return nn.Dense(self.n_classes, name='head', **kinds)(x)
