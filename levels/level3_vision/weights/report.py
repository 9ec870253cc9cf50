"""Two implementations of one network, layer by layer: where do they part?

Formula: for each layer in the order in which ours runs: the largest |ours - theirs| of its output, divided by the
    largest |theirs|. Behind the first layer that differs all others may, so that one is the one to look at.
Paper: none; it is how a wrong epsilon, padding or weight is found.
Shapes: theirs {their layer: output}, convolutions [batch, channels, height, width] as torch has them.

Example:
    seen = {}                                   # torch: a hook on each module that clones its output
    rows = report.compare(model, variables, x, seen, 'torchvision')
    print(report.as_text(rows))                 # 'stage2_0/norm1 = layer2.0.bn1 is the first that differs: ...'
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import numpy as np
from jaxtyping import Array, Float

from levels.level3_vision.weights import bridge


class Row(NamedTuple):
    """One layer; `error` is inf where the shapes differ, nan where theirs has no output of that name."""

    ours: str
    theirs: str
    shape: tuple[int, ...]
    error: float


def outputs(model: nn.Module, variables: Mapping[str, Any], x: Float[Array, 'b h w c'], *, train: bool = False,
            rngs: Any = None) -> dict[str, np.ndarray]:
    """{our layer: its output}, in the order in which they run."""
    seen = {}

    def keep(call, args, kwargs, context):
        y = call(*args, **kwargs)
        if context.method_name == '__call__' and hasattr(y, 'shape'):
            seen['/'.join(context.module.path)] = np.asarray(y)
        return y

    with nn.intercept_methods(keep):
        model.apply(variables, x, train=train, rngs=rngs, mutable=['batch_stats'] if train else False)
    return seen


def compare(model: nn.Module, variables: Mapping[str, Any], x: Float[Array, 'b h w c'],
            theirs: Mapping[str, np.ndarray], library: str, **kwargs) -> list[Row]:
    """A row for every layer with weights, in the order in which they run; kwargs go to `outputs`."""
    ours = outputs(model, variables, x, **kwargs)
    known = bridge.names(model, library, image=x.shape[1:])
    rows = []
    for layer, y in ours.items():
        if layer not in known:
            continue
        other = theirs.get(known[layer])
        if other is None:
            rows.append(Row(layer, known[layer], y.shape, float('nan')))
            continue
        other = np.asarray(other)
        if other.ndim == 4:
            other = other.transpose(0, 2, 3, 1)
        if y.ndim == 2 and other.ndim == 4:      # a 1x1 convolution on one pixel
            other = other[:, 0, 0]
        error = np.abs(y - other).max() / max(np.abs(other).max(), 1e-30) if y.shape == other.shape else np.inf
        rows.append(Row(layer, known[layer], y.shape, float(error)))
    return rows


def first_difference(rows: Sequence[Row], tolerance: float = 1e-5) -> Row | None:
    """The first layer that differs by more than `tolerance`, or has nothing to be compared with."""
    return next((row for row in rows if not row.error <= tolerance), None)


def as_text(rows: Sequence[Row], tolerance: float = 1e-5) -> str:
    """A table of all layers, under one line that names the first that differs."""
    first = first_difference(rows, tolerance)
    head = (f'all {len(rows)} layers agree to {tolerance:g}' if first is None else
            f'{first.ours} = {first.theirs} is the first that differs: {first.error:.3g} > {tolerance:g}')
    width = max((len(row.ours) for row in rows), default=0), max((len(row.theirs) for row in rows), default=0)
    return '\n'.join([head, *(f'{row.ours:{width[0]}}  {row.theirs:{width[1]}}  {row.error:9.2e}  {row.shape}'
                              for row in rows)])
