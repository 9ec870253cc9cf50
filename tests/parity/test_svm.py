"""Support vector machines against libsvm and liblinear: decision functions to 1e-3 at tol 1e-3, 1e-5 at tol 1e-5."""
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from parity_ledger import compare
from sklearn import svm
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, load_wine
from sklearn.metrics import log_loss
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_sample_weight_equivalence_on_dense_data

from levels.level1_classical import sklearn_api
from levels.level1_classical.classification import platt, smo
from levels.level1_classical.classification.linear_svc import linear_svc
from levels.level1_classical.classification.svc import one_against_rest, support, svc, svr

KEY = jax.random.key(0)
CANCER, SICK = load_breast_cancer(return_X_y=True)
CANCER = StandardScaler().fit_transform(CANCER)
IRIS, SPECIES = load_iris(return_X_y=True)
WINE, VINE = load_wine(return_X_y=True)
WINE = StandardScaler().fit_transform(WINE)
WEIGHT = np.random.default_rng(0).integers(0, 4, size=len(CANCER)).astype(float)


def fit(bits, model, X, y, weight=None):
    """(state, decision or prediction of X), on the host."""
    with jax.enable_x64(bits == 64):
        X, y = (jnp.asarray(v, f'float{bits}') for v in (X, y))
        weight = None if weight is None else jnp.asarray(weight, X.dtype)
        state = jax.jit(model.fit)(KEY, X, y, weight)
        return jax.device_get((state, jax.jit(model.decision or model.predict)(state, X)))


@pytest.mark.parametrize(('tol', 'gate'), [(1e-3, 1e-3), (1e-5, 1e-5)])
@pytest.mark.parametrize('bits', [32, 64])
def test_rbf_decisions_at_two_tolerances(tol, gate, bits):
    best = svm.SVC(tol=1e-9).fit(CANCER, SICK)
    state, decision = fit(bits, svc(tol=tol), CANCER, SICK)
    assert state.converged
    compare('svc', 'SVC(tol=1e-9)', f'decision, rbf, tol {tol:g}, f{bits}', decision, best.decision_function(CANCER),
            gate)
    assert support(state).sum() == len(best.support_)
    if tol == 1e-5:
        assert np.array_equal(np.flatnonzero(support(state)), np.sort(best.support_))


@pytest.mark.parametrize(('kernel', 'more'), [('linear', {}), ('poly', {'coef0': 1.0}), ('sigmoid', {'gamma': 'auto'}),
                                              ('rbf', {'gamma': 0.1, 'C': 10.0})])
def test_kernels(kernel, more):
    """Relative to the largest decision; at tol 1e-5 the peer's own distance from its limit is as large as ours."""
    best = svm.SVC(kernel=kernel, tol=1e-9, **more).fit(CANCER, SICK)
    state, decision = fit(64, svc(kernel=kernel, tol=1e-6, **more), CANCER, SICK)
    assert state.converged
    compare('svc', 'SVC(tol=1e-9)', f'decision, {kernel}, f64', decision, best.decision_function(CANCER), 1e-5,
            relative=True)
    compare('svc', 'SVC(tol=1e-9)', f'intercept and sum of |beta|, {kernel}, f64',
            [state.intercept, np.abs(state.beta).sum()], [best.intercept_, np.abs(best.dual_coef_).sum()], 1e-4)
    assert np.array_equal(np.flatnonzero(support(state)), np.sort(best.support_))
    assert abs(state.beta.sum()) < 1e-12
    single, rough = fit(32, svc(kernel=kernel, **more), CANCER, SICK)
    assert single.converged
    compare('svc', 'SVC(tol=1e-9)', f'decision, {kernel}, tol 1e-3, f32', rough, best.decision_function(CANCER), 2e-3,
            relative=True)


def test_the_solution_keeps_the_conditions_of_the_minimum():
    """By hand: in the margin b is at its bound, outside it is zero, on its edge it may be anything between."""
    state, decision = fit(64, svc(tol=1e-5, C=2.0), CANCER, SICK)
    margin, share = decision * (2 * SICK - 1), np.abs(state.beta[0])
    assert (share[margin < 1 - 1e-5] == 2).all() and (share[margin > 1 + 1e-5] == 0).all()
    inside = (share > 0) & (share < 2)
    assert inside.sum() > 20 and np.abs(margin[inside] - 1).max() < 1e-5
    assert np.array_equal(np.sign(state.beta[0][share > 0]), (2 * SICK - 1)[share > 0])


