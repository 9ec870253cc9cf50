"""LeNet-5: the common variant, and the network of 1998 with its connection table and radial basis outputs.

Paper: LeCun, Bottou, Bengio, Haffner 1998, Gradient-Based Learning Applied to Document Recognition, Proc. IEEE 86(11),
    section II-B (the layers, Table I, equations 5 and 7), II-C (losses, equations 8 and 9), appendix A (equation 6).

| layer | `LeNet5`                       | `LeNet5Original`                                   | output     |
| C1    | conv 5x5, f                    | conv 5x5, f                                        | 28, 28, 6  |
| S2    | pool 2x2                       | f(coefficient * sum of 2x2 + bias), one pair a map | 14, 14, 6  |
| C3    | conv 5x5 on all 6 maps, f      | conv 5x5 on the maps of Table I, f                 | 10, 10, 16 |
| S4    | pool 2x2                       | as S2                                              | 5, 5, 16   |
| C5    | dense 400 -> 120, f            | conv 5x5, f                                        | 120        |
| F6    | dense 120 -> 84, f             | dense, f                                           | 84         |
| out   | dense 84 -> n_classes          | minus squared distance to ten fixed codes          | 10         |
|       | 61,706 parameters              | 60,000: 156 + 12 + 1,516 + 32 + 48,120 + 10,164    |            |

Example:
    from levels.level3_vision.lenet import LeNet5, LeNet5Original, rbf_map_loss
    model = LeNet5Original()
    params = model.init(jax.random.key(0), jnp.zeros((1, 28, 28, 1)))
    loss = rbf_map_loss(model.apply(params, images), labels).mean()
"""

from collections.abc import Callable, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from common.layers import Dropout
from levels.level2_neural.mlp import activation_fn
from levels.level3_vision.conv import Conv, conv_general_dilated
from levels.level3_vision.lenet_codes import C3_INPUTS, digit_codes
from levels.level3_vision.planes import PlanesConv
from levels.level3_vision.pooling import avg_pool, max_pool

_POOLS = {'max': max_pool, 'avg': avg_pool}
# (C3 map, S2 map) of each of the 60 connections
_OUT, _IN = np.array([(o, i) for o, maps in enumerate(C3_INPUTS) for i in maps]).T


class LeNet5(nn.Module):
    """LeNet-5 as it is taught today: full C3, plain pooling, a linear classifier.

    Formula: logits = W3 f(W2 f(W1 flatten(pool f(conv pool f(conv x))) + b1) + b2) + b3.
    Paper: LeCun et al. 1998, section II-B, simplified (see the module's table).
    Shapes: x [batch, 28, 28, c], padded by 2 with zeros, or any [batch, h, w, c] with sides >= 16 (32 is the paper's)
        -> logits [batch, n_classes]. 61,706 parameters for one channel and ten classes.
    Errors: ValueError for a rank other than 4, sides below 16, an unknown activation or pool.
    Sown: C1 S2 C3 S4 C5 F6 (parameters have the lower-case names; Linen wants the two apart).
    Example:
        model = LeNet5(activation='tanh', pool='avg', dropout=0.5)
        params = model.init(jax.random.key(0), jnp.zeros((1, 28, 28, 1)))
        logits = model.apply(params, jnp.ones((8, 28, 28, 1)))
        logits.shape                                         # (8, 10)
    """

    n_classes: int = 10
    activation: str | Callable[[Array], Array] = 'relu'
    pool: str = 'max'
    dropout: float = 0.0  # on the two hidden dense layers
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, '...'], *, train: bool = False) -> Float[Array, 'batch {self.n_classes}']:
        f = activation_fn(self.activation)
        if self.pool not in _POOLS:
            raise ValueError(f'pool: expected one of {", ".join(_POOLS)}; found {self.pool!r}')
        if x.ndim != 4 or min(x.shape[1:3]) < 16:
            raise ValueError(f'x: expected [batch, height, width, channels] with sides >= 16; found shape {x.shape}')
        kinds = {'dtype': self.dtype, 'param_dtype': self.param_dtype}
        side = 2 if x.shape[1:3] == (28, 28) else 0
        last = jax.default_backend() == 'cpu'       # the batch goes last: see planes.py
        layer, turn = (PlanesConv, (3, 1, 2, 0)) if last else (Conv, (0, 1, 2, 3))      # its own inverse
        x = x.transpose(turn)
        for conv, pooled, width, pads in (('c1', 'S2', 6, side), ('c3', 'S4', 16, 0)):
            x = f(layer(width, (5, 5), padding=((pads, pads), (pads, pads)), name=conv, **kinds)(x))
            self.sow('intermediates', conv.upper(), x.transpose(turn))
            x = _POOLS[self.pool](x, (2, 2))
            self.sow('intermediates', pooled, x.transpose(turn))
        x = x.transpose(turn).reshape(x.shape[turn[0]], -1)
        for dense, width in (('c5', 120), ('f6', 84)):
            x = f(nn.Dense(width, name=dense, **kinds)(x))
            self.sow('intermediates', dense.upper(), x)
            x = Dropout(self.dropout)(x, train=train)
        return nn.Dense(self.n_classes, name='out', **kinds)(x)


