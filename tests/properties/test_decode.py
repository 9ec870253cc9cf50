"""Decoding: what can be drawn, in the limit and in frequency; the cache changes nothing; the future is not seen."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import TopKLogitsWarper, TopPLogitsWarper

from levels.level5_transformers.decode import filter_logits, generate, left_pad
from levels.level5_transformers.gpt import GPT, empty_cache

NEWER = {'norm': 'rms_norm', 'activation': 'relu2', 'positions': 'rope', 'qk_norm': True, 'bias': False}
RECIPES = {'gpt2': {}, 'newer': NEWER}
V, T = 13, 12


def tiny(recipe, **fields):
    model = GPT(**{'vocab_size': V, 'context': T, 'layers': 2, 'heads': 2, 'width': 16} | RECIPES[recipe] | fields)
    params = jax.jit(model.init)(jax.random.key(0), jnp.zeros((1, 1), jnp.int32))['params']
    return model, jax.tree.map(lambda p: 4 * p if p.ndim > 1 else p, params)      # so that tokens matter


@functools.partial(jax.jit, static_argnums=0)
def logits_of(model, params, x, mask=None):
    return model.apply({'params': params}, x, mask=mask)


@functools.partial(jax.jit, static_argnums=0)
def extend(model, params, x, cache, mask=None):
    return model.apply({'params': params}, x, cache, mask=mask, method='extend')


def tokens(batch=3, time=T):
    return np.random.default_rng(0).integers(0, V, (batch, time))


def support(logits, **how):
    return np.isfinite(np.asarray(filter_logits(jnp.asarray(logits, jnp.float32), **how)))


@settings(max_examples=25, deadline=None)
@given(st.sampled_from((1, 2, 12)), st.integers(0, 14), st.floats(0, 1), st.integers(0, 2**31), st.booleans())
def test_top_k_and_top_p_leave_the_right_set(size, k, p, seed, ties):
    logits = np.random.default_rng(seed).normal(size=size)
    logits = np.round(logits) if ties else logits
    kept = support(logits, top_k=k, top_p=p)
    order = np.argsort(-logits, kind='stable')
    n = min(k or size, size)
    prob = np.exp(logits[order][:n].astype(np.float32)).astype(np.float64)
    before = np.cumsum(prob / prob.sum()) - prob / prob.sum()
    if p < 1 and np.abs(before - p).min() < 1e-5:
        return      # on the edge, rounding decides
    best = order[:n][(before < p) | (np.arange(n) == 0)] if p < 1 else order[:n]
    assert set(np.flatnonzero(kept)) == set(best)


@pytest.mark.parametrize(('how', 'warper'), [
    ({'top_k': 3}, TopKLogitsWarper(3)), ({'top_k': 1}, TopKLogitsWarper(1)), ({'top_p': 0.7}, TopPLogitsWarper(0.7)),
    ({'top_p': 0.05}, TopPLogitsWarper(0.05))])
def test_filters_are_the_peer_s(how, warper):
    logits = 2 * np.random.default_rng(0).normal(size=(50, 20)).astype(np.float32)
    want = warper(None, torch.tensor(logits)).numpy()
    assert np.array_equal(filter_logits(jnp.asarray(logits), **how), want)


def test_temperature_scales_and_the_filters_are_off_by_default():
    logits = jnp.array([[0.5, -1.0, 3.0]])
    assert np.array_equal(filter_logits(logits), logits)
    assert np.array_equal(filter_logits(logits, temperature=2.0), logits / 2)
    assert jax.nn.softmax(filter_logits(logits, temperature=0.01))[0, 2] == 1


def test_draws_follow_the_filtered_distribution():
    """A model whose logits do not depend on the prompt: frequencies against probabilities, 4 deviations."""
    model, params = tiny('gpt2')
    n, how = 2000, {'temperature': 0.5, 'top_k': 4, 'top_p': 0.9}
    prompt = np.full((n, 1), 5)
    p = np.asarray(jax.nn.softmax(filter_logits(logits_of(model, params, prompt[:1])[0, 0], **how)))
    drawn = np.asarray(generate(model, params, prompt, new=1, key=jax.random.key(1), **how))[:, 0]
    count = np.bincount(drawn, minlength=V)
    assert 1 < (p > 0).sum() <= 4 and not count[p == 0].any()
    assert (np.abs(count / n - p) <= 4 * np.sqrt(p * (1 - p) / n)).all()


@pytest.mark.parametrize('recipe', RECIPES)
def test_limits_are_greedy_and_keys_are_deterministic(recipe):
    model, params = tiny(recipe)
    x = tokens(4, 3)
    key = jax.random.key(0)
    greedy = generate(model, params, x, new=8)
    for how in ({'temperature': 0.0}, {'temperature': 1e-4}, {'top_k': 1}, {'top_p': 0.0}):
        assert np.array_equal(generate(model, params, x, new=8, key=key, **how), greedy), how
    a, b, c = (generate(model, params, x, new=8, key=jax.random.key(k), temperature=2.0) for k in (1, 1, 2))
    assert np.array_equal(a, b) and not np.array_equal(a, c) and a.shape == (4, 8) and a.dtype == jnp.int32
    without = generate(model, params, x, new=8, key=jax.random.key(1), temperature=2.0, cache=False)
    assert np.array_equal(a, without), 'the same draws with and without a cache'


@pytest.mark.parametrize('recipe', RECIPES)
@pytest.mark.parametrize('parts', [(12,), (1,) * 12, (5, 1, 4, 2)], ids=str)
def test_cache_gives_the_logits_of_every_position(recipe, parts):
    model, params = tiny(recipe)
    x = tokens()
    full = logits_of(model, params, x)
    cache, at, got = empty_cache(model, batch=3, length=T), 0, []
    for n in parts:
        logits, cache = extend(model, params, x[:, at:at + n], cache)
        got.append(logits)
        at += n
    assert np.abs(full).max() > 1 and int(cache.at) == T and cache.real.all()
    assert np.abs(np.concatenate(got, 1) - full).max() < 2e-5


@pytest.mark.parametrize('recipe', RECIPES)
def test_cache_with_left_padding(recipe):
    model, params = tiny(recipe)
    prompts = [[3, 1, 4, 1, 5], [9], [2, 6]]
    x, mask = left_pad(prompts)
    cache = empty_cache(model, batch=3, length=T)
    logits, cache = extend(model, params, x, cache, mask)
    logits, cache = extend(model, params, np.full((3, 1), 7), cache)
    for row, prompt in enumerate(prompts):
        alone = logits_of(model, params, np.array([[*prompt, 7]]))
        assert np.abs(logits[row, 0] - alone[0, -1]).max() < 2e-5
        one = generate(model, params, np.array([prompt]), new=6)
        assert np.array_equal(generate(model, params, x, new=6, mask=mask)[row], one[0])


@pytest.mark.parametrize('recipe', RECIPES)
def test_a_later_token_changes_no_earlier_logit(recipe):
    model, params = tiny(recipe)
    x = tokens(2)
    full = np.asarray(logits_of(model, params, x))
    for at in range(T):
        y = x.copy()
        y[:, at] = (y[:, at] + 1) % V
        changed = np.asarray(logits_of(model, params, y))
        assert np.array_equal(changed[:, :at], full[:, :at])
        assert (changed[:, at:] != full[:, at:]).any(-1).all(), f'a token after {at} does not see it'


def test_without_a_cache_text_goes_on_beyond_the_context():
    model, params = tiny('gpt2')
    long = np.asarray(generate(model, params, tokens(2, 3), new=3 * T, cache=False))
    window = np.concatenate([tokens(2, 3), long], 1)
    for at in (T, 2 * T, 3 * T - 1):        # each token is the best one after the window before it
        end = at + 3
        logits = logits_of(model, params, window[:, end - T:end])
        assert np.array_equal(logits[:, -1].argmax(-1), long[:, at])


def test_an_overfull_cache_is_nan_and_not_text():
    model, params = tiny('gpt2')
    cache = empty_cache(model, batch=1, length=4)
    for n, fine in ((3, True), (1, True), (1, False)):
        logits, cache = extend(model, params, tokens(1, n), cache)
        assert bool(np.isfinite(logits).all()) == fine == (not np.isnan(logits).all())


@pytest.mark.parametrize(('how', 'message'), [
    ({'new': 0}, 'prompts, new: expected'), ({'new': T}, 'new: expected at most context=12'),
    ({'new': 1, 'key': jax.random.key(0), 'top_p': 1.5}, 'temperature, top_k, top_p: expected'),
    ({'new': 1, 'mask': np.array([[True, False]])}, 'mask: expected padding on the left alone'),
    ({'new': 1, 'mask': np.ones((1, 3), bool)}, r'mask: expected \(1, 2\); found \(1, 3\)'),
])
def test_wrong_arguments_are_refused(how, message):
    model, params = tiny('gpt2')
    with pytest.raises(ValueError, match=message):
        generate(model, params, [[1, 2]], **how)


def test_wrong_fields_and_tokens_are_refused():
    for fields, message in (({'norm': 'batch'}, 'norm: expected one of layer_norm, rms_norm; found'),
                            ({'positions': 'sinus'}, 'positions: expected one of learned, rope'),
                            ({'heads': 3}, 'width: expected a multiple of heads=3; found 16'),
                            ({'layers': 0}, 'vocab_size, context, layers: expected at least 1')):
        with pytest.raises(ValueError, match=message):
            tiny('gpt2', **fields)
    model, params = tiny('gpt2')
    for x, message in ((np.zeros((1, T + 1), int), 'expected at most 12'), (np.zeros((1, 3)), 'expected integers'),
                       (np.zeros(3, int), 'expected integers')):
        with pytest.raises(ValueError, match=f'tokens: {message}'):
            logits_of(model, params, x)
    with pytest.raises(ValueError, match='length: expected 1 to 12; found 13'):
        empty_cache(model, batch=1, length=13)
    with pytest.raises(ValueError, match='prompts: expected one or more'):
        left_pad([[1], []])
