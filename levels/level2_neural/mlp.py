"""Multi-layer perceptron of any depth, width and activation.

Formula: h_0 = x, h_l = dropout(f(h_{l-1} W_l + b_l)) for l = 1..L, output = h_L W_out + b_out (no activation: logits,
    or regression targets).
Paper: Rumelhart, Hinton, Williams 1986, Learning Representations by Back-propagating Errors, Nature 323; dropout after
    each hidden activation: Srivastava et al. 2014, Dropout, JMLR 15, section 4.
Shapes: x [batch, ...] is flattened to [batch, features]; output [batch, n_out], or [batch] for regression with
    n_out = 1.

Example:
    from levels.level2_neural.mlp import MLP
    model = MLP(hidden=(512, 512), n_out=10, activation='relu', dropout=0.2)
    params = model.init(jax.random.key(0), jnp.zeros((1, 28, 28, 1)))
    logits = model.apply(params, x, train=True, rngs={'dropout': key})     # [batch, 10]
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from common.layers import Dropout
from levels.level2_neural.activations import activation_fn


class MLP(nn.Module):
    """Dense layers with one activation, for classification (logits) or regression.

    Formula: h_l = dropout(f(h_{l-1} W_l + b_l)); output = h_L W_out + b_out.
    Paper: Rumelhart, Hinton, Williams 1986 (see the module's card).
    Shapes: [batch, ...] -> [batch, n_out]; `kind='regression'` with n_out = 1 -> [batch], the shape of its targets, so
        that a difference of the two cannot broadcast to [batch, batch].
    Parameters: `dense_<l>/kernel` [in, out] and `dense_<l>/bias` [out], sum of (in + 1) * out.
    Errors: ValueError for an unknown activation or kind, a width below 1, a dropout rate outside [0, 1), input without
        a feature axis.
    Sown: `hidden_<l>` after each hidden activation (collection 'intermediates').
    Example:
        model = MLP(hidden=(64, 64), n_out=1, kind='regression', activation='tanh')
        params = model.init(jax.random.key(0), jnp.zeros((1, 8)))
        y = model.apply(params, jnp.ones((32, 8)))
        y.shape                                              # (32,)
    """

    hidden: Sequence[int]
    n_out: int
    activation: str | Callable[[Array], Array] = 'relu'
    kind: str = 'classification'
    dropout: float = 0.0
    kernel_init: Callable[..., Any] = nn.initializers.lecun_normal()
    bias_init: Callable[..., Any] = nn.initializers.zeros_init()
    dtype: Any = None
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, '...'], *, train: bool = False) -> Float[Array, 'batch *n_out']:
        f = activation_fn(self.activation)
        if self.kind not in ('classification', 'regression'):
            raise ValueError(f"kind: expected 'classification' or 'regression'; found {self.kind!r}")
        if any(width < 1 for width in (*self.hidden, self.n_out)):
            raise ValueError(f'hidden, n_out: expected widths >= 1; found {tuple(self.hidden)}, {self.n_out}')
        if not isinstance(self.dropout, jax.core.Tracer) and not 0.0 <= self.dropout < 1.0:
            raise ValueError(f'dropout: expected a rate in [0, 1); found {self.dropout}')
        if x.ndim < 2:
            raise ValueError(f'x: expected [batch, ...] of rank 2 or more; found shape {x.shape}')
        x = x.reshape(x.shape[0], -1)
        for layer, width in enumerate(self.hidden):
            x = f(self._dense(width, layer)(x))
            self.sow('intermediates', f'hidden_{layer}', x)
            x = Dropout(self.dropout)(x, train=train)
        x = self._dense(self.n_out, len(self.hidden))(x)
        return x[:, 0] if self.kind == 'regression' and self.n_out == 1 else x

    def _dense(self, width: int, layer: int) -> nn.Dense:
        return nn.Dense(
            width,
            name=f'dense_{layer}',
            kernel_init=self.kernel_init,
            bias_init=self.bias_init,
            dtype=self.dtype,
            param_dtype=self.param_dtype,
        )


def from_torch(state: Mapping[str, np.ndarray], *, names: Sequence[str] | None = None) -> dict[str, Any]:
    """Params of `MLP` from a torch `state_dict` whose values are numpy arrays.

    Shapes: `<name>.weight` [out, in] -> `dense_<l>/kernel` [in, out]; `<name>.bias` [out] unchanged.
    names: the prefixes in layer order; by default the integer names of `torch.nn.Sequential`, in numeric order.
    Errors: ValueError when a key is missing or left over, or the prefixes are not integers and `names` is not given.
    Example:
        net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
        state = {k: v.numpy() for k, v in net.state_dict().items()}
        logits = MLP(hidden=(8,), n_out=3).apply({'params': from_torch(state)}, x)
        to_torch(from_torch(state))['2.weight'].shape        # (3, 8)
    """
    if names is None:
        prefixes = {key.rpartition('.')[0] for key in state}
        if not all(p.isdigit() for p in prefixes):
            raise ValueError(f"names: expected the layers' names, in order, for a state with keys {sorted(state)}")
        names = sorted(prefixes, key=int)
    expected = {f'{name}.{leaf}' for name in names for leaf in ('weight', 'bias')}
    if expected != set(state):
        raise ValueError(f'state: expected keys {sorted(expected)}; found {sorted(state)}')
    return {
        f'dense_{layer}': {'kernel': jnp.asarray(state[f'{name}.weight'].T), 'bias': jnp.asarray(state[f'{name}.bias'])}
        for layer, name in enumerate(names)
    }


def to_torch(params: Mapping[str, Any], *, names: Sequence[str] | None = None) -> dict[str, np.ndarray]:
    """The inverse of `from_torch`: a torch-named dict of numpy arrays, bit for bit.

    Shapes: `dense_<l>/kernel` [in, out] -> `<name>.weight` [out, in]; biases unchanged.
    names: the prefixes in layer order; by default 0, 2, 4, ... (Sequential of Linear and activation in turn).
    Errors: ValueError when the number of names is not the number of layers.
    Example:
        params = MLP(hidden=(8,), n_out=3).init(jax.random.key(0), jnp.zeros((1, 4)))['params']
        state = to_torch(params)
        sorted(state)                                        # ['0.bias', '0.weight', '2.bias', '2.weight']
        state['0.weight'].shape                              # (8, 4)
    """
    if names is None:
        names = [str(2 * layer) for layer in range(len(params))]
    if len(names) != len(params):
        raise ValueError(f'names: expected {len(params)} names, one per layer; found {len(names)}')
    state = {}
    for layer, name in enumerate(names):
        leaf = params[f'dense_{layer}']
        state[f'{name}.weight'] = np.ascontiguousarray(np.asarray(leaf['kernel']).T)
        state[f'{name}.bias'] = np.asarray(leaf['bias'])
    return state
