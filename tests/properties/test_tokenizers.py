"""Tokenisers: what goes in comes out, lengths count characters, training is deterministic, GPT-2's files are read."""

import json

import numpy as np
import pytest
import tokenizers as library
from hypothesis import given, settings
from hypothesis import strategies as st

from levels.level5_transformers.tokenizers import BytePairs, Characters, from_json

TEXT = 'In the beginning was the Word, and the Word was with God.\nÆneas said: “the, the” … naïve 🙂 \n' * 20


@pytest.fixture(scope='module')
def pairs():
    return BytePairs.train(TEXT, size=300)


def test_characters_there_and_back():
    chars = Characters.of(TEXT)
    assert chars.size == len(set(TEXT)) and list(chars.vocabulary) == sorted(chars.vocabulary)
    tokens = chars.encode(TEXT)
    assert tokens.dtype == np.int32 and chars.decode(tokens) == TEXT and (chars.lengths == 1).all()
    with pytest.raises(ValueError, match="text: expected characters of the vocabulary; found 'Z'"):
        chars.encode('the Z')
    for wrong, message in (('', 'one or more'), (['ab'], 'single'), ('aa', 'distinct')):
        with pytest.raises(ValueError, match=f'vocabulary: expected .*{message}'):
            Characters(wrong)


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=40))
def test_byte_pairs_encode_any_text(pairs, text):
    tokens = pairs.encode(text)
    assert pairs.decode(tokens) == text and pairs.lengths[tokens].sum() == len(text)


def test_byte_pairs_compress_and_are_deterministic(pairs):
    assert pairs.size == 300 and pairs.encode(TEXT).dtype == np.int32
    assert len(pairs.encode(TEXT)) < 0.6 * len(TEXT.encode())
    again = BytePairs.train(TEXT, size=300)
    assert again.to_json() == pairs.to_json()
    with pytest.raises(ValueError, match='size: expected at least 256'):
        BytePairs.train(TEXT, size=255)


def test_first_merges_by_hand():
    """Of 'ab' x 3 and 'b' x 1 in words: a+b first; then the words themselves."""
    made = BytePairs.train('abab abab ab b', size=258)
    first, *_ = made.to_json()['tokenizer']['model']['merges']
    assert list(first) == ['a', 'b']


@pytest.mark.parametrize('kind', ['char', 'bpe'])
def test_json_there_and_back(pairs, kind):
    tokenizer = pairs if kind == 'bpe' else Characters.of(TEXT)
    back = from_json(json.loads(json.dumps(tokenizer.to_json())))
    assert np.array_equal(back.encode(TEXT), tokenizer.encode(TEXT)) and np.array_equal(back.lengths, tokenizer.lengths)


def test_files_in_gpt2_s_form_are_read(pairs, tmp_path):
    pairs._inner.model.save(str(tmp_path))
    back = BytePairs.read(tmp_path / 'vocab.json', tmp_path / 'merges.txt')
    assert np.array_equal(back.encode(TEXT), pairs.encode(TEXT)) and back.decode(back.encode(TEXT)) == TEXT


def test_special_tokens_stand_for_no_text(pairs):
    inner = library.Tokenizer.from_str(pairs._inner.to_str())
    inner.add_special_tokens(['<|endoftext|>'])
    made = BytePairs(inner)
    assert made.size == 301 and made.lengths[300] == 0 and np.array_equal(made.lengths[:300], pairs.lengths)
