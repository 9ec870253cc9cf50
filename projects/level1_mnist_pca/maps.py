"""Maps of digits in two dimensions, by PCA, t-SNE and UMAP and by two random directions; and how good they are."""
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from levels.level1_classical.classification.knn import knn_classifier
from levels.level1_classical.estimator import exact
from levels.level1_classical.neighbours import nearest
from levels.level1_classical.unsupervised.pca import pca
from levels.level1_classical.unsupervised.trustworthiness import trustworthiness
from levels.level1_classical.unsupervised.tsne import tsne
from levels.level1_classical.unsupervised.umap import umap

NAMES = ('random', 'pca', 'tsne', 'umap')
BEFORE = 50         # components that t-SNE and UMAP are given
NEAR = 10           # neighbours by which maps are judged


class Map(NamedTuple):
    """Where the digits are, what their neighbours in the map say they are, and the same of new digits (or None)."""

    place: Float[np.ndarray, 'rows 2']
    trust: float
    guess: Int[np.ndarray, ' rows']
    new: Float[np.ndarray, 'new 2'] | None
    new_guess: Int[np.ndarray, ' new'] | None


@jax.jit
@exact
def judged(X, Y, labels):
    """(trustworthiness, the majority among each row's nearest others in the map: leave one out)."""
    near = nearest(Y, Y, NEAR, exclude_self=True).indices
    votes = jnp.sum(labels[near][:, :, None] == jnp.arange(10)[None, None], 1)
    return trustworthiness(X, Y, n_neighbors=NEAR), jnp.argmax(votes, 1)


@functools.lru_cache
def makers(rows: int, steps: int) -> dict:
    """name -> (fit, transform or None) from the first components; random directions are dealt with apart."""
    fit = lambda model: jax.jit(model.fit)
    slow, quick = tsne(max_iter=steps, early_iter=min(250, steps // 3)), umap(n_epochs=2 * steps // 3)
    return {'tsne': (fit(slow), None), 'umap': (fit(quick), jax.jit(quick.transform))}


def drawn(X, labels, new, *, seed: int, steps: int) -> dict[str, Map]:
    """The maps of one seed.  X [rows, pixels]; new [m, pixels] are placed where a map can do that, and none if m is 0.

    Labels have no part in the maps.
    """
    key = jax.random.key(seed)
    model = pca(n_components=min(BEFORE, *X.shape), solver='eigh')
    state = jax.jit(model.fit)(key, X)
    Z, Z_new = (np.asarray(model.transform(state, x)) if len(x) else None for x in (X, new))
    chance = np.asarray(jnp.linalg.qr(jax.random.normal(key, (X.shape[1], 2)))[0])
    places = {'random': (X @ chance, new @ chance), 'pca': (Z[:, :2], None if Z_new is None else Z_new[:, :2])}
    for i, (name, (fit, place)) in enumerate(makers(len(X), steps).items()):
        found = fit(jax.random.fold_in(key, i), Z)
        places[name] = found.embedding, None if place is None or Z_new is None else place(found, Z_new)
    near = knn_classifier(n_neighbors=NEAR, n_classes=10)
    vote = jax.jit(lambda Y, new: near.predict(near.fit(key, Y, labels), new))
    out = {}
    for name in NAMES:
        Y, Y_new = (None if v is None or not len(v) else np.asarray(v) for v in places[name])
        trust, guess = judged(X, Y, labels)
        out[name] = Map(Y, float(trust), np.asarray(guess), Y_new,
                        None if Y_new is None else np.asarray(vote(Y, Y_new)))
    return out
