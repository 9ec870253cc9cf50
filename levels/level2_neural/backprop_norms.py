"""Batch norm and layer norm by hand, both ways; layers of `backprop.chain`.

Formula: see each card.
Paper: Ioffe, Szegedy 2015, Batch normalization; Ba, Kiros, Hinton 2016, Layer normalization.
Shapes: [*batch, features] -> the same.

Example:
    from levels.level2_neural.backprop_norms import batch_norm
    net = chain(dense(64), batch_norm(), activation('relu'), dense(10), head=softmax_cross_entropy_head())
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from common import parallel
from levels.level2_neural.backprop import Layer, row, rows


def _start(key, features, dtype):
    return {'scale': jnp.ones(features, dtype), 'bias': jnp.zeros(features, dtype)}


def _checked(epsilon: float, momentum: float = 0.0) -> None:
    if not epsilon > 0 or not 0 <= momentum <= 1:
        raise ValueError(f'epsilon, momentum: expected epsilon > 0 and momentum from 0 to 1, found {epsilon} and '
                         f'{momentum}')


def _mean(x: Float[Array, '*batch features']) -> Float[Array, ' features']:
    """Over all rows, those of other replicas as well."""
    return parallel.pmean(jnp.mean(rows(x), 0))


def batch_norm(*, momentum: float = 0.9, epsilon: float = 1e-5) -> Layer:
    """Each feature with mean 0 and variance 1 over the batch, then scaled and moved; in evaluation by running numbers.

    Formula: n = (x - m) r, r = 1 / sqrt(v + epsilon), y = n scale + bias; m, v mean and variance (two-pass, biased) of
        the batch on all devices. With h = dy scale: dx = r (h - mean(h) - n mean(h n)), dscale = sum(dy n), dbias =
        sum(dy). In evaluation m and v are fixed: dx = r h. Running numbers: old momentum + new (1 - momentum).
    Paper: Ioffe, Szegedy 2015, Batch normalization, algorithm 1 and section 3.
    Shapes: [*batch, features] -> the same; params scale, bias [features]; stats mean, var [features].
    Errors: ValueError unless epsilon > 0 and momentum lies in 0..1 (torch's 0.1 is 0.9 here).
    Example:
        layer = batch_norm()
        params, stats, _ = layer.init(None, 2, jnp.float32)
        y, saved, after = layer.forward(params, stats, jnp.array([[0.0, 1.0], [4.0, 1.0]]), True, None)
        dx, _ = layer.backward(params, saved, jnp.ones_like(y))
        assert jnp.allclose(y[:, 0], jnp.array([-1.0, 1.0]), atol=1e-5) and jnp.allclose(dx, 0, atol=1e-5)
        assert jnp.allclose(after['mean'], jnp.array([0.2, 0.1]))
    """
    _checked(epsilon, momentum)

    def start(key, features, dtype):
        stats = {'mean': jnp.zeros(features, dtype), 'var': jnp.ones(features, dtype)}
        return _start(key, features, dtype), stats, features

    def forward(params, stats, x, train, key):
        mean, var = stats['mean'], stats['var']
        if train:
            mean = _mean(x)
            var = _mean(jnp.square(x - row(mean, x)))
            average = lambda old, new: (momentum * old + (1 - momentum) * new).astype(old.dtype)
            stats = {'mean': average(stats['mean'], mean), 'var': average(stats['var'], var)}
        r = 1 / jnp.sqrt(var + epsilon)
        n = (x - row(mean, x)) * row(r, x)
        return n * row(params['scale'], x) + row(params['bias'], x), (n, r, train), stats

    def backward(params, saved, dy):
        n, r, train = saved
        h = dy * row(params['scale'], dy)
        grads = {'scale': jnp.sum(rows(dy * n), 0), 'bias': jnp.sum(rows(dy), 0)}
        if train:       # the mean and the variance moved with x as well
            h = h - row(_mean(h), h) - n * row(_mean(h * n), h)
        return h * row(r, h), grads

    return Layer('batch_norm', start, forward, backward)


def layer_norm(*, epsilon: float = 1e-5) -> Layer:
    """Each example with mean 0 and variance 1 over its features, then scaled and moved.

    Formula: n = (x - m) r, r = 1 / sqrt(v + epsilon), y = n scale + bias; m, v mean and variance (two-pass) over the
        features. With h = dy scale: dx = r (h - mean(h) - n mean(h n)), dscale = sum(dy n), dbias = sum(dy).
    Paper: Ba, Kiros, Hinton 2016, Layer normalization, equation 4.
    Shapes: [*batch, features] -> the same; params scale, bias [features].
    Errors: ValueError unless epsilon > 0.
    Example:
        layer = layer_norm()
        params, stats, _ = layer.init(None, 2, jnp.float32)
        y, saved, _ = layer.forward(params, stats, jnp.array([[1.0, 5.0]]), True, None)
        dx, _ = layer.backward(params, saved, jnp.ones_like(y))
        assert jnp.allclose(y, jnp.array([[-1.0, 1.0]]), atol=1e-5) and jnp.allclose(dx, 0, atol=1e-5)
    """
    _checked(epsilon)

    def forward(params, stats, x, train, key):
        centred = x - jnp.mean(x, -1, keepdims=True)
        r = 1 / jnp.sqrt(jnp.mean(jnp.square(centred), -1, keepdims=True) + epsilon)
        n = centred * r
        return n * row(params['scale'], x) + row(params['bias'], x), (n, r), stats

    def backward(params, saved, dy):
        n, r = saved
        h = dy * row(params['scale'], dy)
        dx = r * (h - jnp.mean(h, -1, keepdims=True) - n * jnp.mean(h * n, -1, keepdims=True))
        return dx, {'scale': jnp.sum(rows(dy * n), 0), 'bias': jnp.sum(rows(dy), 0)}

    return Layer('layer_norm', lambda *args: (_start(*args), {}, args[1]), forward, backward)
