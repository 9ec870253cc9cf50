"""Faces of the methods of nearest neighbours."""

import jax
import numpy as np
from sklearn.base import MultiOutputMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from levels.level1_classical.classification.knn import knn_classifier, knn_regressor
from levels.level1_classical.neighbours import nearest
from levels.level1_classical.sklearn_api.face import TYPES, ClassifierFace, RegressorFace


class NeighboursFace:
    """What both have: the check of their number, and `kneighbors`."""

    def _fit(self, X, y, sample_weight):
        if self.n_neighbors > len(X):
            raise ValueError(f'n_neighbors: expected at most n_samples = {len(X)}, found {self.n_neighbors}')
        self.n_samples_fit_ = len(X)
        return super()._fit(X, y, sample_weight)

    def kneighbors(self, X=None, n_neighbors=None, return_distance=True):
        """Distances and row numbers of the nearest rows that have weight; without X of each row among the others."""
        check_is_fitted(self)
        k, state = self.n_neighbors if n_neighbors is None else n_neighbors, self.state_
        present = int(np.sum(state.weight > 0)) - (X is None)
        if not 1 <= k <= present:
            raise ValueError(f'n_neighbors: expected 1 to {present}, the rows there are, found {k}')
        queries = state.X if X is None else validate_data(self, X, dtype=TYPES, reset=False)
        with jax.enable_x64(state.X.dtype == np.float64):
            found = jax.device_get(nearest(state.X, queries, k, weight=state.weight, metric=self.metric,
                                           exclude_self=X is None))
        distance, row = (v[:self.n_samples_fit_ if X is None else None] for v in found)
        return (distance, row) if return_distance else row


class KNeighborsClassifier(NeighboursFace, ClassifierFace, factory=knn_classifier):
    """k nearest neighbours for classes; the face of `classification.knn.knn_classifier`.

    Formula: the class that most of the nearest rows have.
    Paper: Cover, Hart 1967, Nearest neighbor pattern classification, IEEE Trans. Inf. Theory 13.
    Shapes: X [rows, features], y [rows] -> predict_proba [rows, classes], kneighbors [rows, n_neighbors] twice.
    Errors: ValueError from scikit-learn's validation, or for fewer rows than n_neighbors, an unknown option.
    Example:
        X = jnp.array([[0.0], [1.0], [8.0], [9.0]])
        model = KNeighborsClassifier(n_neighbors=3).fit(X, ['low', 'low', 'high', 'high'])
        assert model.predict([[2.0]])[0] == 'low'
        model.kneighbors([[2.0]])                            # [[1, 2, 6]], [[1, 0, 2]]
    """


class KNeighborsRegressor(MultiOutputMixin, NeighboursFace, RegressorFace, factory=knn_regressor):
    """k nearest neighbours for numbers; the face of `classification.knn.knn_regressor`.

    Formula: the mean, or the mean by 1 / distance, of the nearest rows' numbers.
    Paper: Altman 1992, An introduction to kernel and nearest-neighbor nonparametric regression, Am. Stat. 46.
    Shapes: X [rows, features], y [rows] or [rows, targets] -> predict like y, kneighbors [rows, n_neighbors] twice.
    Errors: ValueError from scikit-learn's validation, or for fewer rows than n_neighbors, an unknown option.
    Example:
        X = jnp.array([[0.0], [1.0], [8.0]])
        model = KNeighborsRegressor(n_neighbors=2).fit(X, jnp.array([1.0, 2.0, 30.0]))
        assert model.predict([[0.4]])[0] == 1.5
        model.kneighbors(return_distance=False)              # [[1, 2], [0, 2], [1, 0]]
    """

    def fit(self, X, y, sample_weight=None):
        X, y = validate_data(self, X, y, dtype=TYPES, multi_output=True, y_numeric=True)
        return self._fit(X, y.astype(X.dtype), sample_weight)
