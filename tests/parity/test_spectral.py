"""Spectral embedding and clustering against scikit-learn's; the Lanczos solver against LAPACK."""
import functools
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from parity_ledger import compare
from scipy.linalg import subspace_angles
from sklearn import cluster, manifold
from sklearn.datasets import make_blobs, make_circles, make_moons
from sklearn.metrics import adjusted_rand_score
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.neighbors import kneighbors_graph

from levels.level1_classical import sklearn_api as faces
from levels.level1_classical.unsupervised import spectral as ours

KEY = jax.random.key(0)
BLOBS = make_blobs(300, 3, centers=4, cluster_std=1.5, random_state=0)[0]
BLOBS = BLOBS[np.unique(BLOBS[:, 0], return_index=True)[1]] + 10
MOONS = make_moons(300, noise=0.05, random_state=0)
CIRCLES = make_circles(300, factor=0.4, noise=0.04, random_state=0)


def peer_graph(x, affinity):
    if affinity == 'rbf':
        return rbf_kernel(x, gamma=0.1)
    C = kneighbors_graph(x, 40, include_self=True).toarray()      # so many that all is connected
    return (C + C.T) / 2


ALL = [(a, s, b) for a in ('rbf', 'nearest_neighbors') for s in ('dense', 'lanczos') for b in (32, 64)]
QUICK = (('rbf', 'dense', 32), ('rbf', 'lanczos', 64), ('nearest_neighbors', 'dense', 64),
         ('nearest_neighbors', 'lanczos', 32))


@pytest.mark.parametrize(('affinity', 'solver', 'bits'),
                         [pytest.param(*a, marks=() if a in QUICK else pytest.mark.slow) for a in ALL])
def test_embedding(affinity, solver, bits):
    gate = 1e-4 if bits == 32 else 1e-8         # the gate of the spec is 1e-3
    for drop in (True, False) if solver == 'dense' else (True,):
        theirs = manifold.spectral_embedding(peer_graph(BLOBS, affinity), n_components=3, drop_first=drop,
                                             random_state=0)
        with jax.enable_x64(bits == 64):
            ask = functools.partial(ours.spectral_embedding, n_components=3, drop_first=drop, affinity=affinity,
                                    gamma=0.1, n_neighbors=40, solver=solver)
            found = jax.device_get(jax.jit(ask)(KEY, jnp.asarray(BLOBS, f'float{bits}')))
        assert found.vectors.dtype == f'float{bits}' and found.converged and (found.steps > 0) == (solver == 'lanczos')
        name = f'{affinity}, {solver}, drop_first={drop}, f{bits}'
        compare('spectral_embedding', 'sklearn.manifold.spectral_embedding', f'angle of the subspaces, {name}',
                subspace_angles(found.vectors.astype(float), theirs).max(), 0.0, gate)
        if drop:        # the first is constant: of its signs nothing can be said
            compare('spectral_embedding', 'sklearn.manifold.spectral_embedding', f'coordinates with signs, {name}',
                    found.vectors, theirs, gate, relative=True)
        else:
            assert abs(found.values[0]) < 1e-5 and np.ptp(found.vectors[:, 0]) < 1e-4 * abs(found.vectors[0, 0])


@pytest.mark.parametrize('solver', ['dense', 'lanczos'])
@pytest.mark.parametrize(('name', 'data', 'how'), [
    ('moons', MOONS, {'gamma': 30.0}), ('circles', CIRCLES, {'gamma': 30.0}),
    ('moons', MOONS, {'affinity': 'nearest_neighbors'}), ('circles', CIRCLES, {'affinity': 'nearest_neighbors'})])
def test_moons_and_circles_are_told_apart(name, data, how, solver):
    x, y = data
    state = jax.jit(ours.spectral_clustering(n_clusters=2, solver=solver, **how).fit)(KEY, jnp.asarray(x, jnp.float32))
    assert state.converged and adjusted_rand_score(state.labels, y) == 1
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')         # "Graph is not fully connected"
        peer = cluster.SpectralClustering(2, random_state=0, **how).fit(x)
    compare('spectral_clustering', 'sklearn.cluster.SpectralClustering',
            f'1 - ARI, {name}, {how.get("affinity", "rbf")}, {solver}', adjusted_rand_score(peer.labels_, state.labels),
            1.0, 0.0)


