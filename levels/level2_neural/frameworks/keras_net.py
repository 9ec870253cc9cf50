"""The shared network in Keras 3, whose backend may be JAX, and its weights in `.keras` files.

A `.keras` file is a zip of config.json, which says what the layers are, and of an HDF5 file with their arrays. `read`
takes it apart by json and h5py: nothing in the file is executed, no layer is made from it, and arrays that lie in other
files, or that are larger than what is stored of them, are refused. Writing needs Keras.

Keras reads the environment variable KERAS_BACKEND when it is imported; where nobody has set it, it becomes 'jax' here.

Example:
    from levels.level2_neural.frameworks import keras_net
    model = keras_net.put(keras_net.build(net), net, variables)         # a keras.Sequential
    keras_net.save('net.keras', net, variables)                         # keras.saving.load_model reads it
    variables = keras_net.load('net.keras', net)                        # needs no Keras
"""

import io
import json
import os
import re
import sys
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import optax

from levels.level2_neural.frameworks import weights
from levels.level2_neural.frameworks.net import EPSILON, MOMENTUM, SharedNet

# The arrays of a layer, in the order in which a file numbers them; an optional one is left out where config says so
ARRAYS = {'Conv2D': ('kernel', 'bias'), 'Dense': ('kernel', 'bias'),
          'BatchNormalization': ('gamma', 'beta', 'moving_mean', 'moving_variance')}
OPTIONS = {'bias': 'use_bias', 'gamma': 'scale', 'beta': 'center'}
EMPTY = ('InputLayer', 'Activation', 'ReLU', 'MaxPooling2D', 'AveragePooling2D', 'Flatten', 'Dropout', 'Reshape')


def to_keras(net: SharedNet, variables: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Variables of the net under the names that Keras gives them.

    Formula: the same arrays; scale, bias, mean and var of batch norm are gamma, beta, moving_mean and moving_variance.
    Paper: Chollet et al. 2015, Keras.
    Shapes: {'params': ..., 'batch_stats': ...} -> {'conv_0/kernel': [3, 3, in, out], 'norm_0/gamma': [out], ...}.
    Errors: ValueError with every array that is missing, left over or of another shape.
    Example:
        net = SharedNet(image=(4, 4, 1), channels=(2,), hidden=(5,), n_out=3)
        variables = net.init(jax.random.key(0), jnp.zeros((1, 4, 4, 1)))
        state = to_keras(net, variables)
        assert state['norm_0/gamma'].shape == (2,) and state['dense_0/kernel'].shape == (8, 5)
        back = from_keras(net, state)
        assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), back, variables))
    """
    return weights.to_names(net, variables, 'keras')


def from_keras(net: SharedNet, state: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The inverse of `to_keras`; ValueError as `weights.from_names`."""
    return weights.from_names(net, state, 'keras')


def build(net: SharedNet) -> Any:
    """A `keras.Sequential` with Keras's own initial weights (Glorot's uniform ones), in the type of its policy."""
    net.check()
    keras = _keras()
    L = keras.layers
    layers = [keras.Input(tuple(net.image))]
    for l, width in enumerate(net.channels):
        layers.append(L.Conv2D(width, 3, padding='same', use_bias=not net.norm, name=f'conv_{l}'))
        if net.norm:
            layers.append(L.BatchNormalization(momentum=MOMENTUM, epsilon=EPSILON, name=f'norm_{l}'))
        layers += [L.Activation(net.activation, name=f'act_{l}'), L.MaxPooling2D(2, name=f'pool_{l}')]
    layers.append(L.Flatten(name='flatten'))
    for l, width in enumerate(net.hidden):
        layers.append(L.Dense(width, activation=net.activation, name=f'dense_{l}'))
    layers.append(L.Dense(net.n_out, name=f'dense_{len(net.hidden)}'))
    return keras.Sequential(layers)


def put(model: Any, net: SharedNet, variables: Mapping[str, Any]) -> Any:
    """Variables into a model of `build`, which is returned.

    Raises ValueError as `to_keras`, and for a model of another net or another type (`keras.config.set_dtype_policy`).
    """
    state, found = to_keras(net, variables), dict(_arrays(model))
    if state.keys() != found.keys():
        raise ValueError('model: expected the layers of the net; found a difference in '
                         f'{", ".join(sorted(state.keys() ^ found.keys()))}')
    for name, variable in found.items():
        if variable.dtype != state[name].dtype:
            raise ValueError(f'{name}: expected {variable.dtype} as the model has it, found {state[name].dtype}')
        variable.assign(state[name])
    return model


def take(model: Any, net: SharedNet) -> dict[str, Any]:
    """Variables of a model; ValueError for a model of another net."""
    keras = _keras()
    return from_keras(net, {name: keras.ops.convert_to_numpy(v.value).copy() for name, v in _arrays(model)})


