"""Metrics leave a step as additive pairs, so sums over devices, micro-batches, steps and padded batches are `+`.

    m = mean(per_example_loss, mask)      # Mean(total=sum of real rows, weight=number of real rows)
    m.value                               # total / weight
"""
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

Metrics = dict[str, Any]


class Mean(NamedTuple):
    """A weighted mean that is still a sum: `Mean(a + c, b + d)` is the mean over both parts."""
    total: Float[Array, '*n']
    weight: Float[Array, '*n']

    @property
    def value(self):
        """total / weight; NaN when nothing was counted."""
        return self.total / self.weight


def mean(values: Float[Array, '*shape'], mask=None) -> Mean:
    """Mean of all elements of `values` in float32; where `mask` is 0 an element counts nothing, even if it is NaN.

    `mask` broadcasts from the left: a mask [batch] serves values [batch, time].
    """
    values = jnp.asarray(values)
    if not jnp.issubdtype(values.dtype, jnp.floating) or values.dtype in (jnp.bfloat16, jnp.float16):
        values = values.astype(jnp.float32)
    if mask is None:
        return Mean(jnp.sum(values), jnp.asarray(values.size, values.dtype))
    mask = jnp.asarray(mask, values.dtype)
    if mask.ndim > values.ndim or any(m not in (1, v) for m, v in zip(mask.shape, values.shape)):
        raise ValueError(f'mask: expected a shape that broadcasts from the left to {values.shape}, found {mask.shape}')
    mask = jnp.broadcast_to(mask.reshape(mask.shape + (1,) * (values.ndim - mask.ndim)), values.shape)
    return Mean(jnp.sum(jnp.where(mask != 0, values, 0) * mask), jnp.sum(mask))


def merge(a: Metrics, b: Metrics) -> Metrics:
    """Metrics of two disjoint parts -> metrics of both."""
    return jax.tree.map(jnp.add, a, b)


def sum_leading(metrics: Metrics) -> Metrics:
    """[steps, ...] -> [...]: what a scan stacked is added up."""
    return jax.tree.map(lambda x: jnp.sum(x, 0), metrics)


def zeros_like(metrics: Metrics) -> Metrics:
    """The metrics of nothing, for shapes given by arrays or ShapeDtypeStructs."""
    return jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), metrics)


def compute(metrics: Metrics) -> dict[str, float | np.ndarray]:
    """Device -> host values, sorted by name.  The only place where a run waits for the device.

    A metric with a seeds axis comes back as an array [seeds].
    """
    with np.errstate(divide='ignore', invalid='ignore'):        # asarray: device_get took four times as long
        values = {k: np.asarray(m.total) / np.asarray(m.weight) for k, m in sorted(metrics.items())}
    return {k: float(v) if v.ndim == 0 else v for k, v in values.items()}
