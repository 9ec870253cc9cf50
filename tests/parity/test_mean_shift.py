"""Mean shift against scikit-learn's (flat) and against the formula in NumPy, float64 (Gaussian)."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from parity_ledger import compare
from sklearn import cluster
from sklearn.datasets import load_iris, make_blobs

from levels.level1_classical import sklearn_api as faces
from levels.level1_classical.unsupervised import mean_shift as ours

KEY = jax.random.key(0)
IRIS = load_iris().data
BLOBS = make_blobs(400, 3, centers=6, cluster_std=1.2, random_state=1)[0] + 100
W = np.arange(400) % 3


def fit(bits, model, x, weight=None):
    with jax.enable_x64(bits == 64):
        x = jnp.asarray(x, f'float{bits}')
        state = jax.jit(model.fit)(KEY, x, None, None if weight is None else jnp.asarray(weight, x.dtype))
        assert state.centers.dtype == x.dtype
        return jax.device_get((state, model.predict(state, x)))


@pytest.mark.parametrize('bits', [32, 64])
@pytest.mark.parametrize(('name', 'x', 'h'), [('iris', IRIS, 0.9), ('blobs', BLOBS, 2.0), ('blobs, wide', BLOBS, 5.0)])
def test_flat(name, x, h, bits):
    gate = 1e-5 if bits == 32 else 1e-10        # the gate of the spec is 1e-3
    peer = cluster.MeanShift(bandwidth=h).fit(x)
    state, labels = fit(bits, ours.mean_shift(bandwidth=h), x)
    k = len(peer.cluster_centers_)
    assert state.n_modes == k > 1 and state.converged and np.array_equal(labels, peer.labels_)
    assert (state.centers[k:] == 0).all() and (np.diff(state.intensity[:k]) <= 0).all()
    compare('mean_shift', 'sklearn.cluster.MeanShift', f'centers in their order, {name}, f{bits}', state.centers[:k],
            peer.cluster_centers_, gate, relative=True)


def test_weights_are_repeated_rows_and_rows_without_weight_are_not_there():
    peer = cluster.MeanShift(bandwidth=2.5).fit(np.repeat(BLOBS, W, axis=0))
    spoiled = np.where((W == 0)[:, None], 1e4, BLOBS)
    for x in (BLOBS, spoiled):
        state, _ = fit(64, ours.mean_shift(bandwidth=2.5), x, W)
        compare('mean_shift', 'sklearn.cluster.MeanShift', f'centers, weights, f64, row 0 begins {x[0, 0]:.0f}',
                state.centers[:state.n_modes], peer.cluster_centers_, 1e-10, relative=True)


def by_hand(x, h, seeds):
    """Gaussian mean shift from each seed, and the merging of what was found, row by row."""
    ends = []
    for c in seeds:
        for _ in range(1000):
            k = np.exp(-((x - c) ** 2).sum(1) / (2 * h**2))
            old, c = c, k @ x / k.sum()
            if np.linalg.norm(c - old) <= 1e-8 * h:
                break
        ends.append((k.sum(), c))
    modes = []
    for mass, c in sorted(ends, key=lambda end: -end[0]):
        if all(np.linalg.norm(c - m) > h for _, m in modes):
            modes.append((mass, c))
    return [np.array(v) for v in zip(*modes, strict=True)]


@pytest.mark.parametrize('bits', [32, 64])
def test_gaussian(bits):
    tol = {32: 1e-6, 64: 1e-8}[bits]
    seeds = BLOBS[:60]
    mass, centers = by_hand(BLOBS, 1.5, seeds)
    model = ours.mean_shift(bandwidth=1.5, kernel='gaussian', seeds=seeds, tol=tol, max_iter=1000)
    state, labels = fit(bits, model, BLOBS)
    assert state.n_modes == len(centers) > 1 and state.converged
    assert np.array_equal(labels, ((BLOBS[:, None] - centers[None]) ** 2).sum(-1).argmin(1))
    for what, a, b in (('centers', state.centers, centers), ('densities', state.intensity, mass)):
        compare('mean_shift', 'the formula in NumPy', f'Gaussian, {what}, f{bits}', a[:len(b)], b,
                1e-5 if bits == 32 else 1e-7, relative=True)


@pytest.mark.parametrize('bits', [32, 64])
@pytest.mark.parametrize('x', [IRIS, BLOBS], ids=['iris', 'blobs'])
def test_bandwidth(x, bits):
    ask = jax.jit(ours.estimate_bandwidth)
    for quantile in (0.001, 0.1, 0.3, 1.0):
        peer = cluster.estimate_bandwidth(x, quantile=quantile)
        with jax.enable_x64(bits == 64):
            found = ask(jnp.asarray(x, f'float{bits}'), quantile=quantile)
        if quantile == 0.001:
            assert found == peer == 0       # the nearest row of each is itself
        else:
            compare('estimate_bandwidth', 'sklearn.cluster.estimate_bandwidth',
                    f'{len(x)} rows, quantile {quantile}, f{bits}', found, peer, 1e-6 if bits == 32 else 1e-12,
                    relative=True)


def test_bandwidth_of_weighted_rows():
    with jax.enable_x64(True):
        found = ours.estimate_bandwidth(BLOBS, quantile=0.2, weight=W)
    peer = cluster.estimate_bandwidth(np.repeat(BLOBS, W, axis=0), quantile=0.2)
    compare('estimate_bandwidth', 'sklearn.cluster.estimate_bandwidth', 'weights as repeated rows, f64', found, peer,
            1e-12, relative=True)


def test_the_face():
    peer, model = cluster.MeanShift().fit(BLOBS), faces.MeanShift().fit(BLOBS)
    assert np.array_equal(model.labels_, peer.labels_) and np.array_equal(model.predict(BLOBS), model.labels_)
    compare('MeanShift', 'sklearn.cluster.MeanShift', 'centers with its own bandwidth, f64', model.cluster_centers_,
            peer.cluster_centers_, 1e-10, relative=True)


def test_wrong_arguments():
    with pytest.raises(ValueError, match='bandwidth: expected above 0, found 0'):
        ours.mean_shift(bandwidth=0.0)
    with pytest.raises(ValueError, match='kernel: expected one of flat, gaussian'):
        ours.mean_shift(kernel='round')
    with pytest.raises(ValueError, match=r'seeds: expected \[seeds, 3\], found shape \(5, 2\)'):
        ours.mean_shift(bandwidth=1.0, seeds=np.ones((5, 2))).fit(KEY, BLOBS)
    with pytest.raises(ValueError, match='quantile: expected at least 0, at most 1'):
        ours.estimate_bandwidth(BLOBS, quantile=1.2)
    with pytest.raises(ValueError, match='bandwidth: expected one above 0, found 0 by the estimate'):
        ours.mean_shift().fit(KEY, np.ones((20, 2)))
    state = ours.mean_shift(bandwidth=1.0, seeds=np.full((2, 3), -1e4)).fit(KEY, BLOBS)     # nothing near: no mode
    assert state.n_modes == 0 and (np.asarray(ours.predict(state, BLOBS)) == -1).all()
