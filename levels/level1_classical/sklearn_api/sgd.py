"""Faces of the gradient methods, with partial_fit."""

import jax
import numpy as np
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight

from levels.level1_classical.regression.sgd import sgd_classifier, sgd_regressor
from levels.level1_classical.sklearn_api.face import ClassifierFace, RegressorFace


class _Partial:
    """One more epoch over some rows, in their order; rows without weight below them make no step."""

    _searches = property(lambda self: self.tol > 0)     # a tol of 0 asks for all epochs
    _sparse = True

    def _epoch(self, X, y, sample_weight):
        weight = _check_sample_weight(sample_weight, X, dtype=X.dtype, ensure_non_negative=True)
        with jax.enable_x64(X.dtype == np.float64):
            if not hasattr(self, 'state_'):
                fixed, numbers = self._split()
                self.state_ = self._factory(**dict(fixed), **numbers).start(X.shape[1], X.dtype)
        self.state_ = self._call('update', self.state_, X, y, weight)
        self.n_iter_ = int(self.state_.steps)
        self._attributes()
        return self


class SGDRegressor(_Partial, RegressorFace, factory=sgd_regressor, random=True):
    """Linear regression by stochastic gradient descent; the face of `regression.sgd.sgd_regressor`.

    Formula: w <- w - eta (l'(x' w + b, y) x + alpha w).
    Paper: Robbins, Monro 1951, A stochastic approximation method, Annals of Mathematical Statistics 22.
    Shapes: X [rows, features], y [rows] -> coef_ [features], intercept_.
    Errors: ValueError from scikit-learn's validation, or for an unknown loss, penalty, schedule, sparse X of more than
        `face.DENSE` numbers.
    Example:
        X = jnp.array([[-1.0], [0.0], [1.0]])
        model = SGDRegressor(rate=0.1, random_state=0).fit(X, jnp.array([1.0, 3.0, 5.0]))
        assert abs(model.coef_[0] - 2) < 0.1
        model.partial_fit(X, jnp.array([1.0, 3.0, 5.0])).predict(X)
    """

    def _attributes(self):
        self.coef_, self.intercept_ = self.state_.coef, np.atleast_1d(self.state_.intercept)

    def fit(self, X, y, sample_weight=None):
        super().fit(X, y, sample_weight)
        self._attributes()
        return self

    def partial_fit(self, X, y, sample_weight=None):
        X, y = self._valid(X, y, y_numeric=True, reset=not hasattr(self, 'state_'))
        return self._epoch(X, y.astype(X.dtype), sample_weight)


class SGDClassifier(_Partial, ClassifierFace, factory=sgd_classifier, random=True):
    """Linear classification by stochastic gradient descent; the face of `regression.sgd.sgd_classifier`.

    Formula: w <- w - eta (l'(m) (2 y - 1) x + alpha w), m = (2 y - 1) (x' w + b).
    Paper: Robbins, Monro 1951, A stochastic approximation method, Annals of Mathematical Statistics 22.
    Shapes: X [rows, features], y [rows] of any labels -> coef_ [1 or classes, features], intercept_ [1 or classes].
    Errors: ValueError from scikit-learn's validation, or for an unknown loss, penalty, schedule, sparse X of more than
        `face.DENSE` numbers.
    Example:
        X = jnp.array([[-2.0], [-1.0], [1.0], [2.0]])
        model = SGDClassifier(loss='log', random_state=0).fit(X, ['no', 'no', 'yes', 'yes'])
        assert list(model.predict(X)) == ['no', 'no', 'yes', 'yes']
        model.predict_proba(X)[:, 1]                         # grows with x
    """

    def _attributes(self):
        self.coef_, self.intercept_ = np.ascontiguousarray(self.state_.coef.T), self.state_.intercept

    def fit(self, X, y, sample_weight=None):
        super().fit(X, y, sample_weight)
        self._attributes()
        return self

    def partial_fit(self, X, y, classes=None, sample_weight=None):
        """One more epoch. The first call names all classes there will ever be."""
        first = not hasattr(self, 'state_')
        if first and classes is None:
            raise ValueError('classes: expected all labels in the first call of partial_fit, found None')
        X, y = self._valid(X, y, reset=first)
        check_classification_targets(y)
        known = np.unique(classes) if first else self.classes_
        if classes is not None and not np.array_equal(np.unique(classes), known):
            raise ValueError(f'classes: expected {known!r} as before, found {classes!r}')
        codes = np.clip(np.searchsorted(known, y), 0, len(known) - 1)
        if (known[codes] != y).any():
            raise ValueError(f'y: expected labels among {known!r}, found others')
        self.classes_ = known
        return self._epoch(X, codes.astype(np.int32), sample_weight)
