"""Every estimator of this level as a scikit-learn class, by one adapter.

A face has the factory's hyperparameters as its own, so `get_params`, `clone`, `Pipeline` and `GridSearchCV` work.
Numbers among them are arguments of the compiled program and not constants in it: a grid of 200 alphas is compiled once;
and rows are padded with rows of weight 0 to a few sizes, so that folds of 90 and 91 rows share a program. As
scikit-learn's own classes do, a face computes in the type of X: float64 in, float64 through and out.

Formula: that of the factory.  Paper: Buitinck et al. 2013, API design for machine learning software.
Shapes: scikit-learn's: X [rows, features], y [rows] or [rows, targets], coef_ [targets, features].

Example:
    from levels.level1_classical.sklearn_api import Ridge, all_estimators
    GridSearchCV(make_pipeline(StandardScaler(), Ridge()), {'ridge__alpha': [0.1, 1.0]}).fit(X, y)
    [name for name, cls in all_estimators('regressor')]
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.base import (
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    ClusterMixin,
    MultiOutputMixin,
    RegressorMixin,
    TransformerMixin,
)
from sklearn.utils import check_random_state
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from levels.level1_classical.regression.lasso import elastic_net, lasso
from levels.level1_classical.regression.linear import ols
from levels.level1_classical.regression.ridge import ridge
from levels.level1_classical.unsupervised.kmeans import kmeans, minibatch_kmeans

TYPES = {'regressor': RegressorMixin, 'cluster': ClusterMixin, 'transformer': TransformerMixin}
DEVIATIONS: dict[str, dict[str, str]] = {       # class -> check of scikit-learn that it does not pass -> why
    name: {
        'check_sample_weight_equivalence_on_dense_data':
            'random starts differ when rows are repeated; from given centers the law holds (scikit-learn: the same)'}
    for name in ('KMeans', 'MiniBatchKMeans')}


@functools.lru_cache(maxsize=256)
def _program(factory: Callable, fixed: tuple, method: str) -> Callable:
    """A method of the factory's estimator, jitted: (numbers, *arguments) -> result."""
    return jax.jit(lambda numbers, *args: getattr(factory(**dict(fixed), **numbers), method)(*args))


def _padded(x: np.ndarray) -> np.ndarray:
    """Zeros below, up to 16, 32, ... 256 rows, and from there on eight sizes to each doubling."""
    size = max(16, 1 << (len(x) - 1).bit_length())
    step = size if size <= 256 else size // 16
    return np.concatenate([x, np.zeros((-len(x) % step, *x.shape[1:]), x.dtype)])


class Face(BaseEstimator):
    """What all faces share; `class Ridge(Face, factory=ridge)` takes its parameters from the factory."""

    _factory: Callable
    _random = False     # whether it has a random_state

    def __init_subclass__(cls, factory: Callable | None = None, random: bool = False, **more):
        super().__init_subclass__(**more)
        if factory is not None:
            cls._factory, cls._random = staticmethod(factory), random
            cls.__init__ = _init(factory, random)

    def _split(self) -> tuple[tuple, dict[str, Any]]:
        """(what is fixed in the program, the numbers and arrays it is given); ValueError for wrong values."""
        fixed, numbers = [], {}
        for name, rule in inspect.signature(self._factory).parameters.items():
            value = getattr(self, name)
            if isinstance(rule.default, float) or not isinstance(value, str | int | None):
                numbers[name] = jnp.asarray(value, float)
            else:
                fixed.append((name, value))
        self._factory(**dict(fixed), **numbers)     # checks values, which inside jit cannot be read
        return tuple(fixed), numbers

    def _call(self, method: str, before, X, *after):
        """method(before, X, *after) with all rows padded, on the host."""
        with jax.enable_x64(X.dtype == np.float64):
            fixed, numbers = self._split()
            before = jax.random.key(before) if method == 'fit' else before
            args = [None if a is None else _padded(a) for a in (X, *after)]
            return jax.device_get(_program(self._factory, fixed, method)(numbers, before, *args))

    def _fit(self, X, y, sample_weight):
        seed = check_random_state(self.random_state).randint(2**31 - 1) if self._random else 0
        weight = _check_sample_weight(sample_weight, X, dtype=X.dtype, ensure_non_negative=True)
        self.state_ = self._call('fit', seed, X, y, weight)
        self.n_iter_ = max(1, int(getattr(self.state_, 'steps', 1)))
        return self

    def _apply(self, method: str, X):
        check_is_fitted(self)
        X = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        return self._call(method, self.state_, X)[:len(X)]


def _init(factory: Callable, random: bool) -> Callable:
    """An __init__ with the factory's parameters, which is where scikit-learn looks for them."""
    own = list(inspect.signature(factory).parameters.values())
    if random:
        own.append(inspect.Parameter('random_state', inspect.Parameter.KEYWORD_ONLY, default=None))
    signature = inspect.Signature([inspect.Parameter('self', inspect.Parameter.POSITIONAL_OR_KEYWORD), *own])

    def __init__(self, **given):
        for name, value in signature.bind(self, **given).arguments.items():
            if name != 'self':
                setattr(self, name, value)
        for p in own:
            if p.name not in given:
                setattr(self, p.name, p.default)

    __init__.__signature__ = signature
    return __init__


class LinearFace(MultiOutputMixin, RegressorMixin, Face):
    """The linear regressions: coef_ [features] or [targets, features], intercept_."""

    def fit(self, X, y, sample_weight=None):
        X, y = validate_data(self, X, y, dtype=[np.float64, np.float32], multi_output=True, y_numeric=True)
        self._fit(X, y, sample_weight)
        self.coef_, self.intercept_ = self.state_.coef.T, self.state_.intercept
        return self

    def predict(self, X):
        return self._apply('predict', X)


class ClusterFace(ClassNamePrefixFeaturesOutMixin, TransformerMixin, ClusterMixin, Face):
    """The clusterings with centres: cluster_centers_, labels_, inertia_."""

    def fit(self, X, y=None, sample_weight=None):
        X = validate_data(self, X, dtype=[np.float64, np.float32])
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
        X = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        return float(self._call('score', self.state_, X, None, _check_sample_weight(sample_weight, X, dtype=X.dtype)))

    @property
    def _n_features_out(self) -> int:
        return len(self.cluster_centers_)


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


def all_estimators(type_filter: str | None = None) -> list[tuple[str, type]]:
    """(name, class) of every face, sorted by name, as scikit-learn's function of that name lists its own.

    Errors: ValueError for a type_filter other than regressor, cluster, transformer.
    """
    if type_filter is not None and type_filter not in TYPES:
        raise ValueError(f'type_filter: expected one of {", ".join(TYPES)}; found {type_filter!r}')
    kind = TYPES.get(type_filter, Face)
    own = [c for c in globals().values() if isinstance(c, type) and issubclass(c, Face) and hasattr(c, '_factory')]
    return sorted(((c.__name__, c) for c in own if issubclass(c, kind)), key=lambda pair: pair[0])
