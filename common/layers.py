"""Linen layers that must know about replicas: dropout that draws the same mask on any number of devices, and
batch norm over the whole batch.  Models use these, so that no model names a strategy."""
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
