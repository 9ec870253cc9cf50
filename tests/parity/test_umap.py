"""UMAP against umap-learn, which is fed our exact neighbours as its own are random."""
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from parity_ledger import compare
from scipy.sparse import coo_array
from scipy.spatial.distance import cdist
from sklearn import manifold
from sklearn.datasets import load_digits
from umap import UMAP, umap_

from levels.level1_classical.neighbours import nearest
from levels.level1_classical.unsupervised.umap import fuzzy_set, umap
from levels.level1_classical.unsupervised.umap_graph import curve, memberships, smooth
from levels.level1_classical.unsupervised.umap_layout import layout
from levels.level1_classical.unsupervised.umap_spectral import eigenmap

KEY = jax.random.key(0)
DIGITS = load_digits(return_X_y=True)
RNG = np.random.default_rng(0)
X = (DIGITS[0][:200] + 0.1 * RNG.normal(size=(200, 64))).astype(np.float32)     # no equal distances


@pytest.mark.parametrize(('spread', 'min_dist'), [(1.0, 0.1), (1.0, 0.0), (1.0, 0.8), (2.5, 0.5)])
def test_curve(spread, min_dist):
    theirs = umap_.find_ab_params(spread, min_dist)
    compare('umap', 'find_ab_params', f'a, b of spread {spread:g}, min_dist {min_dist:g}, f32', jax.jit(curve)(
        spread, min_dist), np.array(theirs), 1e-4, relative=True)


def with_self(x, k):
    """Distances and numbers of k nearest rows, the row itself the first."""
    d, i = nearest(x, x, k - 1, exclude_self=True)
    return (np.concatenate([np.zeros((len(x), 1), np.float32), d], 1),
            np.concatenate([np.arange(len(x))[:, None], i], 1).astype(np.int64))


@pytest.mark.parametrize('connectivity', [0.0, 1.0, 1.6, 3.0])
def test_smooth_distances(connectivity):
    data = np.concatenate([X[:100], X[:30], X[:5], X[:5]])      # some rows two or four times: distances of 0
    d, _ = with_self(data, 12)
    theirs_s, theirs_r = umap_.smooth_knn_dist(d, 12.0, local_connectivity=connectivity)
    r, s = jax.jit(smooth)(d, connectivity)
    name = f'local connectivity {connectivity:g}, f32'
    compare('umap', 'smooth_knn_dist', f'widths, {name}', s, theirs_s, 1e-4, relative=True)
    if connectivity > 0:
        compare('umap', 'smooth_knn_dist', f'nearest, {name}', r, theirs_r, 1e-5, relative=True)
    else:
        assert not r.any() and not theirs_r.any()


@pytest.mark.parametrize(('k', 'mix'), [(15, 1.0), (5, 0.3)])
def test_fuzzy_set(k, mix):
    d, i = with_self(X, k)
    theirs = umap_.fuzzy_simplicial_set(X, k, np.random.RandomState(0), 'euclidean', knn_indices=i, knn_dists=d,
                                        set_op_mix_ratio=mix)[0].toarray()
    neighbours, s, mutual = jax.jit(lambda x: fuzzy_set(x, k, mix=mix))(X)
    rows = np.broadcast_to(np.arange(200)[:, None], neighbours.shape)
    dense = np.zeros((200, 200))
    dense[rows, neighbours] = s
    listed = np.zeros((200, 200), bool)
    listed[rows, neighbours] = True
    assert (listed.T[rows, neighbours] == mutual).all() and 0.2 < mutual.mean() < 0.9
    compare('umap', 'fuzzy_simplicial_set', f'weights, {k} neighbours, mix {mix:g}, f32', np.maximum(dense, dense.T),
            theirs, 1e-4)


def test_fuzzy_set_of_new_rows():
    d = np.sort(cdist(X[150:], X[:150]), 1)[:, :10].astype(np.float32)
    s, r = umap_.smooth_knn_dist(d, 10.0, local_connectivity=0.0)
    theirs = umap_.compute_membership_strengths(np.arange(500).reshape(50, 10), d, s, r, bipartite=True)[2]
    ours = memberships(jnp.asarray(d), *smooth(jnp.asarray(d), 0.0))
    compare('umap', 'compute_membership_strengths', 'weights of new rows, f32', ours, theirs.reshape(50, 10), 1e-4)


