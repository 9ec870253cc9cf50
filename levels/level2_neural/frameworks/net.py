"""The network that all frameworks here can build: convolutions with batch norm, then dense layers; or dense ones only.

It is small, and has what the frameworks disagree about: the layout of kernels and images, the order in which a feature
map is flattened, momentum and variance of batch norm.

Example:
    from levels.level2_neural.frameworks.net import SharedNet
    net = SharedNet(image=(28, 28, 1), channels=(16, 32), hidden=(64,), n_out=10)
    mlp = SharedNet(image=(784,), hidden=(64, 64), n_out=10)         # the parameters of level 2's MLP
"""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from common.layers import batch_norm
from levels.level2_neural.activations import activation_fn

ACTIVATIONS = ('relu', 'tanh')      # which mean the same everywhere; 'gelu' is two functions
MOMENTUM, EPSILON = 0.9, 1e-5       # of batch norm: the share of the old value; PyTorch writes 0.1 for this momentum


class SharedNet(nn.Module):
    """A small network for images or feature vectors, the same in Linen, NNX, Keras, TensorFlow and PyTorch.

    Formula: h_0 = x, h_l = maxpool2x2(f(norm(h_{l-1} * k_l))); flattened; g_l = f(W_l g_{l-1} + b_l); logits = W g + b.
    Paper: LeCun et al. 1989, Handwritten digit recognition with a back-propagation network; Ioffe, Szegedy 2015, Batch
        normalization (no bias before the norm).
    Shapes: x [batch, *image] -> [batch, n_out]; `image` is (height, width, channels), or (features,) without
        convolutions, which are 3x3 with stride 1 and zeros around.
    Parameters: `conv_<l>/kernel` [3, 3, in, out], `norm_<l>/scale` and `bias` [out] (without `norm`: `conv_<l>/bias`),
        `dense_<l>/kernel` [in, out] and `bias` [out]; in batch_stats `norm_<l>/mean` and `var` [out].
    `torch_var`: the running variance that PyTorch keeps; the others keep that of the default.
    Errors: ValueError for another activation than relu and tanh, widths below 1, an image that is pooled away or has
        another rank, x of another shape.
    Example:
        net = SharedNet(image=(8, 8, 1), channels=(4,), hidden=(6,), n_out=3)
        variables = net.init(jax.random.key(0), jnp.zeros((1, 8, 8, 1)))
        logits = net.apply(variables, jnp.ones((2, 8, 8, 1)))
        assert logits.shape == (2, 3) and net.flat == (4, 4, 4)
        assert variables['params']['dense_0']['kernel'].shape == (4 * 4 * 4, 6)
    """

    image: Sequence[int]
    n_out: int
    channels: Sequence[int] = ()
    hidden: Sequence[int] = ()
    norm: bool = True
    activation: str = 'relu'
    torch_var: bool = False
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @property
    def flat(self) -> tuple[int, ...]:
        """What is flattened: (height, width, channels) of the last feature map, or (features,)."""
        if not self.channels:
            return tuple(self.image)
        height, width = (side >> len(self.channels) for side in self.image[:2])
        return height, width, self.channels[-1]

    @nn.nowrap
    def check(self) -> None:
        """ValueError for fields that do not fit together; what builds this net elsewhere calls it too."""
        if self.activation not in ACTIVATIONS:
            raise ValueError(f'activation: expected one of {", ".join(ACTIVATIONS)}; found {self.activation!r}')
        sizes = (*self.image, self.n_out, *self.channels, *self.hidden)
        if min(sizes) < 1:
            raise ValueError(f'image, n_out, channels, hidden: expected sizes >= 1; found {sizes}')
        if self.channels and (len(self.image) != 3 or min(self.flat) < 1):
            raise ValueError(f'image: expected (height, width, channels) with sides >= {2 ** len(self.channels)}; '
                             f'found {tuple(self.image)}')

    @nn.compact
    def __call__(self, x: Float[Array, 'batch *image'], *, train: bool = False) -> Float[Array, 'batch {self.n_out}']:
        self.check()
        if x.shape[1:] != tuple(self.image):
            raise ValueError(f'x: expected [batch, {", ".join(map(str, self.image))}]; found shape {x.shape}')
        f, kinds = activation_fn(self.activation), {'dtype': self.dtype, 'param_dtype': self.param_dtype}
        for l, width in enumerate(self.channels):
            x = nn.Conv(width, (3, 3), use_bias=not self.norm, name=f'conv_{l}', **kinds)(x)
            if self.norm:
                x = batch_norm(train=train, momentum=MOMENTUM, epsilon=EPSILON, torch_var=self.torch_var,
                               name=f'norm_{l}', **kinds)(x)
            x = nn.max_pool(f(x), (2, 2), (2, 2))
        x = x.reshape(x.shape[0], -1)
        for l, width in enumerate(self.hidden):
            x = f(nn.Dense(width, name=f'dense_{l}', **kinds)(x))
        return nn.Dense(self.n_out, name=f'dense_{len(self.hidden)}', **kinds)(x)
