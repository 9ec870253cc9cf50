"""The shared network in PyTorch, and its weights as a `state_dict`.

Example:
    from levels.level2_neural.frameworks import torch_net
    module = torch_net.put(torch_net.build(net), net, variables)        # a torch.nn.Sequential in evaluation mode
    logits = module(torch_net.images(x))                                # [batch, height, width, channels] as here
    torch_net.save('net.pt', net, variables)                            # torch.load(path, weights_only=True) reads it
    variables = torch_net.load('net.pt', net)                           # needs no torch, and unpickles nothing
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from common import torch_files
from levels.level2_neural.frameworks import weights
from levels.level2_neural.frameworks.net import EPSILON, MOMENTUM, SharedNet


def to_torch(net: SharedNet, variables: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Variables of the net as PyTorch's `state_dict`, in NumPy.

    Formula: kernels [3, 3, in, out] -> [out, in, 3, 3] and [in, out] -> [out, in]; the inputs of the first dense layer
        behind convolutions go from (height, width, channel) to (channel, height, width) order; all else unchanged.
    Paper: Paszke et al. 2019, PyTorch: an imperative style, high-performance library.
    Shapes: {'params': ..., 'batch_stats': ...} -> {'conv_0.weight': [out, in, 3, 3], 'norm_0.running_var': [out], ...}.
    Errors: ValueError with every array that is missing, left over or of another shape.
    Example:
        net = SharedNet(image=(4, 4, 1), channels=(2,), hidden=(5,), n_out=3)
        variables = net.init(jax.random.key(0), jnp.zeros((1, 4, 4, 1)))
        state = to_torch(net, variables)
        assert state['conv_0.weight'].shape == (2, 1, 3, 3) and state['dense_0.weight'].shape == (5, 8)
        back = from_torch(net, state)
        assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), back, variables))
    """
    return weights.to_names(net, variables, 'torch')


def from_torch(net: SharedNet, state: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The inverse of `to_torch`; ValueError as `weights.from_names`."""
    return weights.from_names(net, state, 'torch')


def build(net: SharedNet, *, dtype: Any = None) -> Any:
    """A `torch.nn.Sequential` with torch's own initial weights, in evaluation mode; dtype such as torch.float64."""
    net.check()
    nn = _torch().nn
    f = {'relu': nn.ReLU, 'tanh': nn.Tanh}[net.activation]
    layers, inputs = {}, net.image[-1]
    for l, width in enumerate(net.channels):
        layers[f'conv_{l}'] = nn.Conv2d(inputs, width, 3, padding=1, bias=not net.norm)
        if net.norm:
            layers[f'norm_{l}'] = nn.BatchNorm2d(width, eps=EPSILON, momentum=1 - MOMENTUM)
        layers |= {f'act_{l}': f(), f'pool_{l}': nn.MaxPool2d(2)}
        inputs = width
    layers['flatten'], inputs = nn.Flatten(), int(np.prod(net.flat))
    for l, width in enumerate(net.hidden):
        layers |= {f'dense_{l}': nn.Linear(inputs, width), f'dense_act_{l}': f()}
        inputs = width
    layers[f'dense_{len(net.hidden)}'] = nn.Linear(inputs, net.n_out)
    module = nn.Sequential()
    for name, layer in layers.items():
        module.add_module(name, layer)
    return module.to(dtype=dtype).eval()


def put(module: Any, net: SharedNet, variables: Mapping[str, Any]) -> Any:
    """Variables into a module of `build`, which is returned; ValueError as `to_torch`."""
    torch = _torch()
    module.load_state_dict({name: torch.tensor(x) for name, x in to_torch(net, variables).items()}, strict=True)
    return module


def take(module: Any, net: SharedNet) -> dict[str, Any]:
    """Variables of a module; ValueError for a module of another net."""
    return from_torch(net, {name: x.detach().cpu().numpy().copy() for name, x in module.state_dict().items()})


def save(path: str | Path, net: SharedNet, variables: Mapping[str, Any]) -> None:
    """Writes a state_dict by `torch.save`; ValueError as `to_torch`."""
    torch = _torch()
    torch.save({name: torch.tensor(x) for name, x in to_torch(net, variables).items()}, path)


def load(path: str | Path, net: SharedNet) -> dict[str, Any]:
    """Variables from a file of `torch.save`, without torch; ValueError as `torch_files.state_dict` and `from_torch`."""
    return weights.named(path, net, torch_files.state_dict(path), 'torch')


def images(x: Any) -> Any:
    """[batch, height, width, channels] -> torch's [batch, channels, height, width]; [batch, features] as it is."""
    torch, x = _torch(), np.asarray(x)
    return torch.tensor(np.ascontiguousarray(x.transpose(0, 3, 1, 2)) if x.ndim == 4 else x)


def _torch() -> Any:
    try:
        import torch
        return torch
    except ImportError as error:
        raise ImportError('torch_net needs the package torch: pip install torch') from error