def scaled_tanh(x: Float[Array, '*shape']) -> Float[Array, '*shape']:
    """1.7159 tanh(2x/3): near +-1 at x = +-1, where its curvature is largest. LeCun et al. 1998, equation 6."""
    return 1.7159 * jnp.tanh(x * (2.0 / 3.0))


def _uniform(fan_in: int | Sequence[int]) -> Callable[..., Array]:
    """U(-2.4 / fan_in, 2.4 / fan_in), appendix A; a sequence gives each entry of the first axis its own fan-in."""

    def init(key: Array, shape: Sequence[int], dtype: Any = jnp.float32) -> Array:
        bound = 2.4 / jnp.asarray(fan_in, dtype).reshape(-1, *(1,) * (len(shape) - 1))
        return jax.random.uniform(key, shape, dtype, -1.0, 1.0) * bound

    return init


class LeNet5Original(nn.Module):
    """LeNet-5 as published: trainable subsampling, the C3 connection table, fixed radial basis function outputs.

    Formula: logit_i = -sum_j (f6_j - code_ij)^2 (minus equation 7, so that argmax classifies), f = 1.7159 tanh(2x/3).
    Paper: LeCun et al. 1998, section II-B. The codes are our own 7 x 12 drawings of the ten digits, not the paper's.
    Shapes: x [batch, 32, 32, 1], or [batch, 28, 28, 1] padded by 2 with `background` -> logits [batch, 10], float32 at
        least. 60,000 parameters; `c3/kernel` is [60, 5, 5], one 5x5 kernel per connection, so none is masked or dead.
    Errors: ValueError for any other shape.
    Sown: C1 S2 C3 S4 C5 F6 (parameters have the lower-case names; Linen wants the two apart).
    Example:
        model = LeNet5Original()
        params = model.init(jax.random.key(0), jnp.zeros((1, 32, 32, 1)))
        logits = model.apply(params, jnp.ones((8, 32, 32, 1)))
        loss = rbf_mse_loss(logits, jnp.zeros(8, int)).mean()
    """

    background: float = -0.1  # the paper scales white to -0.1 and black to 1.175 (section II-B)
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, '...'], *, train: bool = False) -> Float[Array, 'batch 10']:
        del train  # nothing here behaves differently
        if x.ndim != 4 or x.shape[1:] not in ((28, 28, 1), (32, 32, 1)):
            raise ValueError(f'x: expected [batch, 28, 28, 1] or [batch, 32, 32, 1]; found shape {x.shape}')
        if x.shape[1] == 28:
            x = jnp.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0)), constant_values=self.background)
        kinds = {'dtype': self.dtype, 'param_dtype': self.param_dtype}

        def convolution(name: str, width: int, fan_in: int, x: Array) -> Array:
            return Conv(width, (5, 5), padding='VALID', kernel_init=_uniform(fan_in), name=name, **kinds)(x)

        layers = (
            ('c1', lambda x: convolution('c1', 6, 25, x)),
            ('s2', _Subsample(name='s2', **kinds)),
            ('c3', _TableConv(name='c3', **kinds)),
            ('s4', _Subsample(name='s4', **kinds)),
            ('c5', lambda x: convolution('c5', 120, 400, x).reshape(x.shape[0], 120)),
            ('f6', nn.Dense(84, kernel_init=_uniform(120), name='f6', **kinds)),
        )
        for name, layer in layers:
            x = scaled_tanh(layer(x))
            self.sow('intermediates', name.upper(), x)
        # distances near 100 lose their digits in bfloat16
        x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        return -jnp.sum((x[:, None, :] - digit_codes(x.dtype)[None]) ** 2, axis=-1)


