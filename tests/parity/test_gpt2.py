"""GPT-2 against transformers' GPT2LMHeadModel with random weights: logits, gradients, greedy tokens, files."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from parity_ledger import compare
from safetensors.numpy import load_file, save_file
from transformers import GPT2Config, GPT2LMHeadModel

from levels.level5_transformers import gpt_weights
from levels.level5_transformers.decode import generate
from levels.level5_transformers.gpt import GPT

PEER = 'transformers.GPT2LMHeadModel'
TINY = {'vocab_size': 61, 'n_positions': 24, 'n_embd': 32, 'n_layer': 3, 'n_head': 4}
WIDE = {'vocab_size': 500, 'n_positions': 32, 'n_embd': 768, 'n_layer': 2, 'n_head': 12}
SIZES = {'tiny': TINY, 'width 768': WIDE}


def peer(sizes, dtype=torch.float32):
    """Random weights, biases and norms among them, so large that attention and the GELU leave their linear range."""
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(**sizes, bos_token_id=0, eos_token_id=None)).to(dtype).eval()
    with torch.no_grad():
        for name, p in model.named_parameters():
            if p.ndim == 1:
                p.add_((0.1 if 'ln_f' in name else 0.3) * torch.randn_like(p))
            elif 'wpe' in name:
                p.mul_(30)      # or greedy text repeats one token
            elif 'wte' not in name:
                p.mul_(5 if sizes['n_embd'] < 100 else 1.5)
    return model


def ours(model):
    """(module, params) with the peer's weights."""
    tensors = {name: p.detach().numpy() for name, p in model.state_dict().items()}
    module = gpt_weights.config_from_hf(model.config.to_dict())
    return module, gpt_weights.from_hf(module, tensors)


def tokens(sizes, batch=3, time=None):
    return np.random.default_rng(0).integers(0, sizes['vocab_size'], (batch, time or sizes['n_positions']))


@pytest.mark.parametrize('size', SIZES)
def test_logits(size):
    hf = peer(SIZES[size])
    module, params = ours(hf)
    x = tokens(SIZES[size])
    with torch.no_grad():
        want = hf(torch.tensor(x)).logits.numpy()
    assert np.abs(want).max() > 0.3
    got = jax.jit(module.apply)({'params': params}, x)
    compare('GPT', PEER, f'logits f32, {size}', got, want, 1e-5)
    assert np.array_equal(got.argmax(-1), want.argmax(-1))


@pytest.mark.parametrize('size', SIZES)
def test_gradients_in_float64(size):
    with jax.enable_x64(True):
        hf = peer(SIZES[size], torch.float64)
        module, params = ours(hf)
        x = tokens(SIZES[size], time=16)
        weight = np.random.default_rng(1).normal(size=(3, 16, SIZES[size]['vocab_size']))
        logits = hf(torch.tensor(x)).logits
        (logits * torch.tensor(weight)).sum().backward()
        want = gpt_weights.from_hf(module, {n: p.grad.numpy() for n, p in hf.named_parameters()})

        @jax.jit
        def loss(params, weight):
            out = module.apply({'params': params}, x)
            return jnp.sum(out * weight), out

        (_, got), grads = jax.value_and_grad(loss, has_aux=True)(params, weight)
        compare('GPT', PEER, f'logits f64, {size}', got, logits.detach().numpy(), 1e-9)
        compare('GPT', PEER, f'gradients f64, {size}', grads, want, 1e-9, relative=True)


def test_gelu_of_the_wrong_form_would_be_seen(monkeypatch):
    from levels.level5_transformers import gpt
    monkeypatch.setitem(gpt.ACTIVATIONS, 'gelu_tanh', lambda x: jax.nn.gelu(x, approximate=False))
    with pytest.raises(AssertionError, match='logits'):
        test_logits('tiny')


def left_padded(sizes, lengths, time):
    x, mask = tokens(sizes, len(lengths), time), np.ones((len(lengths), time), bool)
    for row, n in enumerate(lengths):
        mask[row, :time - n] = False
    return np.where(mask, x, 0), mask


