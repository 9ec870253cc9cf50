"""The cases of the maps: few steps, as rounding grows from step to step, but large ones, so that there is a map."""
import jax.numpy as jnp
from estimator_case import BLOBS, Case

from levels.level1_classical.unsupervised.umap import fuzzy_set


def cross_entropy(state, x, y):
    """Of the weights of all pairs and what the distances of the map make of them."""
    neighbours, weights, _ = fuzzy_set(x, 5)
    rows = jnp.arange(len(x))
    v = jnp.zeros((len(x), len(x))).at[rows[:, None], neighbours].max(weights)
    v = jnp.maximum(v, v.T)
    away = state.a * jnp.sum((state.embedding[:, None] - state.embedding[None]) ** 2, -1) ** state.b
    both = jnp.log1p(away) - (1 - v) * jnp.log(jnp.maximum(away, 1e-3))
    return jnp.sum(jnp.where(rows[:, None] == rows[None], 0, both))


CASES = {
    'tsne': Case({'method': 'exact', 'perplexity': 4.0, 'max_iter': 6, 'early_iter': 3, 'learning_rate': 5.0,
                  'init': BLOBS[:, :2]}, {'perplexity': (3.0, 6.0), 'learning_rate': (1.0, 5.0)}, BLOBS, None,
                 lambda state, x, y: state.kl, 'max_iter',
                 {'early_iter': 0, 'learning_rate': 2.0, 'min_gradient': 5e-2}, weights=False),
    'umap': Case({'n_neighbors': 5, 'n_epochs': 2, 'init': BLOBS[:, :2], 'learning_rate': 0.1},
                 {'min_dist': (0.01, 0.4), 'repulsion_strength': (0.5, 2.0)}, BLOBS, None, cross_entropy,
                 solver={'learning_rate': 0.5}, weights=False, rounds={'n_epochs': (1, 5, 20, 400)}),
}
