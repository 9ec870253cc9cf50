"""k-means against scikit-learn from the same centers: labels equal, centers to 1e-5."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from parity_ledger import compare
from sklearn import cluster
from sklearn.datasets import load_iris, make_blobs

from levels.level1_classical.unsupervised import kmeans as ours

KEY = jax.random.key(0)
IRIS = load_iris().data
BLOBS = make_blobs(600, 5, centers=7, cluster_std=2.0, random_state=3)[0] + 50


def fit(bits, model, x, weight=None):
    with jax.enable_x64(bits == 64):
        x = jnp.asarray(x, f'float{bits}')
        state = jax.jit(model.fit)(KEY, x, None, None if weight is None else jnp.asarray(weight, x.dtype))
        return jax.device_get((state, model.predict(state, x), model.transform(state, x)))


@pytest.mark.parametrize('bits', [32, 64])
@pytest.mark.parametrize(('name', 'x', 'k'), [('iris', IRIS, 3), ('blobs', BLOBS, 7)])
def test_lloyd(name, x, k, bits):
    gate = 1e-5 if bits == 32 else 1e-10
    start = x[np.random.default_rng(1).choice(len(x), k, replace=False)]
    for weight in (None, np.arange(len(x)) % 4 + 0.5):
        peer = cluster.KMeans(k, init=start, n_init=1, tol=0, algorithm='lloyd').fit(x, sample_weight=weight)
        state, labels, distances = fit(bits, ours.kmeans(n_clusters=k, init=start, tol=0.0), x, weight)
        assert state.converged and np.array_equal(labels, peer.labels_)
        compare('kmeans', 'KMeans(lloyd)', f'centers, {name}, f{bits}', state.centers, peer.cluster_centers_, gate,
                relative=True)
        compare('kmeans', 'KMeans(lloyd)', f'inertia, {name}, f{bits}', state.inertia, peer.inertia_, gate,
                relative=True)
        compare('kmeans', 'KMeans(lloyd)', f'distances, {name}, f{bits}', distances, peer.transform(x), gate,
                relative=True)


def test_empty_clusters_take_the_farthest_rows_as_scikit_learn_s_do():
    x = np.concatenate([BLOBS, BLOBS[:2] + 100])        # two rows far away
    start = np.concatenate([BLOBS[:2], np.full((2, 5), -1e4) - np.arange(2)[:, None]])    # two centers without rows
    peer = cluster.KMeans(4, init=start, n_init=1, tol=0, algorithm='lloyd').fit(x)
    state, labels, _ = fit(32, ours.kmeans(n_clusters=4, init=start, tol=0.0), x)
    assert np.array_equal(labels, peer.labels_) and len(set(labels)) == 4
    compare('kmeans', 'KMeans(lloyd)', 'centers, empty clusters', state.centers, peer.cluster_centers_, 1e-5,
            relative=True)


def test_more_centers_than_distinct_rows_ends():
    x = np.repeat(np.eye(2), 5, axis=0)
    state, labels, _ = fit(32, ours.kmeans(n_clusters=4), x)
    assert state.converged and np.isfinite(state.centers).all() and state.inertia == 0 and len(set(labels)) == 2


def test_restarts_are_kept_by_inertia_and_seeding_is_as_good_as_scikit_learn_s():
    """Over 40 keys, one start each: the mean inertia of greedy k-means++ is within noise of scikit-learn's."""
    x = jnp.asarray(BLOBS, jnp.float32)
    one = jax.jit(jax.vmap(lambda key: ours.kmeans(n_clusters=7).fit(key, x).inertia))(jax.random.split(KEY, 40))
    peers = [cluster.KMeans(7, n_init=1, random_state=s).fit(BLOBS).inertia_ for s in range(40)]
    error = np.hypot(np.std(one), np.std(peers)) / np.sqrt(40)
    assert abs(float(one.mean()) - np.mean(peers)) < 4 * error + 1e-3 * np.mean(peers)
    many = ours.kmeans(n_clusters=7, n_init=8).fit(KEY, x).inertia
    assert many <= float(jnp.quantile(one, 0.5)) and many >= min(peers) * (1 - 1e-5)
    poor = jax.vmap(lambda key: ours.kmeans(n_clusters=7, init='random', max_iter=1).fit(key, x).inertia)
    first = jax.vmap(lambda key: ours.kmeans(n_clusters=7, max_iter=1).fit(key, x).inertia)
    assert poor(jax.random.split(KEY, 20)).mean() > 1.1 * first(jax.random.split(KEY, 20)).mean()


def test_rows_without_weight_are_never_drawn():
    mass = jnp.asarray([0.0, 2.0, 0.0, 1.0, 0.0])
    drawn = np.asarray(ours.draw(KEY, mass, (3000,)))
    assert set(drawn) == {1, 3} and abs(np.mean(drawn == 1) - 2 / 3) < 0.04
    spoiled = np.concatenate([IRIS, np.full((5, 4), 1e3)])
    weight = np.arange(155) < 150
    for init in ours.INITS:
        state, _, _ = fit(32, ours.kmeans(n_clusters=3, init=init, n_init=5), spoiled, weight)
        assert abs(state.inertia - 78.851) < 0.01


def test_a_batch_is_absorbed_as_scikit_learn_s_partial_fit_does():
    start, rng = BLOBS[:7], np.random.default_rng(0)
    peer = cluster.MiniBatchKMeans(7, init=start, n_init=1, reassignment_ratio=0.0, batch_size=100)
    middle = BLOBS.mean(0)
    state = ours.Batches(jnp.asarray(start - middle, jnp.float32), jnp.zeros(7), jnp.asarray(0.0))
    for _ in range(6):
        rows = rng.choice(600, 100)
        peer.partial_fit(BLOBS[rows])
        state = ours.absorb(state, jnp.asarray(BLOBS[rows] - middle, jnp.float32), jnp.ones(100))
    compare('minibatch_kmeans', 'MiniBatchKMeans.partial_fit', 'centers', np.asarray(state.centers) + middle,
            peer.cluster_centers_, 1e-5, relative=True)
    compare('minibatch_kmeans', 'MiniBatchKMeans.partial_fit', 'counts', state.counts, peer._counts, 1e-6,
            relative=True)
    found = ours.minibatch_kmeans(n_clusters=7, batch_size=200).fit(KEY, BLOBS)
    best = cluster.KMeans(7, n_init=5, random_state=0).fit(BLOBS).inertia_
    assert best * 0.999 <= found.inertia < 1.5 * best


@pytest.mark.parametrize(('given', 'message'), [
    ({'n_clusters': 0}, 'n_clusters: expected at least 1'), ({'init': 'kmeans'}, 'init: expected one of k-means'),
    ({'init': np.zeros((2, 2))}, r'init: expected centers \[8, 4\]'),
    ({'n_clusters': 151}, 'n_clusters: expected at most'),
    ({'tol': -1.0}, 'tol: expected at least 0')])
def test_wrong_arguments(given, message):
    with pytest.raises(ValueError, match=message):
        ours.kmeans(**given).fit(KEY, IRIS)
