"""The shared network in Flax NNX: the module holds its arrays, and is called like a function.

Weights have the names and layouts of Linen. NNX has no file format of its own; `weights.save` and `weights.load` are
its files here.

Example:
    from flax import nnx
    from levels.level2_neural.frameworks import nnx_net
    module = nnx_net.put(nnx_net.build(net), net, variables)
    logits = module(x)                                          # module(x, train=True) moves its running statistics
    optimizer = nnx.Optimizer(module, optax.adam(1e-3), wrt=nnx.Param)
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from levels.level2_neural.activations import activation_fn
from levels.level2_neural.frameworks import weights
from levels.level2_neural.frameworks.net import EPSILON, MOMENTUM, SharedNet

KINDS = {'params': nnx.Param, 'batch_stats': nnx.BatchStat}


class NNXNet(nnx.Module):
    """`SharedNet` with its arrays inside; ValueError as there."""

    def __init__(self, net: SharedNet, *, rngs: nnx.Rngs):
        net.check()
        self.norm, self.activation = net.norm, net.activation
        self.convolutions, self.hidden = len(net.channels), len(net.hidden)
        kinds = {'dtype': net.dtype, 'param_dtype': net.param_dtype, 'rngs': rngs}
        inputs = net.image[-1]
        for l, width in enumerate(net.channels):
            setattr(self, f'conv_{l}', nnx.Conv(inputs, width, (3, 3), use_bias=not net.norm, **kinds))
            if net.norm:
                setattr(self, f'norm_{l}', nnx.BatchNorm(width, momentum=MOMENTUM, epsilon=EPSILON,
                                                         use_fast_variance=False, **kinds))
            inputs = width
        inputs = int(np.prod(net.flat))
        for l, width in enumerate((*net.hidden, net.n_out)):
            setattr(self, f'dense_{l}', nnx.Linear(inputs, width, **kinds))
            inputs = width

    def __call__(self, x: Float[Array, 'batch *image'], *, train: bool = False) -> Float[Array, 'batch n_out']:
        f = activation_fn(self.activation)
        for l in range(self.convolutions):
            x = getattr(self, f'conv_{l}')(x)
            if self.norm:
                x = getattr(self, f'norm_{l}')(x, use_running_average=not train)
            x = nnx.max_pool(f(x), (2, 2), (2, 2))
        x = x.reshape(x.shape[0], -1)
        for l in range(self.hidden):
            x = f(getattr(self, f'dense_{l}')(x))
        return getattr(self, f'dense_{self.hidden}')(x)


def build(net: SharedNet, *, seed: int = 0) -> NNXNet:
    """A module with NNX's own initial weights, which are drawn as Linen's are."""
    return NNXNet(net, rngs=nnx.Rngs(seed))


def put(module: NNXNet, net: SharedNet, variables: Mapping[str, Any]) -> NNXNet:
    """Variables into a module of `build`, which is returned; ValueError for those, or a module, of another net."""
    take(module, net)
    for (_, layer, leaf), x in weights.check(net, variables).items():
        getattr(getattr(module, layer), leaf).set_value(jnp.asarray(x))      # of another type too
    return module


def take(module: NNXNet, net: SharedNet) -> dict[str, Any]:
    """Variables of a module, as Linen has them; ValueError for a module of another net."""
    found = {kind: nnx.to_pure_dict(nnx.state(module, of)) for kind, of in KINDS.items()}
    variables = jax.tree.map(jnp.asarray, {kind: tree for kind, tree in found.items() if tree})
    weights.check(net, variables)
    return variables
