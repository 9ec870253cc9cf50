"""What models share.  Layers that must know about replicas: dropout that draws the same mask on any number of devices,
and batch norm over the whole batch, so that no model names a strategy.  And a fast product for `nn.Dense`, and
orthogonal weights for many seeds at once."""
import math
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
    Raises ValueError unless 0 <= rate < 1; a traced rate, of a search for hyperparameters, is taken as it is.

        y = Dropout(0.5)(x, train=True)      # apply(..., rngs={'dropout': key})
    """
    rate: float

    @nn.compact
    def __call__(self, x: Float[Array, 'batch *rest'], *, train: bool = False) -> Float[Array, 'batch *rest']:
        traced = isinstance(self.rate, jax.core.Tracer)       # in a search for hyperparameters
        if not traced and not 0 <= self.rate < 1:
            raise ValueError(f'rate: expected 0 <= rate < 1, found {self.rate}')
        if not train or (not traced and self.rate == 0):
            return x
        key = self.make_rng('dropout')
        keep = parallel.rows(lambda n: jax.random.bernoulli(key, 1 - self.rate, (n, *x.shape[1:])), x.shape[0])
        return jnp.where(keep, x / (1 - self.rate), jnp.zeros_like(x))


class BatchNorm(nn.BatchNorm):
    """Linen's BatchNorm; `torch_var=True` keeps the running variance that torch keeps.  See `batch_norm`."""
    torch_var: bool = False

    @nn.compact
    def __call__(self, x: Float[Array, '...'], use_running_average: bool | None = None, *,
                 mask: Array | None = None) -> Float[Array, '...']:
        old = self.variables.get('batch_stats', {}).get('var')
        y = super().__call__(x, use_running_average, mask=mask)
        fixed = nn.merge_param('use_running_average', self.use_running_average, use_running_average)
        if self.torch_var and not fixed and not self.is_initializing():
            # It is m old + (1 - m) v, and a share v / (n - 1) is missing to n / (n - 1) v.
            var = self.variables['batch_stats']['var']
            fresh = var - self.momentum * old
            self.put_variable('batch_stats', 'var', var + fresh / (self._counted(x, mask) - 1))
        return y

    def _counted(self, x: Array, mask: Array | None) -> int | Array:
        """Over how many values the statistics of a channel run, on all replicas."""
        axes = [a % x.ndim for a in (self.axis if isinstance(self.axis, tuple) else (self.axis,))]
        if mask is not None:
            n = jnp.sum(jnp.broadcast_to(mask, x.shape)) / math.prod(x.shape[a] for a in axes)
            return jnp.maximum(parallel.psum(n) if self.axis_name else n, 2)
        replicas = parallel.axis().size if self.axis_name and parallel.axis() else 1
        n = replicas * math.prod(size for a, size in enumerate(x.shape) if a not in axes)
        if n < 2:
            raise ValueError(f'x: expected two values or more of each channel in training, found shape {x.shape}')
        return n


def batch_norm(*, train: bool, momentum: float = 0.9, epsilon: float = 1e-5, torch_var: bool = False,
               **kwargs) -> BatchNorm:
    """Linen's BatchNorm over the whole batch under every strategy (Ioffe and Szegedy 2015, algorithm 1).

    In training x is normalised by the batch's mean and variance (of n values of a channel, divided by n), the variance
    in two passes; in evaluation by running ones:  running <- momentum running + (1 - momentum) batch.
    momentum: the share of the old value. torch's `momentum` is the share of the new: its 0.1 is 0.9 here, its 0.01 (and
        Keras's 0.99) 0.99.
    epsilon: torch's default 1e-5; Keras's 1e-3, as in its MobileNets and EfficientNets.
    torch_var: True takes n / (n - 1) times the batch's variance into the running one, as torch and the paper's
        algorithm 2 do; what a training step computes is the same. For networks that are compared with torch's.
    kwargs: fields of `nn.BatchNorm` (name, dtype, param_dtype, use_scale, scale_init, axis, ...).
    Under the ordered reduction the statistics are those of one micro-batch.  Raises ValueError where torch_var is asked
    for and a channel has one value.

        x = batch_norm(train=train, torch_var=True, name='bn1')(x)      # variables: params scale, bias;
                                                                        # batch_stats mean, var
    """
    return BatchNorm(use_running_average=not train, momentum=momentum, epsilon=epsilon, use_fast_variance=False,
                     axis_name=parallel.axis_name() if train else None, torch_var=torch_var, **kwargs)


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
