"""t-SNE and UMAP: what must hold whatever the data, and for data that are out of the ordinary."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from levels.level1_classical.classification.svc import svc, svr
from levels.level1_classical.metrics_clusters import silhouette
from levels.level1_classical.neighbours import nearest
from levels.level1_classical.unsupervised.mean_shift import mean_shift
from levels.level1_classical.unsupervised.spectral import spectral_clustering
from levels.level1_classical.unsupervised.trustworthiness import trustworthiness
from levels.level1_classical.unsupervised.tsne import tsne
from levels.level1_classical.unsupervised.tsne_affinity import conditional
from levels.level1_classical.unsupervised.umap import umap

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 4)).astype(np.float32)
SHORT = {'tsne': tsne(perplexity=8.0, max_iter=60, early_iter=30), 'umap': umap(n_neighbors=8, n_epochs=20)}
FIT = {name: jax.jit(model.fit) for name, model in SHORT.items()}
ODD = {
    'equal rows': np.repeat(X[:15], 4, axis=0),
    'all rows equal': np.ones_like(X),
    'far from zero': X + np.float32(1e4),
    'tiny': X * np.float32(1e-12),
    'huge': X * np.float32(1e12),
    'two pieces': X + np.float32(1e3) * (np.arange(60) % 2)[:, None].astype(np.float32),
}


@pytest.mark.parametrize('name', FIT)
def test_same_key_same_bits_and_odd_data_stay_finite(name):
    a, b = FIT[name](KEY, X), FIT[name](KEY, X)
    assert all(np.array_equal(u, v) for u, v in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))
    for kind, data in ODD.items():
        Y = FIT[name](KEY, data).embedding
        assert jnp.isfinite(Y).all(), kind
        if kind == 'two pieces':        # rows next to each other in the map are of one piece
            near = np.asarray(jnp.sum((Y[:, None] - Y[None]) ** 2, -1) + 1e9 * jnp.eye(60)).argmin(1)
            assert (near % 2 == np.arange(60) % 2).all()


def test_other_keys_give_other_maps_where_chance_has_a_part():
    other = jax.random.key(1)
    assert not np.allclose(FIT['umap'](KEY, X).embedding, FIT['umap'](other, X).embedding, atol=0.1)
    assert np.array_equal(FIT['tsne'](KEY, X).embedding, FIT['tsne'](other, X).embedding)      # from the components
    drawn = jax.jit(tsne(perplexity=8.0, max_iter=60, early_iter=30, init='random').fit)
    assert not np.allclose(drawn(KEY, X).embedding, drawn(other, X).embedding, atol=1e-3)


@pytest.mark.parametrize('perplexity', [2.0, 8.0, 40.0])
def test_neighbourhoods_have_the_perplexity_asked_for(perplexity):
    d = jnp.sum((X[:, None] - X[None]) ** 2, -1) + jnp.where(jnp.eye(60) > 0, jnp.inf, 0)
    for scale in (1e-8, 1.0, 1e8):
        p = conditional(scale * d, perplexity)
        entropy = -jnp.sum(jnp.where(p > 0, p * jnp.log(jnp.where(p > 0, p, 1)), 0), 1)
        assert jnp.abs(jnp.exp(entropy) / perplexity - 1).max() < 1e-4 and (jnp.diagonal(p) == 0).all()


def test_tsne_says_when_it_has_converged():
    model = tsne(perplexity=8.0, max_iter=5000, early_iter=50, min_gradient=1e-3)
    state = jax.jit(model.fit)(KEY, X)
    assert state.converged and 100 <= state.steps < 5000 and state.steps % 50 == 0
    assert not FIT['tsne'](KEY, X).converged


def test_each_way_finds_the_map_of_groups():
    """Four groups far apart, in one, two and three dimensions: neighbours in the map are of one group."""
    group = np.arange(80) % 4
    data = (RNG.normal(size=(80, 5)) + 20 * np.eye(5)[group]).astype(np.float32)
    few = {'perplexity': 5.0, 'max_iter': 250, 'early_iter': 100}
    ways = [tsne(method='neighbours', **few), tsne(n_components=3, method='exact', init='random', **few),
            tsne(n_components=1, method='exact', **few), umap(n_epochs=100, n_components=3, init='pca')]
    for model in ways:
        Y = jax.jit(model.fit)(KEY, data).embedding
        near = np.asarray(jnp.sum((Y[:, None] - Y[None]) ** 2, -1) + 1e9 * jnp.eye(80)).argmin(1)
        assert np.mean(group[near] == group) > (0.99 if Y.shape[1] > 1 else 0.95)       # on a line few can pass


def test_new_rows_of_umap():
    state = FIT['umap'](KEY, X)
    transform = jax.jit(SHORT['umap'].transform)
    assert np.array_equal(transform(state, X), state.embedding)      # those it knows have their places
    new = X + np.float32(1e-3)
    placed = transform(state, new)
    assert not np.array_equal(placed, state.embedding)
    span = jnp.ptp(state.embedding, axis=0).max()
    assert jnp.median(jnp.linalg.norm(placed - state.embedding, axis=1)) < 0.15 * span


@pytest.mark.parametrize(('make', 'bad', 'message'), [
    (tsne, {'method': 'barnes'}, 'method: expected one of auto, exact, neighbours, grid'),
    (tsne, {'init': 'svd'}, 'init: expected one of pca, random'),
    (tsne, {'perplexity': 0.5}, 'perplexity: expected at least 1, found 0.5'),
    (tsne, {'learning_rate': 'fast'}, 'learning_rate: expected one of auto'),
    (tsne, {'learning_rate': 0.0}, 'learning_rate: expected above 0'),
    (tsne, {'method': 'grid', 'n_components': 3}, 'method: expected exact or neighbours for n_components=3'),
    (umap, {'init': 'svd'}, 'init: expected one of spectral, pca, random'),
    (umap, {'n_neighbors': 1}, 'n_neighbors: expected at least 2, found 1'),
    (umap, {'set_op_mix_ratio': 1.5}, 'set_op_mix_ratio: expected at least 0, at most 1'),
])
def test_wrong_hyperparameters_are_one_clear_line(make, bad, message):
    with pytest.raises(ValueError, match=message) as error:
        make(**bad)
    assert '\n' not in str(error.value)


def test_wrong_data_are_one_clear_line():
    for make in (tsne, umap):
        with pytest.raises(ValueError, match='X: expected at least 2 rows, found 1'):
            make().fit(KEY, X[:1])
        with pytest.raises(ValueError, match=r'init: expected a map \[60, 2\], found shape \(59, 2\)'):
            make(init=X[:59, :2]).fit(KEY, X)
    with pytest.raises(ValueError, match='n_neighbors: expected a number where perplexity is traced'):
        jax.vmap(lambda p: tsne(perplexity=p).fit(KEY, X).kl)(jnp.array([5.0, 6.0]))
    with pytest.raises(ValueError, match='Y: expected 60 rows as in X, found 59'):
        trustworthiness(X, X[:59])
    with pytest.raises(ValueError, match='n_neighbors: expected 1 or more, below half the rows'):
        trustworthiness(X, X, n_neighbors=30)


def sizes(jaxpr):
    """The number of entries of everything that a program computes, inner programs included."""
    for eqn in jaxpr.eqns:
        yield from (v.aval.size for v in eqn.outvars)
        for value in jax.tree.leaves(list(eqn.params.values()), is_leaf=lambda v: hasattr(v, 'eqns')):
            inner = getattr(value, 'jaxpr', value)
            if hasattr(inner, 'eqns'):
                yield from sizes(inner)


@pytest.mark.parametrize('name', ['grid', 'neighbours', 'umap', 'trustworthiness', 'nearest', 'nearest manhattan',
                                  'spectral rbf', 'spectral neighbours', 'svc', 'svr', 'mean shift', 'silhouette'])
def test_nothing_as_large_as_all_pairs_is_held(name):
    rows = 50_000
    data = jax.ShapeDtypeStruct((rows, 20), jnp.float32)
    fits = {'grid': tsne(method='grid').fit, 'neighbours': tsne(method='neighbours').fit, 'umap': umap().fit,
            'trustworthiness': lambda key, x: trustworthiness(x, x[:, :2]), 'nearest': lambda key, x: nearest(x, x, 10),
            'nearest manhattan': lambda key, x: nearest(x, x, 10, metric='manhattan'),
            'spectral rbf': spectral_clustering(n_clusters=2, n_init=1).fit,
            'spectral neighbours': spectral_clustering(n_clusters=2, n_init=1, affinity='nearest_neighbors').fit,
            'svc': lambda key, x: svc(probability=True).fit(key, x, (x[:, 0] > 0).astype(jnp.int32)),
            'svr': lambda key, x: svr().fit(key, x, x[:, 0]), 'mean shift': mean_shift().fit,
            'silhouette': lambda key, x: silhouette(x, (x[:, 0] > 0).astype(jnp.int32), n_clusters=2)}
    largest = max(sizes(jax.make_jaxpr(fits[name])(KEY, data).jaxpr))
    assert rows * 20 <= largest < rows**2 / 50
