"""Losses against torch.nn.functional: values in float32, gradients in float64, any number of leading axes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from parity_ledger import compare

from levels.level2_neural import losses as L

B, K = 12, 5
WEIGHTS = [0.5, 2.0, 1.0, 0.1, 1.5]


def focal(x, y, gamma=2.0, alpha=0.25):
    """The formula of the paper, with a power."""
    bce = F.binary_cross_entropy_with_logits(x, y.to(x.dtype), reduction='none')
    p = torch.where(y == 1, torch.sigmoid(x), torch.sigmoid(-x))
    weight = 1 if alpha is None else torch.where(y == 1, alpha, 1 - alpha).to(x.dtype)
    return weight * (1 - p) ** gamma * bce


def cross_entropy(x, y, **keywords):
    if 'weight' in keywords:
        keywords['weight'] = torch.tensor(keywords['weight'], dtype=x.dtype)
    return F.cross_entropy(x, y, reduction='none', **keywords)


def hinge(x, y, margin=1.0, power=1):
    """torch has the hinge of two scores; one of them is 0 here."""
    return F.margin_ranking_loss(x, torch.zeros_like(x), y.to(x.dtype), margin=margin, reduction='none') ** power


CASES = [       # ours, its keywords, what it takes, torch's
    (L.softmax_cross_entropy, {}, 'classes', cross_entropy),
    (L.softmax_cross_entropy, {'label_smoothing': 0.1}, 'classes',
     lambda x, y: cross_entropy(x, y, label_smoothing=0.1)),
    (L.softmax_cross_entropy, {'label_smoothing': 0.3, 'class_weights': WEIGHTS, 'ignore_index': 2}, 'classes',
     lambda x, y: cross_entropy(x, y, label_smoothing=0.3, weight=WEIGHTS, ignore_index=2)),
    (L.binary_cross_entropy, {}, 'shares', lambda x, y: F.binary_cross_entropy_with_logits(x, y, reduction='none')),
    (L.binary_cross_entropy, {'pos_weight': 3.0}, 'shares', lambda x, y: F.binary_cross_entropy_with_logits(
        x, y, reduction='none', pos_weight=torch.tensor(3.0, dtype=x.dtype))),
    (L.focal_loss, {}, 'bits', focal),
    (L.focal_loss, {'gamma': 0.5, 'alpha': None}, 'bits', lambda x, y: focal(x, y, 0.5, None)),
    (L.squared_error, {}, 'reals', lambda x, y: F.mse_loss(x, y, reduction='none')),
    (L.huber_loss, {}, 'reals', lambda x, y: F.huber_loss(x, y, reduction='none')),
    (L.huber_loss, {'delta': 0.3}, 'reals', lambda x, y: F.huber_loss(x, y, reduction='none', delta=0.3)),
    (L.hinge_loss, {}, 'signs', hinge),
    (L.hinge_loss, {'margin': 0.5, 'power': 2}, 'signs', lambda x, y: hinge(x, y, 0.5, 2)),
    (L.multi_margin_loss, {}, 'classes', lambda x, y: F.multi_margin_loss(x, y, reduction='none')),
    (L.multi_margin_loss, {'margin': 0.7, 'power': 2}, 'classes',
     lambda x, y: F.multi_margin_loss(x, y, p=2, margin=0.7, reduction='none')),
    (L.kl_divergence, {}, 'distributions',
     lambda x, y: F.kl_div(F.log_softmax(x, -1), y, reduction='none').sum(-1)),
]


def example(takes, dtype):
    rng = np.random.default_rng(3)
    x = 2 * rng.normal(size=(B, K) if takes in ('classes', 'distributions') else B)
    y = {'classes': rng.integers(0, K, B), 'bits': rng.integers(0, 2, B), 'signs': 2 * rng.integers(0, 2, B) - 1,
         'shares': rng.uniform(size=B).round(1), 'reals': rng.normal(size=B),
         'distributions': rng.dirichlet(np.ones(K), B) * (np.arange(B) > 0)[:, None]}[takes]
    if takes == 'distributions':
        y[0, 1] = 1         # one class has it all: 0 log 0
    return x.astype(dtype), y if y.dtype.kind == 'i' else y.astype(dtype)


@pytest.mark.parametrize(('ours', 'keywords', 'takes', 'theirs'), CASES,
                         ids=[f'{c[0].__name__} {"".join(c[1])}' for c in CASES])
def test_values_and_gradients_equal_torch(ours, keywords, takes, theirs):
    peer = 'the formula in torch' if ours is L.focal_loss else 'torch.nn.functional'
    what = ', '.join(f'{k}={v}' for k, v in keywords.items() if k != 'class_weights') or 'defaults'
    x, y = example(takes, np.float32)
    loss = jax.jit(lambda x, y: ours(x, y, **keywords))
    want = theirs(torch.tensor(x), torch.tensor(y)).numpy()
    got = loss(x, y)
    assert got.dtype == jnp.float32
    compare(ours.__name__, peer, f'values f32, {what}', got, want, 1e-6, relative=True)
    with jax.enable_x64(True):
        x, y = example(takes, np.float64)
        at, scale = torch.tensor(x, requires_grad=True), np.random.default_rng(4).normal(size=B)
        (theirs(at, torch.tensor(y)) * torch.tensor(scale)).sum().backward()
        # two leading axes here, one there
        def total(x):
            value = ours(x.reshape(3, 4, *x.shape[1:]), jnp.asarray(y.reshape(3, 4, *y.shape[1:])), **keywords)
            return jnp.sum(scale * value.reshape(B))
        compare(ours.__name__, peer, f'gradients f64, {what}', jax.jit(jax.grad(total))(jnp.asarray(x)),
                at.grad.numpy(), 1e-9, relative=True)


def test_the_weighted_mean_divides_by_the_weights_that_count():
    x, y = example('classes', np.float32)
    want = F.cross_entropy(torch.tensor(x), torch.tensor(y), weight=torch.tensor(WEIGHTS), ignore_index=2)
    each = L.softmax_cross_entropy(x, y, class_weights=WEIGHTS, ignore_index=2)
    count = np.where(y != 2, np.float32(WEIGHTS)[y], 0).sum()
    mean = each.sum() / count
    compare('softmax_cross_entropy', 'torch.nn.functional', 'weighted mean, f32', mean, want.numpy(), 1e-6)
    assert abs(float(each.mean()) - float(want)) > 1e-2


def test_a_label_that_is_none_is_nan_and_ignored_ones_touch_nothing():
    x = jnp.asarray(example('classes', np.float32)[0])[:4]
    labels = jnp.array([0, K, -1, -100])
    value, grad = jax.value_and_grad(lambda x: jnp.sum(jnp.nan_to_num(L.softmax_cross_entropy(x, labels))))(x)
    assert np.isnan(L.softmax_cross_entropy(x, labels)).tolist() == [False, True, True, False]
    assert np.isfinite(value) and not grad[3].any()
    assert np.isnan(L.multi_margin_loss(x, labels)).tolist() == [False, True, True, True]
