"""Bag of words and tf-idf against scikit-learn's, and what weights do."""
import jax
import numpy as np
import pytest
from parity_ledger import compare
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer

from common import datasets
from levels.level1_classical import text

KEY = jax.random.key(0)


@pytest.fixture(scope='module')
def table():
    texts = datasets.load('sms_spam_4k').train['text'][:300].tolist()
    words = text.vocabulary(texts)
    return texts, words, text.counts(texts, words)


def test_counts_are_scikit_learns(table):
    texts, words, ours = table
    peer = CountVectorizer()
    theirs = peer.fit_transform(texts)
    assert words == tuple(peer.get_feature_names_out()) and ours.shape == theirs.shape and ours.has_sorted_indices
    assert (ours != theirs).nnz == 0 and ours.nnz > 3000
    fresh = ['Nonsense1 words', 'call me now, call', '']
    assert (text.counts(fresh, words) != peer.transform(fresh)).nnz == 0
    with pytest.raises(ValueError, match='texts: expected words'):
        text.vocabulary(['a b', '!'])


@pytest.mark.parametrize('options', [{}, {'sublinear_tf': True}, {'use_idf': False}, {'min_df': 3}])
def test_tfidf_is_scikit_learns(table, options):
    texts, words, ours = table
    peer = TfidfVectorizer(**options)
    theirs = peer.fit_transform(texts).toarray()
    model = text.tfidf(**options)
    state = jax.jit(model.fit)(KEY, ours.toarray())
    here = np.asarray(model.transform(state, ours.toarray()))
    columns = [words.index(w) for w in peer.get_feature_names_out()]
    assert not np.delete(here, columns, 1).any()
    compare('tfidf', 'sklearn TfidfVectorizer', ', '.join(options) or 'defaults', here[:, columns], theirs, 1e-6)


def test_the_most_frequent_words(table):
    texts, words, ours = table
    total = np.asarray(ours.sum(0)).ravel()
    k = int((total > 12).sum())         # a cut without ties
    peer = TfidfVectorizer(max_features=k)
    theirs = peer.fit_transform(texts).toarray()
    model = text.tfidf(max_features=k)
    state = model.fit(KEY, ours.toarray())
    assert [words[j] for j in state.columns] == peer.get_feature_names_out().tolist() and 10 < k < 100
    compare('tfidf', 'sklearn TfidfVectorizer', 'max_features', model.transform(state, ours.toarray()), theirs, 1e-6)


def test_rows_without_weight_have_no_say(table):
    _, _, ours = table
    x = ours.toarray()
    w = (np.arange(len(x)) % 3 > 0).astype(np.float32)
    spoiled = np.where(w[:, None] > 0, x, x[::-1] + 7)
    fit = jax.jit(text.tfidf(max_features=50, min_df=2).fit)
    a, b, c = fit(KEY, x, None, w), fit(KEY, spoiled, None, w), fit(KEY, x[w > 0])
    assert all(np.array_equal(u, v) for u, v in zip(a, b, strict=True))
    assert all(np.allclose(u, v, rtol=1e-6) for u, v in zip(a, c, strict=True))
    assert not np.array_equal(fit(KEY, x).idf, a.idf)


def test_bad_arguments():
    for options, says in (({'max_features': 0}, 'max_features: expected at least 1'),
                          ({'min_df': 0}, 'min_df: expected'), ({'norm': 'l1'}, 'norm: expected l2 or None')):
        with pytest.raises(ValueError, match=says):
            text.tfidf(**options)
