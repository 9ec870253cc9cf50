"""Which depths can be trained: the experiment behind residual connections, norms and He's weights.

The same data, width, rate and number of steps, for each kind of network and each depth.  Weights that shrink the signal
leave a deep plain network with an output that does not depend on its input; He's weights or a norm help to a point;
with residual connections depth does no harm.

    found = trainability(key, x, labels, depths=(2, 10, 50))
    found['plain'].loss             # [depths]
    draw(found, 'Digits')

Papers: He, Zhang, Ren, Sun 2016, Deep residual learning, figure 1; Schoenholz, Gilmer, Ganguli, Sohl-Dickstein 2017,
    Deep information propagation (the depth that a signal survives).
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int, Key
from matplotlib.figure import Figure

from common import plots, tasks
from common.task import advance, start
from levels.level2_neural.dnn import DNN
from levels.level2_neural.init import he_normal, lecun_normal

VARIANTS: dict[str, dict[str, Any]] = {
    'plain, LeCun': {'kernel_init': lecun_normal},
    'plain, He': {'kernel_init': he_normal},
    'batch norm': {'norm': 'batch'},
    'residual': {'residual': True},
    'residual, layer norm': {'residual': True, 'norm': 'layer'},
}


class Trained(NamedTuple):
    """Of one variant, [depths]: loss and accuracy on the data after training; before it, the root mean square of the
    gradient of the hidden kernels."""

    depths: tuple[int, ...]
    loss: Float[np.ndarray, ' depths']
    accuracy: Float[np.ndarray, ' depths']
    gradient: Float[np.ndarray, ' depths']


def _one(model: DNN, steps: int, batch_size: int, rate: float, key, data):
    task = tasks.classifier(model, optax.chain(optax.clip_by_global_norm(1.0), optax.adam(rate)), image='x')
    carry = start(task, key, data)
    first = carry.state

    def loss(params):
        out = model.apply({'params': params, **first.extra}, data['x'], train=True, mutable=list(first.extra))[0]
        return optax.softmax_cross_entropy_with_integer_labels(out, data['label']).mean()
    size = jnp.sqrt(jnp.mean(jax.grad(loss)(first.params)['layers']['dense']['kernel'] ** 2))

    def step(carry, _):
        rows = jax.random.randint(jax.random.fold_in(key, carry.step), (batch_size,), 0, len(data['label']))
        carry, _ = advance(task, carry, jax.tree.map(lambda v: v[rows], data))
        return carry, None
    carry, _ = jax.lax.scan(step, carry, length=steps)
    found = task.evaluate(key, carry.state, data)
    return found['loss'].value, found['accuracy'].value, size


def trainability(
    key: Key[Array, ''], x: Float[Array, 'rows features'], labels: Int[Array, ' rows'], *, depths: Sequence[int],
    variants: Mapping[str, Mapping[str, Any]] = VARIANTS, width: int = 32, steps: int = 300, batch_size: int = 64,
    rate: float = 1e-3,
) -> dict[str, Trained]:
    """Trains each variant (fields of `DNN`) at each depth with Adam, and measures it on the same rows.

    What is measured is the loss on the training rows (of batch norm: with its running statistics), since depth fails
    in training and not in generalisation.  Raises ValueError for no depth or depths below 1, other shapes.
    """
    x, labels = jnp.asarray(x, jnp.float32), jnp.asarray(labels)
    if not depths or min(depths) < 1:
        raise ValueError(f'depths: expected one or more, each 1 or more; found {tuple(depths)}')
    if x.ndim != 2 or labels.shape != x.shape[:1]:
        raise ValueError(f'x, labels: expected [rows, features] and [rows]; found {x.shape} and {labels.shape}')
    classes = int(labels.max()) + 1
    found = {}
    for name, fields in variants.items():
        got = []
        for depth in depths:
            model = DNN(width=width, depth=depth, n_out=classes, **fields)
            run = jax.jit(functools.partial(_one, model, steps, batch_size, rate))
            got.append(jax.device_get(run(key, {'x': x, 'label': labels})))
        found[name] = Trained(tuple(depths), *(np.array(v, np.float64) for v in zip(*got)))
    return found


def draw(found: Mapping[str, Trained], title: str) -> Figure:
    """Loss after training and size of the gradient before it, over depth; one line for each variant."""
    figure = Figure(figsize=(10.4, 3.9), layout='constrained')
    left, right = figure.subplots(1, 2)
    for (name, values), color in zip(found.items(), (*plots.COLORS, '#6a4c93', '#00798c')):
        left.plot(values.depths, values.loss, 'o-', color=color, label=name)
        right.plot(values.depths, np.maximum(values.gradient, 1e-15), 'o-', color=color)
    left.set(xscale='log', xlabel='hidden layers', ylabel='training loss after training (nats)')
    right.set(xscale='log', yscale='log', xlabel='hidden layers',
              ylabel='gradient of hidden kernels (RMS)')
    ticks = next(iter(found.values())).depths
    for ax in (left, right):
        ax.set_xticks(ticks, [str(d) for d in ticks])
        ax.set_xticks([], minor=True)
        ax.grid(alpha=0.25)
    left.legend(fontsize=8)
    figure.suptitle(title, fontsize=11)
    return figure
