"""Convolution against torch and lax: values, gradients, transformations, and which path was taken."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from jax import lax
from parity_ledger import compare, eqns, value_and_grads

from levels.level3_vision.conv import Conv, conv_general_dilated
from levels.level3_vision.planes import PlanesConv, conv_planes

DIMS = ('NHWC', 'HWIO', 'NHWC')
# h, w, c_in, kernel, strides, padding.  c_in 3 takes the patches, 12 the custom gradient.
CASES = [
    (h, w, c, k, s, p)
    for c in (3, 12)
    for h, w, k, s, p in [
        (8, 8, (3, 3), (1, 1), 'SAME'),
        (9, 8, (3, 3), (2, 2), 'SAME'),
        (8, 9, (4, 2), (2, 3), 'VALID'),
        (7, 7, (3, 3), (2, 2), ((1, 1), (1, 1))),
        (9, 9, (5, 5), (3, 1), ((2, 0), (0, 3))),
        (8, 7, (2, 3), (3, 2), ((0, 0), (1, 1))),
        (5, 5, (1, 1), (2, 2), 'VALID'),
        (6, 6, (3, 3), (1, 1), ((4, 4), (3, 5))),
    ]
]


def data(h, w, c, kernel, dtype=np.float64, c_out=4):
    rng = np.random.default_rng(0)
    return rng.normal(size=(2, h, w, c)).astype(dtype), rng.normal(size=(*kernel, c, c_out)).astype(dtype)


@pytest.mark.parametrize(('h', 'w', 'c', 'kernel', 'strides', 'padding'), CASES)
def test_values_and_gradients_equal_lax(h, w, c, kernel, strides, padding):
    with jax.enable_x64(True):
        x, k = data(h, w, c, kernel)
        ours, theirs = (
            value_and_grads(f, x, k, strides, padding, dimension_numbers=DIMS)
            for f in (conv_general_dilated, lax.conv_general_dilated)
        )
        compare('conv_general_dilated', 'lax', 'values, f64', ours[0], theirs[0], 1e-12)
        compare('conv_general_dilated', 'lax', 'gradients, f64', ours[1], theirs[1], 1e-12, relative=True)


@pytest.mark.parametrize(
    ('h', 'w', 'c', 'kernel', 'strides', 'padding'),
    [case for case in CASES if case[5] == 'VALID' or case[5] == ((1, 1), (1, 1))],
)
@pytest.mark.parametrize('bits', [32, 64])
def test_layer_equals_torch(h, w, c, kernel, strides, padding, bits):
    x, k = data(h, w, c, kernel, f'float{bits}')
    k /= k.size**0.5
    b = np.arange(4, dtype=x.dtype)
    tx, tk, tb = (torch.tensor(a, requires_grad=True) for a in (x.transpose(0, 3, 1, 2), k.transpose(3, 2, 0, 1), b))
    y = F.conv2d(tx, tk, tb, strides, 0 if padding == 'VALID' else [p for p, _ in padding])
    y.sin().sum().backward()
    with jax.enable_x64(bits == 64):
        layer = Conv(4, kernel, strides=strides, padding=padding, param_dtype=x.dtype)

        def loss(params, x):
            y = layer.apply({'params': params}, x)
            return jnp.sum(jnp.sin(y)), y

        params = {'kernel': jnp.asarray(k), 'bias': jnp.asarray(b)}
        (_, ours), (grads, dx) = jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))(params, x)
        gate = 1e-6 if bits == 32 else 1e-10
        compare(
            'Conv',
            'torch.nn.functional.conv2d',
            f'values, f{bits}',
            ours,
            y.detach().numpy().transpose(0, 2, 3, 1),
            gate,
        )
        if bits == 64:
            theirs = (tb.grad.numpy(), tk.grad.numpy().transpose(2, 3, 1, 0), tx.grad.numpy().transpose(0, 2, 3, 1))
            compare(
                'Conv',
                'torch.nn.functional.conv2d',
                'gradients, f64',
                (grads['bias'], grads['kernel'], dx),
                theirs,
                1e-10,
                relative=True,
            )
        torch.optim.SGD([tk, tb], 0.1).step()
        after = jax.tree.map(lambda p, g: p - 0.1 * g, params, grads)
        theirs = {'kernel': tk.detach().numpy().transpose(2, 3, 1, 0), 'bias': tb.detach().numpy()}
        compare('Conv', 'torch.nn.functional.conv2d', f'parameters after a step, f{bits}', after, theirs, gate,
                relative=True)


@pytest.mark.parametrize('c', [3, 12])
def test_vmap_over_seeds_scan_and_second_derivatives(c):
    """Kernels mapped and images not, kernels and images mapped, all inside a scan; then a gradient of a gradient."""
    with jax.enable_x64(True):
        x, _ = data(8, 8, c, (3, 3))
        ks = np.random.default_rng(1).normal(size=(3, 3, 3, c, 4))

        def train(conv, k, x):
            def loss(k):
                return jnp.mean(jnp.sin(conv(x, k, (2, 2), ((1, 1), (1, 1)), dimension_numbers=DIMS)))

            return lax.scan(lambda k, _: (k - jax.grad(loss)(k), loss(k)), k, None, length=3)

        def penalty(conv, k, x):
            grad = jax.grad(lambda x: jnp.sum(jnp.sin(conv(x, k, (2, 2), 'SAME', dimension_numbers=DIMS))))(x)
            return jnp.sum(grad**2)

        xs = np.stack([x, x + 1, x * 2])
        for name, f in (
            ('vmap of kernels in a scan', lambda conv: jax.vmap(lambda k: train(conv, k, x))(ks)),
            ('vmap of both in a scan', lambda conv: jax.vmap(lambda k, x: train(conv, k, x))(ks, xs)),
            ('gradient of a gradient', lambda conv: jax.grad(lambda k: penalty(conv, k, x))(ks[0])),
        ):
            compare(
                'conv_general_dilated',
                'lax',
                name,
                f(conv_general_dilated),
                f(lax.conv_general_dilated),
                1e-10,
                relative=True,
            )


def convolutions(conv, *args, c=12, groups=1, **kwargs):
    """The convolutions in the program of value and gradients, and whether the custom gradient was used."""
    x, k = data(8, 8, c, (3, 3), np.float32)
    k = k[:, :, : c // groups]

    def f(x, k):
        return jnp.sum(conv(x, k, *args, **kwargs))

    found = [
        e for e in eqns(jax.make_jaxpr(jax.grad(f, (0, 1)))(x, k).jaxpr) if e.primitive.name.startswith('conv_gen')
    ]
    forward = [e.primitive.name for e in eqns(jax.make_jaxpr(f)(x, k).jaxpr)]
    return found, any(name.startswith('custom_vjp') for name in forward)


def test_every_convolution_of_the_custom_gradient_is_nhwc():
    """What makes it fast in loops: XLA:CPU has a good loop kernel for this layout only.  lax's own gradients fail."""
    nhwc = lax.conv_dimension_numbers((1, 8, 8, 1), (3, 3, 1, 1), DIMS)
    good = [
        [e.params['dimension_numbers'] == nhwc for e in convolutions(f, (2, 2), 'SAME', dimension_numbers=DIMS)[0]]
        for f in (conv_general_dilated, lax.conv_general_dilated)
    ]
    assert len(good[0]) == 3 and all(good[0])
    assert not all(good[1])


