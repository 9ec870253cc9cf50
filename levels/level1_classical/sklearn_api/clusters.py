"""Faces of the clusterings with centres."""

from sklearn.base import ClassNamePrefixFeaturesOutMixin, ClusterMixin, TransformerMixin
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from levels.level1_classical.sklearn_api.face import TYPES, Face
from levels.level1_classical.unsupervised.kmeans import kmeans, minibatch_kmeans


class ClusterFace(ClassNamePrefixFeaturesOutMixin, TransformerMixin, ClusterMixin, Face):
    """The clusterings with centres: cluster_centers_, labels_, inertia_."""

    def fit(self, X, y=None, sample_weight=None):
        X = validate_data(self, X, dtype=TYPES)
        if self.n_clusters > len(X):
            raise ValueError(f'n_samples={len(X)} should be >= n_clusters={self.n_clusters}.')
        self._fit(X, None, sample_weight)
        self.cluster_centers_, self.inertia_ = self.state_.centers, float(self.state_.inertia)
        self.labels_ = self._call('predict', self.state_, X)[:len(X)]
        return self

    def predict(self, X):
        return self._apply('predict', X)

    def transform(self, X):
        return self._apply('transform', X)

    def score(self, X, y=None, sample_weight=None):
        check_is_fitted(self)
        X = validate_data(self, X, dtype=TYPES, reset=False)
        return float(self._call('score', self.state_, X, None, _check_sample_weight(sample_weight, X, dtype=X.dtype)))

    @property
    def _n_features_out(self) -> int:
        return len(self.cluster_centers_)


class KMeans(ClusterFace, factory=kmeans, random=True):
    """k-means; the face of `unsupervised.kmeans.kmeans`.

    Formula: minimise sum_i w_i min_c ||x_i - c||^2.
    Paper: Lloyd 1982, Least squares quantization in PCM; Arthur, Vassilvitskii 2007, k-means++.
    Shapes: X [rows, features] -> cluster_centers_ [k, features], labels_ [rows].
    Errors: ValueError from scikit-learn's validation, or for more clusters than rows, an unknown init.
    Example:
        X = jnp.array([[0.0], [1.0], [9.0], [8.0]])
        model = KMeans(n_clusters=2, n_init=3, random_state=0).fit(X)
        assert model.inertia_ == 1.0
        model.labels_                                        # [0, 0, 1, 1] or [1, 1, 0, 0]
    """


class MiniBatchKMeans(ClusterFace, factory=minibatch_kmeans, random=True):
    """Mini-batch k-means; the face of `unsupervised.kmeans.minibatch_kmeans`.

    Formula: of each batch, c <- (c n_c + sum of its rows) / (n_c + their number).
    Paper: Sculley 2010, Web-scale k-means clustering, WWW 2010.
    Shapes: X [rows, features] -> cluster_centers_ [k, features], labels_ [rows].
    Errors: ValueError from scikit-learn's validation, or for more clusters than rows, an unknown init.
    Example:
        X = jnp.array([[0.0], [1.0], [9.0], [8.0]])
        model = MiniBatchKMeans(n_clusters=2, batch_size=8, random_state=0).fit(X)
        assert model.labels_[0] == model.labels_[1] != model.labels_[2]
        model.transform(X).shape                             # (4, 2)
    """

    _searches = False
