"""What test_frameworks.py, test_tensorflow.py and tensorflow_peer.py share: networks, weights, batches, ten steps."""

import flax.traverse_util as traverse
import jax
import jax.numpy as jnp
import numpy as np
import optax

from common.optim import Fit
from common.task import train_fn
from common.tasks import classifier
from levels.level2_neural.frameworks import keras_net, weights
from levels.level2_neural.frameworks.net import SharedNet

NETS = {
    'mlp': SharedNet(image=(6,), hidden=(8, 7), n_out=3, activation='tanh'),
    'cnn': SharedNet(image=(13, 8, 2), channels=(4, 5), hidden=(6,), n_out=3),      # flattened [3, 2, 5]
    'plain': SharedNet(image=(4, 4, 1), channels=(3,), n_out=2, norm=False),
}
STEPS, ROWS = 10, 12
RATE = 2.0**-6          # exact in float32, which Keras keeps its rate in
OURS = {'sgd': lambda: optax.sgd(RATE, momentum=0.9), 'adam': lambda: optax.adam(RATE),
        'keras adam': lambda: keras_net.adam(RATE)}
GATE = {32: 1e-5, 64: 1e-10}
IN_TENSORFLOW = (('mlp', 64), ('cnn', 32), ('plain', 32))


def drawn(net, dtype=np.float32, seed=0):
    """Variables of the net in which no two arrays, and no two numbers, are alike."""
    rng, flat = np.random.default_rng(seed), {}
    for path, shape in weights.shapes_of(net).items():
        x = rng.normal(size=shape) * (0.5 if path[-1] == 'kernel' else 0.2) + (path[-1] in ('scale', 'var'))
        flat[path] = jnp.asarray(np.abs(x) if path[-1] == 'var' else x, dtype)
    return traverse.unflatten_dict(flat)


def batches(net, dtype=np.float32):
    """x [steps, rows, *image] and labels [steps, rows]."""
    rng = np.random.default_rng(1)
    return (rng.normal(size=(STEPS, ROWS, *net.image)).astype(dtype),
            rng.integers(0, net.n_out, (STEPS, ROWS)).astype(np.int32))


def bits(tree):
    """{path: type and bytes}."""
    return {path: (x.dtype, np.asarray(x).tobytes()) for path, x in traverse.flatten_dict(dict(tree)).items()}


def with_task(net, variables, optimiser, data):
    """Ten steps of ours: `classifier` and `train_fn`, the whole run as one program."""
    tx = OURS[optimiser]()
    begun = Fit(variables['params'], {k: v for k, v in variables.items() if k != 'params'},
                tx.init(variables['params']))
    train = train_fn(classifier(net, tx)._replace(init=lambda key, batch: begun), STEPS,
                     lambda data, i: jax.tree.map(lambda a: a[i], data))
    state = jax.jit(train)(jax.random.key(0), dict(zip(('image', 'label'), map(jnp.asarray, data))))[0].state
    return {'params': state.params, **state.extra}
