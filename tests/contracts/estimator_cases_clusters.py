"""The cases of the clusterings with centres."""
import jax.numpy as jnp
import numpy as np
from estimator_case import BLOBS, Case, X


def inertia(state, x, y):
    return jnp.sum(jnp.min(jnp.sum((x[:, None] - state.centers[None]) ** 2, -1), 1))


START = BLOBS[:3] + np.float32(0.8)
POOR = X[:3]        # X has no clusters, so that from here the search takes a while
CASES = {
    'kmeans': Case({'n_clusters': 3, 'init': POOR}, {'tol': (0.0, 1e-2)}, X, None, inertia, 'max_iter'),
    'minibatch_kmeans': Case({'n_clusters': 3, 'init': START, 'batch_size': 8, 'max_iter': 5},
                             {'tol': (0.0, 1e-2)}, BLOBS, None, inertia, random_rows=True,
                             rounds={'max_iter': (1, 2, 4, 32)},
                             summary=lambda model, states: states.centers.mean(0)),
}
