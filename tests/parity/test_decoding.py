"""Decoding against transformers: min-p, repetition penalty, beam search with its scores; padded prompts included."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from parity_ledger import compare
from test_gpt2 import TINY, left_padded, ours, peer, tokens
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from levels.level5_transformers import beam_search as beam_lib
from levels.level5_transformers.beam_search import beam_search
from levels.level5_transformers.decode import filter_logits, generate, repetition_penalty, seen_tokens

LENGTHS = (8, 5, 2, 8)


def some_logits(n=50, vocab=20):
    return 2 * np.random.default_rng(0).normal(size=(n, vocab)).astype(np.float32)


@pytest.mark.parametrize('min_p', [0.02, 0.1, 0.5, 1.0])
def test_min_p_is_the_peer_s(min_p):
    logits = some_logits()
    want = MinPLogitsWarper(min_p)(None, torch.tensor(logits)).numpy()
    got = np.asarray(filter_logits(jnp.asarray(logits), min_p=min_p))
    assert np.array_equal(got, want) and np.isinf(got).any() and np.isfinite(got).any(1).all()
    p = lambda x: np.exp(x - x.max(-1, keepdims=True))
    compare('filter_logits', 'transformers.MinPLogitsWarper', f'min-p {min_p}', p(got), p(want), 0)


def test_min_p_comes_after_the_others_as_in_the_peer():
    logits = some_logits(200, 40)
    steps = LogitsProcessorList([TemperatureLogitsWarper(1.5), TopKLogitsWarper(25), TopPLogitsWarper(0.97),
                                 MinPLogitsWarper(0.05)])
    want = steps(None, torch.tensor(logits)).numpy()
    got = np.asarray(filter_logits(jnp.asarray(logits), temperature=1.5, top_k=25, top_p=0.97, min_p=0.05))
    assert np.array_equal(np.isfinite(got), np.isfinite(want))
    kept = np.isfinite(want)
    compare('filter_logits', 'transformers.MinPLogitsWarper', 'logits f32, after temperature, top-k and top-p',
            got[kept], want[kept], 1e-6)        # a quotient is rounded in two ways
    alone = np.asarray(filter_logits(jnp.asarray(logits), temperature=1.5, top_k=25, top_p=0.97))
    assert (np.isfinite(alone).sum(1) > np.isfinite(got).sum(1)).any(), 'min_p takes something away here'
    with pytest.raises(ValueError, match='min_p: expected 0 to 1; found 1.5'):
        filter_logits(jnp.zeros(3), min_p=1.5)


@pytest.mark.parametrize('penalty', [1.3, 0.7])
def test_repetition_penalty_is_the_peer_s(penalty):
    logits, said = some_logits(), np.random.default_rng(1).integers(0, 20, (50, 7))
    want = RepetitionPenaltyLogitsProcessor(penalty)(torch.tensor(said), torch.tensor(logits)).numpy()
    got = repetition_penalty(jnp.asarray(logits), seen_tokens(said, vocab=20), penalty=penalty)
    compare('repetition_penalty', 'transformers.RepetitionPenaltyLogitsProcessor', f'logits, penalty {penalty}', got,
            want, 1e-6)
    assert np.abs(np.asarray(got) - logits).max() > 0.1
    with pytest.raises(ValueError, match='repetition: expected a positive penalty; found 0'):
        repetition_penalty(jnp.zeros((1, 3)), jnp.zeros((1, 3), bool), penalty=0)


def test_padding_was_not_said():
    """Rows padded with a token that is none of theirs: the peer, given each prompt alone, leaves that token alone."""
    logits = np.abs(some_logits(3)) + 1
    prompts = [[4, 4, 9, 1], [7, 2], [5]]
    x, mask = np.zeros((3, 4), int), np.zeros((3, 4), bool)
    for row, prompt in enumerate(prompts):
        x[row, 4 - len(prompt):], mask[row, 4 - len(prompt):] = prompt, True
    process = RepetitionPenaltyLogitsProcessor(1.5)
    want = np.concatenate([process(torch.tensor([p]), torch.tensor(logits[i:i + 1])) for i, p in enumerate(prompts)])
    got = repetition_penalty(jnp.asarray(logits), seen_tokens(x, vocab=20, mask=mask), penalty=1.5)
    compare('repetition_penalty', 'transformers.RepetitionPenaltyLogitsProcessor', 'logits, left padding', got, want,
            1e-6)
    counted = repetition_penalty(jnp.asarray(logits), seen_tokens(x, vocab=20), penalty=1.5)
    assert (np.asarray(counted) != want).any(), 'it shows where padding counts'


@pytest.fixture(scope='module')
def model():
    hf = peer(TINY)
    return hf, *ours(hf)


def test_greedy_tokens_with_a_repetition_penalty_are_the_peer_s(model):
    """Each prompt alone in the peer, which counts padding as said; a batch with padding here."""
    hf, module, params = model
    x, mask = left_padded(TINY, LENGTHS, 8)
    ask = lambda row, n: hf.generate(torch.tensor(x[row:row + 1, 8 - n:]), do_sample=False, max_new_tokens=16,
                                     repetition_penalty=1.5, pad_token_id=0,
                                     attention_mask=torch.ones((1, n)).long()).numpy()[:, n:]
    with torch.no_grad():
        want = np.concatenate([ask(row, n) for row, n in enumerate(LENGTHS)])
    assert not np.array_equal(want, generate(module, params, x, new=16, mask=mask)), 'the penalty changes the text'
    for cache in (True, False):
        got = generate(module, params, x, new=16, mask=mask, repetition=1.5, cache=cache)
        assert np.array_equal(got, want), f'cache={cache}'
    compare('generate', 'transformers.GPT2LMHeadModel', 'greedy tokens, repetition penalty, left padding', got, want, 0)


@pytest.mark.parametrize('how', [{}, {'key': 1, 'temperature': 2.0, 'min_p': 0.02, 'repetition': 1.2}], ids=str)
@pytest.mark.parametrize('lengths', [(8, 5, 2, 8), (24, 20, 3, 24)], ids=str)
def test_a_cache_until_the_context_is_full_changes_no_token(model, how, lengths):
    _, module, params = model
    how = how | ({'key': jax.random.key(how['key'])} if 'key' in how else {})
    x, mask = left_padded(TINY, lengths, max(lengths))
    want = np.asarray(generate(module, params, x, new=40, mask=mask, cache=False, **how))
    assert len(np.unique(want)) > 4
    assert np.array_equal(generate(module, params, x, new=40, mask=mask, cache='slide', **how), want)
    whole = 24 - max(lengths) + 1       # the last token that the cache has room for
    assert np.array_equal(generate(module, params, x, new=whole, mask=mask, cache='slide', **how), want[:, :whole])


def best(hf, x, mask, beams, end=None, pad=3, new=12, **how):
    """(tokens [batch, beams, new], scores [batch, beams]) of the peer; what it cuts off is padding."""
    hf.generation_config.eos_token_id = end
    try:
        with torch.no_grad():
            out = hf.generate(torch.tensor(x), attention_mask=torch.tensor(mask).long(), do_sample=False,
                              num_beams=beams, num_return_sequences=beams, max_new_tokens=new, pad_token_id=pad,
                              return_dict_in_generate=True, output_scores=True, **how)
    finally:
        hf.generation_config.eos_token_id = None
    got = out.sequences.numpy()[:, x.shape[1]:].reshape(len(x), beams, -1)
    rest = np.full((len(x), beams, new - got.shape[2]), pad)
    return np.concatenate([got, rest], 2), out.sequences_scores.numpy().reshape(len(x), beams)


CASES = {       # beams, whether some token ends a text, and how
    'free': (3, False, {}),
    'sum': (4, True, {'length_penalty': 0.0}),
    'mean': (4, True, {}),
    'long': (3, True, {'length_penalty': 2.0, 'early_stopping': 'never'}),
    'long, guessed': (3, True, {'length_penalty': 2.0}),
    'short': (2, True, {'length_penalty': -0.5, 'early_stopping': 'never'}),
    'early': (4, True, {'early_stopping': True}),
}


def common_token(hf, x, mask):
    """A token that best texts hold early, so that as an end it matters."""
    found = best(hf, x, mask, 4)[0][:, :, 1:4]
    return int(np.bincount(found.ravel()).argmax())


@pytest.mark.parametrize('case', CASES)
def test_beam_search_is_the_peer_s(model, case):
    hf, module, params = model
    beams, ends, how = CASES[case]
    x, mask = left_padded(TINY, LENGTHS, 8)
    end = common_token(hf, x, mask) if ends else None
    want, scores = best(hf, x, mask, beams, end, **how)
    got = beam_search(module, params, x, new=12, beams=beams, mask=mask, end=end, pad=3, **how)
    assert np.array_equal(got.tokens, want)
    # (with n^2 and no early stop all the best texts are long)
    assert not ends or case == 'long' or (want == 3).any(), 'no text ends before the last token'
    assert len(np.unique(want[:, 0], axis=0)) > 1
    compare('beam_search', 'transformers.GPT2LMHeadModel', f'scores f32, {case}', got.scores, scores, 1e-5)
    compare('beam_search', 'transformers.GPT2LMHeadModel', f'tokens, {case}', got.tokens, want, 0)


def test_the_best_beam_is_better_than_greedy_and_its_score_is_its_log_probability(model):
    _, module, params = model
    x, mask = left_padded(TINY, LENGTHS, 8)
    greedy = np.asarray(generate(module, params, x, new=12, mask=mask))
    found = beam_search(module, params, x, new=12, beams=4, mask=mask)

    def score(text):
        whole, real = np.concatenate([x, text], 1), np.concatenate([mask, np.ones(text.shape, bool)], 1)
        logp = jax.nn.log_softmax(module.apply({'params': params}, whole, mask=real), -1)[:, 7:-1]
        return np.take_along_axis(np.asarray(logp), np.asarray(text)[:, :, None], -1)[:, :, 0].mean(1)

    best = np.asarray(found.tokens[:, 0])
    assert np.abs(score(best) - found.scores[:, 0]).max() < 1e-5
    assert (found.scores[:, 0] >= score(greedy) - 1e-6).all() and (best != greedy).any()
    one = beam_search(module, params, x, new=12, beams=1, mask=mask)
    assert np.array_equal(one.tokens[:, 0], greedy), 'one beam that never ends is greedy'


def test_beams_that_kept_another_s_cache_would_be_seen(model, monkeypatch):
    gather = beam_lib._rows
    still = lambda memory, rows: gather(memory, rows) if len(memory.real) == 4 else memory      # prompts alone spread
    monkeypatch.setattr(beam_lib, '_rows', still)
    beam_lib._search.clear_cache()
    try:
        with pytest.raises(AssertionError):
            test_beam_search_is_the_peer_s(model, 'free')
    finally:
        beam_lib._search.clear_cache()


@pytest.mark.parametrize(('how', 'message'), [
    ({'new': 17}, 'new: expected at most context=24'), ({'beams': 31}, 'beams: expected 1 to half of vocab_size=61'),
    ({'beams': 0}, 'beams: expected 1'),
    ({'early_stopping': 'maybe'}, "early_stopping: expected True, False or 'never'"),
    ({'mask': np.ones((1, 3), bool)}, r'mask: expected \(3, 8\)')])
def test_wrong_arguments_are_refused(model, how, message):
    _, module, params = model
    with pytest.raises(ValueError, match=message):
        beam_search(module, params, tokens(TINY, 3, 8), **{'new': 4, 'beams': 2} | how)