def test_left_padded_prompts_have_the_peer_s_logits_and_their_own():
    hf = peer(TINY)
    module, params = ours(hf)
    x, mask = left_padded(TINY, (10, 4, 1), 10)
    positions = np.maximum(mask.cumsum(1) - 1, 0)
    with torch.no_grad():
        want = hf(torch.tensor(x), attention_mask=torch.tensor(mask).long(),
                  position_ids=torch.tensor(positions)).logits
    apply = jax.jit(lambda x, mask: module.apply({'params': params}, x, mask=mask))
    got = np.asarray(apply(x, mask))
    compare('GPT', PEER, 'logits f32, left padding', got[mask], want.numpy()[mask], 1e-5)
    for row, n in enumerate((10, 4, 1)):
        alone = apply(x[row:row + 1, 10 - n:], mask[row:row + 1, 10 - n:])
        assert np.abs(alone[0] - got[row, 10 - n:]).max() < 1e-5


@pytest.mark.parametrize('size', SIZES)
def test_greedy_tokens_are_the_peer_s_with_and_without_cache(size):
    sizes = SIZES[size]
    hf = peer(sizes)
    module, params = ours(hf)
    x, mask = left_padded(sizes, (8, 5, 2, 8), 8)
    with torch.no_grad():
        want = hf.generate(torch.tensor(x), attention_mask=torch.tensor(mask).long(), do_sample=False,
                           max_new_tokens=16, pad_token_id=0).numpy()[:, 8:]
    assert len(np.unique(want)) > 2, 'a model that repeats one token shows nothing'
    for cache in (True, False):
        got = generate(module, params, x, new=16, mask=mask, cache=cache)
        assert np.array_equal(got, want), f'cache={cache}'
    compare('generate', PEER, f'greedy tokens, {size}', got, want, 0)


def test_greedy_stops_where_the_peer_stops():
    hf = peer(TINY)
    module, params = ours(hf)
    x = tokens(TINY, 4, 6)
    free = np.asarray(generate(module, params, x, new=16))
    end = int(free[0, 4])                       # a token that some row does produce
    hf.generation_config.eos_token_id = end
    with torch.no_grad():
        want = hf.generate(torch.tensor(x), attention_mask=torch.ones(x.shape).long(), do_sample=False,
                           max_new_tokens=16, pad_token_id=3).numpy()[:, 6:]
    for cache in (True, False):
        got = np.asarray(generate(module, params, x, new=16, end=end, pad=3, cache=cache))
        assert np.array_equal(got[:, :want.shape[1]], want) and (got[0, 5:] == 3).all()


def test_a_file_of_the_peer_is_read_and_ours_is_read_by_the_peer(tmp_path):
    hf = peer(TINY)
    hf.save_pretrained(tmp_path / 'theirs')
    module, params = gpt_weights.load(tmp_path / 'theirs')
    assert module == GPT(vocab_size=61, context=24, layers=3, heads=4, width=32)
    gpt_weights.save(tmp_path / 'ours', module, params)
    back, info = GPT2LMHeadModel.from_pretrained(tmp_path / 'ours', output_loading_info=True)
    assert not any(info[k] for k in ('missing_keys', 'unexpected_keys', 'mismatched_keys'))
    for (name, a), b in zip(back.state_dict().items(), hf.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    again = gpt_weights.load(tmp_path / 'ours')
    assert again[0] == module
    for a, b in zip(jax.tree.leaves(again[1]), jax.tree.leaves(params), strict=True):
        assert a.dtype == b.dtype and np.asarray(a).tobytes() == np.asarray(b).tobytes()


def test_bfloat16_weights_keep_their_bits(tmp_path):
    module = GPT(vocab_size=11, context=4, layers=1, heads=2, width=8, param_dtype=jnp.bfloat16)
    params = jax.jit(module.init)(jax.random.key(0), jnp.zeros((1, 1), jnp.int32))['params']
    gpt_weights.save(tmp_path, module, params)
    back = gpt_weights.load(tmp_path)[1]
    for a, b in zip(jax.tree.leaves(back), jax.tree.leaves(params), strict=True):
        assert a.dtype == b.dtype == jnp.bfloat16 and np.asarray(a).tobytes() == np.asarray(b).tobytes()


def test_parameter_counts_are_the_papers():
    from levels.level5_transformers import gpt
    table = [[int(c.replace(',', '')) for c in line.split('|')[2:6]] for line in gpt.__doc__.splitlines()
             if line.startswith('| gpt2')]
    assert len(table) == 4
    for layers, heads, width, count in table:
        model = GPT(vocab_size=50257, context=1024, layers=layers, heads=heads, width=width)
        shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, 1), jnp.int32))
        assert sum(np.prod(s.shape) for s in jax.tree.leaves(shapes)) == count


