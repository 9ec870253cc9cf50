"""The cases of the maps: few steps, as rounding grows from step to step, but large ones, so that there is a map."""
from estimator_case import BLOBS, Case

CASES = {
    'tsne': Case({'method': 'exact', 'perplexity': 4.0, 'max_iter': 6, 'early_iter': 3, 'learning_rate': 5.0,
                  'init': BLOBS[:, :2]}, {'perplexity': (3.0, 6.0), 'learning_rate': (1.0, 5.0)}, BLOBS, None,
                 weights=False),
    'umap': Case({'n_neighbors': 5, 'n_epochs': 2, 'init': BLOBS[:, :2], 'learning_rate': 0.1},
                 {'min_dist': (0.01, 0.4), 'repulsion_strength': (0.5, 2.0)}, BLOBS, None, weights=False),
}