@pytest.mark.parametrize(('name', 'X', 'y', 'tol'), [('iris', IRIS, SPECIES, 1e-3), ('wine', WINE, VINE, 1e-5)])
def test_several_classes(name, X, y, tol):
    for shape in ('ovr', 'ovo'):
        best = svm.SVC(tol=1e-9, decision_function_shape=shape).fit(X, y)
        model = svc(tol=tol, decision_shape=shape, n_classes=3)
        state, decision = fit(64, model, X, y)
        compare('svc', 'SVC(tol=1e-9)', f'decision, {name}, {shape}, tol {tol:g}', decision, best.decision_function(X),
                tol)
        with jax.enable_x64(True):
            assert np.array_equal(model.predict(state, X), best.predict(X))
    f = np.random.default_rng(0).normal(size=(50, 6))       # four classes, whose votes go round in circles
    from sklearn.utils.multiclass import _ovr_decision_function
    compare('svc', '_ovr_decision_function', 'votes and margins', one_against_rest(jnp.asarray(f), 4),
            _ovr_decision_function((f > 0).astype(int), f, 4), 1e-6)


def test_weights_of_rows_and_classes():
    for given in ('balanced', {0: 3.0, 1: 0.5}):
        best = svm.SVC(tol=1e-9, class_weight=given, gamma=0.03).fit(CANCER, SICK, WEIGHT)
        each = len(SICK) / (2 * np.bincount(SICK)) if given == 'balanced' else np.array([3.0, 0.5])
        _, decision = fit(64, svc(tol=1e-5, class_weight=each, gamma=0.03), CANCER, SICK, WEIGHT)
        compare('svc', 'SVC(class_weight, sample_weight)', f'decision, {given}', decision,
                best.decision_function(CANCER), 1e-5)
        linear = svm.LinearSVC(tol=1e-10, class_weight=given, dual=False).fit(CANCER, SICK, WEIGHT)
        face = sklearn_api.LinearSVC(class_weight=given, tol=1e-10).fit(CANCER, SICK, WEIGHT)
        compare('LinearSVC', 'sklearn LinearSVC(class_weight, sample_weight)', f'coef, {given}', face.coef_,
                linear.coef_, 1e-5)
    for peer, face, gate in ((svm.LinearSVC(tol=1e-12, dual=False), sklearn_api.LinearSVC(tol=1e-10), 1e-6),
                             (svm.SVC(tol=1e-9), sklearn_api.SVC(tol=1e-5), 2e-5)):
        given = {'class_weight': {0: 3.0, 1: 0.2, 2: 1.0}}
        best, found = (m.set_params(**given).fit(WINE, VINE).decision_function(WINE) for m in (peer, face))
        compare(type(face).__name__, f'sklearn {type(peer).__name__}', 'decision, weights of three classes', found,
                best, gate)
    many = np.repeat(np.arange(len(SICK)), WEIGHT.astype(int))
    best = svm.SVC(tol=1e-9).fit(CANCER[many], SICK[many])
    _, decision = fit(64, svc(tol=1e-5), CANCER, SICK, WEIGHT)
    compare('svc', 'SVC of repeated rows', 'decision, gamma scale', decision, best.decision_function(CANCER), 1e-5)


def test_rows_of_kernels_made_when_needed_and_chunks_change_nothing(monkeypatch):
    held = fit(64, svc(tol=1e-4), CANCER, SICK)[1]
    monkeypatch.setattr(smo, 'HELD', 1000)
    monkeypatch.setattr(smo, 'CELLS', 569 * 10)
    compare('svc', 'the matrix of kernels held', 'decision, f64', fit(64, svc(tol=1e-4), CANCER, SICK)[1], held, 1e-10)


@pytest.mark.parametrize('bits', [32, 64])
@pytest.mark.parametrize(('name', 'X', 'y'), [('cancer', CANCER, SICK), ('wine', WINE, VINE)])
def test_linear_svc(name, X, y, bits):
    best = svm.LinearSVC(tol=1e-12, dual=False, C=0.5, intercept_scaling=2.0).fit(X, y)
    model = linear_svc(C=0.5, intercept_scaling=2.0, n_classes=len(set(y)), tol=1e-6 if bits == 32 else 1e-10)
    state, decision = fit(bits, model, X, y)
    assert state.converged and state.steps < 15
    gate = 1e-5 if bits == 32 else 1e-6     # the peer's own distance from the minimum
    compare('linear_svc', 'LinearSVC(tol=1e-12)', f'coef and intercept, {name}, f{bits}',
            [state.coef.T, state.intercept], [best.coef_, best.intercept_], gate)
    compare('linear_svc', 'LinearSVC(tol=1e-12)', f'decision, {name}, f{bits}', decision, best.decision_function(X),
            10 * gate)
    if bits == 64:
        v, s = np.append(state.coef[:, -1], state.intercept[-1] / 2), np.where(y == y.max(), 1, -1)
        Z = np.concatenate([X, np.full((len(X), 1), 2.0)], 1)
        slope = v - 2 * 0.5 * (s * np.maximum(0, 1 - s * (Z @ v))) @ Z
        assert np.abs(slope).max() < 1e-8
        plain = svm.LinearSVC(tol=1e-12, dual=False, fit_intercept=False).fit(X, y)
        none, _ = fit(64, linear_svc(fit_intercept=False, n_classes=len(set(y))), X, y)
        compare('linear_svc', 'LinearSVC(fit_intercept=False)', f'coef, {name}', none.coef.T, plain.coef_, 1e-6)


