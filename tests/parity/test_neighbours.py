"""Nearest neighbours against scikit-learn's brute force: the same sets of neighbours, on data far from zero too."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from parity_ledger import compare
from sklearn.datasets import load_diabetes, load_iris
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor, NearestNeighbors

from levels.level1_classical import neighbours
from levels.level1_classical.classification import knn
from levels.level1_classical.neighbours import nearest
from levels.level1_classical.sklearn_api import KNeighborsClassifier as Face

KEY, RNG = jax.random.key(0), np.random.default_rng(0)
WIDE, FEW = RNG.normal(size=(1203, 20)), RNG.normal(size=(6203, 3))
SIDE = np.where(np.arange(1203) % 2, 300.0, -300.0)[:, None]
DATA = {'scaled': WIDE, 'mean 100, sd 0.01': 100 + 0.01 * WIDE, 'three features, mean 100': 100 + 0.01 * FEW,
        'two clusters far apart': SIDE + 0.01 * WIDE}
LATTICE = RNG.integers(0, 3, size=(1403, 12)).astype(np.float32)     # full of ties
LATTICE[100] = LATTICE[7]       # twins


def peer(X, Q, k, metric='euclidean'):
    """(distances, indices) in float64 of the very numbers that float32 holds."""
    found = NearestNeighbors(n_neighbors=k, algorithm='brute', metric=metric).fit(X.astype(float))
    return found.kneighbors(Q.astype(float))


def brute(X, Q, k, power=2):
    """All differences, in float64, sorted stably."""
    measure = (np.abs(Q[:, None].astype(float) - X[None]) ** power).sum(-1)
    row = np.argsort(measure, 1, kind='stable')[:, :k]
    return np.take_along_axis(measure, row, 1), row


@pytest.mark.parametrize('bits', [32, 64])
@pytest.mark.parametrize('name', list(DATA))
def test_the_neighbours_are_scikit_learn_s(name, bits):
    """Every index agrees. The peer's float64 products lose half their digits far from zero, its rows are right."""
    x = DATA[name].astype(f'float{bits}')
    assert x[:-300].size > neighbours.FEW
    with jax.enable_x64(bits == 64):
        found = nearest(x[:-300], x[-300:], 10)
    compare('nearest', 'NearestNeighbors(brute)', f'rows, {name}, f{bits}', found.indices,
            peer(x[:-300], x[-300:], 10)[1], 0)
    compare('nearest', 'all differences in float64', f'distances, {name}, f{bits}', found.distances,
            np.sqrt(brute(x[:-300], x[-300:], 10)[0]), 2e-7 if bits == 32 else 1e-14, relative=True)


@pytest.mark.parametrize('metric', ['manhattan', 'cosine'])
def test_other_metrics(metric):
    with jax.enable_x64(True):
        X, Q = WIDE[:900].copy(), WIDE[900:].copy()
        X[5], Q[3] = 0, 0       # rows without a direction
        found = nearest(X, Q, 10, metric=metric)
        distances, row = peer(X, Q, 10, metric)
        some = np.arange(len(Q)) != 3 if metric == 'cosine' else np.ones(len(Q), bool)    # all equally far from zero
        compare('nearest', f'NearestNeighbors(brute, {metric})', 'rows', found.indices[some], row[some], 0)
        compare('nearest', f'NearestNeighbors(brute, {metric})', 'distances', found.distances, distances, 1e-10)


def test_float32_is_ranked_in_twice_its_precision():
    """Gaps far below the rounding of a float32 sum are seen."""
    rng = np.random.default_rng(5)
    far = rng.integers(1000, 2000, size=30) + rng.integers(0, 4, size=(25, 30)) * 2.0**-13      # within a millionth
    far = far.astype(np.float32)
    q = np.zeros((1, 30), np.float32)
    wanted = brute(far, q, 20)[1]
    assert np.array_equal(nearest(far, q, 20).indices, wanted)
    sums = np.sum((far**2).astype(float), 1), np.sum(far.astype(float) ** 2, 1).astype(np.float32)
    for rounded in sums:        # squares alone, or the sum alone, in float32
        assert not np.array_equal(np.argsort(rounded, kind='stable')[:20], wanted[0])