def damaged():
    """(what is done to a good file, what the error names)."""
    def drop(t):
        del t['transformer.h.1.mlp.c_fc.weight']

    def add(t):
        t['transformer.h.9.ln_1.weight'] = np.ones(32, np.float32)

    def bend(t):
        t['transformer.wpe.weight'] = t['transformer.wpe.weight'][:5]

    def head(t):
        t['lm_head.weight'] = t['transformer.wte.weight'] + 1

    def wide(t):
        t['transformer.ln_f.bias'] = t['transformer.ln_f.bias'].astype(np.float64)
    return [(drop, 'missing: h.1.mlp.c_fc.weight'), (add, 'left over: h.9.ln_1.weight'),
            (bend, r'wpe.weight: expected shape \(24, 32\), found \(5, 32\)'),
            (head, 'lm_head.weight: expected the embedding'), (wide, 'ln_f.bias: expected a type that JAX keeps')]


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    where = tmp_path_factory.mktemp('gpt2')
    peer(TINY).save_pretrained(where)
    return where


@pytest.mark.parametrize(('damage', 'named'), damaged(), ids=lambda x: getattr(x, '__name__', ''))
def test_a_wrong_tensor_is_named(folder, tmp_path, damage, named):
    tensors = load_file(folder / 'model.safetensors')
    damage(tensors)
    save_file(tensors, tmp_path / 'model.safetensors')
    (tmp_path / 'config.json').write_bytes((folder / 'config.json').read_bytes())
    with pytest.raises(ValueError, match=rf'model\.safetensors: tensors: .*{named}'):
        gpt_weights.load(tmp_path)


def test_published_forms_of_the_file_are_read(folder, tmp_path):
    """Without the prefix, with the causal masks as buffers, with the head: as gpt2's own file has had them."""
    tensors = {k.removeprefix('transformer.'): v for k, v in load_file(folder / 'model.safetensors').items()}
    tensors |= {'lm_head.weight': tensors['wte.weight'], 'h.0.attn.bias': np.tril(np.ones((1, 1, 24, 24), np.float32)),
                'h.0.attn.masked_bias': np.float32([-1e4])}
    save_file(tensors, tmp_path / 'model.safetensors')
    (tmp_path / 'config.json').write_bytes((folder / 'config.json').read_bytes())
    got, want = gpt_weights.load(tmp_path)[1], gpt_weights.load(folder)[1]
    assert all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True))


@pytest.mark.parametrize('change', [{'activation_function': 'relu'}, {'n_inner': 99}, {'model_type': 'bert'},
                                    {'scale_attn_by_inverse_layer_idx': True}, {'tie_word_embeddings': False}])
def test_a_config_of_another_model_is_refused(folder, tmp_path, change):
    config = json.loads((folder / 'config.json').read_text()) | change
    (tmp_path / 'config.json').write_text(json.dumps(config))
    with pytest.raises(ValueError, match=f'{next(iter(change))}: expected .*; found'):
        gpt_weights.load(tmp_path)


def test_files_that_are_not_there_or_cut_are_refused_by_name(folder, tmp_path):
    with pytest.raises(ValueError, match=r'config\.json: cannot be read'):
        gpt_weights.load(tmp_path)
    (tmp_path / 'config.json').write_bytes((folder / 'config.json').read_bytes())
    (tmp_path / 'model.safetensors').write_bytes((folder / 'model.safetensors').read_bytes()[:-7])
    with pytest.raises(ValueError, match=r'model\.safetensors: cannot be read'):
        gpt_weights.load(tmp_path)


def test_later_recipes_have_no_gpt2_names():
    with pytest.raises(ValueError, match=r"model: expected the options of GPT-2, .* found {'positions': 'rope'}"):
        gpt_weights.to_hf(GPT(vocab_size=5, context=4, layers=1, heads=1, width=4, positions='rope'), {})
