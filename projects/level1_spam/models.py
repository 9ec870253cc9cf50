"""The models, each with its choice and weighting of words inside; the rules they must beat; how a model is kept.

A model is fitted with a fold's weights (0 for messages that it must not see), and so is its vocabulary: which words
are frequent enough to count, and how rare they are, is learned from the messages that have weight.
"""
import functools
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int
from scipy import sparse

from levels.level1_classical import study, text
from levels.level1_classical.classification.linear_svc import linear_svc
from levels.level1_classical.classification.logistic import logistic
from levels.level1_classical.classification.naive_bayes import bernoulli_nb, complement_nb, log_proba, multinomial_nb
from levels.level1_classical.classification.platt import sigmoid_fit
from levels.level1_classical.estimator import Estimator
from levels.level1_classical.preprocessing import chain

MIN_DF = 2      # a word that one message alone has can't be learned from
BAYES = {'bernoulli': bernoulli_nb, 'multinomial': multinomial_nb, 'complement': complement_nb}
GRIDS = {
    'bernoulli': {'alpha': np.array([0.003, 0.01, 0.03, 0.1, 0.3, 1.0])},
    'multinomial': {'alpha': np.array([0.003, 0.01, 0.03, 0.1, 0.3, 1.0])},
    'complement': {'alpha': np.array([0.003, 0.01, 0.03, 0.1, 0.3, 1.0])},
    'logistic_counts': {'C': np.array([1.0, 10.0, 100.0])},
    'logistic_tfidf': {'C': np.array([10.0, 100.0, 1000.0])},
    'svm_counts': {'C': np.array([0.03, 0.1, 0.3])},
    'svm_tfidf': {'C': np.array([0.3, 1.0, 3.0])},
}
# What anybody knows of advertisements: nothing here was learned from the messages.
KEYWORDS = frozenset(('claim', 'cash', 'congratulations', 'free', 'guaranteed', 'offer', 'prize', 'urgent', 'win',
                      'winner', 'won', 'txt'))
LINK = re.compile(r'https?:|www\.|\.(?:com|net|org|co\.uk)\b', re.IGNORECASE)
CURRENCY = re.compile('[£$€]')
NUMBER = re.compile(r'\d{5,}')


def table(texts: Iterable[str]) -> tuple[tuple[str, ...], sparse.csr_matrix]:
    """(words, counts [texts, words]) of the words that two or more of the texts have.

    No model would take another one from a part of these texts: leaving them out here saves memory and tells nothing.
    """
    words = text.vocabulary(texts)
    found = text.counts(texts, words)
    kept = np.flatnonzero(found.getnnz(0) >= MIN_DF)
    return tuple(words[j] for j in kept), found[:, kept]


def fewest_words(found: sparse.csr_matrix, masks: np.ndarray) -> int:
    """How many words the poorest of the training sets [..., texts] has to choose from."""
    there = (found > 0).astype(np.float32)
    return int(((masks.reshape(-1, found.shape[0]).astype(np.float32) @ there) >= MIN_DF).sum(1).min())


@functools.lru_cache
def maker(name: str, words: int, closer: float = 1) -> Callable[..., Estimator]:
    """The factory alpha or C -> Estimator of a model; the same object for the same arguments: it compiles once.

    `decision` is the log-odds or the margin: spam where it is above 0.  closer: how many times nearer to the optimum
    a search has to come than what cross-validation needs.
    """
    weighted = name.endswith('tfidf')
    before = text.tfidf(max_features=words, min_df=MIN_DF, use_idf=weighted, norm='l2' if weighted else None)

    def make(**point) -> Estimator:
        if name in BAYES:
            last = BAYES[name](**point)._replace(decision=odds)
        elif name.startswith('logistic'):
            last = logistic(solver='lbfgs', tol=1e-3 / closer, **point)
        else:
            last = linear_svc(loss='hinge', tol=0.1 / closer, max_iter=round(200 * closer), **point)
        return chain(before, last)

    return make


