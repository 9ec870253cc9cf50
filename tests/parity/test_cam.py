"""Class activation maps against torch's autograd in float64, integrated gradients against a quadrature, by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from parity_ledger import compare
from scipy import integrate
from test_features import channels_last, small_cnn, torch_twin

from levels.level3_vision.cam import (
    cam,
    grad_cam,
    grad_cam_plus,
    integrated_gradients,
    occlusion,
    pointing_game,
    upsample,
)

LABELS = [2, 0]


def tapped(net, x, layer):
    """(maps, their gradient) of the logits of LABELS at a layer of a torch Sequential, [b, k, h, w]."""
    seen = []
    net[layer].register_forward_hook(lambda m, a, y: (seen.append(y), y.retain_grad())[1])
    net(torch.tensor(np.array(x)).permute(0, 3, 1, 2).requires_grad_())[range(len(LABELS)), LABELS].sum().backward()
    return seen[0].detach(), seen[0].grad


@pytest.mark.parametrize(('ours', 'theirs'), [('block_1', 6), ('block_2', 10)])
def test_grad_cam_and_its_successor_equal_torch(ours, theirs):
    with jax.enable_x64(True):
        model, variables, x = small_cnn(jnp.float64, pool='avg')
        A, g = tapped(torch_twin(variables, torch.nn.AvgPool2d), x, theirs)
        plain = torch.relu((A * g.mean((2, 3), keepdim=True)).sum(1)).numpy()
        # the formula written another way round: alpha from the powers of g, then the positive part
        alpha = torch.where(g == 0, 0 * g, 1 / (2 + g * A.sum((2, 3), keepdim=True)))
        plus = torch.relu((A * (alpha * g.clamp(min=0)).sum((2, 3), keepdim=True)).sum(1)).numpy()
        assert (plain > 0).any() and (plus > 0).any()
        for fn, name, truth in ((grad_cam, 'grad_cam', plain), (grad_cam_plus, 'grad_cam_plus', plus)):
            heat = jax.jit(lambda v, x, fn=fn: fn(model, v, x, labels=jnp.array(LABELS), layer=ours))(variables, x)
            compare(name, 'torch autograd', f'{ours}, f64', heat, truth, 1e-9, relative=True)


def test_cam_is_the_logit_place_by_place_and_grad_cam_of_the_last_maps():
    """Zhou's identity: the mean of the map is the logit without its bias; Grad-CAM of the last maps is CAM / places."""
    with jax.enable_x64(True):
        model, variables, x = small_cnn(jnp.float64)
        net = torch_twin(variables)
        A, _ = tapped(net, x, 10)
        theirs = torch.stack([torch.einsum('khw,k->hw', A[b], net[-1].weight[c]) for b, c in enumerate(LABELS)])
        head = variables['params']['head']
        ours = cam(channels_last(A), head['kernel'], labels=jnp.array(LABELS))
        compare('cam', 'torch', 'maps, f64', ours, theirs.detach().numpy(), 1e-10)
        logits = jax.jit(model.apply)(variables, x)[jnp.arange(2), jnp.array(LABELS)]
        assert jnp.abs(ours.mean((1, 2)) + head['bias'][jnp.array(LABELS)] - logits).max() < 1e-10
        heat = jax.jit(lambda v, x: grad_cam(model, v, x, labels=jnp.array(LABELS), layer='block_2'))(variables, x)
        assert jnp.abs(heat - jax.nn.relu(ours) / ours[0].size).max() < 1e-10


def test_upsampling_equals_torch():
    heat = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
    for size in ((12, 16), (7, 9), (3, 4)):
        theirs = torch.nn.functional.interpolate(torch.tensor(heat)[:, None], size, mode='bilinear')[:, 0].numpy()
        compare('upsample', 'torch.nn.functional.interpolate', f'to {size}', upsample(heat, size), theirs, 2e-6)
    with pytest.raises(ValueError, match='size: expected two sizes not below'):
        upsample(heat, (2, 4))


