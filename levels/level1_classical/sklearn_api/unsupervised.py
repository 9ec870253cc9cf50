"""Faces of the clusterings that have no centres to begin from: trees, modes, graphs."""

from sklearn.base import ClusterMixin
from sklearn.utils.validation import validate_data

from levels.level1_classical.sklearn_api.face import TYPES, Face
from levels.level1_classical.unsupervised.hierarchical import agglomerative
from levels.level1_classical.unsupervised.mean_shift import mean_shift
from levels.level1_classical.unsupervised.spectral import spectral_clustering


class AgglomerativeClustering(ClusterMixin, Face, factory=agglomerative):
    """Agglomerative clustering; the face of `unsupervised.hierarchical.agglomerative`.

    Formula: the two nearest clusters are joined until n_clusters are left.
    Paper: Ward 1963, Hierarchical grouping to optimize an objective function, JASA 58.
    Shapes: X [rows, features] or distances -> labels_ [rows], children_ [rows - 1, 2], distances_ [rows - 1].
    Errors: ValueError from scikit-learn's validation, or for more clusters than rows, an unknown linkage.
    Example:
        X = jnp.array([[0.0], [1.0], [5.0], [5.5]])
        model = AgglomerativeClustering(n_clusters=2, linkage='average').fit(X)
        assert model.labels_[0] == model.labels_[1] != model.labels_[2]
        model.distances_                                     # [0.5, 1.0, 4.75]
    """

    _pads = False

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.pairwise = self.metric == 'precomputed'
        return tags

    def fit(self, X, y=None):
        X = validate_data(self, X, dtype=TYPES, ensure_min_samples=2)
        self._fit(X, None, None)
        merges = self.state_.merges
        self.labels_, self.n_clusters_, self.n_leaves_ = self.state_.labels, self.n_clusters, len(X)
        self.children_, self.distances_ = merges[:, :2].astype(int), merges[:, 2]
        return self


class SpectralClustering(ClusterMixin, Face, factory=spectral_clustering, random=True):
    """Spectral clustering; the face of `unsupervised.spectral.spectral_clustering`.

    Formula: k-means on the eigenvectors of the smallest eigenvalues of I - D^-1/2 W D^-1/2.
    Paper: Shi, Malik 2000, Normalized cuts and image segmentation, IEEE TPAMI 22.
    Shapes: X [rows, features] or similarities [rows, rows] -> labels_ [rows], embedding_ [rows, n_clusters].
    Errors: ValueError from scikit-learn's validation, or for more clusters or neighbours than rows.
    Example:
        X = jnp.array([[0.0], [0.3], [0.6], [9.0], [9.2]])
        model = SpectralClustering(n_clusters=2, random_state=0).fit(X)
        assert model.labels_[0] == model.labels_[2] != model.labels_[3]
        model.embedding_.shape                               # (5, 2)
    """

    _pads = False

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.pairwise = self.affinity == 'precomputed'
        return tags

    def fit(self, X, y=None):
        X = validate_data(self, X, dtype=TYPES, ensure_min_samples=2)
        self._fit(X, None, None)
        self.labels_, self.embedding_ = self.state_.labels, self.state_.embedding
        return self


class MeanShift(ClusterMixin, Face, factory=mean_shift):
    """Mean shift; the face of `unsupervised.mean_shift.mean_shift`.

    Formula: c <- sum w K x / sum w K from each seed, K flat or Gaussian; modes within the bandwidth are one.
    Paper: Comaniciu, Meer 2002, Mean shift: a robust approach toward feature space analysis, IEEE TPAMI 24.
    Shapes: X [rows, features] -> cluster_centers_ [modes, features], labels_ [rows].
    Errors: ValueError from scikit-learn's validation, or for a bandwidth not above 0, seeds that have no row near.
    Example:
        X = jnp.array([[0.0], [1.0], [2.0], [8.0], [9.0]])
        model = MeanShift(bandwidth=2.0).fit(X)
        assert model.cluster_centers_[:, 0].tolist() == [1.0, 8.5]
        model.labels_                                        # [0, 0, 0, 1, 1]
    """

    def fit(self, X, y=None, sample_weight=None):
        X = validate_data(self, X, dtype=TYPES)
        state = self._fit(X, None, sample_weight).state_
        if not state.n_modes:
            raise ValueError(f'bandwidth: expected one at which a seed has a row near, found {state.bandwidth}')
        self.state_ = state._replace(centers=state.centers[:state.n_modes], intensity=state.intensity[:state.n_modes])
        self.cluster_centers_ = self.state_.centers
        self.labels_ = self._call('predict', self.state_, X)[:len(X)]
        return self

    def predict(self, X):
        return self._apply('predict', X)
