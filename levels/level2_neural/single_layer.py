"""A network of one layer, with the head that its targets want: logistic, softmax or linear regression by descent.

Formula: logits = x W + b; p = sigmoid(logits), softmax(logits), or the logits themselves.
Paper: Widrow, Hoff 1960, Adaptive switching circuits (linear); Cox 1958, The regression analysis of binary sequences
    (sigmoid); Bridle 1990, Probabilistic interpretation of feedforward classification network outputs (softmax).
Shapes: x [batch, ...] is flattened to [batch, features]; output [batch, n_out], or [batch] for n_out = 1 and the heads
    sigmoid and linear.

Example:
    from levels.level2_neural.single_layer import SingleLayer, single_layer_task
    task = single_layer_task(SingleLayer(10, head='softmax'), optax.sgd(0.5, momentum=0.9), l2=1e-3)
    carry, metrics = jax.jit(train_fn(task, 2000, lambda data, step: data))(key, {'x': x, 'y': y})
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from common import metrics as M
from common.optim import gradient_task
from common.task import Task
from levels.level2_neural.losses import binary_cross_entropy, softmax_cross_entropy, squared_error

HEADS = {       # name -> (loss of (logits, targets), what the logits say)
    'sigmoid': (binary_cross_entropy, jax.nn.sigmoid),
    'softmax': (softmax_cross_entropy, jax.nn.softmax),
    'linear': (squared_error, lambda x: x),
}


class SingleLayer(nn.Module):
    """One dense layer; its head says what the outputs mean, and which loss belongs to them (`single_layer_task`).

    Formula: logits = x W + b; `predict` gives sigmoid(logits), softmax(logits) or the logits. All three losses have
        the same slope in the logits, p - y (for the square twice that), and no local minimum.
    Paper: Widrow, Hoff 1960, Adaptive switching circuits; Bridle 1990 (softmax).
    Shapes: [batch, ...] -> logits [batch, n_out]; [batch] for n_out = 1 with head sigmoid or linear.
    Parameters: `dense/kernel` [features, n_out], zeros at first (a minimum needs no luck), `dense/bias` [n_out].
    Errors: ValueError for an unknown head, n_out below 1 (softmax: below 2), input without a feature axis.
    Example:
        model = SingleLayer(3, head='softmax')
        params = model.init(jax.random.key(0), jnp.zeros((1, 4)))
        logits = model.apply(params, jnp.ones((2, 4)))
        assert jnp.allclose(model.predict(logits), 1 / 3)
    """

    n_out: int = 1
    head: str = 'sigmoid'
    kernel_init: Callable[..., Any] = nn.initializers.zeros_init()
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, 'batch ...'], *, train: bool = False) -> Float[Array, 'batch *n_out']:
        del train
        if self.head not in HEADS:
            raise ValueError(f'head: expected one of {", ".join(HEADS)}; found {self.head!r}')
        least = 2 if self.head == 'softmax' else 1
        if self.n_out < least:
            raise ValueError(f'n_out: expected {least} or more for head {self.head}; found {self.n_out}')
        if x.ndim < 2:
            raise ValueError(f'x: expected [batch, ...] of rank 2 or more; found shape {x.shape}')
        y = nn.Dense(self.n_out, name='dense', kernel_init=self.kernel_init, dtype=self.dtype,
                     param_dtype=self.param_dtype)(x.reshape(x.shape[0], -1))
        return y[:, 0] if self.n_out == 1 else y

    def predict(self, logits: Float[Array, 'batch *n_out']) -> Float[Array, 'batch *n_out']:
        """Probabilities, or for the linear head the numbers themselves."""
        return HEADS[self.head][1](logits)


def single_layer_task(model: SingleLayer, tx: optax.GradientTransformation, *, l2: float = 0.0, x: str = 'x',
                      y: str = 'y', **kwargs: Any) -> Task:
    """Learns `model` by the loss of its head: mean loss + l2 ||W||^2 / 2; the bias is free.

    Its minimum is that of scikit-learn's LogisticRegression with C = 1 / (rows l2), for the linear head and l2 = 0 that
    of least squares. batch: x [batch, ...], y as the loss of the head wants it, optional 'mask' [batch].
    Metrics: loss (without the penalty).  kwargs go to `gradient_task`.
    """

    def init(key, batch):
        return model.init(key, jnp.asarray(batch[x])[:1])['params'], {}

    def loss_fn(params, extra, batch, key, train):
        loss = M.mean(HEADS[model.head][0](model.apply({'params': params}, batch[x]), batch[y]), batch.get('mask'))
        # a part for each row that counts, so that parts of a batch add up to the whole
        price = l2 / 2 * jnp.sum(jnp.square(params['dense']['kernel'])) * loss.weight
        return loss._replace(total=loss.total + price) if train else loss, (extra, {'loss': loss})

    return gradient_task(init, loss_fn, tx, **kwargs)