def test_ties_are_in_order_of_row_number_in_any_blocks(monkeypatch):
    wanted, manhattan = (brute(LATTICE, LATTICE[:200], 7, power)[1] for power in (2, 1))
    for block in (neighbours.BLOCK, 397):
        monkeypatch.setattr(neighbours, 'BLOCK', block)
        neighbours._nearest.clear_cache()
        assert np.array_equal(nearest(LATTICE, LATTICE[:200], 7).indices, wanted)
        assert np.array_equal(nearest(LATTICE, LATTICE[:200], 7, metric='manhattan').indices, manhattan)
    weight = np.arange(1403) % 3 > 0
    there = np.flatnonzero(weight)
    found = nearest(LATTICE, LATTICE[:200], 7, weight=weight.astype(np.float32))
    assert np.array_equal(found.indices, there[brute(LATTICE[there], LATTICE[:200], 7)[1]])
    neighbours._nearest.clear_cache()


def test_no_row_is_its_own_neighbour_and_absent_rows_are_infinitely_far():
    found = nearest(LATTICE, LATTICE, 6, exclude_self=True)
    measure = ((LATTICE[:, None] - LATTICE[None]) ** 2).sum(-1)
    np.fill_diagonal(measure, np.inf)
    assert np.array_equal(found.indices, np.argsort(measure, 1, kind='stable')[:, :6])
    assert found.distances.min() == 0       # twins: a row at distance 0 is not always the row itself
    few = nearest(WIDE[:50], WIDE[:5], 4, weight=np.arange(50) < 3)
    assert np.isfinite(few.distances[:, :3]).all() and np.isinf(few.distances[:, 3:]).all()


def test_the_second_search_is_for_few(monkeypatch):
    """Scaled data pass at the first; of clusters far apart the products do not even nominate the right rows."""
    real = jax.lax.while_loop
    monkeypatch.setattr(jax.lax, 'while_loop', lambda cond, body, start: start)
    neighbours._nearest.clear_cache()
    for name, same in (('scaled', True), ('mean 100, sd 0.01', True), ('two clusters far apart', False)):
        x = DATA[name].astype(np.float32)
        assert np.array_equal(nearest(x[:-300], x[-300:], 10).indices, brute(x[:-300], x[-300:], 10)[1]) == same, name
    monkeypatch.setattr(jax.lax, 'while_loop', real)
    neighbours._nearest.clear_cache()


@pytest.mark.parametrize('weights', ['uniform', 'distance'])
def test_classifier_and_regressor(weights):
    iris, label = load_iris(return_X_y=True)
    train = np.arange(150) % 3 > 0
    diabetes, y = load_diabetes(return_X_y=True)
    Y = np.stack([y, y**2], 1)
    for bits, gate in ((32, 1e-5), (64, 1e-10)):
        with jax.enable_x64(bits == 64):
            j = lambda v, bits=bits: jnp.asarray(v, f'float{bits}')
            model = knn.knn_classifier(n_neighbors=7, weights=weights, n_classes=3)
            state = model.fit(KEY, j(iris[train]), label[train])
            theirs = KNeighborsClassifier(7, weights=weights, algorithm='brute').fit(iris[train], label[train])
            new = iris + 1e-2 * np.random.default_rng(1).normal(size=iris.shape)       # no ties: what they do is open
            if weights == 'distance':
                new[:5] = iris[train][:5]       # exact hits
            compare('knn_classifier', 'KNeighborsClassifier', f'proba, {weights}, f{bits}',
                    jax.jit(model.proba)(state, j(new)), theirs.predict_proba(new), gate)
            assert np.array_equal(jax.jit(model.predict)(state, j(new)), theirs.predict(new))
            reg = knn.knn_regressor(n_neighbors=9, weights=weights)
            fitted = reg.fit(KEY, j(diabetes[:300]), j(Y[:300]))
            peers = KNeighborsRegressor(9, weights=weights, algorithm='brute').fit(diabetes[:300], Y[:300])
            compare('knn_regressor', 'KNeighborsRegressor', f'predict, {weights}, f{bits}',
                    jax.jit(reg.predict)(fitted, j(diabetes)), peers.predict(diabetes), gate, relative=True)


