"""Faces of the linear regressions."""

from sklearn.base import MultiOutputMixin, RegressorMixin

from levels.level1_classical.regression.lasso import elastic_net, lasso
from levels.level1_classical.regression.linear import ols
from levels.level1_classical.regression.ridge import ridge
from levels.level1_classical.sklearn_api.face import Face


class LinearFace(MultiOutputMixin, RegressorMixin, Face):
    """The linear regressions: coef_ [features] or [targets, features], intercept_. Sparse X is made dense (`face`)."""

    _sparse = True

    def fit(self, X, y, sample_weight=None):
        X, y = self._valid(X, y, multi_output=True, y_numeric=True)
        self._fit(X, y, sample_weight)
        self.coef_, self.intercept_ = self.state_.coef.T, self.state_.intercept
        return self

    def predict(self, X):
        return self._apply('predict', X)


class OLS(LinearFace, factory=ols):
    """Ordinary least squares; the face of `regression.linear.ols`.

    Formula: minimise sum w (y - X b - c)^2.
    Paper: Golub, Van Loan 2013, Matrix Computations, section 5.3.
    Shapes: X [rows, features], y [rows] or [rows, targets] -> coef_ [features] or [targets, features].
    Errors: ValueError from scikit-learn's validation, or for an unknown solver.
    Example:
        X = jnp.array([[0.0], [1.0], [2.0]])
        model = OLS().fit(X, jnp.array([1.0, 3.0, 5.0]))
        assert abs(model.coef_[0] - 2) < 1e-5
        model.predict(X)                                     # [1, 3, 5]
    """


class Ridge(LinearFace, factory=ridge):
    """Ridge regression; the face of `regression.ridge.ridge`.

    Formula: minimise sum w (y - X b - c)^2 + alpha ||b||^2.
    Paper: Hoerl, Kennard 1970, Ridge regression, Technometrics 12.
    Shapes: X [rows, features], y [rows] or [rows, targets] -> coef_ [features] or [targets, features].
    Errors: ValueError from scikit-learn's validation, or for alpha < 0, an unknown solver.
    Example:
        X = jnp.array([[-1.0], [0.0], [1.0]])
        model = Ridge(alpha=2.0).fit(X, jnp.array([1.0, 3.0, 5.0]))
        assert abs(model.coef_[0] - 1) < 1e-5
        model.get_params()['alpha']                          # 2.0
    """


class Lasso(LinearFace, factory=lasso):
    """The lasso; the face of `regression.lasso.lasso`.

    Formula: minimise ||y - X b - c||^2 / (2 n) + alpha |b|_1.
    Paper: Tibshirani 1996, Regression shrinkage and selection via the lasso, JRSS B 58.
    Shapes: X [rows, features], y [rows] or [rows, targets] -> coef_ [features] or [targets, features].
    Errors: ValueError from scikit-learn's validation, or for alpha not above 0.
    Example:
        X = jnp.array([[-1.0], [0.0], [1.0]])
        model = Lasso(alpha=10.0).fit(X, jnp.array([1.0, 3.0, 5.0]))
        assert model.coef_[0] == 0
        model.predict(X)                                     # [3, 3, 3]
    """


class ElasticNet(LinearFace, factory=elastic_net):
    """The elastic net; the face of `regression.lasso.elastic_net`.

    Formula: minimise ||y - X b - c||^2 / (2 n) + alpha l1_ratio |b|_1 + alpha (1 - l1_ratio) / 2 ||b||^2.
    Paper: Zou, Hastie 2005, Regularization and variable selection via the elastic net, JRSS B 67.
    Shapes: X [rows, features], y [rows] or [rows, targets] -> coef_ [features] or [targets, features].
    Errors: ValueError from scikit-learn's validation, or for alpha not above 0, l1_ratio outside (0, 1].
    Example:
        X = jnp.array([[-1.0], [0.0], [1.0]])
        model = ElasticNet(alpha=0.1, l1_ratio=0.5).fit(X, jnp.array([1.0, 3.0, 5.0]))
        assert 0 < model.coef_[0] < 2
        model.n_iter_                                        # sweeps
    """
