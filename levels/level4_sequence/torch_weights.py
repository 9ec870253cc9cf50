"""Weights of RNN, GRU and LSTM, to and from one layer of their namesakes in torch: arrays by name, no torch needed.

torch has two biases where one would do: they are only ever added (but for n of a GRU, whose second one is inside the
reset). Coming here they are added; going there the second is zero. The function is the same; trained on in torch, the
two would move twice as far as the one.

Example:
    params = from_torch({name: p.detach().numpy() for name, p in torch.nn.LSTM(3, 8).named_parameters()})
    carry, ys = LSTM(8).apply({'params': params}, xs, method=unroll)
"""

from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

GATES_OF_GRU = 3


def from_torch(state: Mapping[str, np.ndarray], *, suffix: str = '_l0') -> dict[str, Array]:
    """Params of `RNN`, `GRU` (reset_after) or `LSTM` from a layer of a `state_dict` whose values are numpy arrays.

    Shapes: weight_ih [gates f, in] -> kernel [in, gates f]; weight_hh -> recurrent_kernel; weight_hr [p, f] ->
        projection [f, p]; bias_ih + bias_hh -> bias [gates f], for a GRU also recurrent_bias [f]; zeros without biases.
    suffix: '_l0' is the first layer, '_l0_reverse' its backward direction, '' a cell such as torch.nn.LSTMCell.
    Errors: ValueError when a weight is missing.
    """
    names = {'kernel': f'weight_ih{suffix}', 'recurrent_kernel': f'weight_hh{suffix}'}
    if absent := sorted(set(names.values()) - set(state)):
        raise ValueError(f'state: expected keys {", ".join(names.values())}; found no {", ".join(absent)}')
    if f'weight_hr{suffix}' in state:
        names['projection'] = f'weight_hr{suffix}'
    weights = {ours: np.asarray(state[theirs]).T for ours, theirs in names.items()}
    recurrent = weights['recurrent_kernel']
    zeros = np.zeros(recurrent.shape[1], recurrent.dtype)
    first, second = (np.asarray(state.get(f'bias_{part}{suffix}', zeros)) for part in ('ih', 'hh'))
    if 'projection' not in weights and recurrent.shape[1] == GATES_OF_GRU * recurrent.shape[0]:
        cut = 2 * recurrent.shape[0]
        weights['bias'] = np.concatenate([first[:cut] + second[:cut], first[cut:]])
        weights['recurrent_bias'] = second[cut:]
    else:
        weights['bias'] = first + second
    return {name: jnp.asarray(w) for name, w in weights.items()}


def to_torch(params: Mapping[str, Array], *, suffix: str = '_l0') -> dict[str, np.ndarray]:
    """A `state_dict` of numpy arrays that computes in torch what `params` compute here.

    Errors: ValueError for an LSTM with peepholes and a GRU of variant reset_before, which torch does not have.
    """
    params = {name: np.asarray(w) for name, w in params.items()}
    features, width = params['recurrent_kernel'].shape
    gru = 'projection' not in params and width == GATES_OF_GRU * features
    if 'peephole' in params or (gru and 'recurrent_bias' not in params):
        raise ValueError('params: expected a layer that torch has; found '
                         f'{"peepholes" if "peephole" in params else "a GRU of variant reset_before"}')
    second = np.zeros_like(params['bias'])
    if gru:
        second[2 * features:] = params['recurrent_bias']
    state = {'weight_ih': params['kernel'].T, 'weight_hh': params['recurrent_kernel'].T, 'bias_ih': params['bias'],
             'bias_hh': second}
    if 'projection' in params:
        state['weight_hr'] = params['projection'].T
    return {f'{name}{suffix}': np.ascontiguousarray(w) for name, w in state.items()}
