"""Penalties on weights against torch: what they add to a step, and where columns are cut."""

import jax
import jax.numpy as jnp
import numpy as np
import torch
from parity_ledger import compare

from levels.level2_neural.regularisation import l2_penalty, max_norm

RNG = np.random.default_rng(0)


def test_the_penalty_s_gradient_is_torch_s_weight_decay():
    """One step of descent on the penalty alone; the bias is left out."""
    kernel = RNG.normal(size=(3, 4)).astype(np.float32)
    weight = torch.nn.Parameter(torch.tensor(kernel))
    weight.grad = torch.zeros(3, 4)
    torch.optim.SGD([weight], lr=0.1, weight_decay=0.3).step()
    params = {'kernel': jnp.asarray(kernel), 'bias': jnp.ones(4)}
    grads = jax.grad(l2_penalty)(params, strength=0.3)
    compare('l2_penalty', 'torch.optim.SGD with weight_decay', 'kernel after a step', kernel - 0.1 * grads['kernel'],
            weight.detach().numpy(), 1e-7)
    assert not grads['bias'].any()
    compare('l2_penalty', 'the formula in torch', 'value', l2_penalty(params, strength=0.3),
            (0.15 * torch.tensor(kernel).square().sum()).numpy(), 1e-6)


def test_max_norm_is_torch_s_renorm():
    for shape in ((4, 3), (2, 2, 3, 5)):
        kernel = (RNG.normal(size=shape) * np.linspace(0.1, 3, shape[-1])).astype(np.float32)
        theirs = torch.renorm(torch.tensor(kernel), 2, kernel.ndim - 1, 1.2).numpy()
        ours = max_norm(jnp.asarray(kernel), limit=1.2)
        compare('max_norm', 'torch.renorm', f'{len(shape)} axes', ours, theirs, 1e-6)
        assert 0 < (theirs != kernel).any(tuple(range(kernel.ndim - 1))).mean() < 1, 'some columns are cut, not all'
