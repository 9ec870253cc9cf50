"""Pooling against torch: values, gradients, ties, and which path was taken."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from parity_ledger import compare, eqns

from levels.level3_vision.pooling import (
    adaptive_avg_pool,
    adaptive_max_pool,
    avg_pool,
    global_avg_pool,
    global_max_pool,
    max_pool,
)

# size, window, strides, padding; the first three tile the image, the others take Linen's path
POOLS = [
    ((8, 8), (2, 2), None, 0),
    ((6, 9), (2, 3), None, 0),
    ((18, 18), (9, 9), None, 0),
    ((7, 7), (3, 3), (2, 2), 1),
    ((7, 8), (2, 2), None, 0),
    ((8, 8), (3, 3), (1, 1), 1),
]


@pytest.mark.parametrize(('size', 'window', 'strides', 'padding'), POOLS)
@pytest.mark.parametrize('kind', ['max', 'avg', 'avg without pads'])
def test_pooling_equals_torch(size, window, strides, padding, kind):
    with jax.enable_x64(True):
        x = np.random.default_rng(0).normal(size=(2, *size, 3))  # continuous: no ties
        tx = torch.tensor(x.transpose(0, 3, 1, 2), requires_grad=True)
        pads = ((padding, padding),) * 2
        if kind == 'max':
            y = F.max_pool2d(tx, window, strides, padding)

            def ours(x):
                return max_pool(x, window, strides=strides, padding=pads)
        else:
            count = kind == 'avg'
            y = F.avg_pool2d(tx, window, strides, padding, count_include_pad=count)

            def ours(x):
                return avg_pool(x, window, strides=strides, padding=pads, count_include_pad=count)

        y.sin().sum().backward()
        name = f'{kind}_pool'
        compare(
            name,
            'torch.nn.functional',
            'values, f64',
            ours(jnp.asarray(x)),
            y.detach().numpy().transpose(0, 2, 3, 1),
            1e-12,
        )
        compare(
            name,
            'torch.nn.functional',
            'gradients, f64',
            jax.grad(lambda x: jnp.sin(ours(x)).sum())(jnp.asarray(x)),
            tx.grad.numpy().transpose(0, 2, 3, 1),
            1e-12,
            relative=True,
        )


def against_torch(name, quantity, ours, theirs, size):
    """Values and gradients of a pooling in float64, of continuous numbers: no ties."""
    with jax.enable_x64(True):
        x = np.random.default_rng(1).normal(size=(2, *size, 3)) - 5     # negative: a padding that counts as 0 shows
        tx = torch.tensor(x.transpose(0, 3, 1, 2), requires_grad=True)
        y = theirs(tx)
        y.sin().sum().backward()
        (_, value), grad = jax.value_and_grad(lambda x: (jnp.sin(ours(x)).sum(), ours(x)), has_aux=True)(jnp.asarray(x))
        shaped = y.detach().numpy().transpose(0, 2, 3, 1).reshape(value.shape)
        compare(name, 'torch.nn.functional', f'{quantity}, values, f64', value, shaped, 1e-12)
        compare(name, 'torch.nn.functional', f'{quantity}, gradients, f64', grad, tx.grad.numpy().transpose(0, 2, 3, 1),
                1e-12, relative=True)


# size, window, strides, padding.  The second hangs over, the third's last window would begin in the padding.
@pytest.mark.parametrize(('size', 'window', 'strides', 'padding'), [
    ((8, 7), (3, 3), (2, 2), (1, 1)), ((9, 8), (2, 3), (2, 2), (0, 0)), ((5, 4), (2, 2), (2, 2), (1, 1)),
    ((8, 6), (2, 2), (2, 2), (0, 0)), ((7, 10), (3, 4), (2, 3), (1, 2))])
def test_ceil_mode_equals_torch(size, window, strides, padding):
    options = {'strides': strides, 'padding': padding, 'ceil_mode': True}
    against_torch('max_pool', 'ceil_mode', lambda x: max_pool(x, window, **options),
                  lambda x: F.max_pool2d(x, window, strides, padding, ceil_mode=True), size)
    for count in (True, False):
        against_torch('avg_pool', 'ceil_mode' + ('' if count else ' without pads'),
                      lambda x, count=count: avg_pool(x, window, **options, count_include_pad=count),
                      lambda x, count=count: F.avg_pool2d(x, window, strides, padding, True, count), size)


@pytest.mark.parametrize(('size', 'parts'), [((8, 6), (4, 3)), ((7, 5), (3, 2)), ((3, 4), (5, 4)), ((9, 9), 1)])
def test_adaptive_pooling_equals_torch(size, parts):
    against_torch('adaptive_avg_pool', f'{size} to {parts}', lambda x: adaptive_avg_pool(x, parts),
                  lambda x: F.adaptive_avg_pool2d(x, parts), size)
    against_torch('adaptive_max_pool', f'{size} to {parts}', lambda x: adaptive_max_pool(x, parts),
                  lambda x: F.adaptive_max_pool2d(x, parts), size)


def test_global_pooling_equals_torch():
    against_torch('global_avg_pool', '(5, 6)', global_avg_pool, lambda x: F.adaptive_avg_pool2d(x, 1), (5, 6))
    against_torch('global_max_pool', '(5, 6)', global_max_pool, lambda x: F.adaptive_max_pool2d(x, 1), (5, 6))


@pytest.mark.parametrize(('pool', 'primitive'), [(max_pool, 'reduce_window_max'), (avg_pool, 'reduce_window_sum')])
def test_only_windows_that_do_not_tile_use_reduce_window(pool, primitive):
    def used(size, **kwargs):
        jaxpr = jax.make_jaxpr(lambda x: pool(x, (2, 2), **kwargs))(jnp.zeros((1, size, size, 1))).jaxpr
        return any(e.primitive.name == primitive for e in eqns(jaxpr))

    assert not used(8) and not used(8, padding='SAME') and not used(8, strides=(2, 2))
    assert used(7) and used(8, strides=(1, 1)) and used(8, padding=((1, 1), (1, 1)))


def test_equal_maxima_share_one_unit_of_gradient_and_nan_survives():
    grad = jax.grad(lambda x: max_pool(x).sum())(jnp.ones((1, 4, 4, 1)))
    assert (grad == 0.25).all()
    assert jnp.isnan(max_pool(jnp.zeros((1, 4, 4, 1)).at[0, 0, 1, 0].set(jnp.nan))[0, 0, 0, 0])


@pytest.mark.parametrize('pool', [max_pool, avg_pool])
def test_bad_pooling_says_what_is_wrong(pool):
    with pytest.raises(ValueError, match='x: expected rank 4'):
        pool(jnp.zeros((4, 4, 1)))
    with pytest.raises(ValueError, match='window: expected two positive integers'):
        pool(jnp.zeros((1, 4, 4, 1)), (2,))
    with pytest.raises(ValueError, match='strides: expected two positive integers'):
        pool(jnp.zeros((1, 4, 4, 1)), strides=(0, 2))
    for bad, message in (
        (lambda: pool(jnp.zeros((1, 4, 4, 1)), padding=2), r'padding: expected less than the window \(2, 2\)'),
        (lambda: pool(jnp.zeros((1, 4, 4, 1)), (5, 5)), r'window: expected one that fits into 4 \+ 0; found 5'),
        (lambda: adaptive_max_pool(jnp.zeros((1, 4, 4, 1)), (0, 1)), 'size: expected one or two integers >= 1'),
        (lambda: global_avg_pool(jnp.zeros((4, 4, 1))), 'x: expected rank 4'),
    ):
        with pytest.raises(ValueError, match=message):
            bad()
