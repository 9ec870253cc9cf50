"""Faces of the naive Bayes classifiers: partial_fit, and sparse counts that are never made dense."""

import jax
import numpy as np
import scipy.sparse as sp
from scipy.special import log_softmax
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from levels.level1_classical.classification.naive_bayes import bernoulli_nb, complement_nb, gaussian_nb, multinomial_nb
from levels.level1_classical.classification.naive_bayes_states import log_proba, update, with_sums
from levels.level1_classical.sklearn_api.face import TYPES, ClassifierFace, _padded

_update, _with_sums, _log_proba = jax.jit(update), jax.jit(with_sums), jax.jit(log_proba)


class BayesFace(ClassifierFace):
    """The naive Bayes classifiers: fit is partial_fit of a state without rows."""

    _sparse = False

    def _checked(self, X, *y, reset=True):
        return validate_data(self, X, *y, accept_sparse='csr' if self._sparse else False, dtype=TYPES, reset=reset)

    def fit(self, X, y, sample_weight=None):
        X, y = self._checked(X, y)
        check_classification_targets(y)
        return self._begin(X, y, np.unique(y), sample_weight)

    def partial_fit(self, X, y, classes=None, sample_weight=None):
        """More rows. The first call names all classes there will ever be."""
        if hasattr(self, 'state_'):
            if classes is not None and not np.array_equal(np.unique(classes), self.classes_):
                raise ValueError(f'classes: expected {self.classes_!r} as before, found {classes!r}')
            X, y = self._checked(X, y, reset=False)
            return self._more(X, y, sample_weight)
        if classes is None:
            raise ValueError('classes: expected all labels in the first call of partial_fit, found None')
        X, y = self._checked(X, y)
        return self._begin(X, y, np.unique(classes), sample_weight)

    def _begin(self, X, y, classes, sample_weight):
        if len(classes) < 2:
            raise ValueError(f'y: expected at least two classes, found one class, {classes[0]!r}')
        self.classes_ = classes
        with jax.enable_x64(X.dtype == np.float64):
            fixed, numbers = self._split()
            self.state_ = self._factory(**dict(fixed), **numbers).start(X.shape[1], X.dtype)
        return self._more(X, y, sample_weight)

    def _more(self, X, y, sample_weight):
        codes = np.clip(np.searchsorted(self.classes_, y), 0, len(self.classes_) - 1)
        if (self.classes_[codes] != y).any():
            raise ValueError(f'y: expected labels among {self.classes_!r}, found others')
        weight = _check_sample_weight(sample_weight, X, dtype=X.dtype, ensure_non_negative=True)
        with jax.enable_x64(self.state_.count.dtype == np.float64):
            if sp.issparse(X):
                if self._positive and X.nnz and X.data.min() < 0:
                    raise ValueError('X: expected counts or other numbers >= 0, found Negative values in data')
                member = sp.csr_matrix((weight, (codes, np.arange(len(codes)))), (len(self.classes_), len(codes)))
                count = np.asarray(member.sum(1)).ravel().astype(X.dtype)
                grown = _with_sums(self.state_, count, (member @ self._seen(X)).toarray())
            else:
                if self._positive and X.min() < 0:
                    raise ValueError('X: expected counts or other numbers >= 0, found Negative values in data')
                grown = _update(self.state_, _padded(X), _padded(codes.astype(np.int32)), _padded(weight))
            self.state_ = jax.device_get(grown)
        self.n_iter_ = 1
        self._attributes()
        return self

    _positive = False

    def _seen(self, X):
        return X

    def predict_log_proba(self, X):
        check_is_fitted(self)
        X = self._checked(X, reset=False)
        if sp.issparse(X):
            s = self.state_
            return log_softmax(self._seen(X) @ s.coef + s.intercept[None], axis=1).astype(X.dtype)
        with jax.enable_x64(X.dtype == np.float64):
            return np.asarray(_log_proba(self.state_, _padded(X)))[:len(X)]

    def predict_proba(self, X):
        return np.exp(self.predict_log_proba(X))

    def predict(self, X):
        best = self.predict_log_proba(X).argmax(1)
        return self.classes_[best]

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse, tags.input_tags.positive_only = self._sparse, self._positive
        # scikit-learn's checks measure on clouds of points, which are no counts
        tags.classifier_tags.poor_score = self._sparse
        return tags


