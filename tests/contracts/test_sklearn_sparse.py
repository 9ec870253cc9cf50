"""Sparse X at the scikit-learn faces: taken as it is, made dense up to a stated size, or refused in one line."""
import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.utils.estimator_checks import check_estimator_sparse_array, check_estimator_sparse_matrix

from levels.level1_classical.sklearn_api import all_estimators, face

AS_IT_IS = {'BernoulliNB', 'ComplementNB', 'MultinomialNB'}
MADE_DENSE = {'ElasticNet', 'Lasso', 'LinearSVC', 'LogisticRegression', 'OLS', 'Ridge', 'SGDClassifier', 'SGDRegressor'}
FACES = dict(all_estimators())
RNG = np.random.default_rng(0)
DENSE = np.where(RNG.random((48, 6)) < 0.5, RNG.integers(1, 4, (48, 6)), 0).astype(np.float64)
LABELS = (DENSE[:, 0] + RNG.random(48) > 1.5).astype(int)
FORMS = (sp.csr_matrix, sp.csc_matrix, sp.coo_array, sp.csr_array)


def fitted(name, X, y=LABELS):
    return FACES[name](**({'random_state': 0} if name.startswith('SGD') else {})).fit(X, y)


@pytest.mark.parametrize('name', sorted(AS_IT_IS | MADE_DENSE))
def test_sparse_is_as_good_as_dense(name):
    dense = fitted(name, DENSE)
    methods = [m for m in ('predict', 'predict_proba', 'decision_function') if hasattr(dense, m)]
    for form in FORMS:
        model = fitted(name, form(DENSE))
        for method in methods:
            wanted = getattr(dense, method)(DENSE)
            for X in (DENSE, form(DENSE)):
                assert np.allclose(getattr(model, method)(X), wanted, rtol=1e-9, atol=1e-12), (form.__name__, method)
    assert model.__sklearn_tags__().input_tags.sparse
    whole = fitted(name, sp.csr_matrix(DENSE.astype(int)))
    assert np.allclose(whole.predict(DENSE), dense.predict(DENSE))
    if hasattr(model, 'partial_fit'):
        first = {'classes': [0, 1]} if hasattr(model, 'classes_') else {}
        a, b = (fitted(name, DENSE).partial_fit(form(DENSE), LABELS, **first) for form in (np.asarray, sp.csr_matrix))
        assert np.allclose(a.predict(DENSE), b.predict(sp.csr_matrix(DENSE)))


@pytest.mark.parametrize('name', sorted(set(FACES) - AS_IT_IS - MADE_DENSE))
def test_all_others_refuse_it_in_one_line(name):
    model = FACES[name]()
    with pytest.raises(TypeError, match='Sparse data was passed') as caught:
        model.fit(sp.csr_matrix(DENSE), LABELS)
    assert '\n' not in str(caught.value) and not model.__sklearn_tags__().input_tags.sparse


@pytest.mark.parametrize('name', sorted(MADE_DENSE))
def test_what_is_too_large_is_refused_before_it_is_made_dense(name):
    """A matrix that would take 8 TB; and one number more or less than the limit."""
    n = 1_000_000
    huge = sp.csr_matrix((np.ones(n), np.arange(n), np.arange(n + 1)), (n, n))
    with pytest.raises(ValueError, match=r'X: expected at most 134,217,728 numbers .* found 1,000,000 x 1,000,000; fix:'
                       ) as caught:
        FACES[name]().fit(huge, np.arange(n) % 2)
    assert '\n' not in str(caught.value) and name in str(caught.value)


def test_the_limit(monkeypatch):
    monkeypatch.setattr(face, 'DENSE', DENSE.size)
    fitted('Ridge', sp.csr_matrix(DENSE))
    fitted('Ridge', np.tile(DENSE, (2, 1)), np.tile(LABELS, 2))
    with pytest.raises(ValueError, match='found 49 x 6'):
        fitted('Ridge', sp.csr_matrix(np.vstack([DENSE, DENSE[:1]])), np.append(LABELS, 0))
    monkeypatch.setattr(face, 'DENSE', DENSE.size - 1)
    with pytest.raises(ValueError, match='found 48 x 6'):
        fitted('Ridge', sp.csr_matrix(DENSE))


@pytest.mark.parametrize('name', ['Ridge', 'LogisticRegression'])
def test_predictions_of_many_sparse_rows_are_made_in_parts(name, monkeypatch):
    """More numbers than fit would take, in parts of whole rows, in any format; no part is larger than is said."""
    model = fitted(name, DENSE)
    monkeypatch.setattr(face, 'DENSE', 5 * 6)
    monkeypatch.setattr(face, 'PART', 5 * 6 + 3)
    called, seen = type(model)._call, []
    monkeypatch.setattr(type(model), '_call', lambda self, method, state, X: seen.append(X.shape) or called(
        self, method, state, X))
    for form in FORMS:
        seen.clear()
        assert np.allclose(model.predict(form(DENSE)), model.predict(DENSE), rtol=1e-12)
        assert seen[:-1] == [(5, 6)] * 9 + [(3, 6)]
    with pytest.raises(ValueError, match='X has 5 features'):
        model.predict(sp.csr_matrix(DENSE[:, :5]))


@pytest.mark.parametrize('name', ['ElasticNet', 'LinearSVC', 'SGDClassifier', 'PCA'])
def test_scikit_learn_s_own_checks_of_sparse_input(name):
    check_estimator_sparse_matrix(name, FACES[name]())
    check_estimator_sparse_array(name, FACES[name]())
