"""Faces of the support vector machines."""

import itertools

import numpy as np
from sklearn.utils import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets

from levels.level1_classical.classification.linear_svc import linear_svc
from levels.level1_classical.classification.svc import support, svc, svr
from levels.level1_classical.sklearn_api.face import ClassifierFace, RegressorFace, _padded


class MachineFace(ClassifierFace):
    """Classes whose weights are no part of the rows': they change the cost of errors, not the scale of the kernel."""

    _balanced_by_rows = True        # as scikit-learn: libsvm balances classes by their rows, liblinear by their weights

    def _data_given(self):
        return super()._data_given() | {'class_weight': getattr(self, 'class_weight_', None)}

    def fit(self, X, y, sample_weight=None):
        X, y = self._valid(X, y)
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f'y: expected at least two classes, found one class, {self.classes_[0]!r}')
        self.class_weight_ = None if self.class_weight is None else tuple(
            compute_class_weight(self.class_weight, classes=self.classes_, y=y,
                                 sample_weight=None if self._balanced_by_rows else sample_weight).tolist())
        self._fit(X, codes.astype(np.int32), sample_weight)
        self._expose(X, codes)
        return self


class _Kernelled:
    """What machines with kernels show: support_, support_vectors_, dual_coef_, intercept_, coef_ of linear ones.

    Only support vectors are kept, which makes predictions as much faster as there are fewer of them.
    """

    def _expose(self, X, order):
        state = self.state_
        carries = support(state)[:len(X)]
        self.support_ = np.flatnonzero(carries)[np.argsort(order[carries], kind='stable')].astype(np.int32)
        self.support_vectors_ = X[self.support_]
        kept = self.support_ if len(self.support_) else np.zeros(1, int)
        self.state_ = state._replace(X=_padded(state.X[kept]), beta=_padded(state.beta[:, kept].T).T)
        self._beta, self.intercept_ = state.beta[:, self.support_], state.intercept
        if self.kernel == 'linear':
            self.coef_ = self._beta @ (self.support_vectors_ - state.middle)
            self.intercept_ = state.intercept - self.coef_ @ state.middle


class LinearSVC(MachineFace, factory=linear_svc):
    """The linear support vector machine; the face of `classification.linear_svc.linear_svc`.

    Formula: minimise ||v||^2 / 2 + C sum w c max(0, 1 - s v'(x, 1))^2 for each class against the rest.
    Paper: Keerthi, DeCoste 2005, A modified finite Newton method for fast solution of large scale linear SVMs, JMLR 6.
    Shapes: X [rows, features], y [rows] -> coef_ [1 or classes, features], intercept_ [1 or classes].
    Errors: ValueError from scikit-learn's validation, or for C not above 0, sparse X of more than `face.DENSE` numbers.
    Example:
        X = jnp.array([[-2.0], [-1.0], [1.0], [2.0]])
        model = LinearSVC(C=0.5).fit(X, ['no', 'no', 'yes', 'yes'])
        assert model.predict([[3.0]])[0] == 'yes'
        model.coef_                                          # [[2/3]]
    """

    _balanced_by_rows, _sparse = False, True

    def _expose(self, X, codes):
        self.coef_, self.intercept_ = self.state_.coef.T, self.state_.intercept


class SVC(_Kernelled, MachineFace, factory=svc, random=True):
    """Support vector machines with kernels; the face of `classification.svc.svc`.

    Formula: f(x) = sum_i b_i K(x_i, x) + c of each pair of classes, of least ||w||^2 / 2 + C sum w c max(0, 1 - y f).
    Paper: Cortes, Vapnik 1995, Support-vector networks, Machine Learning 20.
    Shapes: X [rows, features], y [rows] -> support_ [k], support_vectors_ [k, features], dual_coef_ [classes - 1, k] in
        libsvm's layout, intercept_ [pairs], n_support_ [classes]; coef_ [pairs, features] for the linear kernel.
    Errors: ValueError from scikit-learn's validation, or for C not above 0, an unknown kernel or option.
    Example:
        X = jnp.array([[0.0, 0.0], [1.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
        model = SVC(C=10.0, gamma=2.0).fit(X, ['same', 'same', 'other', 'other'])
        assert model.predict(X).tolist() == ['same', 'same', 'other', 'other']
        model.support_                                       # [2, 3, 0, 1]: by class
    """

    def _expose(self, X, codes):
        super()._expose(X, codes)
        k, own = len(self.classes_), codes[self.support_]
        self.n_support_ = np.bincount(own, minlength=k).astype(np.int32)
        if k == 2:
            self.dual_coef_ = self._beta
            return
        self.intercept_ = -self.intercept_
        self.dual_coef_ = np.zeros((k - 1, len(own)), self._beta.dtype)
        for p, (i, j) in enumerate(itertools.combinations(range(k), 2)):
            for mine, other in ((i, j), (j, i)):    # row of the other class among those that are not one's own
                at = own == mine
                self.dual_coef_[other - (other > mine), at] = -self._beta[p, at]
        if self.kernel == 'linear':
            self.coef_ = -self.coef_


class SVR(_Kernelled, RegressorFace, factory=svr):
    """Support vector regression; the face of `classification.svc.svr`.

    Formula: f(x) = sum_i b_i K(x_i, x) + c of least ||w||^2 / 2 + C sum w max(0, |y - f| - epsilon).
    Paper: Drucker, Burges, Kaufman, Smola, Vapnik 1996, Support vector regression machines, NIPS 9.
    Shapes: X [rows, features], y [rows] -> support_ [k], support_vectors_ [k, features], dual_coef_ [1, k], intercept_
        [1]; coef_ [1, features] for the linear kernel.
    Errors: ValueError from scikit-learn's validation, or for C not above 0, an unknown kernel or option.
    Example:
        X = jnp.array([[0.0], [1.0], [2.0], [3.0]])
        model = SVR(kernel='linear', C=100.0, epsilon=0.5).fit(X, 2 * X[:, 0])
        assert model.support_.tolist() == [0, 3]
        model.coef_                                          # [[5/3]]
    """

    def _fit(self, X, y, sample_weight):
        super()._fit(X, y, sample_weight)
        self._expose(X, np.zeros(len(X), int))
        self.dual_coef_ = self._beta
        return self