class DiscreteFace(BayesFace):
    """Those of counts: sparse X is welcome, and only products of it are made."""

    _sparse = True

    def _attributes(self):
        s = self.state_
        self.class_count_, self.feature_count_, self.class_log_prior_ = s.count, s.total, s.log_prior


class GaussianNB(BayesFace, factory=gaussian_nb):
    """Gaussian naive Bayes; the face of `classification.naive_bayes.gaussian_nb`.

    Formula: p(k | x) proportional to p(k) prod_j N(x_j; mean_kj, var_kj + s).
    Paper: Hastie, Tibshirani, Friedman 2009, The Elements of Statistical Learning, section 6.6.3.
    Shapes: X [rows, features], y [rows] -> theta_, var_ [classes, features], class_prior_ [classes].
    Errors: ValueError from scikit-learn's validation, or for priors that do not sum to 1; TypeError for sparse X.
    Example:
        X = jnp.array([[0.0], [1.0], [10.0], [12.0]])
        model = GaussianNB().fit(X, ['a', 'a', 'b', 'b'])
        assert model.theta_[0, 0] == 0.5
        model.predict(X)                                     # ['a', 'a', 'b', 'b']
    """

    def _attributes(self):
        s = self.state_
        share = s.count / s.count.sum()
        whole = share @ (s.var + (s.mean - (share @ s.mean)[None])**2)
        self.epsilon_ = float(s.var_smoothing * whole.max())
        self.theta_, self.var_, self.class_count_ = s.mean, s.var + self.epsilon_, s.count
        self.class_prior_ = np.exp(s.log_prior)


class MultinomialNB(DiscreteFace, factory=multinomial_nb):
    """Multinomial naive Bayes; the face of `classification.naive_bayes.multinomial_nb`.

    Formula: p(k | x) proportional to p(k) prod_j theta_kj^x_j.
    Paper: Manning, Raghavan, Schuetze 2008, Introduction to Information Retrieval, section 13.2.
    Shapes: X [rows, features], dense or sparse, y [rows] -> feature_count_ [classes, features].
    Errors: ValueError from scikit-learn's validation, or for negative X, alpha < 0.
    Example:
        X = jnp.array([[3.0, 0.0], [2.0, 1.0], [0.0, 4.0]])
        model = MultinomialNB().fit(X, [0, 0, 1]).partial_fit(X, [0, 0, 1])
        assert model.class_count_.tolist() == [4, 2]
        model.predict_log_proba(X)
    """

    _positive = True


class ComplementNB(DiscreteFace, factory=complement_nb):
    """Complement naive Bayes; the face of `classification.naive_bayes.complement_nb`.

    Formula: class of the largest -sum_j x_j log theta_kj, theta of all other classes.
    Paper: Rennie, Shih, Teevan, Karger 2003, Tackling the poor assumptions of naive Bayes text classifiers.
    Shapes: X [rows, features], dense or sparse, y [rows] -> feature_count_ [classes, features].
    Errors: ValueError from scikit-learn's validation, or for negative X, alpha < 0.
    Example:
        X = jnp.array([[3.0, 0.0], [2.0, 1.0], [0.0, 4.0]])
        model = ComplementNB(norm=True).fit(X, [0, 0, 1])
        assert model.predict(X).tolist() == [0, 0, 1]
        model.predict_proba(X)
    """

    _positive = True


class BernoulliNB(DiscreteFace, factory=bernoulli_nb):
    """Bernoulli naive Bayes; the face of `classification.naive_bayes.bernoulli_nb`.

    Formula: p(k | x) proportional to p(k) prod_j theta_kj^[x_j > b] (1 - theta_kj)^[x_j <= b], b = binarize.
    Paper: Manning, Raghavan, Schuetze 2008, Introduction to Information Retrieval, section 13.3.
    Shapes: X [rows, features], dense or sparse, y [rows] -> feature_count_ [classes, features].
    Errors: ValueError from scikit-learn's validation, for alpha < 0, or sparse X with binarize < 0.
    Example:
        X = jnp.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        model = BernoulliNB(alpha=0.5).fit(X, ['a', 'a', 'b'])
        assert list(model.predict(X)) == ['a', 'a', 'b']
        model.feature_count_                                 # [[2, 0], [0, 1]]
    """

    def _seen(self, X):
        if self.binarize < 0:
            raise ValueError(f'binarize: expected at least 0 for sparse X, found {self.binarize!r}')
        return sp.csr_matrix(((X.data > self.binarize).astype(X.dtype), X.indices, X.indptr), X.shape)