def test_few_channels_need_no_convolution_at_all():
    assert convolutions(conv_general_dilated, (1, 1), 'SAME', dimension_numbers=DIMS, c=3) == ([], False)


@pytest.mark.parametrize(
    'kwargs',
    [
        {'feature_group_count': 2},
        {'rhs_dilation': (2, 2)},
        {'lhs_dilation': (2, 1)},
        {'preferred_element_type': jnp.float32},
        {'dimension_numbers': ('HWNC', 'HWIO', 'NHWC')},
    ],
)
def test_everything_else_falls_back_to_lax(kwargs):
    kwargs = {'dimension_numbers': DIMS} | kwargs
    groups = kwargs.get('feature_group_count', 1)
    if kwargs['dimension_numbers'] == DIMS:
        assert not convolutions(conv_general_dilated, (1, 1), ((1, 1), (1, 1)), groups=groups, **kwargs)[1]
    x, k = data(8, 8, 12, (3, 3), np.float32)
    x = x.transpose(1, 2, 0, 3) if kwargs['dimension_numbers'] != DIMS else x
    k = k[:, :, : 12 // groups]
    ours, theirs = (
        f(x, k, (1, 1), ((1, 1), (1, 1)), **kwargs) for f in (conv_general_dilated, lax.conv_general_dilated)
    )
    assert (ours == theirs).all()


def test_other_backends_get_lax(monkeypatch):
    assert convolutions(conv_general_dilated, (1, 1), 'SAME', dimension_numbers=DIMS)[1]
    monkeypatch.setattr(jax, 'default_backend', lambda: 'gpu')
    assert not convolutions(conv_general_dilated, (1, 1), 'SAME', dimension_numbers=DIMS)[1]


@pytest.mark.parametrize('c', [3, 12])
def test_shapes_that_do_not_fit_raise_as_in_lax(c):
    x, k = data(4, 4, c, (3, 3), np.float32)
    for bad_x, bad_k in ((x[..., :2], k), (x[0], k)):
        with pytest.raises((TypeError, ValueError)) as ours:
            conv_general_dilated(bad_x, bad_k, (1, 1), 'VALID', dimension_numbers=DIMS)
        with pytest.raises((TypeError, ValueError)) as theirs:
            lax.conv_general_dilated(bad_x, bad_k, (1, 1), 'VALID', dimension_numbers=DIMS)
        assert type(ours.value) is type(theirs.value)
    cropped = [
        f(x, k, (1, 1), ((-1, 0), (0, 0)), dimension_numbers=DIMS)
        for f in (conv_general_dilated, lax.conv_general_dilated)
    ]
    assert (cropped[0] == cropped[1]).all()


def test_layer_has_linens_parameters_and_values():
    x = jnp.asarray(data(8, 8, 3, (3, 3), np.float32)[0])
    for kwargs in ({}, {'feature_group_count': 3}, {'kernel_dilation': 2}, {'strides': 2, 'padding': 1}):
        ours, theirs = Conv(6, (3, 3), **kwargs), nn.Conv(6, (3, 3), **kwargs)
        params = theirs.init(jax.random.key(0), x)
        assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), ours.init(jax.random.key(0), x), params))
        compare('Conv', 'flax.linen.Conv', 'values, f32', ours.apply(params, x), theirs.apply(params, x), 2e-6)
        batched = ours.apply(params, jnp.stack([x, x]))
        assert batched.shape == (2, *ours.apply(params, x).shape)


