"""From text to token numbers and back: characters, and byte-level byte-pair encoding.

Paper: Sennrich, Haddow, Birch 2016, Neural Machine Translation of Rare Words with Subword Units, section 3.2; on bytes:
    Radford et al. 2019, Language Models are Unsupervised Multitask Learners, section 2.2.

Both have `size`, `encode(text) -> int32 [tokens]`, `decode(tokens) -> str` and `lengths`, int32 [size]: how many
characters a token stands for, from which a loss per token becomes bits per character. Merging is the work of the
library `tokenizers` (extra `text`), which is imported where it is used.

Example:
    from levels.level5_transformers.tokenizers import BytePairs, Characters
    chars = Characters.of('to be or not to be')
    chars.decode(chars.encode('to bet')) == 'to bet'
    pairs = BytePairs.train(text, size=512)
    gpt2 = BytePairs.read('vocab.json', 'merges.txt')                # GPT-2's own files
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int


class Characters:
    """One token for each character of a vocabulary. ValueError, naming it, for a character that is not in it."""

    def __init__(self, vocabulary: Iterable[str]):
        self.vocabulary = tuple(vocabulary)
        if not self.vocabulary or any(len(c) != 1 for c in self.vocabulary):
            raise ValueError('vocabulary: expected one or more single characters')
        if len(set(self.vocabulary)) != len(self.vocabulary):
            raise ValueError('vocabulary: expected distinct characters')
        self._number = {c: i for i, c in enumerate(self.vocabulary)}
        self.size, self.lengths = len(self.vocabulary), np.ones(len(self.vocabulary), np.int32)

    @classmethod
    def of(cls, text: str) -> 'Characters':
        """The characters of a text, in the order of their code points."""
        return cls(sorted(set(text)))

    def encode(self, text: str) -> Int[np.ndarray, 'tokens']:
        try:
            return np.fromiter((self._number[c] for c in text), np.int32, len(text))
        except KeyError as error:
            raise ValueError(f'text: expected characters of the vocabulary; found {error.args[0]!r}') from None

    def decode(self, tokens: Int[np.ndarray, 'tokens']) -> str:
        return ''.join(self.vocabulary[i] for i in np.asarray(tokens).ravel())

    def to_json(self) -> dict[str, Any]:
        """What is needed to make it again, for `from_json`."""
        return {'kind': 'char', 'vocabulary': ''.join(self.vocabulary)}


class BytePairs:
    """Byte-pair encoding over UTF-8 bytes, with GPT-2's pre-tokens: any text can be encoded, and comes back whole."""

    def __init__(self, tokenizer: Any):
        """`tokenizer`: a `tokenizers.Tokenizer`; use `train`, `read` or `from_json`."""
        self._inner = tokenizer
        self.size = tokenizer.get_vocab_size()
        self.lengths = _lengths(tokenizer)

    @classmethod
    def train(cls, text: str, *, size: int) -> 'BytePairs':
        """Merges the most frequent pair until there are `size` tokens, 256 of them the bytes. ValueError below 256."""
        if size < 256:
            raise ValueError(f'size: expected at least 256, one token for each byte; found {size}')
        lib = _library()
        made = _byte_level(lib.models.BPE())
        trainer = lib.trainers.BpeTrainer(vocab_size=size, special_tokens=[], show_progress=False,
                                          initial_alphabet=lib.pre_tokenizers.ByteLevel.alphabet())
        made.train_from_iterator(text.splitlines(keepends=True), trainer)
        return cls(made)

    @classmethod
    def read(cls, vocab: str | Path, merges: str | Path) -> 'BytePairs':
        """GPT-2's files: vocab.json (token -> number) and merges.txt (one pair a line, in the order of merging)."""
        return cls(_byte_level(_library().models.BPE.from_file(str(vocab), str(merges))))

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> 'BytePairs':
        return cls(_library().Tokenizer.from_str(json.dumps(data['tokenizer'])))

    def encode(self, text: str) -> Int[np.ndarray, 'tokens']:
        return np.array(self._inner.encode(text).ids, np.int32)

    def decode(self, tokens: Int[np.ndarray, 'tokens']) -> str:
        """Bytes that are no UTF-8, as where a text was cut inside a character, become U+FFFD."""
        return self._inner.decode(np.asarray(tokens).ravel().tolist())

    def to_json(self) -> dict[str, Any]:
        """What is needed to make it again, for `from_json`."""
        return {'kind': 'bpe', 'tokenizer': json.loads(self._inner.to_str())}


def from_json(data: dict[str, Any]) -> Characters | BytePairs:
    """The tokeniser that `to_json` described."""
    return Characters(data['vocabulary']) if data['kind'] == 'char' else BytePairs.from_json(data)


def _library():
    try:
        import tokenizers
        return tokenizers
    except ImportError as error:
        raise ImportError("byte-pair encoding needs the package tokenizers: pip install 'ai-roadmap[text]'") from error


def _byte_level(model):
    """A tokenizer around a merge model: bytes in, words and the spaces before them kept apart, bytes out."""
    lib = _library()
    made = lib.Tokenizer(model)
    made.pre_tokenizer = lib.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = lib.decoders.ByteLevel()
    return made


def _lengths(tokenizer) -> Int[np.ndarray, 'size']:
    """Characters that begin in each token: its bytes but the continuation bytes, 10xxxxxx, of UTF-8.

    GPT-2 writes each byte as a printable character: those that print stand for themselves, the others follow from 256.
    """
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    other = [b for b in range(256) if b not in plain]
    byte = {chr(b): b for b in plain} | {chr(256 + i): b for i, b in enumerate(other)}
    added = {t.content for t in tokenizer.get_added_tokens_decoder().values()}      # special ones stand for no text
    out = np.zeros(tokenizer.get_vocab_size(), np.int32)
    for token, number in tokenizer.get_vocab().items():
        out[number] = 0 if token in added else sum(byte[c] & 0xC0 != 0x80 for c in token)
    return out