def adam(rate: float, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-7) -> optax.GradientTransformation:
    """Adam as Keras and TensorFlow have it, in optax: its epsilon stands beside sqrt(v) before the bias is taken away.

        w <- w - rate sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + eps)

    That is the Adam of optax and PyTorch with eps / sqrt(1 - b2^t) in place of eps: at the first step 32 times as much.
    Kingma, Ba 2015, the remark before section 2.1.
    """
    zeros = lambda params: jax.tree.map(jnp.zeros_like, params)

    def update(grads, state, params=None):
        count = state.count + 1
        m = jax.tree.map(lambda m, g: b1 * m + (1 - b1) * g, state.mu, grads)
        v = jax.tree.map(lambda v, g: b2 * v + (1 - b2) * g * g, state.nu, grads)
        scale = rate * jnp.sqrt(1 - b2**count) / (1 - b1**count)
        moved = jax.tree.map(lambda m, v: (-scale * m / (jnp.sqrt(v) + eps)).astype(m.dtype), m, v)
        return moved, optax.ScaleByAdamState(count, m, v)

    return optax.GradientTransformation(
        lambda params: optax.ScaleByAdamState(jnp.zeros((), jnp.int32), zeros(params), zeros(params)), update)


def save(path: str | Path, net: SharedNet, variables: Mapping[str, Any]) -> None:
    """Writes a `.keras` file by Keras; ValueError as `put`."""
    put(build(net), net, variables).save(path)


def load(path: str | Path, net: SharedNet) -> dict[str, Any]:
    """Variables of the net from a `.keras` file, without Keras; ValueError as `read` and `from_keras`."""
    return weights.named(path, net, read(path), 'keras')


def read(path: str | Path) -> dict[str, np.ndarray]:
    """{'layer/array': array} of a `.keras` file of a Sequential or Functional model of plain layers.

    Raises ValueError for a file that is missing or damaged, has layers that are not in ARRAYS or EMPTY, or arrays that
    do not lie in it as a whole.
    """
    h5py = _h5py()
    try:
        with zipfile.ZipFile(path) as archive:
            config = json.loads(_entry(archive, 'config.json'))
            file = io.BytesIO(_entry(archive, 'model.weights.h5'))
        with h5py.File(file, 'r') as store:
            return dict(_stored(config['config']['layers'], config['class_name'], store, h5py))
    except (OSError, zipfile.BadZipFile, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f'{path}: cannot be read ({error})') from error
    except (KeyError, TypeError, AttributeError, NotImplementedError, RuntimeError, ValueError) as error:
        raise ValueError(f'{path}: expected a model as Keras 3 saves it; {error}') from error


def _entry(archive: zipfile.ZipFile, name: str) -> bytes:
    info = archive.getinfo(name)
    if info.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f'found the entry {name} compressed')
    return archive.read(info)       # checks its CRC


def _stored(layers: list, model: str, store: Any, h5py: Any) -> Iterator[tuple[str, np.ndarray]]:
    """('layer/array', array) of each layer.  In the file a layer is called after its class: conv2d, conv2d_1, ..."""
    counts: dict[str, int] = {}
    for layer in layers:
        kind, config = layer['class_name'], layer['config']
        if kind == 'InputLayer' and model == 'Sequential':
            continue                # which has it in its config, but not among its layers
        arrays = [a for a in ARRAYS.get(kind, ()) if a not in OPTIONS or config.get(OPTIONS[a], True)]
        if not arrays and kind not in EMPTY:
            raise ValueError(f'found a layer {kind}, whose arrays are not known here')
        where = re.sub(r'(?<=[a-z])(?=[A-Z])|(?<=.)(?=[A-Z][a-z])', '_', kind).lower()
        counts[where] = counts.get(where, -1) + 1
        where = f'layers/{where}_{counts[where]}'.removesuffix('_0') + '/vars'
        for number, array in enumerate(arrays):
            yield f'{config["name"]}/{array}', _dataset(store, f'{where}/{number}', h5py)


def _dataset(store: Any, path: str, h5py: Any) -> np.ndarray:
    """One array, which must lie in this file: links and datasets can point to any other file of the machine."""
    here = store
    for part in path.split('/'):
        if not isinstance(here.get(part, getlink=True), h5py.HardLink):
            raise ValueError(f'found no array {path} of its own')
        here = here[part]
    if not isinstance(here, h5py.Dataset) or here.external or here.is_virtual:
        raise ValueError(f'found no array {path} of its own')
    if here.id.get_storage_size() != here.nbytes:
        raise ValueError(f'found {here.id.get_storage_size()} bytes of {path} instead of {here.nbytes}')
    x = here[()]
    return x.astype(ml_dtypes.bfloat16) if here.attrs.get('dtype') == 'bfloat16' else x


def _arrays(model: Any) -> Iterator[tuple[str, Any]]:
    return ((f'{layer.name}/{v.name}', v) for layer in model.layers for v in layer.weights)


def _keras() -> Any:
    if 'keras' not in sys.modules:
        os.environ.setdefault('KERAS_BACKEND', 'jax')
    try:
        import keras
        return keras
    except ImportError as error:
        raise ImportError(f"keras_net needs Keras and a backend ({error}): pip install 'ai-roadmap[keras]'") from error


def _h5py() -> Any:
    try:
        import h5py
        return h5py
    except ImportError as error:
        raise ImportError("reading .keras files needs h5py: pip install 'ai-roadmap[keras]'") from error