@pytest.mark.parametrize('padding', [((0, 0), (0, 0)), ((2, 2), (1, 0))])
@pytest.mark.parametrize('bits', [32, 64])
def test_convolution_with_the_batch_last_equals_torch(padding, bits):
    x, k = data(7, 6, 3, (3, 2), f'float{bits}')
    k /= k.size**0.5
    (top, bottom), (left, right) = padding
    tx, tk = (torch.tensor(a, requires_grad=True) for a in (x.transpose(0, 3, 1, 2), k.transpose(3, 2, 0, 1)))
    y = F.conv2d(F.pad(tx, (left, right, top, bottom)), tk)
    y.sin().sum().backward()
    with jax.enable_x64(bits == 64):
        turned = lambda x, k: conv_planes(x.transpose(3, 1, 2, 0), k, padding=padding).transpose(3, 1, 2, 0)
        ours, (dx, dk) = value_and_grads(turned, jnp.asarray(x), jnp.asarray(k))
    name, gates = f'f{bits}, batch last', (2e-6, 1e-5) if bits == 32 else (1e-12, 1e-9)
    compare('conv_planes', 'torch.nn.functional.conv2d', f'values, {name}', ours,
            y.detach().numpy().transpose(0, 2, 3, 1), gates[0])
    compare('conv_planes', 'torch.nn.functional.conv2d', f'gradients, {name}', (dx, dk),
            (tx.grad.numpy().transpose(0, 2, 3, 1), tk.grad.numpy().transpose(2, 3, 1, 0)), gates[1], relative=True)


def test_the_layer_with_the_batch_last_is_the_layer():
    """The same parameters from the same key, the same values; bad shapes are refused."""
    x = jax.random.normal(jax.random.key(0), (2, 7, 6, 3))
    pads = ((1, 1), (2, 2))
    ours, theirs = PlanesConv(4, (3, 3), pads), Conv(4, (3, 3), padding=pads)
    y, params = theirs.init_with_output(jax.random.key(1), x)
    z, again = ours.init_with_output(jax.random.key(1), x.transpose(3, 1, 2, 0))
    assert all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(params), jax.tree.leaves(again), strict=True))
    assert jnp.abs(y - z.transpose(3, 1, 2, 0)).max() < 1e-5
    with pytest.raises(ValueError, match='x, k: expected'):
        conv_planes(x, jnp.ones((3, 3, 3, 1)))
    with pytest.raises(ValueError, match='padding: expected pads >= 0 and a window that fits'):
        conv_planes(x.transpose(3, 1, 2, 0), jnp.ones((9, 3, 3, 1)))
