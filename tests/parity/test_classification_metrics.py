"""Classification metrics against scikit-learn's, to 1e-6 in float32: weights, masks, ties, classes that are missing."""
import functools
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from parity_ledger import compare
from sklearn import metrics as theirs

from levels.level1_classical import metrics_labels as L
from levels.level1_classical import metrics_scores as S

RNG = np.random.default_rng(0)
N = 300
Y3 = RNG.integers(0, 3, N)
P3 = np.where(RNG.random(N) < 0.6, Y3, RNG.integers(0, 3, N))
Y2 = (RNG.random(N) < 0.3).astype(int)
SCORES = np.round(Y2 + RNG.normal(size=N), 1)       # rounded: many ties
W = RNG.integers(0, 4, N) / 2
CASES = {       # y, p, classes
    'two': (Y2, (SCORES > 0.5).astype(int), 2), 'three': (Y3, P3, 3), 'a class that nobody has': (Y3 * 2, P3 * 2, 5),
    'a class never called': (Y3, np.minimum(P3, 1), 3), 'a class only called': (np.minimum(Y3, 1), P3, 3),
    'all one class': (0 * Y2, 0 * Y2, 2), 'all called one class': (Y2, 0 * Y2, 2), 'all wrong': (Y2, 1 - Y2, 2),
    'no positive': (0 * Y2, Y2, 2),
}
KINDS = (('f32', 32, 1e-6), ('f64', 64, 1e-12))
jitted = functools.cache(lambda fn, **options: jax.jit(functools.partial(fn, **options)))


def against(name, peer, fn, args, wanted, weight, **options):
    """In both types, with weights, and with a mask that hides rows in which nothing makes sense."""
    for kind, bits, gate in KINDS:
        with jax.enable_x64(bits == 64):
            cast = lambda v, bits=bits: jnp.asarray(v, f'float{bits}' if np.asarray(v).dtype.kind == 'f' else None)
            w = None if weight is None else cast(weight)
            ours = jitted(fn, **options)(*(cast(a) for a in args), weight=w)
            if np.isnan(np.asarray(wanted)).all():
                assert np.isnan(ours).all(), (name, ours)
                continue
            size = max(1.0, np.abs(wanted).max())       # counts in a confusion matrix
            compare(name, f'sklearn {peer}', kind, ours / size, wanted / size, gate)


@pytest.mark.parametrize('case', list(CASES))
def test_of_labels(case):
    y, p, k = CASES[case]
    for w in (None, W):
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')         # scikit-learn says where it divides by zero
            given = {'sample_weight': w}
            against('confusion_matrix', 'confusion_matrix', L.confusion_matrix, (y, p),
                    theirs.confusion_matrix(y, p, labels=range(k), **given), w, n_classes=k)
            against('accuracy', 'accuracy_score', L.accuracy, (y, p), theirs.accuracy_score(y, p, **given), w)
            against('balanced_accuracy', 'balanced_accuracy_score', L.balanced_accuracy, (y, p),
                    theirs.balanced_accuracy_score(y, p, **given), w, n_classes=k)
            against('mcc', 'matthews_corrcoef', L.mcc, (y, p), theirs.matthews_corrcoef(y, p, **given), w, n_classes=k)
            for kind in L.KAPPAS:
                wanted = theirs.cohen_kappa_score(y, p, labels=range(k), weights=None if kind == 'none' else kind,
                                                  **given)
                against('cohen_kappa', 'cohen_kappa_score', L.cohen_kappa, (y, p), wanted, w, n_classes=k, kind=kind)
            for average in L.AVERAGES[k != 2:]:
                more = {'labels': range(k)} if average == 'none' else {}
                name = None if average == 'none' else average
                for ours, peer, extra in ((L.precision, theirs.precision_score, {}), (L.recall, theirs.recall_score,
                                          {}), (L.f_beta, theirs.fbeta_score, {'beta': 0.5})):
                    wanted = peer(y, p, average=name, **given, **more, **extra)
                    against(ours.__name__, peer.__name__, ours, (y, p), wanted, w, n_classes=k, average=average,
                            **extra)


