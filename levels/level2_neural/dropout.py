"""Dropout in its variants: what is dropped together is one number of the mask.

    dropout                 each element                    mask of x's own shape
    spatial_dropout         a channel, everywhere           [batch, 1, ..., 1, channels]
    variational_dropout     a feature, at all times         [batch, 1, features]
    drop_path               all of an example               [batch, 1, ..., 1]

All are inverted: what is kept is divided by the keep rate in training, and evaluation does nothing. Masks are drawn for
the whole batch and cut to this replica's rows (`parallel.rows`), so any number of devices drops the same; a step's key
is the run's key folded with the step's number (`task.advance`), so a resumed run drops the same as well.

The functions take a key; the modules of the same names take it from Linen's rng 'dropout', and drop in training only.
Those of each element are `Dropout` of `common.layers`.
"""

from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Key

from common import parallel
from common.layers import Dropout

__all__ = ['DropPath', 'Dropout', 'SpatialDropout', 'VariationalDropout', 'drop_path', 'dropout', 'keep', 'masked',
           'spatial_dropout', 'variational_dropout']


def keep(key: Key[Array, ''], shape: Sequence[int], rate: float, *, together: Sequence[int] = ()) -> Bool[Array, '...']:
    """The mask of what stays, each number True with probability 1 - rate; axes in `together` have one number for all.

    For what must be dropped alike more than once: a recurrent net draws it before its scan over time.
    Raises ValueError unless 0 <= rate < 1.

        mask = keep(key, (batch, width), 0.3)       # once
        h = masked(h, mask, 0.3)                    # at every step of time
    """
    if not 0 <= rate < 1:
        raise ValueError(f'rate: expected 0 <= rate < 1, found {rate}')
    if not shape:
        raise ValueError('x: expected [batch, ...]; found shape ()')
    rest = tuple(1 if axis in together else size for axis, size in enumerate(shape))[1:]
    return parallel.rows(lambda n: jax.random.bernoulli(key, 1 - rate, (n, *rest)), shape[0])


def masked(x: Float[Array, '*shape'], mask: Bool[Array, '...'], rate: float) -> Float[Array, '*shape']:
    """x / (1 - rate) where the mask is True, 0 elsewhere (even where x is infinite)."""
    return jnp.where(mask, x / (1 - rate), jnp.zeros_like(x))


def _drop(x, key, rate, together=()):
    mask = keep(key, jnp.shape(x), rate, together=together)
    return x if rate == 0 else masked(x, mask, rate)


def _middle(x, least: int, form: str) -> range:
    """The axes between batch and channels; ValueError where x has fewer axes than `least`."""
    if jnp.ndim(x) < least:
        raise ValueError(f'x: expected {form}; found shape {jnp.shape(x)}')
    return range(1, jnp.ndim(x) - 1)


def dropout(x: Float[Array, 'batch *rest'], key: Key[Array, ''], *, rate: float) -> Float[Array, 'batch *rest']:
    """Drops each element by itself.

    Formula: y = x m / (1 - rate), m ~ Bernoulli(1 - rate), so that E y = x and Var y = x^2 rate / (1 - rate).
    Paper: Srivastava et al. 2014, Dropout, section 4, in the inverted form of section 10.
    Shapes: [batch, ...] -> the same.
    Errors: ValueError unless 0 <= rate < 1, or for a scalar.
    Example:
        x = jnp.ones((2, 3))
        y = dropout(x, jax.random.key(0), rate=0.75)
        assert set(y.ravel().tolist()) <= {0.0, 4.0}
        assert jnp.array_equal(y, dropout(x, jax.random.key(0), rate=0.75))
    """
    return _drop(x, key, rate)