def test_integrated_gradients_are_complete_and_a_quadratures():
    """The sum over pixels is the difference of the scores, in a smooth network (tests/convergence has one of relus and
    maxima, which takes more steps); one pixel by scipy.quad."""
    with jax.enable_x64(True):
        model, variables, x = small_cnn(jnp.float64, activation='tanh', pool='avg')
        score = jax.jit(lambda x: model.apply(variables, x)[:, 1])
        base = jnp.full(x.shape[1:], 0.3)
        parts = jax.jit(lambda x: integrated_gradients(score, x, baseline=base))(x)
        change = score(x) - score(base[None])
        error = jnp.abs(parts.sum((1, 2, 3)) - change) / jnp.abs(change)
        assert (error < 1e-3).all(), error
        smooth = lambda x: jnp.sin(x[:, 0, 0, 0] * x[:, 1, 1, 0]) + x[:, 0, 1, 0] ** 3
        slope = lambda t: float(jax.grad(lambda x: smooth(x).sum())(t * x[:1])[0, 0, 0, 0])
        theirs = float(x[0, 0, 0, 0]) * integrate.quad(slope, 0, 1)[0]
        compare('integrated_gradients', 'scipy.integrate.quad', 'one pixel, f64',
                integrated_gradients(smooth, x[:1], steps=512)[0, 0, 0, 0], theirs, 1e-5)


def test_occlusion_by_hand():
    """A loop over windows in numpy, with a last window that the stride does not reach."""
    with jax.enable_x64(True):
        model, variables, x = small_cnn(jnp.float64)
        score = jax.jit(lambda x: model.apply(variables, x)[:, 1])
        heat, count = np.zeros(x.shape[:3]), np.zeros(x.shape[1:3])
        for r in (0, 3, 6, 8):
            for c in (0, 2, 4, 6, 7):
                other = np.array(x)
                other[:, r : r + 4, c : c + 5] = 0.5
                heat[:, r : r + 4, c : c + 5] += np.asarray(score(x) - score(jnp.asarray(other)))[:, None, None]
                count[r : r + 4, c : c + 5] += 1
        ours = jax.jit(lambda x: occlusion(score, x, window=(4, 5), strides=(3, 2), fill=0.5))(x)
        compare('occlusion', 'numpy', 'heat, f64', ours, heat / count, 1e-10)


def test_the_pointing_game_counts_the_hottest_pixel():
    heat = np.random.default_rng(0).normal(size=(50, 5, 6))
    masks = np.random.default_rng(1).random((50, 5, 6)) < 0.3
    theirs = np.array([mask[np.unravel_index(h.argmax(), h.shape)] for h, mask in zip(heat, masks)])
    compare('pointing_game', 'numpy', 'hits', pointing_game(jnp.asarray(heat), jnp.asarray(masks)), theirs, 0)
    assert 0 < theirs.mean() < 1


def test_bad_arguments_say_what_is_wrong():
    model, variables, x = small_cnn()
    for call, message in (
        (lambda: cam(jnp.zeros((1, 2, 2, 3)), jnp.zeros((4, 2)), labels=jnp.array([0])), 'maps, weights: expected'),
        (lambda: grad_cam(model, variables, x, labels=jnp.array(LABELS), layer='head'), 'layer: expected one with an'),
        (lambda: integrated_gradients(lambda x: x.sum(), x), 'score: expected one number an example'),
        (lambda: integrated_gradients(lambda x: x.sum((1, 2, 3)), x, steps=0), 'steps: expected 1 or more'),
        (lambda: occlusion(lambda x: x.sum((1, 2, 3)), x, window=(2, 2), strides=(3, 1)), 'window, strides: expected'),
        (lambda: pointing_game(jnp.zeros((1, 2, 2)), jnp.zeros((1, 2, 3), bool)), 'heat, masks: expected equal'),
    ):
        with pytest.raises(ValueError, match=message):
            call()