SCORE_CASES = {'ties': (Y2, SCORES), 'all tied': (Y2, 0 * SCORES), 'perfect': (Y2, Y2 * 1.0), 'no positive': (0 * Y2,
               SCORES), 'no negative': (0 * Y2 + 1, SCORES), 'no ties': (Y2, SCORES + 1e-3 * np.arange(N) / N)}


@pytest.mark.parametrize('case', list(SCORE_CASES))
def test_of_scores(case):
    y, s = SCORE_CASES[case]
    for w in (None, W):
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            given = {'sample_weight': w}
            against('roc_auc', 'roc_auc_score', S.roc_auc, (y, s), theirs.roc_auc_score(y, s, **given), w)
            against('average_precision', 'average_precision_score', S.average_precision, (y, s),
                    theirs.average_precision_score(y, s, **given), w)
            fpr, tpr, thresholds = theirs.roc_curve(y, s, drop_intermediate=False, **given)
        curve = jitted(S.roc_curve)(y, jnp.asarray(s, 'float32'), weight=w)
        _, first = np.unique(-np.asarray(curve.thresholds), return_index=True)      # one point for each threshold
        seen = np.isfinite(np.asarray(curve.thresholds)[first]) | (first == 0)
        for name, ours, wanted in (('fpr', curve.fpr, fpr), ('tpr', curve.tpr, tpr), ('thresholds', curve.thresholds,
                                                                                     thresholds)):
            ours = np.asarray(ours)[first][seen]
            if np.isnan(wanted).all():
                assert np.isnan(ours).all()
            else:
                rest = slice(1, None) if name == 'thresholds' else slice(None)      # the first one is infinite
                compare('roc_curve', 'sklearn roc_curve', f'{name}, {case}', ours[rest], wanted[rest], 1e-6)


def test_of_probabilities():
    z = RNG.normal(size=(N, 3)) * 3
    proba = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    sure = np.eye(3)[P3]                    # zeros and ones: where clipping decides
    one = 1 / (1 + np.exp(-SCORES))
    for w in (None, W):
        given = {'sample_weight': w}
        for y, p in ((Y3, proba), (Y2, one)):
            against('log_loss', 'log_loss', S.log_loss, (y, p), theirs.log_loss(y, p, **given), w)
            against('brier', 'brier_score_loss', S.brier, (y, p), theirs.brier_score_loss(y, p, **given), w)
        for k in (1, 2):
            against('top_k', 'top_k_accuracy_score', S.top_k, (Y3, proba),
                    theirs.top_k_accuracy_score(Y3, proba, k=k, **given), w, k=k)
            against('top_k', 'top_k_accuracy_score', S.top_k, (Y3, np.round(proba, 1)),
                    theirs.top_k_accuracy_score(Y3, np.round(proba, 1), k=k, **given), w, k=k)
    for bits in (32, 64):       # clipped by the type's own resolution
        with jax.enable_x64(bits == 64):
            compare('log_loss', 'sklearn log_loss', f'zeros and ones, f{bits}',
                    S.log_loss(Y3, jnp.asarray(sure, float)),
                    theirs.log_loss(Y3, sure.astype(f'float{bits}')), 1e-6, relative=True)