def odds(state, X):
    """log p(spam | x) / p(ham | x)."""
    both = log_proba(state, X)
    return both[:, 1] - both[:, 0]


def recipe(name: str, words: int) -> study.Recipe:
    """A model with the points that are tried.  Coordinate descent gains nothing from points side by side."""
    return study.Recipe(maker(name, words), GRIDS[name], True if name.startswith('svm') else 'folds')


def importance(name: str, state) -> tuple[Int[np.ndarray, ' words'], Float[np.ndarray, ' words']]:
    """(columns, what one mention adds to the decision): of tf-idf before its length is divided out."""
    terms, linear = state
    coef = np.asarray(linear.coef)
    own = coef[:, 1] - coef[:, 0] if name in BAYES else coef[:, 0]
    return np.asarray(terms.columns), own * np.asarray(terms.idf)


def keyword_rule(texts: Iterable[str]) -> Float[np.ndarray, ' texts']:
    """Signs of advertising (words, a link, a currency, a long number) less a half: one makes a message spam."""
    signs = lambda t: (len(KEYWORDS.intersection(text.tokens(t))) + bool(LINK.search(t)) + bool(CURRENCY.search(t))
                       + bool(NUMBER.search(t)))
    return np.array([signs(str(t)) - 0.5 for t in texts], np.float32)


def always_ham(texts: Iterable[str]) -> Float[np.ndarray, ' texts']:
    """No message is spam."""
    return np.full(len(list(texts)), -1, np.float32)


RULES = {'always_ham': always_ham, 'keywords': keyword_rule}
_sigmoid = jax.jit(sigmoid_fit)


def platt(margin, spam, weight) -> Float[np.ndarray, ' 2']:
    """(A, B) of P(spam) = 1 / (1 + exp(A margin + B)), from messages whose margins are out of fold."""
    return np.asarray(_sigmoid(np.float32(margin), np.asarray(spam) == 1, np.float32(weight)), np.float64)


def chances(margin, slope=(-1.0, 0.0)) -> Float[np.ndarray, ' rows']:
    """P(spam) of log-odds, or of margins by Platt's (A, B)."""
    z = np.clip(-(slope[0] * np.asarray(margin, np.float64) + slope[1]), -500, 500)
    return 1 / (1 + np.exp(-z))


def stated(name: str, margin, spam, folds) -> Float[np.ndarray, ' rows']:
    """P(spam) out of fold.  An SVM has none of its own: its sigmoid is fitted on the margins of the other folds."""
    if not name.startswith('svm'):
        return chances(margin)
    out = np.zeros(len(spam))
    for train, test in zip(*folds.outer):
        out[test] = chances(margin[test], platt(margin, spam, train))
    return out


class Filter(NamedTuple):
    """A saved model.  Each function takes raw messages, a list of str."""

    predict: Callable[[list[str]], np.ndarray]      # int32 [n], 1 for spam
    decision: Callable[[list[str]], np.ndarray]     # float32 [n], spam where above 0
    proba: Callable[[list[str]], np.ndarray]        # float64 [n], P(spam)
    about: dict[str, Any]


def load(path: Path) -> Filter:
    """A saved model, ready for raw messages.  DataError if it is no such model."""
    model, state, about = study.load(path, lambda a: recipe(a['model'], a['words']).make(**a['best']))
    run = jax.jit(functools.partial(model.decision, state))

    def decision(texts: list[str]) -> np.ndarray:
        if isinstance(texts, str):
            raise ValueError(f'texts: expected a list of messages, found one: {texts[:40]!r}')
        return np.asarray(run(text.counts(texts, about['features']).toarray())) if len(texts) else np.zeros(0, 'f')

    return Filter(lambda texts: (decision(texts) > 0).astype(np.int32), decision,
                  lambda texts: chances(decision(texts), about['platt'] or (-1.0, 0.0)), about)
