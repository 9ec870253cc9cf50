"""Attention and normalisation against torch and jax.nn: values in float32, gradients in float64, masks, extremes."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as F
import transformers
from parity_ledger import compare

from levels.level5_transformers.attention import MultiHeadAttention, rotate, scaled_dot_product_attention
from levels.level5_transformers.gpt import GPT
from levels.level5_transformers.layer_norm import EPSILON, LayerNorm, RMSNorm

B, T, H, D = 3, 7, 4, 8
RNG = np.random.default_rng
MASKS = {'none': None, 'causal': None, 'padding': 'padding', 'both': 'padding', 'sliding': 'sliding'}


def qkv(dtype, keys=T):
    rng = RNG(0)
    return tuple(2 * rng.normal(size=(B, n, H, D)).astype(dtype) for n in (T, keys, keys))


def mask_of(kind):
    """bool [B, 1, T, T]; padding leaves row 2 of the batch only its first key."""
    if MASKS[kind] == 'padding':
        return np.arange(T)[None, None, None, :] < np.array([T, 4, 1])[:, None, None, None]
    if MASKS[kind] == 'sliding':
        away = np.arange(T)[:, None] - np.arange(T)[None]
        return ((away >= 0) & (away < 3))[None, None]
    return None


def torch_attention(q, k, v, kind):
    see = torch.ones(B, 1, T, T, dtype=torch.bool) if mask_of(kind) is None else torch.tensor(mask_of(kind))
    if kind in ('causal', 'both'):
        see = see & torch.ones(T, T, dtype=torch.bool).tril()
    out = F.scaled_dot_product_attention(*(x.transpose(1, 2) for x in (q, k, v)), attn_mask=see)
    return out.transpose(1, 2)


@pytest.mark.parametrize('kind', MASKS)
def test_attention_is_torch_s_and_jax_s(kind):
    q, k, v = qkv(np.float32)
    mask, causal = mask_of(kind), kind in ('causal', 'both')
    got = scaled_dot_product_attention(q, k, v, mask=None if mask is None else jnp.asarray(mask), causal=causal)
    want = torch_attention(*map(torch.tensor, (q, k, v)), kind).numpy()
    compare('scaled_dot_product_attention', 'torch', f'values f32, {kind}', got, want, 1e-6)
    other = jax.nn.dot_product_attention(q, k, v, mask=None if mask is None else jnp.asarray(mask), is_causal=causal)
    compare('scaled_dot_product_attention', 'jax.nn', f'values f32, {kind}', got, other, 1e-6)


@pytest.mark.parametrize('kind', MASKS)
def test_gradients_of_attention(kind):
    with jax.enable_x64(True):
        arrays, weight = qkv(np.float64), RNG(1).normal(size=(B, T, H, D))
        mask, causal = mask_of(kind), kind in ('causal', 'both')
        peers = [torch.tensor(a, requires_grad=True) for a in arrays]
        (torch_attention(*peers, kind) * torch.tensor(weight)).sum().backward()
        grads = jax.grad(lambda q, k, v: jnp.sum(weight * scaled_dot_product_attention(
            q, k, v, mask=None if mask is None else jnp.asarray(mask), causal=causal)), (0, 1, 2))(*arrays)
        compare('scaled_dot_product_attention', 'torch', f'gradients f64, {kind}', grads,
                [p.grad.numpy() for p in peers], 1e-9, relative=True)


def test_a_row_that_may_look_nowhere_is_zero_and_so_is_its_gradient():
    q, k, v = qkv(np.float32)
    mask = np.ones((B, 1, T, T), bool)
    mask[1], mask[0, 0, 3] = False, False
    attend = lambda q, k, v: scaled_dot_product_attention(q, k, v, mask=jnp.asarray(mask))
    y = attend(q, k, v)
    assert not y[1].any() and not y[0, 3].any() and y[0, 2].all() and y[2].all()
    grads = jax.grad(lambda *a: jnp.sum(attend(*a) ** 2), (0, 1, 2))(q, k, v)
    assert all(jnp.isfinite(g).all() and not g[1].any() for g in grads)


def test_padding_changes_nothing_and_no_key_beyond_the_mask_matters():
    q, k, v = qkv(np.float32)
    mask = mask_of('padding')
    y = scaled_dot_product_attention(q, k, v, mask=jnp.asarray(mask))
    short = scaled_dot_product_attention(q[1:2], k[1:2, :4], v[1:2, :4])
    assert jnp.abs(y[1] - short[0]).max() < 1e-6
    k[1, 4:], v[1, 4:] = 1e9, -1e9
    assert np.array_equal(y, scaled_dot_product_attention(q, k, v, mask=jnp.asarray(mask)))


def test_huge_scores_are_finite():
    q, k, v = qkv(np.float32)
    y = scaled_dot_product_attention(1e4 * q, 1e4 * k, v, causal=True)
    assert jnp.isfinite(y).all()
    half = scaled_dot_product_attention(*(jnp.asarray(x, jnp.bfloat16) for x in (q, k, v)), causal=True)
    assert half.dtype == jnp.bfloat16
    assert jnp.abs(half - scaled_dot_product_attention(q, k, v, causal=True)).max() < 0.1


@pytest.mark.parametrize(('change', 'message'), [
    ({'q': (B, T, H)}, 'q, k, v: expected'), ({'k': (B, T, H, D + 1)}, 'q, k, v: expected'),
    ({'v': (B, T - 1, H, D)}, 'q, k, v: expected'), ({'q': (B, T - 1, H, D)}, 'causal: expected as many'),
])
def test_shapes_that_do_not_fit_are_refused(change, message):
    arrays = {name: jnp.zeros(change.get(name, (B, T, H, D))) for name in 'qkv'}
    with pytest.raises(ValueError, match=message):
        scaled_dot_product_attention(**arrays, causal=True)
    with pytest.raises(ValueError, match='mask: expected bool of rank 4; found float32'):
        scaled_dot_product_attention(*(jnp.zeros((B, T, H, D)),) * 3, mask=jnp.zeros((B, 1, T, T)))


@pytest.mark.parametrize('bits', [32, 64])
@pytest.mark.parametrize('causal', [False, True])
def test_multi_head_attention_is_torch_s(bits, causal):
    with jax.enable_x64(bits == 64):
        width, dtype = H * D, f'float{bits}'
        peer = torch.nn.MultiheadAttention(width, H, batch_first=True, dtype=getattr(torch, dtype))
        torch.manual_seed(0)
        with torch.no_grad():
            for p in peer.parameters():
                p.copy_(0.3 * torch.randn_like(p))
        w = {name: p.detach().numpy() for name, p in peer.named_parameters()}
        unpack = lambda w: {'qkv': {'kernel': w['in_proj_weight'].T, 'bias': w['in_proj_bias']},
                            'out': {'kernel': w['out_proj.weight'].T, 'bias': w['out_proj.bias']}}
        layer = MultiHeadAttention(width=width, heads=H, causal=causal, param_dtype=jnp.dtype(dtype))
        x, real = RNG(0).normal(size=(B, T, width)).astype(dtype), np.arange(T)[None] < np.array([T, 4, 1])[:, None]
        weight = RNG(1).normal(size=x.shape).astype(dtype)
        at = torch.tensor(x, requires_grad=True)
        want, _ = peer(at, at, at, key_padding_mask=torch.tensor(~real), need_weights=False,
                       attn_mask=~torch.ones(T, T, dtype=torch.bool).tril() if causal else None)
        apply = lambda p, x: layer.apply({'params': p}, x, mask=jnp.asarray(real))
        got = apply(unpack(w), x)
        compare('MultiHeadAttention', 'torch', f'values f{bits}, causal={causal}', got, want.detach().numpy(),
                1e-6 * float(np.abs(want.detach().numpy()).max()))
        if bits == 64:
            (want * torch.tensor(weight)).sum().backward()
            grads = jax.grad(lambda p, x: jnp.sum(weight * apply(p, x)), (0, 1))(unpack(w), x)
            theirs = {name: p.grad.numpy() for name, p in peer.named_parameters()}
            compare('MultiHeadAttention', 'torch', f'gradients f64, causal={causal}', grads,
                    (unpack(theirs), at.grad.numpy()), 1e-9, relative=True)


def test_rotated_products_depend_on_the_distance_alone():
    q, k, _ = qkv(np.float32)
    score = lambda shift: jnp.einsum('bqhd,bkhd->bhqk', rotate(q, jnp.arange(T)[None] + shift),
                                     rotate(k, jnp.arange(T)[None] + shift))
    assert jnp.abs(score(0) - score(11)).max() < 1e-4 < jnp.abs(score(0) - jnp.einsum('bqhd,bkhd->bhqk', q, k)).max()
    assert jnp.abs(jnp.linalg.norm(rotate(q, jnp.arange(T)[None]), axis=-1) - jnp.linalg.norm(q, axis=-1)).max() < 1e-5
    turn = jnp.exp(1j * 3 * 10_000.0 ** (-jnp.arange(D // 2) / (D // 2)))        # position 3, as complex numbers
    want = (q[:, 3, :, :D // 2] + 1j * q[:, 3, :, D // 2:]) * turn[None, None]
    got = rotate(q, jnp.arange(T)[None])[:, 3]
    assert jnp.abs(got - jnp.concatenate([want.real, want.imag], -1)).max() < 1e-5
    with pytest.raises(ValueError, match='x: expected an even last axis'):
        rotate(q[..., :3], jnp.arange(T)[None])


@pytest.mark.parametrize('bits', [32, 64])
@pytest.mark.parametrize(('ours', 'peer'), [
    (LayerNorm(epsilon=1e-5), lambda x, w, b: F.layer_norm(x, x.shape[-1:], w, b, 1e-5)),
    (LayerNorm(epsilon=1e-12), lambda x, w, b: F.layer_norm(x, x.shape[-1:], w, b, 1e-12)),
    (RMSNorm(), lambda x, w, b: F.rms_norm(x, x.shape[-1:], w, 1e-6)),
], ids=['layer', 'layer, eps of BERT', 'rms'])
def test_norms_are_torch_s(ours, peer, bits):
    with jax.enable_x64(bits == 64):
        rng = RNG(0)
        x = (3 + 2 * rng.normal(size=(4, 5, 32))).astype(f'float{bits}')
        w, b, weight = (0.3 * rng.normal(size=s).astype(x.dtype) for s in (32, 32, x.shape))
        params = {'scale': w, 'bias': b} if isinstance(ours, LayerNorm) else {'scale': w}
        at = [torch.tensor(a, requires_grad=True) for a in (x, w, b)]
        want = peer(*at)
        name = type(ours).__name__
        gate = 1e-6 if bits == 32 else 1e-12        # absolute: outputs and parameters are below 2
        assert np.abs(want.detach().numpy()).max() < 2
        compare(name, 'torch', f'values f{bits}', ours.apply({'params': params}, x), want.detach().numpy(), gate)
        (want * torch.tensor(weight)).sum().backward()
        grads = jax.grad(lambda x, p: jnp.sum(weight * ours.apply({'params': p}, x)), (0, 1))(x, params)
        theirs = dict(zip(('scale', 'bias'), (a.grad for a in at[1:]), strict=True))
        if bits == 64:
            compare(name, 'torch', 'gradients f64', grads,
                    (at[0].grad.numpy(), {k: theirs[k].numpy() for k in params}), 1e-9, relative=True)
        leaves = dict(zip(('scale', 'bias'), at[1:]))
        torch.optim.SGD(leaves.values(), 0.1).step()
        compare(name, 'torch', f'parameters after a step, f{bits}', jax.tree.map(lambda p, g: p - 0.1 * g, params,
                grads[1]), {k: leaves[k].detach().numpy() for k in params}, gate)


def test_epsilons_are_those_of_the_families():
    assert EPSILON['gpt2'] == transformers.GPT2Config().layer_norm_epsilon == LayerNorm().epsilon == GPT.norm_epsilon
    assert EPSILON['bert'] == transformers.BertConfig().layer_norm_eps
    assert EPSILON['vit'] == transformers.ViTConfig().layer_norm_eps
    assert EPSILON['llama'] == transformers.LlamaConfig().rms_norm_eps == RMSNorm().epsilon
    assert EPSILON['torch'] == torch.nn.LayerNorm(4).eps and EPSILON['flax'] == nn.LayerNorm().epsilon


def test_a_large_mean_costs_no_digits():
    """The one-pass variance of Flax's default loses about a tenth at mean 1000; two passes do not."""
    x = (1000 + RNG(0).normal(size=(64, 256))).astype(np.float32)
    exact = x.astype(np.float64) - x.astype(np.float64).mean(-1, keepdims=True)
    exact /= np.sqrt((exact ** 2).mean(-1, keepdims=True) + 1e-5)
    error = lambda norm: np.abs(norm.apply(norm.init(jax.random.key(0), x), x) - exact).max()
    compare('LayerNorm', 'float64', 'mean 1000, f32', error(LayerNorm()), 0.0, 5e-4)
    assert error(nn.LayerNorm(epsilon=1e-5)) > 1e-2


@pytest.mark.parametrize('norm', [LayerNorm(), RMSNorm()])
def test_statistics_of_bfloat16_are_float32(norm):
    x = jnp.asarray(100 + RNG(0).normal(size=(8, 512)), jnp.bfloat16)
    y = norm.apply(norm.init(jax.random.key(0), x), x)
    want = norm.apply(norm.init(jax.random.key(0), x), x.astype(jnp.float32))
    assert y.dtype == jnp.bfloat16 and np.array_equal(y, want.astype(jnp.bfloat16))
    with pytest.raises(ValueError, match='epsilon: expected a positive number; found 0'):
        type(norm)(epsilon=0).init(jax.random.key(0), x)
