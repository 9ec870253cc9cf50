"""What is searched: a named box, each side of which is mapped from the unit interval.

    space = {'rate': LogUniform(1e-4, 1e-1), 'hidden_drop': Uniform(0.0, 0.8), 'depth': Integer(1, 4),
             'batch': Choice((32, 64, 128))}
    decode(space, u)            # [..., 4] in 0..1 -> {'rate': [...], ...}, float32

Searchers know the unit cube only.  All values are numbers, since trials are one program: a choice between functions is
a choice of their numbers, for `jax.lax.switch`.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


class Uniform(NamedTuple):
    """Any number from low to high."""

    low: float
    high: float

    def decode(self, u):
        return self.low + (self.high - self.low) * u

    def encode(self, value):
        return (value - self.low) / (self.high - self.low)

    def levels(self, n: int) -> np.ndarray:
        """n places for a grid, ends included; the middle for n = 1."""
        return np.linspace(0, 1, n) if n > 1 else np.array([0.5])


class LogUniform(NamedTuple):
    """Any number from low to high, both positive, its logarithm uniform."""

    low: float
    high: float

    def decode(self, u):
        return jnp.clip(self.low * jnp.exp(jnp.log(self.high / self.low) * u), self.low, self.high)

    def encode(self, value):
        return jnp.log(value / self.low) / jnp.log(self.high / self.low)

    def levels(self, n: int) -> np.ndarray:
        return Uniform.levels(self, n)


class Choice(NamedTuple):
    """One of some numbers, each as likely as the others."""

    values: Sequence[float]

    def index(self, u):
        """Which of the values, counted from 0."""
        return jnp.clip((u * len(self.values)).astype(jnp.int32), 0, len(self.values) - 1)

    def decode(self, u):
        return jnp.asarray(self.values, jnp.float32)[self.index(u)]

    def encode(self, value):
        """The middle of the interval of the value that is nearest."""
        value = jnp.asarray(value)[..., None]
        known = jnp.asarray(self.values, jnp.float32).reshape((1,) * (value.ndim - 1) + (-1,))
        nearest = jnp.abs(known - value).argmin(-1)
        return (nearest + 0.5) / len(self.values)

    def levels(self, n: int) -> np.ndarray:
        """All values; n plays no part."""
        return (np.arange(len(self.values)) + 0.5) / len(self.values)


def Integer(low: int, high: int) -> Choice:
    """A whole number from low to high, both included."""
    return Choice(tuple(range(low, high + 1)))


Space = Mapping[str, Uniform | LogUniform | Choice]


def check(space: Space) -> None:
    """ValueError for no dimension, one that is none of the above, or one without an inside."""
    if not space:
        raise ValueError('space: expected one dimension or more, found none')
    for name, side in space.items():
        if isinstance(side, Choice):
            good = len(side.values) > 0 and all(np.isfinite(side.values))
        else:
            good = isinstance(side, Uniform | LogUniform) and np.isfinite(side).all() and side.low < side.high
            good = good and (isinstance(side, Uniform) or side.low > 0)
        if not good:
            raise ValueError(f'space[{name!r}]: expected low < high (0 < low of a LogUniform) or values; found {side}')


def decode(space: Space, u: Float[Array, '*n d']) -> dict[str, Float[Array, '*n']]:
    """Points of the unit cube -> values by name, in the order of the space."""
    return {name: side.decode(jnp.asarray(u)[..., i]) for i, (name, side) in enumerate(space.items())}


def encode(space: Space, values: Mapping[str, Float[Array, '*n']]) -> Float[Array, '*n d']:
    """The inverse of `decode`, cut to the box."""
    return jnp.clip(jnp.stack([side.encode(values[name]) for name, side in space.items()], -1), 0, 1)


def moved(space: Space, u: Float[Array, '*n d'], up: Float[Array, '*n d'], factor: float) -> Float[Array, '*n d']:
    """A neighbour of each point: values times or by `factor` (`up` is True or not), choices to the next or last one."""
    columns = []
    for i, side in enumerate(space.values()):
        at, rise = u[..., i], up[..., i]
        if isinstance(side, Choice):
            k = len(side.values)
            to = (jnp.clip(side.index(at) + jnp.where(rise, 1, -1), 0, k - 1) + 0.5) / k
        else:
            to = side.encode(side.decode(at) * jnp.where(rise, factor, 1 / factor))
        columns.append(jnp.clip(to, 0, 1))
    return jnp.stack(columns, -1)