@pytest.mark.parametrize('bits', [32, 64])
def test_linear_svc_with_the_hinge(bits):
    for name, X, y in (('cancer', CANCER[:, :5], SICK), ('wine', WINE, VINE)):
        many = np.repeat(np.arange(len(y)), WEIGHT[:len(y)].astype(int))
        best = svm.LinearSVC(loss='hinge', C=0.05, tol=1e-10, max_iter=1_000_000, random_state=0).fit(X[many], y[many])
        model = linear_svc(loss='hinge', C=0.05, n_classes=len(set(y)), tol=1e-5 if bits == 32 else 1e-8, max_iter=5000)
        state, _ = fit(bits, model, X, y, WEIGHT[:len(y)])
        assert state.converged
        compare('linear_svc', 'LinearSVC(loss=hinge) of repeated rows', f'coef and intercept, {name}, f{bits}',
                [state.coef.T, state.intercept], [best.coef_, best.intercept_], 1e-4 if bits == 32 else 1e-7)


@pytest.mark.parametrize('bits', [32, 64])
def test_svr(bits):
    X, y = load_diabetes(return_X_y=True)
    for kernel in ('rbf', 'linear'):
        best = svm.SVR(kernel=kernel, C=100.0, epsilon=5.0, tol=1e-9).fit(X, y)
        state, found = fit(bits, svr(kernel=kernel, C=100.0, epsilon=5.0, tol=1e-3 if bits == 32 else 1e-6), X, y)
        assert state.converged
        compare('svr', 'SVR(tol=1e-9)', f'predict, {kernel}, f{bits}', found, best.predict(X),
                2e-5 if bits == 32 else 1e-6, relative=True)
        if bits == 64:
            assert np.array_equal(np.flatnonzero(support(state)), best.support_)


