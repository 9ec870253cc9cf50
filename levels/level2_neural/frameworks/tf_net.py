"""The shared network in TensorFlow alone (variables and `tf.nn`), and its weights in checkpoints and SavedModels.

The package `tensorflow` is the extra of that name; reading its files needs none (see tensor_bundle.py).

Example:
    from levels.level2_neural.frameworks import tf_net
    module = tf_net.put(tf_net.build(net), net, variables)              # a tf.Module; module(x, training=True)
    tf_net.save('folder/ckpt', net, variables)                          # tf.train.Checkpoint(module).read(path)
    tf_net.save('folder/model', net, variables, form='saved_model')     # tf.saved_model.load(path)
    variables = tf_net.load('folder/ckpt', net)                         # or 'folder/model'; needs no TensorFlow
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from levels.level2_neural.frameworks import tensor_bundle, weights
from levels.level2_neural.frameworks.net import EPSILON, MOMENTUM, SharedNet

FORMS = ('checkpoint', 'saved_model')


def to_tensorflow(net: SharedNet, variables: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Variables of the net under the names that `build` gives its tf.Variables: those of the arguments in `tf.nn`.

    Formula: the same arrays; a convolution's kernel is its filters, bias and var of batch norm are offset and variance.
    Paper: Abadi et al. 2016, TensorFlow: a system for large-scale machine learning.
    Shapes: {'params': ..., 'batch_stats': ...} -> {'conv_0/filters': [3, 3, in, out], 'norm_0/offset': [out], ...}.
    Errors: ValueError with every array that is missing, left over or of another shape.
    Example:
        net = SharedNet(image=(4, 4, 1), channels=(2,), hidden=(5,), n_out=3)
        variables = net.init(jax.random.key(0), jnp.zeros((1, 4, 4, 1)))
        state = to_tensorflow(net, variables)
        assert state['conv_0/filters'].shape == (3, 3, 1, 2) and state['norm_0/variance'].shape == (2,)
        back = from_tensorflow(net, state)
        assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), back, variables))
    """
    return weights.to_names(net, variables, 'tensorflow')


def from_tensorflow(net: SharedNet, state: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The inverse of `to_tensorflow`; ValueError as `weights.from_names`."""
    return weights.from_names(net, state, 'tensorflow')


def build(net: SharedNet, *, dtype: str = 'float32', seed: int = 0) -> Any:
    """A `tf.Module` of the net, whose kernels begin as Glorot's uniform ones."""
    net.check()
    tf = _tensorflow()
    f = {'relu': tf.nn.relu, 'tanh': tf.tanh}[net.activation]
    rng = np.random.default_rng(seed)

    def initial(leaf, shape):
        if len(shape) == 1:
            return np.full(shape, float(leaf in ('scale', 'var')))
        bound = (6 / (np.prod(shape[:-2], dtype=int) * (shape[-2] + shape[-1]))) ** 0.5
        return rng.uniform(-bound, bound, shape)

    class TFNet(tf.Module):
        def __init__(self):
            super().__init__(name='net')
            for path, shape in weights.shapes_of(net).items():
                kind, layer, leaf = path
                if not hasattr(self, layer):
                    setattr(self, layer, tf.Module(name=layer))
                name = weights.name_of(path, 'tensorflow').rpartition('/')[2]
                setattr(getattr(self, layer), name, tf.Variable(
                    tf.constant(initial(leaf, shape), dtype), trainable=kind == 'params', name=name))

        def normed(self, norm, x, training):
            mean, variance = norm.mean, norm.variance
            if training:
                mean, variance = tf.nn.moments(x, [0, 1, 2])
                for old, new in ((norm.mean, mean), (norm.variance, variance)):
                    old.assign(MOMENTUM * old + (1 - MOMENTUM) * new)
            return tf.nn.batch_normalization(x, mean, variance, norm.offset, norm.scale, EPSILON)

        @tf.function(autograph=False)
        def __call__(self, x, training=False):
            for l in range(len(net.channels)):
                conv = getattr(self, f'conv_{l}')
                x = tf.nn.conv2d(x, conv.filters, 1, 'SAME')
                x = self.normed(getattr(self, f'norm_{l}'), x, training) if net.norm else x + conv.bias
                x = tf.nn.max_pool2d(f(x), 2, 2, 'VALID')
            x = tf.reshape(x, [-1, int(np.prod(net.flat))])
            for l in range(len(net.hidden) + 1):
                dense = getattr(self, f'dense_{l}')
                x = tf.matmul(x, dense.kernel) + dense.bias
                x = f(x) if l < len(net.hidden) else x
            return x

    return TFNet()


def put(module: Any, net: SharedNet, variables: Mapping[str, Any]) -> Any:
    """Variables into a module of `build`, which is returned; ValueError as `to_tensorflow`."""
    for name, x in to_tensorflow(net, variables).items():
        layer, leaf = name.split('/')
        getattr(getattr(module, layer), leaf).assign(x)
    return module


def take(module: Any, net: SharedNet) -> dict[str, Any]:
    """Variables of a module of `build`."""
    names = [weights.name_of(path, 'tensorflow').split('/') for path in weights.shapes_of(net)]
    return from_tensorflow(net, {f'{layer}/{leaf}': getattr(getattr(module, layer), leaf).numpy()
                                 for layer, leaf in names})


def save(path: str | Path, net: SharedNet, variables: Mapping[str, Any], *, form: str = 'checkpoint') -> None:
    """Writes PATH.index and PATH.data-..., or a folder PATH with a SavedModel that also computes; by TensorFlow.

    Raises ValueError for another form, and as `to_tensorflow`.
    """
    if form not in FORMS:
        raise ValueError(f'form: expected one of {", ".join(FORMS)}; found {form!r}')
    tf, dtype = _tensorflow(), str(jnp.dtype(net.param_dtype))
    module = put(build(net, dtype=dtype), net, variables)
    if form == 'checkpoint':
        tf.train.Checkpoint(module).write(str(path))
        return
    served = tf.function(lambda x: {'logits': module(x)}).get_concrete_function(
        tf.TensorSpec([None, *net.image], dtype, name='x'))
    tf.saved_model.save(module, str(path), signatures=served)


def load(path: str | Path, net: SharedNet) -> dict[str, Any]:
    """Variables from a checkpoint or SavedModel, without TensorFlow; ValueError as `tensor_bundle.read` and for
    variables of another net."""
    inside = Path(path, 'variables', 'variables')
    state = tensor_bundle.read(inside if Path(path).is_dir() else path)
    return weights.named(path, net, {name: x for name, x in state.items() if name != 'save_counter'}, 'tensorflow')


def _tensorflow() -> Any:
    try:
        import tensorflow as tf
        return tf
    except ImportError as error:
        raise ImportError("tf_net needs the package tensorflow: pip install 'ai-roadmap[tensorflow]'") from error
