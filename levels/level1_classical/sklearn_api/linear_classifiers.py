"""Faces of the linear classifiers."""

import numpy as np

from levels.level1_classical.classification.logistic import logistic, warn_if_separable
from levels.level1_classical.sklearn_api.face import ClassifierFace


class LogisticRegression(ClassifierFace, factory=logistic):
    """Logistic regression; the face of `classification.logistic.logistic`.

    Formula: minimise C sum w loss + penalty.
    Paper: Cox 1958, The regression analysis of binary sequences, JRSS B 20.
    Shapes: X [rows, features], dense or sparse (made dense), y [rows] of any labels -> coef_ [1 or classes, features],
        intercept_ [1 or classes].
    Errors: ValueError from scikit-learn's validation, or for C not above 0, an unknown penalty or solver, sparse X of
        more than `face.DENSE` numbers.
    Example:
        X = jnp.array([[-2.0], [-1.0], [1.0], [2.0]])
        model = LogisticRegression(C=10.0).fit(X, ['no', 'no', 'yes', 'yes'])
        assert model.coef_[0, 0] > 0
        model.predict_proba(X)[:, 1]                         # grows with x
    """

    _sparse = True

    def fit(self, X, y, sample_weight=None):
        super().fit(X, y, sample_weight)
        self.coef_, self.intercept_ = np.ascontiguousarray(self.state_.coef.T), self.state_.intercept
        warn_if_separable(self.state_, self.penalty)
        return self
