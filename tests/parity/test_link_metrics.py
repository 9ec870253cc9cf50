"""Link metrics: AUC and AP against scikit-learn, MRR and Hits@k against OGB's formulae and values by hand; with ties.

`ogb` is no dependency, so its evaluator's formulae (ogb/linkproppred/evaluate.py) are written down here anew, in other
ways than ours.  On ties it says: a positive that equals some of its negatives has the mean of the best and the worst
rank it could have (MRR), and one that equals the k-th best negative is no hit; with fewer than k negatives all are.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from parity_ledger import compare
from scipy.stats import rankdata
from sklearn.metrics import average_precision_score, roc_auc_score

from levels.level7_advanced.graphs.link_metrics import average_precision, hits_at, mrr, roc_auc

PEERS = [(roc_auc, roc_auc_score), (average_precision, average_precision_score)]


def scores(kind, p, n):
    rng = np.random.default_rng(p + n)
    yes, no = rng.normal(0.7, 1, p), rng.normal(0, 1, n)
    if kind == 'ties':
        yes, no = np.round(yes * 2), np.round(no * 2)
    elif kind == 'all alike':
        yes, no = 0 * yes, 0 * no
    elif kind == 'perfect':
        yes, no = 9 + np.abs(yes), -np.abs(no)
    elif kind == 'reversed':
        yes, no = -np.abs(yes), 9 + np.abs(no)
    return yes, no


@pytest.mark.parametrize(('p', 'n'), [(1, 1), (7, 30), (300, 200)])
@pytest.mark.parametrize('kind', ['plain', 'ties', 'all alike', 'perfect', 'reversed'])
@pytest.mark.parametrize(('ours', 'theirs'), PEERS, ids=['auc', 'ap'])
def test_equals_scikit_learn(ours, theirs, kind, p, n):
    yes, no = scores(kind, p, n)
    truth = np.repeat([1, 0], [p, n])
    name = f'{kind}, {p} and {n} scores'
    for bits, gate in ((32, 1e-6), (64, 1e-12)):
        a, b = yes.astype(f'float{bits}'), no.astype(f'float{bits}')
        with jax.enable_x64(bits == 64):
            compare(ours.__name__, f'sklearn.metrics.{theirs.__name__}', f'{name}, f{bits}', jax.jit(ours)(a, b),
                    theirs(truth, np.concatenate([a, b])), gate)


def test_many_scores_lose_no_digits_in_float32():
    """The counts would pass 2**24 if they were added up before they are divided."""
    yes, no = (s.astype('float32') for s in scores('plain', 60_000, 60_000))
    for ours, theirs in PEERS:
        peer = theirs(np.repeat([1, 0], 60_000), np.concatenate([yes, no]))
        compare(ours.__name__, f'sklearn.metrics.{theirs.__name__}', '60,000 and 60,000 scores, f32',
                jax.jit(ours)(yes, no), peer, 1e-6)


def ogb_mrr(yes, no):
    """SciPy's average rank of each positive in the list of itself and its negatives, best first."""
    return np.mean([1 / rankdata(-np.append(row, score), method='average')[-1] for score, row in zip(yes, no)])


def ogb_hits(yes, no, k):
    """By going down the sorted list of negatives to its k-th."""
    if len(no) < k:
        return 1.0
    kth = sorted(no.tolist(), reverse=True)[k - 1]
    return sum(score > kth for score in yes.tolist()) / len(yes)


@pytest.mark.parametrize(('p', 'n'), [(1, 1), (7, 30), (300, 200)])
@pytest.mark.parametrize('kind', ['plain', 'ties', 'all alike', 'perfect', 'reversed'])
def test_equals_the_formulae_of_ogb(kind, p, n):
    yes, no = scores(kind, p, p * n)
    no = no.reshape(p, n)
    assert kind != 'ties' or p == 1 or (yes[:, None] == no).any(1).mean() > 0.5, 'ties that are few show little'
    peer = 'OGB evaluator, its formula in NumPy'
    for bits, gate in ((32, 1e-6), (64, 1e-12)):
        a, b = yes.astype(f'float{bits}'), no.astype(f'float{bits}')
        with jax.enable_x64(bits == 64):
            compare('mrr', peer, f'{kind}, {p} scores and {n} each, f{bits}', jax.jit(mrr)(a, b), ogb_mrr(a, b), gate)
            for k in (1, 3, 20, 50):
                found = jax.jit(hits_at, static_argnames='k')(a, b[0], k=k)
                compare('hits_at', peer, f'k {k}, {kind}, {p} and {n} scores, f{bits}', found, ogb_hits(a, b[0], k),
                        gate)


def test_mrr_by_hand():
    negative = jnp.array([[0.9, 0.1, 0.1], [0.5, 0.5, 0.1], [0.1, 0.2, 0.3], [0.9, 0.8, 0.7]])
    positive = jnp.array([0.5, 0.5, 0.5, 0.5])      # ranks 2; 1 to 3, so 2; 1; 4
    assert mrr(positive, negative) == pytest.approx((1 / 2 + 1 / 2 + 1 + 1 / 4) / 4)
    assert mrr(positive[:1], jnp.array([[0.5]])) == pytest.approx(1 / 1.5)        # one tie: in the middle of 1 and 2
    assert mrr(jnp.zeros(3), jnp.zeros((3, 9))) == pytest.approx(1 / 5.5)         # a model that says nothing


def test_hits_by_hand():
    positive, negative = jnp.array([0.9, 0.7, 0.5, 0.1]), jnp.array([0.6, 0.8, 0.5, 0.2])
    assert [float(hits_at(positive, negative, k=k)) for k in (1, 2, 3, 4, 5)] == [0.25, 0.5, 0.5, 0.75, 1.0]
    assert hits_at(jnp.zeros(3), jnp.zeros(4), k=2) == 0       # a tie with the k-th is no hit


@pytest.mark.parametrize('metric', [roc_auc, average_precision, lambda a, b: hits_at(a, b, k=3)])
def test_vmap_over_splits(metric):
    rng = np.random.default_rng(0)
    yes, no = rng.normal(0.5, 1, (5, 20)), rng.normal(size=(5, 30))
    each = [metric(jnp.asarray(a), jnp.asarray(b)) for a, b in zip(yes, no)]
    assert np.allclose(jax.jit(jax.vmap(metric))(yes, no), each, atol=1e-6)


@pytest.mark.parametrize(('call', 'message'), [
    (lambda: roc_auc(jnp.zeros(0), jnp.zeros(2)), 'positive, negative: expected'),
    (lambda: average_precision(jnp.zeros(2), jnp.zeros((2, 2))), 'positive, negative: expected'),
    (lambda: mrr(jnp.zeros(2), jnp.zeros(2)), 'positive, negative: expected'),
    (lambda: mrr(jnp.zeros(2), jnp.zeros((3, 2))), 'negative: expected a row for each of 2'),
    (lambda: hits_at(jnp.zeros(2), jnp.zeros(2), k=0), 'k: expected 1 or more'),
])
def test_bad_input_says_what_is_wrong(call, message):
    with pytest.raises(ValueError, match=message):
        call()
