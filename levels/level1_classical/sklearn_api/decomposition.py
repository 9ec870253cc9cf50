"""Faces of the linear decompositions."""

from numbers import Integral

import jax
import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from levels.level1_classical.sklearn_api.face import TYPES, Face
from levels.level1_classical.unsupervised.pca import incremental_pca, incremental_start, incremental_update, pca

_update = jax.jit(incremental_update)


class DecompositionFace(ClassNamePrefixFeaturesOutMixin, TransformerMixin, Face):
    """What the two share: components_, the variances, transform and inverse_transform."""

    def _data_given(self):
        return {'n_components': self.n_components_} if hasattr(self, 'n_components_') else {'n_components': 1}

    def _resolved(self, rows: int, columns: int) -> int:
        """n_components of this data: padding must not make room for more."""
        wanted, most = self.n_components, min(rows, columns)
        if wanted is None:
            return most
        if not isinstance(wanted, Integral) or not 1 <= wanted <= most:
            raise ValueError(f'n_components: expected 1 to {most}, the smaller of rows and features, found {wanted!r}')
        return int(wanted)

    def _show(self, state, found):
        """The attributes of scikit-learn's classes."""
        self.state_, self.n_components_ = state, len(state.components)
        self.components_, self.mean_ = state.components, state.mean
        self.explained_variance_, self.explained_variance_ratio_ = (found.explained_variance,
                                                                     found.explained_variance_ratio)
        self.singular_values_, self.noise_variance_ = found.singular_values, float(found.noise_variance)
        return self

    def transform(self, X):
        return self._apply('transform', X)

    def inverse_transform(self, X):
        check_is_fitted(self)
        Z = np.asarray(X, self.components_.dtype)
        return self._call('inverse', self.state_, Z)[:len(Z)]

    @property
    def _n_features_out(self) -> int:
        return len(self.components_)


class PCA(DecompositionFace, factory=pca, random=True):
    """Principal components; the face of `unsupervised.pca.pca`.

    n_components between 0 and 1 keeps as many as explain that share of the variance (not with solver='randomised').

    Formula: Xc = U S V'; components_ = V', explained_variance_ = S^2 / (n - 1).
    Paper: Pearson 1901, On lines and planes of closest fit to systems of points in space.
    Shapes: X [rows, features] -> components_ [k, features]; transform [rows, k]; inverse_transform [rows, features].
    Errors: ValueError from scikit-learn's validation, or for n_components above rows or features, an unknown solver.
    Example:
        X = jnp.array([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0], [3.0, 3.5]])
        model = PCA(n_components=0.9).fit(X)
        assert model.n_components_ == 1 and model.explained_variance_ratio_[0] > 0.99
        model.transform(X).shape                             # (4, 1)
    """

    def fit(self, X, y=None):
        X = validate_data(self, X, dtype=TYPES)
        share = self.n_components if isinstance(self.n_components, float) and 0 < self.n_components < 1 else None
        if share is not None and self.solver == 'randomised':
            raise ValueError(f"n_components: expected a whole number with solver='randomised', found {share}")
        self.n_components_ = min(X.shape) if share is not None else self._resolved(*X.shape)
        state = self._fit(X, None, None).state_
        if share is not None:
            k = 1 + int(np.searchsorted(np.cumsum(state.explained_variance_ratio), share, side='right'))
            k = min(k, len(state.components))
            rest = state.explained_variance[k:]
            keep = {name: getattr(state, name)[:k] for name in state._fields[:4]}
            state = state._replace(**keep, noise_variance=rest.mean() if len(rest) else 0.0)
        return self._show(state, state)


class IncrementalPCA(DecompositionFace, factory=incremental_pca):
    """Principal components from batches; the face of `unsupervised.pca.incremental_pca`.

    Formula: the SVD of [S V'; batch - its mean; sqrt(n m / (n + m)) (mean - batch mean)], once for each batch.
    Paper: Ross, Lim, Lin, Yang 2008, Incremental learning for robust visual tracking, IJCV 77.
    Shapes: X [rows, features] -> components_ [k, features]; transform [rows, k]; inverse_transform [rows, features].
    Errors: ValueError from scikit-learn's validation, or for n_components above rows or features.
    Example:
        X = jnp.array([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0], [3.0, 3.5]])
        model = IncrementalPCA(n_components=1).partial_fit(X[:2])
        model.partial_fit(X[2:])
        assert model.n_samples_seen_ == 4 and model.explained_variance_ratio_[0] > 0.99
    """

    def fit(self, X, y=None):
        X = validate_data(self, X, dtype=TYPES)
        self.n_components_ = self._resolved(*X.shape)
        return self._seen(self._fit(X, None, None).state_)

    def partial_fit(self, X, y=None):
        first = not hasattr(self, 'state_')
        X = validate_data(self, X, dtype=TYPES, reset=first)
        k = self._resolved(*X.shape) if first else self.n_components_
        with jax.enable_x64(X.dtype == np.float64):
            state = incremental_start(k, X.shape[1], X.dtype) if first else self.state_
            return self._seen(jax.device_get(_update(state, X)))

    def _seen(self, state):
        self.n_samples_seen_ = int(state.count)
        with jax.enable_x64(state.mean.dtype == np.float64):
            return self._show(state, jax.device_get(state.summary()))