@pytest.mark.parametrize(('name', 'X', 'y'), [('cancer', CANCER[:, :4], SICK), ('wine', WINE[:, :3], VINE)])
def test_probabilities_are_as_good_as_those_of_calibrated_classifier_cv(name, X, y):
    """Folds are drawn differently, so quality is compared: log loss on rows left out, over the mean of five keys."""
    train = np.random.default_rng(1).permutation(len(X))[:2 * len(X) // 3]
    test = np.setdiff1d(np.arange(len(X)), train)
    model = svc(probability=True, n_classes=len(set(y)))
    run = jax.jit(lambda key: model.proba(model.fit(key, jnp.asarray(X[train]), jnp.asarray(y[train])), X[test]))
    ours = np.stack([run(jax.random.key(k)) for k in range(5)])
    assert np.abs(ours.sum(-1) - 1).max() < 1e-5 and ours.min() >= 0
    theirs = CalibratedClassifierCV(svm.SVC(), method='sigmoid', ensemble=False).fit(X[train], y[train])
    loss = np.mean([log_loss(y[test], p) for p in ours])
    best = log_loss(y[test], theirs.predict_proba(X[test]))
    if name == 'cancer':
        compare('svc', 'CalibratedClassifierCV(SVC)', f'log loss, {name}', loss, best, 0.03)
    assert loss < best + 0.02       # of three classes it calibrates each against the rest: pairs come out 0.03 better
    with warnings.catch_warnings(action='ignore'):      # its own probabilities are to go
        own = [svm.SVC(probability=True, random_state=k).fit(X[train], y[train]) for k in range(5)]
    compare('svc', 'SVC(probability=True)', f'log loss, {name}', loss,
            np.mean([log_loss(y[test], p.predict_proba(X[test])) for p in own]), 0.03)
    prior = log_loss(y[test], np.tile(np.bincount(y[train]) / len(train), (len(test), 1)))
    assert loss < 0.6 * prior


def test_platt_s_sigmoid_and_coupling():
    from sklearn.calibration import _sigmoid_calibration
    rng = np.random.default_rng(0)
    f = rng.normal(size=400) * 3
    y = rng.random(400) < 1 / (1 + np.exp(-1.5 * f - 0.5))
    weight = rng.integers(0, 3, size=400).astype(float)
    with jax.enable_x64(True):
        for w in (np.ones(400), weight):
            theirs = _sigmoid_calibration(f, np.where(y, 1, 0), sample_weight=w)
            ours = platt.sigmoid_fit(jnp.asarray(f), jnp.asarray(y), jnp.asarray(w))
            compare('svc', '_sigmoid_calibration', 'slope and offset', ours, np.array(theirs), 1e-4)
        p = rng.dirichlet(np.ones(4), size=20)      # pairs that agree have one answer
        pairs = np.stack([p[:, j] / (p[:, i] + p[:, j]) for i in range(4) for j in range(i + 1, 4)], 1)
        compare('svc', 'the probabilities that pairs were made of', 'coupled', platt.coupled(jnp.asarray(pairs), 4), p,
                1e-6)
        from scipy.optimize import minimize
        r = rng.uniform(0.05, 0.95, size=3)         # pairs that do not: (0, 1), (0, 2), (1, 2)
        R = np.array([[0, 1 - r[0], 1 - r[1]], [r[0], 0, 1 - r[2]], [r[1], r[2], 0]])
        cost = lambda q: sum((R[j, i] * q[i] - R[i, j] * q[j]) ** 2 for i in range(3) for j in range(3) if i != j)
        best = minimize(cost, np.ones(3) / 3, constraints={'type': 'eq', 'fun': lambda q: q.sum() - 1}, tol=1e-14).x
        compare('svc', 'scipy minimize', 'coupled', platt.coupled(jnp.asarray(r)[None], 3)[0], best, 1e-6)


def test_faces_show_what_scikit_learn_s_do():
    for kernel in ('rbf', 'linear'):
        ours = sklearn_api.SVC(kernel=kernel, tol=1e-6).fit(WINE, VINE)
        theirs = svm.SVC(kernel=kernel, tol=1e-9).fit(WINE, VINE)
        assert np.array_equal(ours.support_, theirs.support_) and np.array_equal(ours.n_support_, theirs.n_support_)
        shown = ('dual_coef_', 'intercept_', 'support_vectors_') + (('coef_',) if kernel == 'linear' else ())
        for name in shown:
            compare('SVC', 'sklearn SVC', f'{name}, {kernel}', getattr(ours, name), getattr(theirs, name), 1e-4)
        compare('SVC', 'sklearn SVC', f'decision of kept rows, {kernel}', ours.decision_function(WINE),
                theirs.decision_function(WINE), 1e-5)
    X, y = load_diabetes(return_X_y=True)
    ours, theirs = (m(kernel='linear', C=10.0, tol=1e-6).fit(X, y) for m in (sklearn_api.SVR, svm.SVR))
    assert np.array_equal(ours.support_, theirs.support_)
    for name in ('dual_coef_', 'intercept_', 'coef_'):
        compare('SVR', 'sklearn SVR', name, getattr(ours, name), getattr(theirs, name), 1e-4)
    assert sklearn_api.SVC(probability=True, random_state=0).fit(WINE, VINE).predict_proba(WINE[:3]).shape == (3, 3)
    assert not hasattr(sklearn_api.SVC(), 'predict_proba')
    ours, theirs = (CalibratedClassifierCV(m, ensemble=False, cv=3).fit(WINE, VINE).predict_proba(WINE) for m in (
        sklearn_api.LinearSVC(tol=1e-10), svm.LinearSVC(tol=1e-12, dual=False)))
    compare('LinearSVC', 'sklearn LinearSVC', 'probabilities of CalibratedClassifierCV', ours, theirs, 1e-5)


@pytest.mark.parametrize('face', [sklearn_api.SVC, sklearn_api.SVR])
def test_weights_are_repeated_rows_to_the_digits_that_tol_asks_for(face):
    """The check that stands in DEVIATIONS for the default tol."""
    check_sample_weight_equivalence_on_dense_data(face.__name__, face(tol=1e-10))


@pytest.mark.parametrize(('call', 'message'), [
    (lambda: svc(kernel='cubic'), 'kernel: expected one of linear, rbf'), (lambda: svc(C=0.0), 'C: expected above 0'),
    (lambda: svc(gamma='wide'), 'gamma: expected one of scale, auto'), (lambda: svr(gamma=-1.0), 'gamma: expected at'),
    (lambda: svc(decision_shape='one'), 'decision_shape: expected one of ovr, ovo'),
    (lambda: svr(epsilon=-0.1), 'epsilon: expected at least 0'), (lambda: svc(tol=0.0), 'tol: expected above 0'),
    (lambda: linear_svc(C=-1.0), 'C: expected above 0'), (lambda: linear_svc(loss='log'), 'loss: expected one of'),
    (lambda: svr().fit(KEY, np.eye(3), np.eye(3)), r'y: expected \[3\], found shape \(3, 3\)'),
    (lambda: svc(class_weight=np.ones(3)).fit(KEY, np.eye(3), [0, 1, 1]), 'class_weight: expected None, balanced')])
def test_wrong_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()