def test_equal_votes_go_to_the_class_of_lower_number_as_in_scikit_learn():
    X, y = np.array([[-2.0], [-1.0], [1.0], [2.0], [9.0]]), np.array([2, 1, 2, 1, 0])
    model, q = knn.knn_classifier(n_neighbors=4, n_classes=3), np.array([[0.0], [0.2]])
    theirs = KNeighborsClassifier(4, algorithm='brute').fit(X, y)
    found = model.predict(model.fit(KEY, X, y), q)
    assert found.tolist() == theirs.predict(q).tolist() == [1, 1]


def test_weights_are_copies_down_to_the_last_neighbour():
    """A row of weight 3 that is fourth to fifth in order gives two of its three copies."""
    X, y = np.arange(6.0)[:, None], np.array([1.0, 2, 4, 8, 16, 32])
    weight = np.array([1.0, 2, 3, 1, 0, 1])
    repeated = np.repeat(np.arange(6), weight.astype(int))
    for weights in knn.WEIGHTS:
        model = knn.knn_regressor(n_neighbors=5, weights=weights)
        theirs = KNeighborsRegressor(5, weights=weights, algorithm='brute').fit(X[repeated], y[repeated])
        q = np.array([[-0.3], [0.0], [5.2]])
        compare('knn_regressor', 'KNeighborsRegressor of repeated rows', f'predict, {weights}',
                jax.jit(model.predict)(model.fit(KEY, X, y, weight), q), theirs.predict(q), 1e-5, relative=True)


def test_face_has_kneighbors():
    X, label = load_diabetes(return_X_y=True)[0], np.arange(442) % 3
    ours, theirs = Face(n_neighbors=4).fit(X, label), KNeighborsClassifier(4, algorithm='brute').fit(X, label)
    for given in (X[:20] + 0.01, None):
        a, b = ours.kneighbors(given), theirs.kneighbors(given)
        compare('KNeighborsClassifier', 'KNeighborsClassifier', f'kneighbors, {"new" if given is not None else "own"}',
                a[0], b[0], 1e-7)       # the peer's products: near twins lose half their digits
        assert np.array_equal(a[1], b[1])
    with pytest.raises(ValueError, match='n_neighbors: expected 1 to 441, the rows there are, found 442'):
        ours.kneighbors(n_neighbors=442)


@pytest.mark.parametrize(('call', 'message'), [
    (lambda: nearest(WIDE, WIDE, 0), 'k: expected 1 to 1203'), (lambda: nearest(WIDE, WIDE, 1204), 'k: expected 1 to'),
    (lambda: nearest(WIDE, WIDE, 1203, exclude_self=True), 'k: expected 1 to 1202'),
    (lambda: nearest(WIDE, FEW, 2), 'X_query: expected 20 features as in X_train, found 3'),
    (lambda: nearest(WIDE, WIDE[:5], 2, exclude_self=True), 'X_query: expected X_train'),
    (lambda: nearest(WIDE, WIDE, 2, weight=np.ones(3)), r'weight: expected \[1203\]'),
    (lambda: nearest(WIDE, WIDE, 2, metric='hamming'), 'metric: expected one of euclidean'),
    (lambda: knn.knn_classifier(n_neighbors=0), 'n_neighbors: expected at least 1'),
    (lambda: knn.knn_classifier(weights='inverse'), 'weights: expected one of uniform'),
    (lambda: knn.knn_regressor().fit(KEY, np.eye(3), np.ones(3)), 'n_neighbors: expected at most 3')])
def test_wrong_arguments(call, message):
    with pytest.raises(ValueError, match=message):
        call()
