"""t-SNE against scikit-learn: P, gradient and divergence, whole maps, trustworthiness."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from parity_ledger import compare
from scipy.spatial.distance import squareform
from sklearn import manifold
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.manifold import _t_sne as peer
from sklearn.metrics import pairwise_distances
from sklearn.neighbors import NearestNeighbors

from levels.level1_classical.neighbours import nearest
from levels.level1_classical.unsupervised import tsne_forces as forces
from levels.level1_classical.unsupervised.trustworthiness import trustworthiness
from levels.level1_classical.unsupervised.tsne import start, tsne
from levels.level1_classical.unsupervised.tsne_affinity import conditional, joint
from levels.level1_classical.unsupervised.tsne_grid import grid_repulsion, kernel_tables

KEY = jax.random.key(0)
DIGITS = load_digits().data
X = DIGITS[:300]
RNG = np.random.default_rng(0)
LOOSE = X + 0.1 * RNG.normal(size=X.shape)      # no equal distances, of which either may be the last neighbour


def their_p(x, perplexity):
    return peer._joint_probabilities(pairwise_distances(x, squared=True), perplexity, 0)


def sparse_p(x, perplexity, k):
    """(scikit-learn's matrix, our neighbours and p(j | i))."""
    graph = NearestNeighbors(n_neighbors=k).fit(x).kneighbors_graph(mode='distance')
    graph.data **= 2
    found = nearest(jnp.asarray(x), jnp.asarray(x), k, exclude_self=True)
    p = conditional(found.distances**2, perplexity)
    return peer._joint_probabilities_nn(graph, perplexity, 0), found.indices, p


@pytest.mark.parametrize('bits', [32, 64])
@pytest.mark.parametrize('perplexity', [5.0, 30.0])
def test_joint_probabilities(bits, perplexity):
    with jax.enable_x64(bits == 64):
        ours = jax.jit(joint)(jnp.asarray(X, f'float{bits}'), perplexity)
        compare('tsne', '_joint_probabilities', f'P, perplexity {perplexity:g}, f{bits}', ours,
                squareform(their_p(X, perplexity)), 1e-5, relative=True)
        assert ours.sum() == pytest.approx(1, abs=1e-5) and (jnp.diagonal(ours) == 0).all()


def test_joint_probabilities_of_neighbours():
    with jax.enable_x64(True):
        theirs, neighbours, p = sparse_p(LOOSE, 20.0, 61)
        dense = np.zeros((300, 300))
        dense[np.arange(300)[:, None], neighbours] = p
        compare('tsne', '_joint_probabilities_nn', 'P, perplexity 20, f64', (dense + dense.T) / 600, theirs.toarray(),
                1e-5, relative=True)


@pytest.mark.parametrize(('k', 'scale'), [(1, 5.0), (2, 1e-4), (2, 20.0)])
def test_gradient_and_divergence(k, scale):
    p = their_p(X, 30.0)
    Y = scale * RNG.normal(size=(300, k))
    kl, slope = peer._kl_divergence(Y.ravel(), p, 1, 300, k)
    slope = slope.reshape(300, k)
    name = f'{k} dimensions of size {scale:g}'
    for bits, slope_gate, kl_gate in ((64, 1e-10, 1e-10), (32, 3e-4, 1e-5)):    # of wide maps, near pairs cancel
        with jax.enable_x64(bits == 64):
            P, Y = jnp.asarray(squareform(p), f'float{bits}'), jnp.asarray(Y, f'float{bits}')
            compare('tsne', '_kl_divergence', f'gradient, {name}, f{bits}', forces.exact_gradient(P, Y), slope,
                    slope_gate, relative=True)
            compare('tsne', '_kl_divergence', f'divergence, {name}, f{bits}', forces.divergence(P, Y), kl, kl_gate)


def test_gradient_in_three_dimensions_is_the_derivative():
    """scikit-learn's is not: it lacks the root by which two degrees of freedom differ from one. Its divergence is ours,
    so differences of that are the peer."""
    p, Y, h = their_p(X[:40], 5.0), RNG.normal(size=(40, 3)), 1e-5
    kl = lambda Y: peer._kl_divergence(Y.ravel(), p, 2, 40, 3)[0]
    basis = h * np.eye(120).reshape(120, 40, 3)
    slope = np.array([(kl(Y + e) - kl(Y - e)) / (2 * h) for e in basis]).reshape(40, 3)
    with jax.enable_x64(True):
        P, Y = jnp.asarray(squareform(p)), jnp.asarray(Y)
        compare('tsne', 'differences of _kl_divergence', 'gradient, 3 dimensions, f64', forces.exact_gradient(P, Y),
                slope, 1e-7, relative=True)
        more = forces.exact_gradient(P, Y, 12.0) - forces.exact_gradient(P, Y)
        near = forces.exact_gradient(P, Y) - forces.exact_gradient(0 * P, Y)
        assert jnp.abs(more - 11 * near).max() < 1e-9 * jnp.abs(more).max()


@pytest.mark.parametrize('k', [2, 3])
def test_gradient_of_neighbours(k):
    """Barnes-Hut with angle 0 sums all pairs, in float32; in three dimensions the whole matrix is the peer."""
    Y = (5 * RNG.normal(size=(300, k))).astype(np.float32)
    with jax.enable_x64(True):
        theirs, neighbours, p = sparse_p(LOOSE, 20.0, 61)
        kl, slope = peer._kl_divergence_bh(Y.ravel(), theirs, k - 1, 300, k, angle=0.0)
        if k == 3:
            slope = forces.exact_gradient(jnp.asarray(theirs.toarray()), jnp.asarray(Y, jnp.float64))
    neighbours, p, Y = jnp.asarray(neighbours, jnp.int32), jnp.asarray(p, jnp.float32), jnp.asarray(Y)
    far, Z = forces.repulsion(Y)
    ours = 2 * k / (k - 1) * (forces.attraction(Y, neighbours, p) - far / Z)
    name = '_kl_divergence_bh, angle 0' if k == 2 else 'the whole matrix, f64'
    compare('tsne', name, f'gradient of neighbours, {k} dimensions, f32', ours, slope.reshape(300, k), 2e-5,
            relative=True)
    plogp = np.sum(theirs.data * np.log(theirs.data))
    compare('tsne', '_kl_divergence_bh, angle 0', f'divergence of neighbours, {k} dimensions, f32',
            plogp + jnp.log(Z) - forces.closeness(Y, neighbours, p), kl, 1e-4)


def test_grid_is_within_a_percent_of_all_pairs():
    """Through sizes of map: a start, a ball, a map, and one too wide for any grid."""
    tables = kernel_tables(jnp.float32)
    run = jax.jit(grid_repulsion)
    shape = RNG.normal(size=(2000, 2)) * np.array([1.0, 0.6]) + RNG.integers(0, 5, (2000, 1))
    for size, gate in ((1e-4, 1e-3), (1.0, 0.01), (20.0, 0.02), (200.0, 1e-5)):
        Y = jnp.asarray(size * shape + 7, jnp.float32)
        far, Z = run(Y, tables)
        exactly, total = forces.repulsion(Y)
        # the error of a whole map, as single forces may vanish
        error = jnp.linalg.norm(far - exactly) / jnp.linalg.norm(exactly)
        compare('tsne', 'all pairs', f'repulsion by the grid, map of size {size:g}', error, 0.0, gate)
        compare('tsne', 'all pairs', f'Z by the grid, map of size {size:g}', Z, total, 5e-3, relative=True)


def test_start_is_the_principal_components():
    theirs = PCA(2, svd_solver='full').fit_transform(DIGITS)
    theirs = theirs / theirs[:, 0].std() * 1e-4
    ours = start(KEY, jnp.asarray(DIGITS, jnp.float32), 2, 'pca')
    compare('tsne', 'sklearn.decomposition.PCA', 'first map', ours, theirs, 1e-5, relative=True)


@pytest.mark.parametrize('k', [1, 5, 12])
def test_trustworthiness(k):
    data = LOOSE[:200]
    maps = PCA(2).fit_transform(data), RNG.normal(size=(200, 2))
    for name, Y in zip(('components', 'noise'), maps, strict=True):
        theirs = manifold.trustworthiness(data, Y, n_neighbors=k)
        ours = trustworthiness(jnp.asarray(data, jnp.float32), jnp.asarray(Y, jnp.float32), n_neighbors=k)
        compare('trustworthiness', 'sklearn.manifold.trustworthiness', f'{k} neighbours, {name}', ours, theirs, 1e-5)


def judged(name, state, theirs, data, two_sided):
    """The gates of topics.md: divergence within 2 %, trustworthiness at least theirs - 0.01; better is no error."""
    kl = float(state.kl) if two_sided else max(float(state.kl), theirs.kl_divergence_)
    compare('tsne', 'sklearn.manifold.TSNE', f'divergence, {name}', kl, theirs.kl_divergence_, 0.02, relative=True)
    good = manifold.trustworthiness(data, theirs.embedding_)
    ours = manifold.trustworthiness(data, np.asarray(state.embedding))
    compare('tsne', 'sklearn.manifold.TSNE', f'trustworthiness below theirs, {name}', max(good - ours, 0), 0.0, 0.01)
    return ours


def test_descent_takes_the_same_steps():
    """50 steps from one start; what rounding does to two runs doubles every few steps, so that longer ones part."""
    begin = 1e-4 * RNG.normal(size=(250, 2))
    theirs = peer._gradient_descent(
        peer._kl_divergence, begin.ravel(), 0, 50, momentum=0.5, learning_rate=50.0, n_iter_check=50,
        args=[12 * their_p(X[:250], 30.0), 1, 250, 2], kwargs={'skip_num_points': 0})[0]
    with jax.enable_x64(True):
        state = jax.jit(tsne(method='exact', max_iter=50, init=begin).fit)(KEY, X[:250])
        compare('tsne', '_gradient_descent', 'map after 50 steps, f64', state.embedding, theirs.reshape(250, 2), 1e-8,
                relative=True)


def test_map_of_a_sheet():
    """A bent sheet has one best map; of digits, small samples have several, and rounding chooses among them."""
    flat = RNG.uniform(size=(250, 2)) * [3, 2]
    data = np.stack([*flat.T, np.sin(flat[:, 0]), np.cos(flat[:, 1])], 1).astype(np.float32)
    theirs = manifold.TSNE(method='exact', random_state=0, max_iter=600).fit(data)
    for method in ('exact', 'grid'):
        state = jax.jit(tsne(method=method, max_iter=600, n_neighbors=249).fit)(KEY, data)
        assert judged(f'{method}, a bent sheet', state, theirs, data, True) > 0.99
        assert state.steps == 600 and not state.converged


@pytest.mark.slow
@pytest.mark.parametrize('method', ['neighbours', 'grid'])
def test_map_of_digits(method):
    """Barnes-Hut's forces are off by a little more than ours, which leaves its divergence a little larger."""
    data = DIGITS.astype(np.float32)
    theirs = manifold.TSNE(random_state=0).fit(data)
    state = jax.jit(tsne(method=method).fit)(KEY, data)
    assert judged(f'{method}, 1797 digits', state, theirs, data, False) > 0.99
