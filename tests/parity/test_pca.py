"""Principal components against scikit-learn's, up to sign, and the signs by its rule."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from parity_ledger import compare
from sklearn import decomposition
from sklearn.datasets import load_digits, load_iris

from levels.level1_classical import sklearn_api as faces
from levels.level1_classical.unsupervised import pca as ours

KEY = jax.random.key(0)
IRIS = load_iris().data + 100       # far from zero: products of rows that are not centred would lose five digits
RNG = np.random.default_rng(0)
MIX = RNG.normal(size=(20, 20)) * 0.7 ** np.arange(20)[None]
WIDE = RNG.normal(size=(12, 20)) @ MIX + 5
TALL = RNG.normal(size=(9000, 20)) @ MIX + 5          # three chunks, the last one short
DIGITS = load_digits().data[:600, :40] + 0.01 * RNG.normal(size=(600, 40))


def run(bits, model, x, weight=None):
    with jax.enable_x64(bits == 64):
        x, weight = (None if v is None else jnp.asarray(v, f'float{bits}') for v in (x, weight))
        state = jax.jit(model.fit)(KEY, x, None, weight)
        Z = model.transform(state, x)
        assert Z.dtype == f'float{bits}'
        found = state if isinstance(state, ours.PCA) else state.summary()
        return jax.device_get((found, Z, model.inverse(state, Z)))


def fields(state, peer):
    names = ('explained_variance', 'explained_variance_ratio', 'singular_values')
    return ({n: getattr(state, n) for n in names}, {n: getattr(peer, f'{n}_') for n in names})


@pytest.mark.parametrize('bits', [32, 64])
@pytest.mark.parametrize('solver', ['full', 'eigh', 'randomised'])
@pytest.mark.parametrize(('name', 'x', 'k'), [('iris', IRIS, 3), ('tall', TALL, 5), ('wide', WIDE, 6)])
def test_pca(name, x, k, solver, bits):
    gate = 1e-5 if bits == 32 else 1e-10 if solver != 'randomised' else 1e-7
    for whiten in (False, True):
        peer = decomposition.PCA(k, whiten=whiten, svd_solver='full').fit(x)
        model = ours.pca(n_components=k, whiten=whiten, solver=solver, power_iterations=12)
        state, Z, back = run(bits, model, x)
        what = f'{name}, {solver}, f{bits}' + whiten * ', whitened'
        # equal with their signs: the rule is the same
        compare('pca', 'PCA(full)', f'components, {what}', state.components, peer.components_, gate)
        compare('pca', 'PCA(full)', f'variances, {what}', *fields(state, peer), gate, relative=True)
        top = peer.explained_variance_[0]       # what is left is a difference of sums as large as this
        compare('pca', 'PCA(full)', f'noise variance, {what}', state.noise_variance / top, peer.noise_variance_ / top,
                gate)
        compare('pca', 'PCA(full)', f'scores, {what}', Z, peer.transform(x), 2 * gate, relative=True)
        compare('pca', 'PCA(full)', f'inverse, {what}', back, peer.inverse_transform(peer.transform(x)), gate,
                relative=True)


@pytest.mark.parametrize('bits', [32, 64])
@pytest.mark.parametrize(('batch', 'k'), [(100, 8), (150, 40)])
def test_incremental(batch, k, bits):
    peer = decomposition.IncrementalPCA(k, batch_size=batch).fit(DIGITS)
    state, Z, _ = run(bits, ours.incremental_pca(n_components=k, batch_size=batch), DIGITS)
    gate = 1e-5 if bits == 32 else 1e-10
    name = f'{600 // batch} batches, {k} of 40, f{bits}'
    compare('incremental_pca', 'IncrementalPCA', f'variances, {name}', *fields(state, peer), gate,
            relative=True)
    compare('incremental_pca', 'IncrementalPCA', f'mean, {name}', state.mean, peer.mean_, gate, relative=True)
    compare('incremental_pca', 'IncrementalPCA', f'components, {name}', state.components[:8], peer.components_[:8],
            gate * 3)
    compare('incremental_pca', 'IncrementalPCA', f'scores, {name}', Z[:, :8], peer.transform(DIGITS)[:, :8], gate * 3,
            relative=True)


def test_partial_fit_of_the_face():
    model, peer = faces.IncrementalPCA(n_components=5), decomposition.IncrementalPCA(5)
    for batch in np.split(DIGITS, 4):
        model.partial_fit(batch), peer.partial_fit(batch)
    compare('IncrementalPCA', 'IncrementalPCA', 'partial_fit, f64', model.components_, peer.components_, 1e-10)
    compare('IncrementalPCA', 'IncrementalPCA', 'partial_fit, variances, f64', model.explained_variance_ratio_,
            peer.explained_variance_ratio_, 1e-10)
    assert list(model.get_feature_names_out()) == [f'incrementalpca{i}' for i in range(5)]
    assert model.n_samples_seen_ == 600


def test_a_fraction_of_the_variance_in_the_face():
    for fraction in (0.5, 0.9, 0.999):
        model, peer = faces.PCA(n_components=fraction).fit(DIGITS), decomposition.PCA(fraction).fit(DIGITS)
        assert model.n_components_ == peer.n_components_
        compare('PCA', 'PCA', f'scores of {fraction} of the variance, f64', model.transform(DIGITS),
                peer.transform(DIGITS), 1e-9, relative=True)
        compare('PCA', 'PCA', f'noise variance of {fraction} of the variance, f64', model.noise_variance_,
                peer.noise_variance_, 1e-9, relative=True)
    with pytest.raises(ValueError, match='n_components: expected'):
        faces.PCA(n_components=1.5).fit(DIGITS)
    with pytest.raises(ValueError, match="n_components: expected a whole number with solver='randomised'"):
        faces.PCA(n_components=0.5, solver='randomised').fit(DIGITS)