def test_eigenvalues_that_are_there_five_times_are_all_found():
    """Of five graphs that do not touch, each connected in itself, 0 is an eigenvalue five times."""
    x = make_blobs(300, 2, centers=[[0, 0], [90, 0], [0, 90], [90, 90], [45, 45]], random_state=0)
    model = ours.spectral_clustering(n_clusters=5, affinity='nearest_neighbors', solver='lanczos')
    state = jax.jit(model.fit)(KEY, jnp.asarray(x[0], jnp.float32))
    assert state.converged and np.abs(state.values).max() < 1e-5
    assert adjusted_rand_score(state.labels, x[1]) == 1


def test_lanczos_against_lapack():
    with jax.enable_x64(True):
        values = np.concatenate([[3, 3, 3, 2.99, 2.98], np.linspace(0, 2.97, 295)])
        Q = np.linalg.qr(np.random.default_rng(0).normal(size=(300, 300)))[0]
        A = (Q * values) @ Q.T
        found, V, steps, converged = ours.lanczos(lambda v: A @ v, jax.random.normal(KEY, (300, 9)), 5, 1e-12, 50)
        assert converged and 1 < steps < 20
        compare('spectral_clustering', 'numpy.linalg.eigh', 'eigenvalues of lanczos, one threefold, f64', found,
                np.linalg.eigvalsh(A)[::-1][:5], 1e-12)
        compare('spectral_clustering', 'numpy.linalg.eigh', 'projector of lanczos, one threefold, f64', V @ V.T,
                Q[:, :5] @ Q[:, :5].T, 1e-10)
        stopped = ours.lanczos(lambda v: A @ v, jax.random.normal(KEY, (300, 9)), 5, 1e-12, 1)
        assert not stopped[3] and stopped[2] == 1


def test_similarities_that_are_not_kept(monkeypatch):
    x = jnp.asarray(BLOBS, jnp.float32)
    ask = lambda: jax.jit(lambda x: ours.spectral_embedding(KEY, x, n_components=3, gamma=0.1, solver='lanczos'))(x)
    kept = ask()
    monkeypatch.setattr(ours, 'STORED', 0)
    again = ask()
    compare('spectral_embedding', 'itself, with the matrix kept', 'products worked out anew, f32', again.vectors,
            kept.vectors, 1e-4, relative=True)
    shapes = jax.make_jaxpr(lambda x: ours.spectral_embedding(KEY, x, gamma=0.1, solver='lanczos').vectors)(x)
    assert f'f32[{len(x)},{len(x)}]' not in str(shapes)


def test_the_face():
    model = faces.SpectralClustering(n_clusters=2, random_state=0, gamma=30.0).fit(MOONS[0])
    assert adjusted_rand_score(model.labels_, MOONS[1]) == 1
    W = rbf_kernel(MOONS[0], gamma=30.0)
    model = faces.SpectralClustering(n_clusters=2, random_state=0, affinity='precomputed').fit(W)
    assert adjusted_rand_score(model.labels_, MOONS[1]) == 1


def test_wrong_arguments():
    fit = lambda x=MOONS[0], **how: ours.spectral_clustering(**{'n_clusters': 2} | how).fit(KEY, x)
    for message, call in (
            ('affinity: expected one of rbf', lambda: fit(affinity='cosine')),
            ('gamma: expected at least 0', lambda: fit(gamma=-1.0)),
            ('n_neighbors: expected at most 300', lambda: fit(affinity='nearest_neighbors', n_neighbors=301)),
            ('n_clusters: expected at most 300', lambda: fit(n_clusters=301)),
            (r'X: expected similarities \[rows, rows\]', lambda: fit(affinity='precomputed')),
            ('X: expected similarities that are symmetric', lambda: fit(-np.eye(4), affinity='precomputed')),
            ('n_components: expected at most 3, found 4',
             lambda: ours.spectral_embedding(KEY, MOONS[0][:4], n_components=4))):
        with pytest.raises(ValueError, match=message):
            call()
