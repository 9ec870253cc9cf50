"""What models share.  Layers that must know about replicas: dropout that draws the same mask on any number of devices,
and batch norm over the whole batch, so that no model names a strategy.  And a fast product for `nn.Dense`, and
orthogonal weights for many seeds at once."""
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from common import parallel


class Dropout(nn.Module):
    """Inverted dropout: y = x m / (1 - rate), m ~ Bernoulli(1 - rate) for each element, in training only.

    Source: Srivastava et al. 2014, section 4, in the inverted form of section 10.
    The mask is drawn for the whole batch and cut to this replica's rows, so jit, pmap and mesh drop the same units.
    Raises ValueError unless 0 <= rate < 1.

        y = Dropout(0.5)(x, train=True)      # apply(..., rngs={'dropout': key})
    """
    rate: float

    @nn.compact
    def __call__(self, x: Float[Array, 'batch *rest'], *, train: bool = False) -> Float[Array, 'batch *rest']:
        if not 0 <= self.rate < 1:
            raise ValueError(f'rate: expected 0 <= rate < 1, found {self.rate}')
        if not train or self.rate == 0:
            return x
        key = self.make_rng('dropout')
        keep = parallel.rows(lambda n: jax.random.bernoulli(key, 1 - self.rate, (n, *x.shape[1:])), x.shape[0])
        return jnp.where(keep, x / (1 - self.rate), jnp.zeros_like(x))


def batch_norm(*, train: bool, momentum: float = 0.9, epsilon: float = 1e-5, **kwargs) -> nn.BatchNorm:
    """Linen's BatchNorm over the whole batch under every strategy (Ioffe and Szegedy 2015, algorithm 1).

    `momentum` is the share of the old running value (torch's 0.1 is 0.9 here); the variance is two-pass.
    Under the ordered reduction the statistics are those of one micro-batch.
    """
    return nn.BatchNorm(use_running_average=not train, momentum=momentum, epsilon=epsilon, use_fast_variance=False,
                        axis_name=parallel.axis_name() if train else None, **kwargs)


def flat_dot(x: Float[Array, '*rows in'], kernel: Float[Array, 'in out'], dimension_numbers: Any, precision: Any = None,
             **kwargs) -> Float[Array, '*rows out']:
    """`lax.dot_general` for `nn.Dense(dot_general=flat_dot)`: x is one matrix, however many axes it has.

    The gradient of the kernel sums over all rows. XLA:CPU takes half as long over one long axis as over two (measured:
    3.7 against 7.1 ms for a feed-forward layer of 128 and 512 units on [12, 64, 128], forward and backward).
    """
    if x.ndim < 3 or dimension_numbers != (((x.ndim - 1,), (0,)), ((), ())):
        return jax.lax.dot_general(x, kernel, dimension_numbers, precision, **kwargs)
    y = jax.lax.dot_general(x.reshape(-1, x.shape[-1]), kernel, (((1,), (0,)), ((), ())), precision, **kwargs)
    return y.reshape(*x.shape[:-1], y.shape[-1])


def orthogonal(scale: float = 1.0) -> nn.initializers.Initializer:
    """`nn.initializers.orthogonal`, the same bits, that can be vmapped over seeds without hanging on a CPU.

    Batched, LAPACK's QR shares its matrices out to XLA's threads and waits for them on one of those threads: two at
    once on two cores wait for ever (jaxlib 0.10; seen once in some hundred inits). So a vmap does one after another.
    """
    def init(key, shape, dtype=jnp.float32, **kwargs):
        made = nn.initializers.orthogonal(scale)
        return jax.custom_batching.sequential_vmap(lambda key: made(key, shape, dtype, **kwargs))(key)

    return init
