"""Texts as tables of numbers: bag of words on the host, then term weighting as an estimator that honours weights.

    words = vocabulary(texts)                   # every word of all texts: a list of names, nothing is learned from it
    X = counts(texts, words)                    # float32 [texts, words]
    model = chain(tfidf(max_features=2000), logistic(C=10.0))

Which words count, and how much, is learned in `tfidf.fit` by rows that have weight: a fold's test rows have no say.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from scipy import sparse

from levels.level1_classical.estimator import Estimator, hyper, rows

WORD = re.compile(r'\b\w\w+\b')         # two or more letters, digits or underscores


def tokens(text: str) -> list[str]:
    """The words of a text in lower case, in order; a single letter or digit is none."""
    return WORD.findall(text.lower())


def vocabulary(texts: Iterable[str]) -> tuple[str, ...]:
    """All words of the texts, sorted.  Errors: ValueError if there is none."""
    words = tuple(sorted({word for text in texts for word in tokens(str(text))}))
    if not words:
        raise ValueError('texts: expected words of two or more characters, found none')
    return words


def counts(texts: Iterable[str], words: Sequence[str]) -> sparse.csr_matrix:
    """How often each word of the vocabulary stands in each text; other words are left out.

    Shapes: texts [n], words [d] -> CSR [n, d], float32; `.toarray()` is what goes onto a device.
    """
    column = {word: j for j, word in enumerate(words)}
    found = [Counter(column[w] for w in tokens(str(text)) if w in column) for text in texts]
    ends = np.cumsum([0, *(len(f) for f in found)])
    flat = sorted((i, j, n) for i, f in enumerate(found) for j, n in f.items())
    values, columns = (np.array([entry[k] for entry in flat], t) for k, t in ((2, np.float32), (1, np.int32)))
    return sparse.csr_matrix((values, columns, ends), (len(found), len(words)))


class Terms(NamedTuple):
    """The words that were kept, and their weights."""

    columns: Int[Array, ' kept']
    idf: Float[Array, ' kept']      # 0 for words that too few texts have


def tfidf(*, max_features: int | None = None, min_df: int = 1, use_idf: bool = True, sublinear_tf: bool = False,
          norm: str | None = 'l2') -> Estimator:
    """Term frequency times inverse document frequency, of the most frequent words.

    Formula: x_ij idf_j / |x_i idf|, idf_j = 1 + log((1 + n) / (1 + n_j)), n_j texts have word j; sublinear: 1 + log x.
    Paper: Sparck Jones 1972, A statistical interpretation of term specificity; Salton, Buckley 1988, Term-weighting.
    Shapes: X [rows, words], counts -> [rows, max_features or words]: words that fewer than min_df texts have are 0.
    max_features keeps the words that stand most often in all texts; None keeps all.  With use_idf=False and norm=None
        it is the bag of words itself.
    Errors: ValueError as `estimator.rows`, max_features or min_df below 1, an unknown norm.
    Example:
        words = vocabulary(['free prize now', 'see you now'])
        X = jnp.asarray(counts(['free prize now', 'see you now'], words).toarray())
        model = tfidf(max_features=3)
        state = model.fit(jax.random.key(0), X)
        assert model.transform(state, X).shape == (2, 3)
    """
    hyper('min_df', min_df, 1)
    if max_features is not None:
        hyper('max_features', max_features, 1)
    if norm not in ('l2', None):
        raise ValueError(f'norm: expected l2 or None, found {norm!r}')

    def fit(key, X, y=None, weight=None) -> Terms:
        X, _, weight = rows(X, None, weight, need_y=False)
        texts = weight @ (X > 0).astype(X.dtype)
        kept = X.shape[1] if max_features is None else min(max_features, X.shape[1])
        often = jnp.where(texts >= min_df, weight @ X, -1)
        columns = jnp.sort(jax.lax.top_k(often, kept)[1]) if kept < X.shape[1] else jnp.arange(kept)
        n = texts[columns]
        idf = 1 + jnp.log((1 + jnp.sum(weight)) / (1 + n)) if use_idf else jnp.ones_like(n)
        return Terms(columns, jnp.where((n >= min_df) & (n > 0), idf, 0))

    def transform(state: Terms, X):
        X, _, _ = rows(X, need_y=False)
        x = X[:, state.columns]
        if sublinear_tf:
            x = jnp.where(x > 0, 1 + jnp.log(jnp.where(x > 0, x, 1)), 0)
        x = x * state.idf[None]
        if norm is None:
            return x
        size = jnp.sqrt(jnp.sum(x * x, 1, keepdims=True))
        return x / jnp.where(size > 0, size, 1)

    return Estimator(fit=fit, transform=transform)