class _Subsample(nn.Module):
    """coefficient * (sum of each 2x2) + bias, one coefficient and one bias per map: layers S2 and S4."""

    dtype: Any
    param_dtype: Any

    @nn.compact
    def __call__(self, x: Float[Array, 'b h w c']) -> Float[Array, 'b h//2 w//2 c']:
        shape = (x.shape[-1],)
        scale = self.param('scale', _uniform(4), shape, self.param_dtype)
        bias = self.param('bias', nn.initializers.zeros_init(), shape, self.param_dtype)
        x, scale, bias = nn.dtypes.promote_dtype(x, scale, bias, dtype=self.dtype)
        return 4.0 * avg_pool(x, (2, 2)) * scale.reshape(1, 1, 1, -1) + bias.reshape(1, 1, 1, -1)


class _TableConv(nn.Module):
    """C3: a 5x5 convolution in which each of 16 maps sees the 3, 4 or 6 input maps of Table I."""

    dtype: Any
    param_dtype: Any

    @nn.compact
    def __call__(self, x: Float[Array, 'b 14 14 6']) -> Float[Array, 'b 10 10 16']:
        fan_in = [25 * len(C3_INPUTS[o]) for o in _OUT]
        kernel = self.param('kernel', _uniform(fan_in), (len(_OUT), 5, 5), self.param_dtype)
        bias = self.param('bias', nn.initializers.zeros_init(), (16,), self.param_dtype)
        x, kernel, bias = nn.dtypes.promote_dtype(x, kernel, bias, dtype=self.dtype)
        dense = jnp.zeros((5, 5, 6, 16), kernel.dtype)
        dense = dense.at[:, :, _IN, _OUT].set(kernel.transpose(1, 2, 0), unique_indices=True)
        y = conv_general_dilated(x, dense, (1, 1), 'VALID', dimension_numbers=('NHWC', 'HWIO', 'NHWC'))
        return y + bias.reshape(1, 1, 1, -1)


def rbf_mse_loss(logits: Float[Array, 'batch n'], labels: Int[Array, ' batch']) -> Float[Array, ' batch']:
    """The penalty of the right class: squared distance of F6 from its code.

    Formula: E = y_label, where y = -logits.
    Paper: LeCun et al. 1998, equation 8 (there averaged over examples; here per example).
    Shapes: logits [batch, n], labels [batch] in 0..n-1 -> [batch].
    Errors: none; a label outside the range gives nan (nothing can be raised on the device).
    Example:
        logits = -jnp.array([[3.0, 50.0]])
        labels = jnp.array([0])
        rbf_mse_loss(logits, labels)                         # [3.]
        rbf_mse_loss(logits, 1 - labels)                     # [50.]
    """
    return -jnp.take_along_axis(logits, labels[:, None], axis=1, mode='fill')[:, 0]


def rbf_map_loss(
    logits: Float[Array, 'batch n'], labels: Int[Array, ' batch'], *, j: float = 84.0
) -> Float[Array, ' batch']:
    """The penalty of the right class, made to compete with the other classes and with "none of them".

    Formula: E = y_label + log(exp(-j) + sum_i exp(-y_i)), where y = -logits.
    Paper: LeCun et al. 1998, equation 9 (there averaged over examples; here per example). The paper leaves j > 0 open;
        84 is the distance of F6 = 0 from every code.
    Shapes: logits [batch, n], labels [batch] in 0..n-1 -> [batch].
    Errors: ValueError when j is not positive; a label outside the range gives nan.
    Example:
        logits = -jnp.array([[3.0, 50.0]])
        labels = jnp.array([0])
        rbf_map_loss(logits, labels, j=3.0)                  # [0.6931472] = log 2
        rbf_map_loss(logits, labels)                         # [0.]
    """
    if not j > 0:
        raise ValueError(f'j: expected a positive penalty; found {j}')
    rubbish = jnp.full((logits.shape[0], 1), -j, logits.dtype)
    return rbf_mse_loss(logits, labels) + jax.nn.logsumexp(jnp.concatenate([logits, rubbish], axis=1), axis=1)
