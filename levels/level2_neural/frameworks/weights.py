"""Which weight is called what in each framework, and how it lies: one table, read in both directions, bit for bit.

    Linen and NNX                PyTorch                     Keras                      TensorFlow
    conv_0/kernel  HWIO          conv_0.weight  OIHW         conv_0/kernel              conv_0/filters
    dense_0/kernel  [in, out]    dense_0.weight  [out, in]   dense_0/kernel             dense_0/kernel
    norm_0/scale                 norm_0.weight               norm_0/gamma               norm_0/scale
    norm_0/bias                  norm_0.bias                 norm_0/beta                norm_0/offset
    norm_0/mean                  norm_0.running_mean         norm_0/moving_mean         norm_0/mean
    norm_0/var                   norm_0.running_var          norm_0/moving_variance     norm_0/variance

PyTorch has images as [batch, channels, height, width] and flattens them in that order; so the inputs of its first dense
layer are also in another order. The .safetensors file has PyTorch's names and layouts, as such files mostly have, and
is the one file from which every framework here gets its weights.

Strict: every array must be there, in its shape and with a type that JAX keeps, and nothing may be left over. PyTorch's
counters `num_batches_tracked` are no weights: they are not asked for, and written as 0.

Example:
    from levels.level2_neural.frameworks import weights
    weights.save('net.safetensors', net, variables)
    variables = weights.load('net.safetensors', net)
    state = weights.to_names(net, variables, 'keras')               # {'conv_0/kernel': array, ...}
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import flax.traverse_util as traverse
import jax
import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from common import trees
from levels.level2_neural.frameworks.net import SharedNet


class Names(NamedTuple):
    """One leaf of one kind of layer in each framework."""

    torch: str
    keras: str
    tensorflow: str


TABLE = {   # (kind of layer, leaf in Linen and NNX)
    ('conv', 'kernel'): Names('weight', 'kernel', 'filters'),
    ('conv', 'bias'): Names('bias', 'bias', 'bias'),
    ('norm', 'scale'): Names('weight', 'gamma', 'scale'),
    ('norm', 'bias'): Names('bias', 'beta', 'offset'),
    ('norm', 'mean'): Names('running_mean', 'moving_mean', 'mean'),
    ('norm', 'var'): Names('running_var', 'moving_variance', 'variance'),
    ('dense', 'kernel'): Names('weight', 'kernel', 'kernel'),
    ('dense', 'bias'): Names('bias', 'bias', 'bias'),
}
SEPARATOR = Names('.', '/', '/')
COUNTER = 'num_batches_tracked'
Path3 = tuple[str, str, str]        # collection, layer, leaf


def shapes_of(net: SharedNet) -> dict[Path3, tuple[int, ...]]:
    """('params', 'dense_0', 'kernel') -> shape of each array of the net; nothing is computed."""
    net.check()
    made = jax.eval_shape(lambda x: net.init(jax.random.key(0), x), jax.ShapeDtypeStruct((1, *net.image), jnp.float32))
    return {path: leaf.shape for path, leaf in traverse.flatten_dict(made).items()}


def name_of(path: Path3, library: str) -> str:
    """('params', 'norm_0', 'scale') -> 'norm_0.weight' for torch; ValueError for a library that is not in the table."""
    if library not in Names._fields:
        raise ValueError(f'library: expected one of {", ".join(Names._fields)}; found {library!r}')
    _, layer, leaf = path
    return layer + getattr(SEPARATOR, library) + getattr(TABLE[layer.partition('_')[0], leaf], library)


def check(net: SharedNet, variables: Mapping[str, Any]) -> dict[Path3, np.ndarray]:
    """The arrays by their paths; ValueError for variables of another net."""
    flat = {path: np.asarray(x) for path, x in traverse.flatten_dict(dict(variables)).items()}
    if problems := trees.shape_difference({'/'.join(path): x.shape for path, x in flat.items()},
                                {'/'.join(path): shape for path, shape in shapes_of(net).items()}):
        raise ValueError(f'variables: {problems}')
    return flat


def to_names(net: SharedNet, variables: Mapping[str, Any], library: str) -> dict[str, np.ndarray]:
    """Variables of the net -> {the library's name: array in its layout}; ValueError for variables of another net."""
    flat = check(net, variables)
    state = {name_of(path, library): np.ascontiguousarray(_there(net, library, path, x)) for path, x in flat.items()}
    if library == 'torch':
        state |= {f'{layer}.{COUNTER}': np.zeros((), np.int64) for _, layer, leaf in flat if leaf == 'var'}
    return state


def from_names(net: SharedNet, state: Mapping[str, np.ndarray], library: str) -> dict[str, Any]:
    """{the library's name: array in its layout} -> variables of the net; the same bits and types.

    Raises ValueError with every name that is missing or left over, every shape that is not the net's, and for types
    that JAX would not keep (float64 without jax_enable_x64).
    """
    paths = {name_of(path, library): (path, shape) for path, shape in shapes_of(net).items()}
    given = {name: np.asarray(x) for name, x in state.items() if not name.endswith(COUNTER)}
    expected = {name: _there(net, library, path, np.broadcast_to(np.int8(0), shape)).shape
                for name, (path, shape) in paths.items()}
    if problems := trees.shape_difference({name: x.shape for name, x in given.items()}, expected):
        raise ValueError(f'state: {problems}')
    for name, x in given.items():
        if (kept := jnp.asarray(x).dtype) != x.dtype:
            raise ValueError(f'{name}: expected a type that JAX keeps, found {x.dtype}, kept as {kept}')
    return traverse.unflatten_dict({path: jnp.asarray(_here(net, library, path, given[name]))
                                    for name, (path, _) in paths.items()})


def save(path: str | Path, net: SharedNet, variables: Mapping[str, Any]) -> None:
    """Writes a .safetensors file with PyTorch's names and layouts; ValueError as `to_names`."""
    save_file(to_names(net, variables, 'torch'), path, metadata={'format': 'pt'})


def load(path: str | Path, net: SharedNet) -> dict[str, Any]:
    """Variables of the net from such a file; ValueError for one that cannot be read, and as `from_names`."""
    try:
        state = load_file(path)
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise ValueError(f'{path}: cannot be read ({error})') from error
    return named(path, net, state, 'torch')


def named(path: str | Path, net: SharedNet, state: Mapping[str, np.ndarray], library: str) -> dict[str, Any]:
    """`from_names` whose error begins with the file that the state is from."""
    try:
        return from_names(net, state, library)
    except ValueError as error:
        raise ValueError(f'{path}: {error}') from error


def _there(net: SharedNet, library: str, path: Path3, x: np.ndarray) -> np.ndarray:
    """Our array in the library's layout."""
    if library != 'torch' or path[-1] != 'kernel':
        return x
    if x.ndim == 4:
        return x.transpose(3, 2, 0, 1)
    if path[1] == 'dense_0' and net.channels:       # its inputs are a feature map, flattened
        return x.reshape(*net.flat, -1).transpose(3, 2, 0, 1).reshape(x.shape[::-1])
    return x.T


def _here(net: SharedNet, library: str, path: Path3, x: np.ndarray) -> np.ndarray:
    """The inverse of `_there`."""
    if library != 'torch' or path[-1] != 'kernel':
        return x
    if x.ndim == 4:
        return x.transpose(2, 3, 1, 0)
    if path[1] == 'dense_0' and net.channels:
        height, width, channels = net.flat
        return x.reshape(-1, channels, height, width).transpose(2, 3, 1, 0).reshape(x.shape[::-1])
    return x.T
