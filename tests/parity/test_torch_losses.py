"""Losses against torch.nn.functional: values in float32, gradients in float64, any number of leading axes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from parity_ledger import compare

from levels.level2_neural import losses as L
from levels.level2_neural.losses_metric import info_nce, triplet_loss
from levels.level2_neural.losses_sequence import ctc_loss

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


def sequences(dtype):
    """(logits [B, 9, K], labels [B, 4] with 0 to 4 words, some of them twice in a row, lengths 5 to 9)."""
    rng = np.random.default_rng(11)
    labels = rng.integers(1, K, (B, 4))
    labels[::3, 1] = labels[::3, 0]
    count = np.arange(B) % 5
    lengths = np.where(count > 3, 9, rng.integers(6, 10, B))
    labels = np.where(np.arange(4) < count[:, None], labels, -100)
    return (2 * rng.normal(size=(B, 9, K))).astype(dtype), labels, lengths


def torch_ctc(x, labels, lengths, blank=0):
    at = torch.tensor(x, requires_grad=True)
    loss = F.ctc_loss(at.log_softmax(-1).transpose(0, 1), torch.tensor(np.where(labels < 0, 1, labels)),
                      torch.tensor(lengths), torch.tensor((labels >= 0).sum(1)), blank=blank, reduction='none')
    return at, loss


@pytest.mark.parametrize('blank', [0, K - 1])
def test_ctc_equals_torch(blank):
    for bits in (32, 64):
        with jax.enable_x64(bits == 64):
            x, labels, lengths = sequences(f'float{bits}')
            labels = np.where((labels == blank) & (labels >= 0), labels - 1, labels) if blank else labels
            at, want = torch_ctc(x, labels, lengths, blank)
            weights = np.linspace(0.5, 2, B).astype(x.dtype)
            (want * torch.tensor(weights)).sum().backward()

            def total(x, labels=labels, lengths=lengths, weights=weights):
                each = ctc_loss(x.reshape(3, 4, *x.shape[1:]), labels.reshape(3, 4, 4), blank=blank,
                                lengths=lengths.reshape(3, 4))
                return jnp.sum(weights * each.reshape(B)), each.reshape(B)

            (_, each), grads = jax.jit(jax.value_and_grad(total, has_aux=True))(jnp.asarray(x))
            name = f'f{bits}, blank={blank}'
            compare('ctc_loss', 'torch.nn.functional', f'values {name}', each, want.detach().numpy(),
                    5e-6 if bits == 32 else 1e-12)      # of sums of up to 20 nats
            if bits == 64:
                compare('ctc_loss', 'torch.nn.functional', f'gradients {name}', grads, at.grad.numpy(), 1e-9,
                        relative=True)
            assert not np.asarray(grads)[np.arange(9)[None] >= lengths[:, None]].any()


def test_ctc_at_extremes_too_few_frames_and_wrong_labels():
    x, labels, lengths = sequences(np.float64)
    far = np.where(x > 1, 1e4, np.where(x < -1, -1e4, 0.0)).astype(np.float32)
    _, want = torch_ctc(far.astype(np.float64), labels, lengths)
    value, grads = jax.jit(jax.vmap(jax.value_and_grad(
        lambda x, y, n: ctc_loss(x, y, lengths=n))))(jnp.asarray(far), labels, lengths)
    assert float(want.max()) > 3e4 and jnp.isfinite(grads).all()
    compare('ctc_loss', 'torch.nn.functional', 'values f32 at logits of 1e4', value, want.detach().numpy(), 1e-6,
            relative=True)
    # three frames for 1 1 and a third word, or for 1 1 alone: the first is impossible, for torch as well
    few = np.array([[1, 1, 2], [1, 1, -100], [1, K, -100]])
    value, grads = jax.jit(jax.vmap(jax.value_and_grad(ctc_loss)))(jnp.zeros((3, 3, K)), few)
    _, want = torch_ctc(np.zeros((2, 3, K)), few[:2], np.array([3, 3]))
    assert np.isinf(value[0]) and np.isinf(want[0].item()) and abs(value[1] - want[1].item()) < 1e-5
    assert not grads[0].any() and jnp.isfinite(grads[:2]).all() and np.isnan(value[2])


@pytest.mark.parametrize('keywords', [{}, {'margin': 3.0, 'power': 1}, {'margin': 2.0, 'swap': True}])
def test_triplet_loss_equals_torch(keywords):
    rng = np.random.default_rng(5)
    theirs = {'p' if k == 'power' else k: float(v) if k == 'power' else v for k, v in keywords.items()}
    what = ', '.join(f'{k}={v}' for k, v in keywords.items()) or 'defaults'
    each = lambda a, p, n: triplet_loss(a, p, negatives=n, **keywords)
    for bits in (32, 64):
        with jax.enable_x64(bits == 64):
            points = rng.normal(size=(3, B, K)).astype(f'float{bits}')
            at = [torch.tensor(p, requires_grad=True) for p in points]
            want = F.triplet_margin_loss(*at, eps=0.0, reduction='none', **theirs)
            (want ** 2).sum().backward()
            grads = jax.jit(jax.grad(lambda *a: jnp.sum(each(*a) ** 2), (0, 1, 2)))(*map(jnp.asarray, points))
            compare('triplet_loss', 'torch.nn.functional', f'values f{bits}, {what}', jax.jit(each)(*points),
                    want.detach().numpy(), 1e-6 if bits == 32 else 1e-12)
            if bits == 64:
                compare('triplet_loss', 'torch.nn.functional', f'gradients f64, {what}', grads,
                        [p.grad.numpy() for p in at], 1e-9, relative=True)


def torch_nce(q, k, negatives=None, exclude=None, temperature=0.1):
    q, k = F.normalize(q, dim=-1), F.normalize(k, dim=-1)
    if negatives is not None:
        logits = torch.cat([(q * k).sum(-1, keepdim=True), q @ F.normalize(negatives, dim=-1).T], -1) / temperature
        return F.cross_entropy(logits, torch.zeros(len(q), dtype=torch.long), reduction='none')
    logits = q @ k.T / temperature
    if exclude is not None:
        logits = logits.masked_fill(torch.tensor(exclude), -torch.inf)
    return F.cross_entropy(logits, torch.arange(len(q)), reduction='none')


@pytest.mark.parametrize('form', ['within the batch', 'negatives given', 'two views, SimCLR'])
def test_info_nce_equals_cross_entropy_of_cosines(form):
    rng = np.random.default_rng(6)
    for bits in (32, 64):
        with jax.enable_x64(bits == 64):
            q, k, n = rng.normal(size=(3, B, K)).astype(f'float{bits}')
            exclude = np.roll(np.eye(B, dtype=bool), B // 2, 1) if form.startswith('two') else None
            k = np.roll(q, B // 2, 0) if form.startswith('two') else k
            given = n[:7] if form.startswith('neg') else None
            at = [torch.tensor(v, requires_grad=True) for v in (q, k)]
            want = torch_nce(*at, None if given is None else torch.tensor(given), exclude)
            (want ** 2).sum().backward()
            each = functools.partial(info_nce, negatives=given, exclude=exclude)
            total = lambda q, k, each=each: jnp.sum(each(q, k) ** 2)
            grads = jax.jit(jax.grad(total, (0, 1)))(jnp.asarray(q), jnp.asarray(k))
            peer = 'torch.nn.functional.cross_entropy of cosines'
            compare('info_nce', peer, f'values f{bits}, {form}', jax.jit(each)(q, k), want.detach().numpy(),
                    5e-6 if bits == 32 else 1e-12)      # similarities are divided by 0.1
            if bits == 64:
                compare('info_nce', peer, f'gradients f64, {form}', grads, [v.grad.numpy() for v in at], 1e-9,
                        relative=True)


def test_info_nce_within_a_batch_knows_the_other_rows_only():
    """A row by itself costs log 1, twins that are not excluded cost log 2, and points at 0 break nothing."""
    @jax.jit
    def run(q, far):
        twins = jnp.concatenate([q, q])
        return (info_nce(q, 3 * q), info_nce(twins, twins), info_nce(twins, twins, exclude=~np.eye(2, dtype=bool)),
                jax.grad(lambda q: info_nce(q, jnp.full((3, K), 1e4)).sum())(far))

    far = np.float32([[1e4] * K, [0] * K, [0] * K])
    alone, both, excluded, grads = run(np.random.default_rng(7).normal(size=(1, K)).astype(np.float32), far)
    assert abs(alone[0]) < 1e-6 and np.abs(both - np.log(2)).max() < 1e-6 and np.abs(excluded).max() < 1e-6
    assert np.isfinite(grads).all()
