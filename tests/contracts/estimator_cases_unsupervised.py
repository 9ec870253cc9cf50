"""The cases of the other unsupervised methods: components, hierarchies, modes, graphs."""
import jax.numpy as jnp
import numpy as np
from estimator_case import BLOBS, Case, X

STRETCHED = X * np.float32([1, 2, 4])       # axes that are told apart whichever rows are there twice
FAR = {'kernel': 'gaussian', 'seeds': X[:1] + 1}      # one seed, so that the state says where it stands


def density(state, x, y):
    return -jnp.sum(jnp.exp(-jnp.sum((x - state.centers[:1]) ** 2, 1) / (2 * 1.5**2)))


CASES = {
    'pca': Case({'n_components': 2, 'solver': 'eigh'}, {}, STRETCHED, None,
                direct='one eigendecomposition of the covariance', discrete='a number of components alone'),
    'incremental_pca': Case({'n_components': 3, 'batch_size': 7}, {}, STRETCHED, None,    # with all axes it is exact
                            direct='one decomposition for each batch', discrete='numbers of components and of rows'),
    'agglomerative': Case({'n_clusters': 3}, {}, BLOBS, None, weights=False,
                          direct='the nearest two are merged, rows - 1 times',
                          discrete='a number of clusters, and a name'),
    'mean_shift': Case({'bandwidth': 1.5}, {'bandwidth': (0.8, 1.5)}, BLOBS, None, density, 'max_iter', FAR, X,
                       summary=lambda model, state: state.centers[:3]),
    'spectral_clustering': Case({'n_clusters': 2, 'gamma': 0.1}, {'gamma': (0.1, 0.4)}, X, None,
                                lambda state, x, y: state.values.sum(), 'max_iter', {'solver': 'lanczos'},
                                weights=False),
}