def spatial_dropout(
    x: Float[Array, 'batch *places channels'], key: Key[Array, ''], *, rate: float
) -> Float[Array, 'batch *places channels']:
    """Drops whole channels: neighbours in a feature map say nearly the same, so dropping one of them hides nothing.

    Formula: y[n, p, c] = x[n, p, c] m[n, c] / (1 - rate), m ~ Bernoulli(1 - rate).
    Paper: Tompson et al. 2015, Efficient object localization using convolutional networks, section 3.3.
    Shapes: [batch, ..., channels] -> the same; torch's Dropout1d, 2d and 3d, with the channels last.
    Errors: ValueError unless 0 <= rate < 1, or for fewer than three axes.
    Example:
        x = jnp.ones((2, 4, 4, 3))
        y = spatial_dropout(x, jax.random.key(0), rate=0.5)
        assert jnp.array_equal(y, jnp.broadcast_to(y[:, :1, :1], y.shape))      # a channel is there or is not
        assert y.shape == x.shape
    """
    return _drop(x, key, rate, _middle(x, 3, '[batch, ..., channels], three axes or more'))


def variational_dropout(
    x: Float[Array, 'batch time features'], key: Key[Array, ''], *, rate: float
) -> Float[Array, 'batch time features']:
    """Drops a feature of a sequence at all times or never: one network, drawn once, reads the whole sequence.

    Formula: y[n, t, i] = x[n, t, i] m[n, i] / (1 - rate), m ~ Bernoulli(1 - rate). For a recurrent state draw the mask
        with `keep` before the scan over time and apply it with `masked` within.
    Paper: Gal, Ghahramani 2016, A theoretically grounded application of dropout in recurrent neural networks.
    Shapes: [batch, time, features] -> the same.
    Errors: ValueError unless 0 <= rate < 1, or for other than three axes.
    Example:
        x = jnp.ones((2, 5, 8))
        y = variational_dropout(x, jax.random.key(0), rate=0.5)
        assert jnp.array_equal(y[:, 0], y[:, 4])
        assert not jnp.array_equal(y[:, 0], x[:, 0])
    """
    if jnp.ndim(x) != 3:
        raise ValueError(f'x: expected [batch, time, features]; found shape {jnp.shape(x)}')
    return _drop(x, key, rate, (1,))


def drop_path(x: Float[Array, 'batch *rest'], key: Key[Array, ''], *, rate: float) -> Float[Array, 'batch *rest']:
    """Drops the whole of an example: on the branch of a residual block, the example skips the block.

    Formula: y[n] = x[n] m[n] / (1 - rate), m ~ Bernoulli(1 - rate); a block is x + drop_path(branch(x)).
    Paper: Huang, Sun, Liu, Sedra, Weinberger 2016, Deep networks with stochastic depth, section 3 (there one draw for
        the whole batch, and the factor in evaluation instead).
    Shapes: [batch, ...] -> the same.
    Errors: ValueError unless 0 <= rate < 1, or for a scalar.
    Example:
        x = jnp.ones((64, 3))
        y = drop_path(x, jax.random.key(0), rate=0.5)
        assert set(y[:, 0].tolist()) == {0.0, 2.0}
        assert jnp.array_equal(y[:, 0], y[:, 2])
    """
    return _drop(x, key, rate, range(1, jnp.ndim(x)))


class _Module(nn.Module):
    """In training a function of this file, with the key of Linen's rng 'dropout'; in evaluation nothing."""

    rate: float

    def variant(self, x, key):
        raise NotImplementedError

    @nn.compact
    def __call__(self, x: Float[Array, 'batch *rest'], *, train: bool = False) -> Float[Array, 'batch *rest']:
        if not 0 <= self.rate < 1:
            raise ValueError(f'rate: expected 0 <= rate < 1, found {self.rate}')
        return self.variant(x, self.make_rng('dropout')) if train and self.rate > 0 else x


class SpatialDropout(_Module):
    """`spatial_dropout` as a layer:  y = SpatialDropout(0.2)(x, train=train)."""

    def variant(self, x, key):
        return spatial_dropout(x, key, rate=self.rate)


class VariationalDropout(_Module):
    """`variational_dropout` as a layer:  y = VariationalDropout(0.2)(x, train=train)."""

    def variant(self, x, key):
        return variational_dropout(x, key, rate=self.rate)


class DropPath(_Module):
    """`drop_path` as a layer:  y = x + DropPath(0.1)(branch(x), train=train)."""

    def variant(self, x, key):
        return drop_path(x, key, rate=self.rate)
