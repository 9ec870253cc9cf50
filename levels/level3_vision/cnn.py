"""A convolutional network in its plainest form: convolution, batch norm, activation, pooling; then a mean, then logits.

Formula: h_0 = x; h_l = pool(f(norm(h_{l-1} * k_l))); logits = W mean_ij(h_L) + b.
Paper: LeCun et al. 1989, Handwritten digit recognition with a back-propagation network (the stack); Ioffe, Szegedy
    2015, Batch normalization (its place before the activation); Lin, Chen, Yan 2013, Network in network (the mean in
    place of dense layers).
Shapes: x [batch, height, width, channels] -> logits [batch, n_classes].

The mean over the image and one linear layer after it are what class activation maps need (`cam.py`).

Example:
    from levels.level3_vision.cnn import CNN
    model = CNN(widths=(16, 32, 64), n_classes=10)
    variables = model.init(jax.random.key(0), jnp.zeros((1, 32, 32, 3)))
    logits, after = model.apply(variables, x, train=True, mutable=['batch_stats'])
"""

from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from common.layers import Dropout, batch_norm
from levels.level2_neural.mlp import activation_fn
from levels.level3_vision.conv import Conv
from levels.level3_vision.pooling import avg_pool, global_avg_pool, max_pool

_POOLS = {'max': max_pool, 'avg': avg_pool}


class ConvBlock(nn.Module):
    """Convolution, batch norm, activation.

    Formula: y = f(norm(x * k)); without norm y = f(x * k + b).
    Paper: Ioffe, Szegedy 2015, Batch normalization: accelerating deep network training, section 3.2: no bias before
        the norm, which takes the mean away.
    Shapes: x [batch, h, w, c] -> [batch, h', w', features]; `conv/kernel` [k_h, k_w, c, features], `norm/scale` and
        `norm/bias` or `conv/bias` [features].
    Errors: ValueError for x that is not of rank 4 and for an unknown activation; paddings are those of `padding.py`.
    Example:
        model, x = ConvBlock(8, strides=(2, 2)), jnp.ones((2, 9, 9, 3))
        variables = model.init(jax.random.key(0), x)
        y = model.apply(variables, x)
        assert y.shape == (2, 5, 5, 8)
        assert sorted(variables) == ['batch_stats', 'params']
    """

    features: int
    kernel_size: Sequence[int] = (3, 3)
    strides: Sequence[int] = (1, 1)
    padding: Any = 'torch_same'
    norm: bool = True
    activation: str | Callable[[Array], Array] = 'relu'
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, 'b h w c'], *, train: bool = False) -> Float[Array, 'b oh ow o']:
        f, kinds = activation_fn(self.activation), {'dtype': self.dtype, 'param_dtype': self.param_dtype}
        if x.ndim != 4:
            raise ValueError(f'x: expected rank 4 [batch, height, width, channels]; found shape {x.shape}')
        x = Conv(self.features, tuple(self.kernel_size), strides=tuple(self.strides), padding=self.padding,
                 use_bias=not self.norm, kernel_init=nn.initializers.he_normal(), name='conv', **kinds)(x)
        return f(batch_norm(train=train, name='norm', **kinds)(x) if self.norm else x)


class CNN(nn.Module):
    """A stack of `ConvBlock`s with a pooling between each two, then the mean over the image and a linear layer.

    Formula: h_l = block_l(pool(h_{l-1})), the first without its pooling; logits = W dropout(mean_ij(h_L)) + b.
    Paper: LeCun et al. 1989; Ioffe, Szegedy 2015; Lin, Chen, Yan 2013 (see the module's card).
    Shapes: x [batch, h, w, c], sides of 2^(len(widths) - 1) or more -> logits [batch, n_classes].
    Parameters: `block_<l>/conv/kernel` [k, k, in, out], `block_<l>/norm`, `head/kernel` [widths[-1], n_classes]; with a
        norm k k in out + 2 out a block. Running statistics in 'batch_stats'.
    Errors: ValueError for no widths, an unknown pool or activation, an image that is pooled away, a rank other than 4.
    Sown: `pooled` (collection 'intermediates'), what the linear layer sees.
    Example:
        model, x = CNN(widths=(4, 8), n_classes=3), jnp.ones((2, 8, 8, 1))
        variables = model.init(jax.random.key(0), x)
        logits = model.apply(variables, x)
        assert logits.shape == (2, 3)
        assert variables['params']['block_1']['conv']['kernel'].shape == (3, 3, 4, 8)
    """

    widths: Sequence[int] = (16, 32, 64)
    n_classes: int = 10
    kernel_size: Sequence[int] = (3, 3)
    norm: bool = True
    pool: str = 'max'
    activation: str | Callable[[Array], Array] = 'relu'
    dropout: float = 0.0
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, 'b h w c'], *, train: bool = False) -> Float[Array, 'b {self.n_classes}']:
        if not self.widths or min(self.widths) < 1:
            raise ValueError(f'widths: expected one or more widths >= 1; found {tuple(self.widths)}')
        if self.pool not in _POOLS:
            raise ValueError(f'pool: expected one of {", ".join(_POOLS)}; found {self.pool!r}')
        if x.ndim != 4 or min(x.shape[1:3]) < 2 ** (len(self.widths) - 1):
            raise ValueError(f'x: expected [batch, height, width, channels] with sides >= {2 ** (len(self.widths) - 1)}'
                             f'; found shape {x.shape}')
        kinds = {'dtype': self.dtype, 'param_dtype': self.param_dtype}
        for i, width in enumerate(self.widths):
            x = _POOLS[self.pool](x, (2, 2)) if i else x
            x = ConvBlock(width, self.kernel_size, norm=self.norm, activation=self.activation, name=f'block_{i}',
                          **kinds)(x, train=train)
        x = global_avg_pool(x)
        self.sow('intermediates', 'pooled', x)
        x = Dropout(self.dropout)(x, train=train)
        return nn.Dense(self.n_classes, name='head', **kinds)(x)
