"""Silhouettes and the adjusted Rand index against scikit-learn's."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from parity_ledger import compare
from sklearn import metrics
from sklearn.datasets import make_blobs

from levels.level1_classical import metrics_clusters as ours

X, Y = make_blobs(300, 4, centers=5, cluster_std=2.5, random_state=0)
X = X + 50
RNG = np.random.default_rng(0)
LABELS = {'truth': Y, 'random': RNG.integers(0, 5, 300), 'one alone': np.where(np.arange(300) == 7, 5, Y % 2)}


@pytest.mark.parametrize('bits', [32, 64])
def test_silhouette(bits):
    gate = 2e-6 if bits == 32 else 1e-12
    with jax.enable_x64(bits == 64):
        x = jnp.asarray(X, f'float{bits}')
        samples = jax.jit(lambda x, l: ours.silhouette_samples(x, l, n_clusters=6))
        for name, labels in LABELS.items():         # two chunks, the last one short; clusters 2 to 4 may have no rows
            found = samples(x, labels)
            assert found.dtype == x.dtype
            compare('silhouette_samples', 'sklearn.metrics.silhouette_samples', f'{name}, f{bits}', found,
                    metrics.silhouette_samples(X, labels), gate)
            compare('silhouette', 'sklearn.metrics.silhouette_score', f'{name}, f{bits}',
                    ours.silhouette(x, labels, n_clusters=6), metrics.silhouette_score(X, labels), gate / 2)


def test_rows_that_are_equal_have_silhouettes_too():
    x, labels = np.ones((6, 2)), np.arange(6) % 2
    assert (np.asarray(ours.silhouette_samples(x, labels, n_clusters=2)) == 0).all()


@pytest.mark.parametrize('bits', [32, 64])
def test_adjusted_rand(bits):
    with jax.enable_x64(bits == 64):
        ask = jax.jit(lambda a, b: ours.adjusted_rand(a, b, n_clusters=6))
        for name, labels in LABELS.items():
            for other, theirs in LABELS.items():
                compare('adjusted_rand', 'sklearn.metrics.adjusted_rand_score', f'{name} and {other}, f{bits}',
                        ask(labels, theirs), metrics.adjusted_rand_score(labels, theirs), 1e-6 if bits == 32 else 1e-12)
        assert ask(Y, (Y + 2) % 5) == 1 and ask(0 * Y, 0 * Y) == 1
        alone = np.arange(300)
        assert ours.adjusted_rand(alone, alone, n_clusters=300) == 1
        big = RNG.integers(0, 3, (2, 200_000))
        compare('adjusted_rand', 'sklearn.metrics.adjusted_rand_score', f'200,000 rows by chance, f{bits}', ask(*big),
                metrics.adjusted_rand_score(*big), 1e-6 if bits == 32 else 1e-12)


def test_wrong_arguments():
    with pytest.raises(ValueError, match=r'labels: expected whole numbers \[300\], found int'):
        ours.silhouette(X, Y[:10], n_clusters=5)
    with pytest.raises(ValueError, match=r'labels: expected whole numbers \[300\], found float32'):
        ours.silhouette(X, Y.astype('float32'), n_clusters=5)
    with pytest.raises(ValueError, match='labels: expected 0 to 3, found others'):
        ours.silhouette(X, Y, n_clusters=4)
    with pytest.raises(ValueError, match='n_clusters: expected at least 2, found 1'):
        ours.silhouette(X, 0 * Y, n_clusters=1)
    with pytest.raises(ValueError, match=r'b: expected whole numbers \[300\]'):
        ours.adjusted_rand(Y, Y[:5], n_clusters=5)
