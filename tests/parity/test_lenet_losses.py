"""The two losses of the original LeNet-5: hand values, gradients, extremes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from parity_ledger import compare

from levels.level3_vision.lenet import rbf_map_loss, rbf_mse_loss


def test_losses_have_their_hand_values():
    logits, labels = -jnp.array([[3.0, 50.0, 7.0], [2.0, 2.0, 2.0]]), jnp.array([2, 0])
    assert rbf_mse_loss(logits, labels).tolist() == [7.0, 2.0]
    by_hand = [7 + np.log(np.exp(-5) + np.exp(-3) + np.exp(-50) + np.exp(-7)), 2 + np.log(np.exp(-5) + 3 * np.exp(-2))]
    assert rbf_map_loss(logits, labels, j=5.0) == pytest.approx(by_hand, abs=1e-6)
    with pytest.raises(ValueError, match='j: expected a positive'):
        rbf_map_loss(logits, labels, j=0.0)
    assert jnp.isnan(rbf_mse_loss(logits, jnp.array([3, 0]))[0])


def test_losses_stay_finite_and_their_gradients_are_right():
    far = jnp.array([[-1e4, -1e4, 0.0], [-1e4, -3.0, -1e4]])
    labels = jnp.array([0, 1])
    for loss in (rbf_mse_loss, rbf_map_loss):
        grad = jax.grad(lambda logits, loss=loss: loss(logits, labels).sum())(far)
        assert jnp.isfinite(loss(far, labels)).all() and jnp.isfinite(grad).all()
    with jax.enable_x64(True):
        logits = np.random.default_rng(0).normal(size=(4, 3)) - 5
        target = torch.tensor([0, 2, 1, 1])
        t = torch.tensor(logits, requires_grad=True)
        score = torch.cat([t, torch.full((4, 1), -6.0, dtype=t.dtype)], 1)
        F.cross_entropy(score, target, reduction='sum').backward()  # eq. 9 is a softmax with one constant class
        ours = jax.grad(lambda x: rbf_map_loss(x, jnp.asarray(target.numpy()), j=6.0).sum())(jnp.asarray(logits))
        compare('rbf_map_loss', 'torch.nn.functional.cross_entropy', 'gradient, f64', ours, t.grad.numpy(), 1e-12)
