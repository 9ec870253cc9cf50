"""Pooling against torch: values, gradients, ties, and which path was taken."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from parity_ledger import compare, eqns

from levels.level3_vision.pooling import avg_pool, max_pool

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