def test_spectral_start():
    """The subspace that numpy's eigenvectors span; the graph has more rows than the basis has columns."""
    neighbours, s, mutual = fuzzy_set(jnp.asarray(X), 15)
    rows = np.broadcast_to(np.arange(200)[:, None], neighbours.shape)
    half = coo_array((np.asarray(jnp.where(mutual, s / 2, s)).ravel(), (rows.ravel(), np.asarray(neighbours).ravel())))
    S = (half + half.T).toarray()
    root = 1 / np.sqrt(S.sum(1))
    _, vectors = np.linalg.eigh(root[:, None] * S * root[None])
    theirs = vectors[:, -3:-1]
    ours = np.asarray(eigenmap(KEY, neighbours, jnp.where(mutual, s / 2, s), 2), np.float64)
    compare('umap', 'numpy.linalg.eigh', 'projection on the eigenvectors, f32', ours @ ours.T, theirs @ theirs.T, 1e-4)


def test_layout_of_two_rows_follows_the_gradient():
    """One edge, no draws, one epoch: the paper's formula, in NumPy. The edge counts once in either direction."""
    Y, (a, b) = np.array([[0.0, 1.0], [2.0, 0.5]]), (1.577, 0.895)
    theirs = Y.copy()
    for head, tail in ((0, 1), (1, 0)):
        gap = theirs[head] - theirs[tail]
        d2 = gap @ gap
        step = np.clip(-2 * a * b * d2 ** (b - 1) / (1 + a * d2**b) * gap, -4, 4)
        theirs[head] += 0.1 * step
        theirs[tail] -= 0.1 * step
    with jax.enable_x64(True):
        # in one column both rows act from where they stand: two columns, each with one of the edges
        args = jnp.array([[1, 1], [0, 0]]), jnp.array([[1.0, 0.0], [0.0, 1.0]]), jnp.ones((2, 2), bool)
        ours = layout(KEY, jnp.asarray(Y), *args, a, b, epochs=1, negatives=0, learning_rate=0.1)
        compare('umap', 'the formula in NumPy', 'one epoch of one edge, f64', ours, theirs, 1e-12)


def trust(data, Y):
    return manifold.trustworthiness(data, np.asarray(Y), n_neighbors=10)


def judged(name, ours, theirs):
    """At least theirs - 0.01; better is no error."""
    compare('umap', 'umap.UMAP', name, max(np.mean(theirs) - np.mean(ours), 0), 0.0, 0.01)


def test_trustworthiness():
    data = DIGITS[0][:400].astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')     # a seed leaves umap-learn one thread, which it says
        theirs = [trust(data, UMAP(n_epochs=200, random_state=s).fit_transform(data)) for s in range(3)]
    run = jax.jit(umap(n_epochs=200).fit)
    ours = [trust(data, run(jax.random.key(s), data).embedding) for s in range(3)]
    judged('trustworthiness below theirs, 400 digits, mean of 3 seeds', ours, theirs)
    assert min(ours) > 0.97


@pytest.mark.slow
def test_map_and_new_rows_of_all_digits():
    data, labels = DIGITS[0].astype(np.float32), DIGITS[1]
    train, new = np.arange(1797) % 3 > 0, np.arange(1797) % 3 == 0
    model = umap()
    fit, transform = jax.jit(model.fit), jax.jit(model.transform)
    found = {'whole': ([], []), 'new': ([], []), 'labels': ([], [])}

    def add(side, Y, Y_new):
        near = cdist(Y_new, Y).argmin(1)
        found['whole'][side].append(trust(data[train], Y))
        found['new'][side].append(trust(np.concatenate([data[train], data[new]]), np.concatenate([Y, Y_new])))
        found['labels'][side].append(np.mean(labels[train][near] == labels[new]))

    for seed in range(3):
        state = fit(jax.random.key(seed), data[train])
        add(0, np.asarray(state.embedding), np.asarray(transform(state, data[new])))
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            theirs = UMAP(random_state=seed).fit(data[train])
            add(1, theirs.embedding_, theirs.transform(data[new]))
    judged('trustworthiness below theirs, 1198 digits, mean of 3 seeds', *found['whole'])
    judged('trustworthiness with 599 new digits below theirs, mean of 3 seeds', *found['new'])
    judged('labels of the nearest place of new digits below theirs, mean of 3 seeds', *found['labels'])
    assert np.mean(found['labels'][0]) > 0.95
    print(found)
