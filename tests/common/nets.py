"""Small networks and data that many tests share, so that they compile once."""
import flax.linen as nn
import jax
import numpy as np
import optax
from sklearn.datasets import load_digits

from common import data, layers, tasks, wrappers

KEY = jax.random.key(0)


def digits():
    x, y = load_digits(return_X_y=True)
    return {'image': (x.reshape(-1, 8, 8, 1) / 16).astype(np.float32), 'label': y.astype(np.int32)}


DIGITS = digits()


class ConvNet(nn.Module):
    """Convolution, batch norm, dropout: everything that replicas can get wrong."""
    drop: float = 0.25

    @nn.compact
    def __call__(self, x, *, train=False):
        x = nn.Conv(8, (3, 3), use_bias=False)(x)
        x = nn.relu(layers.batch_norm(train=train)(x))
        x = layers.Dropout(self.drop)(x.reshape(len(x), -1)[:, ::4], train=train)
        return nn.Dense(10)(x)


class Linear(nn.Module):
    @nn.compact
    def __call__(self, x, *, train=False):
        return nn.Dense(10)(x.reshape(len(x), -1))


def shift(key, image):
    """A random shift by at most one pixel, as an augmentation."""
    at = jax.random.randint(key, (2,), 0, 3)
    padded = jax.numpy.pad(image, ((1, 1), (1, 1), (0, 0)))
    return jax.lax.dynamic_slice(padded, (at[0], at[1], 0), image.shape)


def conv_task(tx=None, **kwargs):
    return wrappers.with_augment(tasks.classifier(ConvNet(), tx or optax.sgd(0.1), **kwargs), shift)


def source(batch_size=32, seed=1, arrays=None):
    arrays = arrays or DIGITS
    return data.resident(arrays, data.Order(len(arrays['label']), batch_size, seed=seed))
