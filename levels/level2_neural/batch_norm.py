"""Batch norm as a module with `train` in its call; models mostly write `common.layers.batch_norm` in line instead.

    x = BatchNorm(momentum=0.9)(x, train=train)
    x = batch_norm(train=train, momentum=0.9, name='bn1')(x)        # the same, one level of names less
"""

from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from common.layers import batch_norm


class BatchNorm(nn.Module):
    """Normalises each channel by the batch in training, and by running statistics in evaluation.

    Formula: y = scale (x - m) / sqrt(v + epsilon) + bias; in training m and v are mean and variance (divided by n, in
        two passes) of the channel's n values in the whole batch, on all replicas together, and running values become
        momentum running + (1 - momentum) batch; in evaluation m and v are the running ones. `torch_var`: the running
        variance takes n / (n - 1) v, as torch's does. torch's momentum 0.1 is 0.9 here.
    Paper: Ioffe, Szegedy 2015, Batch normalization, algorithms 1 and 2.
    Shapes: [batch, ..., channels] -> the same.
    Parameters: `norm/scale` and `norm/bias` [channels]; in batch_stats `norm/mean` and `norm/var` [channels].
    Errors: ValueError for a momentum outside 0..1, an epsilon below 0, or (torch_var, training) one value in a channel.
    Example:
        model, x = BatchNorm(torch_var=True), jnp.array([[1.0], [3.0]])
        variables = model.init(jax.random.key(0), x)
        y, new = model.apply(variables, x, train=True, mutable='batch_stats')
        assert jnp.allclose(y, jnp.array([[-1.0], [1.0]]), atol=1e-4)
        assert jnp.allclose(new['batch_stats']['norm']['var'], 0.9 * 1.0 + 0.1 * 2.0)
    """

    momentum: float = 0.9
    epsilon: float = 1e-5
    torch_var: bool = False
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, 'batch *places channels'], *, train: bool = False) -> Float[Array, '...']:
        if not (0 <= self.momentum <= 1 and self.epsilon >= 0):
            raise ValueError('momentum, epsilon: expected 0..1 and 0 or more; '
                             f'found {self.momentum} and {self.epsilon}')
        return batch_norm(train=train, momentum=self.momentum, epsilon=self.epsilon, torch_var=self.torch_var,
                          dtype=self.dtype, param_dtype=self.param_dtype, name='norm')(x)
