"""Faces of the maps."""

from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import validate_data

from levels.level1_classical.sklearn_api.face import TYPES, Face
from levels.level1_classical.unsupervised.tsne import tsne
from levels.level1_classical.unsupervised.umap import umap


class MapFace(ClassNamePrefixFeaturesOutMixin, Face):
    """The maps: embedding_ [rows, n_components]; each number of rows has a program of its own."""

    _pads = False

    def fit(self, X, y=None):
        X = validate_data(self, X, dtype=TYPES, ensure_min_samples=2)
        self._fit(X, None, None)
        self.embedding_ = self.state_.embedding
        return self

    def fit_transform(self, X, y=None):
        return self.fit(X).embedding_

    @property
    def _n_features_out(self) -> int:
        return self.embedding_.shape[1]


class TSNE(MapFace, factory=tsne, random=True):
    """t-SNE, without transform as scikit-learn's own; the face of `unsupervised.tsne.tsne`.

    Formula: minimise KL(P || Q), P the neighbourhoods of the data and Q those of the map.
    Paper: van der Maaten, Hinton 2008, Visualizing data using t-SNE, JMLR 9.
    Shapes: X [rows, features] -> embedding_ [rows, n_components], kl_divergence_.
    Errors: ValueError from scikit-learn's validation, or for fewer than two rows, an unknown method or init.
    Example:
        X = jnp.concatenate([jnp.eye(5), 9 + jnp.eye(5)])
        model = TSNE(perplexity=3.0, max_iter=300, random_state=0)
        Y = model.fit_transform(X)
        assert Y.shape == (10, 2) and model.n_iter_ == 300
        model.kl_divergence_
    """

    _searches = False
    _static = ('perplexity',)       # says how many neighbours are looked at

    def fit(self, X, y=None):
        super().fit(X)
        self.kl_divergence_ = float(self.state_.kl)
        return self


class UMAP(TransformerMixin, MapFace, factory=umap, random=True):
    """UMAP; the face of `unsupervised.umap.umap`.

    Formula: edges of a fuzzy graph of neighbours attract, drawn rows repel, as the cross-entropy of the graph and the
        map asks.
    Paper: McInnes, Healy, Melville 2018, UMAP: uniform manifold approximation and projection, arXiv:1802.03426.
    Shapes: X [rows, features] -> embedding_ [rows, n_components]; transform: places for new rows.
    Errors: ValueError from scikit-learn's validation, or for fewer than two rows, an unknown init.
    Example:
        X = jnp.concatenate([jnp.eye(8), 9 + jnp.eye(8)])
        model = UMAP(n_neighbors=5, n_epochs=50, random_state=0)
        Y = model.fit_transform(X)
        assert Y.shape == (16, 2)
        model.transform(X[:3] + 0.01)
    """

    def transform(self, X):
        return self._apply('transform', X)
