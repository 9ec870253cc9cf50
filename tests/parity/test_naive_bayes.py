"""Naive Bayes against scikit-learn's, at the gate of oracles.md: log-probabilities to 1e-5."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse as sp
from parity_ledger import compare
from sklearn import naive_bayes as theirs
from sklearn.datasets import load_digits, load_wine

from levels.level1_classical import sklearn_api as faces
from levels.level1_classical.classification.naive_bayes import (
    bernoulli_nb,
    complement_nb,
    gaussian_nb,
    log_proba,
    multinomial_nb,
    update,
)

KEY = jax.random.key(0)
W = np.random.default_rng(0).integers(0, 3, 2000).astype(float)
WINE, DIGITS = load_wine(return_X_y=True), load_digits(return_X_y=True)
PRIORS = np.array([0.2, 0.5, 0.3])
KINDS = {       # our factory, theirs, data
    'gaussian': (gaussian_nb, theirs.GaussianNB, WINE, {}, {}),
    'gaussian, priors': (gaussian_nb, theirs.GaussianNB, WINE, {'priors': PRIORS}, {'priors': PRIORS}),
    'multinomial': (multinomial_nb, theirs.MultinomialNB, DIGITS, {'alpha': 0.5}, {'alpha': 0.5}),
    'bernoulli': (bernoulli_nb, theirs.BernoulliNB, DIGITS, {'binarize': 4.0}, {'binarize': 4.0}),
    'multinomial, alphas': (multinomial_nb, theirs.MultinomialNB, WINE,) + ({
        'alpha': np.linspace(0.1, 2, 13), 'class_prior': PRIORS},) * 2,
    'complement': (complement_nb, theirs.ComplementNB, DIGITS, {}, {}),
    'complement, norm': (complement_nb, theirs.ComplementNB, WINE, {'norm': True}, {'norm': True}),
}


@pytest.mark.parametrize('name', list(KINDS))
def test_log_probabilities(name):
    ours, peer, (X, y), own, given = KINDS[name]
    w = W[:len(y)] + 1
    # rows that are there twice: scikit-learn's smoothing of GaussianNB knows nothing of weights
    peer = peer(**given).fit(np.repeat(X, w.astype(int), 0), np.repeat(y, w.astype(int)))
    wanted = peer.predict_log_proba(X)
    for bits, gate in ((32, 1e-5), (64, 1e-10)):
        with jax.enable_x64(bits == 64):
            x = jnp.asarray(X, f'float{bits}')
            model = ours(**own, n_classes=int(y.max()) + 1)
            state = jax.jit(model.fit)(KEY, x, y, jnp.asarray(w, x.dtype))
            found = jax.jit(log_proba)(state, x)
            assert found.dtype == x.dtype and (model.predict(state, x) == jnp.asarray(peer.predict(X))).all()
            compare(ours.__name__, type(peer).__name__, f'log-probabilities, {name}, f{bits}', found, wanted, gate,
                    relative=True)
            compare(ours.__name__, type(peer).__name__, f'probabilities, {name}, f{bits}', model.proba(state, x),
                    np.exp(wanted), 1e-4 if bits == 32 else 1e-9)


@pytest.mark.parametrize('name', ['gaussian', 'multinomial', 'bernoulli', 'complement'])
def test_parts_are_the_whole(name):
    """Batches in which classes are missing, sorted as the data are."""
    ours, peer, (X, y), own, given = KINDS[name]
    k = int(y.max()) + 1
    with jax.enable_x64(True):
        model = ours(**own, n_classes=k)
        state, step = model.start(X.shape[1], X.dtype), jax.jit(update)
        order = np.argsort(y, kind='stable')[::len(y) // 170][:170].reshape(2, 85)
        face = getattr(faces, peer.__name__)(**given)
        partial = peer(**given)
        for part in order:
            state = step(state, X[part], y[part], W[part] + 1)
            face.partial_fit(X[part], y[part], np.arange(k), sample_weight=W[part] + 1)
            partial.partial_fit(X[part], y[part], np.arange(k), sample_weight=W[part] + 1)
        rows = order.ravel()
        whole = model.fit(KEY, X[rows], y[rows], W[rows] + 1)
        for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(whole), strict=True):
            assert a.dtype == b.dtype and np.allclose(a, b, rtol=1e-12, atol=1e-12)
    if name != 'gaussian':      # there scikit-learn's smoothing is that of the last part
        seen = np.isfinite(partial.class_log_prior_)
        compare(type(face).__name__, peer.__name__, 'partial_fit, log-probabilities',
                face.predict_log_proba(X)[:, seen], partial.predict_log_proba(X)[:, seen], 1e-10, relative=True)
    assert (face.predict(X[rows]) == partial.predict(X[rows])).all()


def test_gaussian_far_from_zero_and_hardly_varying():
    """What sums of squares lose in float32: a mean of 1,000 and classes 0.01 wide, and a column that is constant."""
    rng = np.random.default_rng(1)
    y = np.arange(90) % 3
    X = np.stack([1000 + 0.03 * y + 0.01 * rng.normal(size=90), y * 1.0, np.full(90, 7.0)], 1).astype(np.float32)
    peer = theirs.GaussianNB().fit(X.astype(float), y)
    state = gaussian_nb(n_classes=3).fit(KEY, X, y)
    compare('gaussian_nb', 'GaussianNB', 'variances, far from zero', state.var[:, 0], peer.var_[:, 0] - peer.epsilon_,
            1e-4, relative=True)
    assert (gaussian_nb(n_classes=3).predict(state, X) == peer.predict(X.astype(float))).all()
    assert not state.var[:, 1:].any()


@pytest.mark.parametrize('name', ['MultinomialNB', 'BernoulliNB', 'ComplementNB'])
def test_sparse_counts(name):
    X, y = DIGITS
    face, peer = getattr(faces, name)(), getattr(theirs, name)()
    face.fit(sp.csr_matrix(X), y)
    dense = getattr(faces, name)().fit(X, y)
    wanted = peer.fit(sp.csr_matrix(X), y).predict_log_proba(X)
    for x in (sp.csr_matrix(X), sp.csc_array(X), X):
        compare(name, name, 'sparse, log-probabilities', face.predict_log_proba(x), wanted, 1e-10, relative=True)
        assert (face.predict(x) == peer.predict(X)).all()
    assert np.allclose(dense.feature_count_, face.feature_count_)
    if name != 'BernoulliNB':
        for x in (-X, sp.csr_matrix(-X)):
            with pytest.raises(ValueError, match='X: expected counts or other numbers >= 0'):
                getattr(faces, name)().fit(x, y)
    else:
        with pytest.raises(ValueError, match='binarize: expected at least 0 for sparse X'):
            faces.BernoulliNB(binarize=-1.0).fit(sp.csr_matrix(X), y)


def test_sparse_input_is_never_made_dense():
    """A matrix that would take 80 GB."""
    X = sp.csr_matrix((np.ones(20_000, np.float32), np.arange(20_000) * 50, np.arange(20_001)), (20_000, 1_000_000))
    face = faces.MultinomialNB().fit(X, np.arange(20_000) % 2)
    assert face.predict_proba(X).shape == (20_000, 2)


def test_sparse_input_is_refused_elsewhere_in_one_line():
    X, y = sp.csr_matrix(WINE[0]), WINE[1]
    for name in ('GaussianNB', 'SVC', 'PCA'):       # all of them: tests/contracts/test_sklearn_sparse.py
        with pytest.raises(TypeError, match='Sparse data was passed'):
            getattr(faces, name)().fit(X, y)


def test_wrong_arguments():
    for wrong, message in (({'priors': [0.5, 0.4]}, 'priors: expected a sum of 1, found 0.9'),
                           ({'priors': [1.0]}, r'priors: expected \[2\]'), ({'var_smoothing': -1.0}, 'var_smoothing')):
        with pytest.raises(ValueError, match=message):
            gaussian_nb(**wrong)
    with pytest.raises(ValueError, match='alpha: expected a number or one for each of 13 features'):
        multinomial_nb(alpha=[1.0, 2.0], n_classes=3).fit(KEY, *WINE)
    with pytest.raises(ValueError, match='X: expected 13 features as in fit, found 2'):
        update(multinomial_nb(n_classes=3).fit(KEY, *WINE), WINE[0][:, :2], WINE[1])
    with pytest.raises(ValueError, match='classes: expected all labels in the first call'):
        faces.GaussianNB().partial_fit(*WINE)
    with pytest.raises(ValueError, match='y: expected labels among'):
        faces.GaussianNB().fit(*WINE).partial_fit(WINE[0], WINE[1] + 1)
