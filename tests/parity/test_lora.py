"""LoRA against the side path of the paper in torch (x W + s (x A) B, by hooks in transformers' GPT-2), and its laws."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from parity_ledger import compare
from test_gpt2 import TINY, ours, peer, tokens

from common import metrics as M
from common import trees
from common.task import train_fn
from levels.level5_transformers import lora as lib
from levels.level5_transformers.gpt import GPT
from levels.level5_transformers.lora import lora_init, lora_merge, lora_task, lora_unmerge

RANK, ALPHA = 3, 7.0
LAYERS = {'attention/qkv': 'attn.c_attn', 'attention/out': 'attn.c_proj', 'up': 'mlp.c_fc', 'down': 'mlp.c_proj'}


def moved(adapters):
    """Adapters after some training: no B is zero."""
    rng = np.random.default_rng(5)
    return jax.tree.map(lambda x: x + 0.1 * rng.normal(size=x.shape), adapters)


def test_logits_and_gradients_are_those_of_the_side_path():
    with jax.enable_x64(True):
        hf = peer(TINY, torch.float64)
        module, params = ours(hf)
        x = tokens(TINY, time=16)
        weight = np.random.default_rng(1).normal(size=(3, 16, TINY['vocab_size']))
        adapters = moved(lora_init(jax.random.key(0), params, pattern=lib.EVERYTHING, rank=RANK))

        @jax.jit
        def loss(adapters):
            logits = module.apply({'params': lora_merge(params, adapters, alpha=ALPHA)}, x)
            return jnp.sum(logits * weight), logits

        (_, got), grads = jax.value_and_grad(loss, has_aux=True)(adapters)

        twins = {}
        plain = hf(torch.tensor(x)).logits.detach().numpy()
        for i in range(TINY['n_layer']):
            for mine, theirs in LAYERS.items():
                path = f'block_{i}/{mine}/kernel'
                a, b = (torch.tensor(np.asarray(trees.named_leaves(adapters)[f'{path}/{n}']), requires_grad=True)
                        for n in 'ab')
                twins[path] = (a, b)
                layer = hf.transformer.h[i].get_submodule(theirs)
                layer.register_forward_hook(lambda _, args, y, a=a, b=b: y + ALPHA / RANK * (args[0] @ a) @ b)
        logits = hf(torch.tensor(x)).logits
        (logits * torch.tensor(weight)).sum().backward()
        grads = trees.named_leaves(grads)
        assert len(grads) == 2 * len(twins) == 2 * 4 * TINY['n_layer']
        compare('lora_merge', 'torch, x W + s (x A) B by hooks', 'logits f64', got, logits.detach().numpy(), 1e-9)
        for k, part in enumerate('ab'):
            mine = [grads[f'{path}/{part}'] for path in twins]
            theirs = [pair[k].grad.numpy() for pair in twins.values()]
            compare('lora_merge', 'torch, x W + s (x A) B by hooks', f'gradients of {part.upper()}, f64', mine, theirs,
                    1e-9, relative=True)
        assert np.abs(plain - got).max() > 0.1, 'the adapters matter'


def test_a_scale_without_the_rank_would_be_seen(monkeypatch):
    merge = lib.lora_merge
    monkeypatch.setitem(globals(), 'lora_merge', lambda *args, alpha: merge(*args, alpha=alpha * RANK))
    with pytest.raises(AssertionError, match='logits f64'):
        test_logits_and_gradients_are_those_of_the_side_path()


def small():
    model = GPT(vocab_size=17, context=12, layers=2, heads=2, width=16)
    params = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 1), jnp.int32))['params']
    return model, jax.tree.map(lambda p: 10 * p if p.ndim > 1 else p, params)       # or no adapter moves a tied head


@pytest.mark.parametrize('init', ['kaiming', 'gaussian'])
def test_adapters_begin_by_adding_nothing(init):
    _, params = small()
    adapters = lora_init(jax.random.key(1), params, pattern=lib.ATTENTION, rank=4, init=init)
    leaves = trees.named_leaves(adapters)
    assert sorted(leaves) == sorted(f'block_{i}/attention/{layer}/kernel/{part}' for i in (0, 1)
                                    for layer in ('qkv', 'out') for part in 'ab')
    assert leaves['block_1/attention/qkv/kernel/b'].shape == (4, 48)
    a = np.concatenate([np.ravel(x) for path, x in leaves.items() if path.endswith('/a')])
    assert all((x == 0).all() for path, x in leaves.items() if path.endswith('/b')) and len(np.unique(a)) > 0.9 * len(a)
    deviation = {'kaiming': 16**-0.5 / 3**0.5, 'gaussian': 1 / 4}[init]
    assert abs(a.std() / deviation - 1) < 0.15 and (init == 'gaussian' or np.abs(a).max() <= 16**-0.5)
    merged = lora_merge(params, adapters, alpha=16)
    for (path, w), new in zip(trees.named_leaves(params).items(), jax.tree.leaves(merged), strict=True):
        assert np.array_equal(w, new) and w.dtype == new.dtype, path
        assert 'attention' in path or new is w, 'what has no adapter is the same array'


def test_merging_is_the_formula_and_unmerging_undoes_it_but_for_rounding():
    _, params = small()
    adapters = jax.tree.map(lambda x: x.astype(jnp.float32), moved(
        lora_init(jax.random.key(1), params, pattern=lib.EVERYTHING, rank=RANK)))
    merged = lora_merge(params, adapters, alpha=ALPHA)
    back = trees.named_leaves(lora_unmerge(merged, adapters, alpha=ALPHA))
    flat, pairs = trees.named_leaves(params), trees.named_leaves(adapters)
    ours, exact, ulps = [], [], []
    for path, w in trees.named_leaves(merged).items():
        if f'{path}/a' not in pairs:
            assert np.array_equal(w, flat[path]) and np.array_equal(back[path], flat[path])
            continue
        a, b = (np.asarray(pairs[f'{path}/{part}'], np.float64) for part in 'ab')
        ours.append(w)
        exact.append(np.asarray(flat[path], np.float64) + ALPHA / RANK * a @ b)
        scale = np.spacing(np.maximum(np.abs(w), np.abs(flat[path])))
        ulps.append(float((np.abs(np.asarray(back[path], np.float64) - flat[path]) / scale).max()))
    assert len(ours) == 8 and 0 < max(ulps) <= 2
    compare('lora_merge', 'numpy, by the formula in float64', 'parameters f32', ours, exact, 1e-6)


def language_loss(model):
    def loss_fn(params, extra, batch, key, train):
        logits = model.apply({'params': params}, batch['tokens'][:, :-1])
        nats = optax.softmax_cross_entropy_with_integer_labels(logits, batch['tokens'][:, 1:])
        return M.mean(nats), (extra, {'loss': M.mean(nats)})
    return loss_fn


def test_fine_tuning_moves_adapters_alone():
    model, params = small()
    params = jax.tree.map(lambda p: p.at[(0,) * p.ndim].set(-0.0), params)      # a bit that a careless sum would lose
    batch = {'tokens': jnp.asarray((np.arange(13) * np.arange(1, 9)[:, None]) % 17)}
    task = lora_task(params, language_loss(model), optax.adamw(1e-2, weight_decay=0.01), pattern=lib.EVERYTHING, rank=4,
                     alpha=8)
    carry, metrics = jax.jit(train_fn(task, 60, lambda data, step: data))(jax.random.key(0), batch)
    loss = np.asarray(metrics['loss'].total / metrics['loss'].weight)
    assert loss[-1] < 0.7 * loss[0]
    state, bits = carry.state, lambda tree: [np.asarray(x).tobytes() for x in jax.tree.leaves(tree)]
    assert bits(state.params['base']) == bits(params), 'the base keeps its bits'
    start = task.init(jax.random.key(0), batch)
    assert all((a != b).any() for a, b in zip(jax.tree.leaves(start.params['lora']),
                                              jax.tree.leaves(state.params['lora']), strict=True))
    held = [x for x in jax.tree.leaves(state.opt) if jnp.ndim(x)]       # two moments of each adapter, none of the base
    size = sum(x.size for x in jax.tree.leaves(state.params['lora']))
    assert sum(x.size for x in held) == 2 * size < 0.9 * 2 * sum(x.size for x in jax.tree.leaves(params))
    merged = lora_merge(**state.params, alpha=8)
    final = task.evaluate(jax.random.key(0), state, batch)['loss'].value
    assert abs(language_loss(model)(merged, {}, batch, None, False)[0].value - final) < 1e-6


def test_a_base_that_moves_would_be_seen(monkeypatch):
    monkeypatch.setattr(lib.optim, 'freeze', lambda tx, pattern: tx)
    with pytest.raises(AssertionError, match='the base keeps its bits'):
        test_fine_tuning_moves_adapters_alone()


@pytest.mark.parametrize(('how', 'message'), [
    ({'pattern': 'qkx'}, "pattern: expected one that matches some path; found 'qkx'"),
    ({'pattern': 'norm_1/scale'}, r'block_0/norm_1/scale: expected a matrix .*found \(16,\)'),
    ({'rank': 17}, r'qkv/kernel: expected a matrix with no side below rank=17, from 1; found \(16, 48\)'),
    ({'rank': 0}, 'rank=0'), ({'init': 'zeros'}, "init: expected one of kaiming, gaussian; found 'zeros'")])
def test_wrong_arguments_are_refused(how, message):
    _, params = small()
    with pytest.raises(ValueError, match=message):
        lora_init(jax.random.key(0), params, **{'pattern': 'qkv/kernel', 'rank': 2} | how)


def test_adapters_of_another_model_are_refused():
    _, params = small()
    adapters = lora_init(jax.random.key(0), params, pattern='qkv/kernel', rank=2)
    with pytest.raises(ValueError, match=r'block_0/attention/qkv/kernel: expected a parameter of shape \(16, 48\)'):
        lora_merge(params['block_0'], adapters, alpha=1)
