"""LeNet-5's weights to and from torch names, as numpy arrays; torch itself is not imported.

Formula: convolution OIHW <-> HWIO, dense [out, in] <-> [in, out]; the first dense layer after a flatten also turns its
    inputs, because torch flattens [channels, height, width] and we flatten [height, width, channels].
Paper: LeCun, Bottou, Bengio, Haffner 1998 (see `lenet`).
Shapes: `LeNet5`: conv1 [6, c, 5, 5], conv2 [16, 6, 5, 5], fc1 [120, 16*h*w], fc2 [84, 120], fc3 [n, 84].
    `LeNet5Original`: c1 [6, 1, 5, 5], s2 [6], c3 [16, 6, 5, 5] with zeros where Table I has no connection, s4 [16],
    c5 [120, 16, 5, 5], f6 [84, 120]; every layer has `.weight` and `.bias`.

Example:
    from levels.level3_vision import lenet_torch
    state = lenet_torch.to_torch(params)                     # {'conv1.weight': ..., ...}
    net.load_state_dict({k: torch.tensor(v) for k, v in state.items()})
    params = lenet_torch.from_torch(state)                   # the same bits again
"""

from collections.abc import Iterable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from levels.level3_vision.lenet_codes import C3_INPUTS

State = dict[str, np.ndarray]
_COMMON = {'c1': 'conv1', 'c3': 'conv2', 'c5': 'fc1', 'f6': 'fc2', 'out': 'fc3'}
_ORIGINAL = ('c1', 's2', 'c3', 's4', 'c5', 'f6')
_OUT, _IN = np.array([(o, i) for o, maps in enumerate(C3_INPUTS) for i in maps]).T


def from_torch(state: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Params of `LeNet5` from torch's names (formula, paper, shapes and example: the module's card).

    Errors: ValueError when a key is missing or left over, or fc1 does not belong to a square image.
    """
    _check_keys(state, _COMMON.values())
    params = {}
    for ours, theirs in _COMMON.items():
        weight = np.asarray(state[f'{theirs}.weight'])
        if ours == 'c5':
            weight = weight.reshape(len(weight), 16, _side(weight), -1).transpose(0, 2, 3, 1).reshape(weight.shape)
        params[ours] = _leaf(_kernel_from(weight), state[f'{theirs}.bias'])
    return params


def to_torch(params: Mapping[str, Any]) -> State:
    """The inverse of `from_torch`, bit for bit (formula, paper, shapes and example: the module's card).

    Errors: ValueError when the first dense layer does not belong to a square image.
    """
    state = {}
    for ours, theirs in _COMMON.items():
        weight = _kernel_to(np.asarray(params[ours]['kernel']))
        if ours == 'c5':
            weight = weight.reshape(len(weight), _side(weight), -1, 16).transpose(0, 3, 1, 2).reshape(weight.shape)
        state[f'{theirs}.weight'] = np.ascontiguousarray(weight)
        state[f'{theirs}.bias'] = np.asarray(params[ours]['bias'])
    return state


def original_from_torch(state: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Params of `LeNet5Original` from torch's names (formula, paper, shapes and example: the module's card).

    Errors: ValueError when a key is missing or left over, or c3.weight is not zero outside Table I.
    """
    _check_keys(state, _ORIGINAL)
    params = {}
    for name in _ORIGINAL:
        weight, bias = np.asarray(state[f'{name}.weight']), state[f'{name}.bias']
        if name == 'c3':
            outside = weight.copy()
            outside[_OUT, _IN] = 0
            if outside.any():
                raise ValueError("c3.weight: expected zeros outside Table I's 60 connections; found others")
            params[name] = _leaf(weight[_OUT, _IN], bias)
        elif name in ('s2', 's4'):
            params[name] = {'scale': jnp.asarray(weight), 'bias': jnp.asarray(bias)}
        else:
            params[name] = _leaf(_kernel_from(weight), bias)
    return params


def original_to_torch(params: Mapping[str, Any]) -> State:
    """The inverse of `original_from_torch`, bit for bit (formula, paper, shapes and example: the module's card).

    Errors: KeyError when a layer is missing.
    """
    state = {}
    for name in _ORIGINAL:
        leaf = params[name]
        if name == 'c3':
            kernel = np.asarray(leaf['kernel'])
            weight = np.zeros((16, 6, 5, 5), kernel.dtype)
            weight[_OUT, _IN] = kernel
        else:
            weight = np.asarray(leaf['scale']) if name in ('s2', 's4') else _kernel_to(np.asarray(leaf['kernel']))
        state[f'{name}.weight'] = np.ascontiguousarray(weight)
        state[f'{name}.bias'] = np.asarray(leaf['bias'])
    return state


def _check_keys(state: Mapping[str, Any], layers: Iterable[str]) -> None:
    expected = {f'{layer}.{leaf}' for layer in layers for leaf in ('weight', 'bias')}
    if expected != set(state):
        raise ValueError(f'state: expected keys {sorted(expected)}; found {sorted(state)}')


def _side(weight: np.ndarray) -> int:
    side = round((weight.shape[1] / 16) ** 0.5)
    if 16 * side * side != weight.shape[1]:
        raise ValueError(f'fc1.weight: expected 16 * side * side inputs; found {weight.shape[1]}')
    return side


def _kernel_from(weight: np.ndarray) -> np.ndarray:
    return weight.transpose(2, 3, 1, 0) if weight.ndim == 4 else weight.T


def _kernel_to(kernel: np.ndarray) -> np.ndarray:
    return kernel.transpose(3, 2, 0, 1) if kernel.ndim == 4 else kernel.T


def _leaf(kernel: np.ndarray, bias: np.ndarray) -> dict[str, Any]:
    return {'kernel': jnp.asarray(kernel), 'bias': jnp.asarray(bias)}
