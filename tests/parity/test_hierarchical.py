"""Linkages against scipy's: the same merges in the same order, heights, cuts and dendrograms."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib.figure import Figure
from parity_ledger import compare
from scipy.cluster import hierarchy
from scipy.spatial.distance import pdist, squareform
from sklearn.cluster import AgglomerativeClustering

from levels.level1_classical import sklearn_api as faces
from levels.level1_classical.unsupervised import hierarchical as ours

RNG = np.random.default_rng(0)
X = (RNG.normal(size=(150, 4)) + 6 * RNG.normal(size=(5, 4)).repeat(30, 0) + 20).astype(np.float32).astype(float)
METHODS = ('ward', 'single', 'complete', 'average')


def tree(bits, x, **how):
    with jax.enable_x64(bits == 64):
        return jax.device_get(jax.jit(lambda x: ours.linkage(x, **how))(jnp.asarray(x, f'float{bits}')))


@pytest.mark.parametrize('bits', [32, 64])
@pytest.mark.parametrize('method', METHODS)
def test_linkage(method, bits):
    gate = 1e-5 if bits == 32 else 1e-10
    theirs = hierarchy.linkage(X, method)
    assert np.diff(theirs[:, 2]).min() > 1e-6       # no ties, not in float32 either
    for what, x, more in (('rows', X, {}), ('distances', squareform(pdist(X)), {'metric': 'precomputed'})):
        found = tree(bits, x, method=method, **more)
        assert np.array_equal(found[:, [0, 1, 3]], theirs[:, [0, 1, 3]])
        compare('linkage', 'scipy.cluster.hierarchy.linkage', f'heights, {method}, {what}, f{bits}', found[:, 2],
                theirs[:, 2], gate, relative=True)
    assert hierarchy.is_valid_linkage(found.astype(float))


def names(labels):
    """Labels by the first row of each, so that what they are called does not matter."""
    return [list(labels).index(label) for label in labels]


@pytest.mark.parametrize('method', METHODS)
def test_cut(method):
    merges = hierarchy.linkage(X, method)
    many = jax.jit(jax.vmap(lambda k: ours.cut(merges, n_clusters=k)))(jnp.arange(1, 151))
    for k in (1, 2, 5, 17, 149, 150):
        labels = np.asarray(many[k - 1])
        assert sorted(set(labels)) == list(range(k))
        assert names(labels) == names(hierarchy.fcluster(merges, k, 'maxclust'))
    for height in (0.0, *np.quantile(merges[:, 2], [0.3, 0.9]), 1e9):
        labels = np.asarray(ours.cut(merges, height=height))
        assert names(labels) == names(hierarchy.fcluster(merges, height, 'distance'))
    assert names(labels) == [0] * 150


@pytest.mark.parametrize('method', METHODS)
def test_dendrogram(method):
    merges = hierarchy.linkage(X, method)
    theirs = hierarchy.dendrogram(merges, no_plot=True)
    found = jax.device_get(jax.jit(ours.dendrogram)(jnp.asarray(merges, jnp.float32)))
    assert found.leaves.tolist() == theirs['leaves']
    order = np.argsort(np.asarray(theirs['dcoord'])[:, 1])      # scipy lists merges from the top down the left side
    compare('dendrogram', 'scipy.cluster.hierarchy.dendrogram', f'x, {method}', found.x,
            np.asarray(theirs['icoord'])[order], 1e-5, relative=True)
    compare('dendrogram', 'scipy.cluster.hierarchy.dendrogram', f'y, {method}', found.y,
            np.asarray(theirs['dcoord'])[order], 1e-6, relative=True)


def test_drawing_has_a_line_for_each_merge_and_a_colour_for_each_cluster():
    merges = hierarchy.linkage(X[::5], 'ward')
    axes = Figure().subplots()
    ours.draw_dendrogram(axes, merges, colors=5, labels=[f'row {i}' for i in range(30)])
    used = [line.get_color() for line in axes.lines[:29]]
    assert len(axes.lines) == 30 and set(used[:25]) == set(ours.COLORS[:5]) and set(used[25:]) == {'0.55'}
    assert axes.get_xticklabels()[0].get_text() == f'row {hierarchy.leaves_list(merges)[0]}'
    level = axes.lines[29].get_ydata()[0]
    assert merges[24, 2] < level < merges[25, 2]


@pytest.mark.parametrize('method', METHODS)
def test_the_face(method):
    peer = AgglomerativeClustering(5, linkage=method, compute_distances=True).fit(X)
    model = faces.AgglomerativeClustering(n_clusters=5, linkage=method).fit(X)
    assert names(model.labels_) == names(peer.labels_)
    assert np.array_equal(np.sort(model.children_, 1), np.sort(peer.children_, 1)) and model.n_leaves_ == 150
    compare('AgglomerativeClustering', 'AgglomerativeClustering', f'distances, {method}, f64', model.distances_,
            peer.distances_, 1e-10, relative=True)


def test_ties_and_rounding_leave_a_tree():
    """Points on a grid that are there thrice, and a simplex, where rounding would put a merge below its parts."""
    grid = np.stack(np.meshgrid(np.arange(6), np.arange(5)), -1).reshape(-1, 2) / 3
    for x in (np.concatenate([grid, grid, grid]) + 1000, 0.7 * np.eye(90)):
        for method in METHODS:
            found = tree(32, x, method=method).astype(float)
            assert hierarchy.is_valid_linkage(found) and (np.diff(found[:, 2]) >= 0).all() and found[-1, 3] == 90
            assert sorted(hierarchy.leaves_list(found)) == list(range(90))


def test_wrong_arguments():
    with pytest.raises(ValueError, match='X: expected at least two rows, found n_samples = 1'):
        ours.linkage(X[:1])
    with pytest.raises(ValueError, match='method: expected one of ward, single'):
        ours.linkage(X, method='median')
    with pytest.raises(ValueError, match=r'X: expected distances \[rows, rows\], found shape \(150, 4\)'):
        ours.linkage(X, metric='precomputed')
    with pytest.raises(ValueError, match='X: expected distances that are symmetric'):
        ours.linkage(np.arange(9.0).reshape(3, 3), metric='precomputed')
    merges = ours.linkage(X[:4])
    with pytest.raises(ValueError, match='n_clusters: expected at least 1, at most 4, found 5'):
        ours.cut(merges, n_clusters=5)
    with pytest.raises(ValueError, match='n_clusters, height: expected one of them'):
        ours.cut(merges)
    with pytest.raises(ValueError, match=r'merges: expected \[rows - 1, 4\]'):
        ours.dendrogram(X[:, :3])