def test_rows_that_are_masked_change_nothing():
    mask = np.arange(N) % 3 > 0
    y, p, s = (np.where(mask, v, bad) for v, bad in ((Y2, 7), (CASES['two'][1], -3), (SCORES, np.nan)))
    kept = lambda v: v[mask]
    for name, ours, peer, scores in (('f_beta', L.f_beta, theirs.f1_score, False), ('mcc', L.mcc,
                                     theirs.matthews_corrcoef, False), ('accuracy', L.accuracy, theirs.accuracy_score,
                                     False), ('roc_auc', S.roc_auc, theirs.roc_auc_score, True), ('average_precision',
                                     S.average_precision, theirs.average_precision_score, True)):
        guess, clean = (s, SCORES) if scores else (p, CASES['two'][1])
        compare(name, f'sklearn {peer.__name__}', 'masked', ours(y, jnp.asarray(guess), mask=mask, weight=W),
                peer(kept(Y2), kept(clean), sample_weight=kept(W)), 1e-6)
    one = 1 / (1 + np.exp(-SCORES))
    compare('brier', 'sklearn brier_score_loss', 'masked', S.brier(y, np.where(mask, one, np.nan), mask=mask),
            theirs.brier_score_loss(kept(Y2), kept(one)), 1e-6)


def test_parts_are_the_whole():
    parts = [slice(i, i + 70) for i in range(0, N, 70)]
    C = sum(L.confusion_matrix(Y3[i], P3[i], n_classes=3, weight=W[i]) for i in parts)
    found = L.label_summary(C, average='weighted', beta=1.0)
    wanted = {'accuracy': theirs.accuracy_score(Y3, P3, sample_weight=W),
              'balanced_accuracy': theirs.balanced_accuracy_score(Y3, P3, sample_weight=W),
              'precision': theirs.precision_score(Y3, P3, average='weighted', sample_weight=W),
              'recall': theirs.recall_score(Y3, P3, average='weighted', sample_weight=W),
              'f': theirs.f1_score(Y3, P3, average='weighted', sample_weight=W),
              'mcc': theirs.matthews_corrcoef(Y3, P3, sample_weight=W),
              'kappa': theirs.cohen_kappa_score(Y3, P3, sample_weight=W)}
    assert found.keys() == wanted.keys()
    compare('confusion_matrix', 'sklearn on all rows', 'label_summary in parts', found, wanted, 1e-6)
    proba = RNG.dirichlet(np.ones(3), N).astype('float32')
    sums = [S.score_sums(Y3[i], proba[i], k=2, weight=W[i]) for i in parts]
    found = S.score_summary(functools.reduce(lambda a, b: jax.tree.map(jnp.add, a, b), sums))
    wanted = {'log_loss': theirs.log_loss(Y3, proba, sample_weight=W), 'brier': theirs.brier_score_loss(
        Y3, proba, sample_weight=W), 'top_k': theirs.top_k_accuracy_score(Y3, proba, k=2, sample_weight=W)}
    compare('log_loss', 'sklearn on all rows', 'score_summary in parts', found, wanted, 2e-6)


def test_wrong_arguments_are_one_clear_line():
    for call, message in ((lambda: L.f_beta(Y3, P3), 'y: expected classes 0 to 1, found others'),
                          (lambda: L.precision(Y3, P3, n_classes=3), 'average: expected macro, micro'),
                          (lambda: L.recall(Y3, P3, n_classes=3, average='mean'), 'average: expected one of binary'),
                          (lambda: L.accuracy(Y3, P3[:-1]), 'y, p: expected two arrays'),
                          (lambda: L.mcc(Y2, Y2, weight=W[:-1]), r'weight: expected \[300\], found shape \(299,\)'),
                          (lambda: L.cohen_kappa(Y2, Y2, kind='cubic'), 'kind: expected one of none, linear'),
                          (lambda: S.roc_auc(Y3, SCORES), 'y: expected classes 0 to 1'),
                          (lambda: S.roc_auc(Y2, SCORES[:, None]), 'y, scores: expected two arrays'),
                          (lambda: S.log_loss(Y2, SCORES[:-1]), 'y, proba: expected'),
                          (lambda: S.top_k(Y2, SCORES, k=0), 'k: expected at least 1')):
        with pytest.raises(ValueError, match=message) as error:
            call()
        assert '\n' not in str(error.value)
