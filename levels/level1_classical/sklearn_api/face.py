"""The adapter that gives every estimator of this level a scikit-learn face; the faces are in this folder's other files.

A face has the factory's hyperparameters as its own, so `get_params`, `clone`, `Pipeline` and `GridSearchCV` work.
Numbers among them are arguments of the compiled program and not constants in it: a grid of 200 alphas is compiled once;
and rows are padded with rows of weight 0 to a few sizes, so that folds of 90 and 91 rows share a program. As
scikit-learn's own classes do, a face computes in the type of X: float64 in, float64 through and out.

Sparse X: the naive Bayes classifiers of counts take it as it is (`bayes.py`); the linear models, whose solvers need
whole columns, make it dense up to DENSE numbers, above which fit is a ValueError; all others refuse it (TypeError).
predict and its like go through sparse rows in parts, of any number.

Formula: that of the factory.  Paper: Buitinck et al. 2013, API design for machine learning software.
Shapes: scikit-learn's: X [rows, features], y [rows] or [rows, targets], coef_ [targets, features].
"""

import functools
import inspect
import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse as sp
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state, compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

TYPES = [np.float64, np.float32]      # those that pass through unchanged
DENSE = 2**27       # numbers that a sparse X may have once it is dense, for fit: 1 GiB of float64
PART = 2**22        # numbers of sparse rows that are predicted at once

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
    _hidden: tuple[str, ...] = ()       # parameters of the factory that follow from the data
    _static: tuple[str, ...] = ()       # numbers that shapes depend on: each value has a program of its own
    _finite: bool | str = True          # 'allow-nan' where NaN in X are missing values
    _sparse = False     # whether sparse X is welcome
    _random = False     # whether it has a random_state
    _searches = True    # whether an end before convergence is a warning: not where all steps are always taken
    _pads = True        # whether rows of weight 0 can stand below; a method without weights is compiled for each size

    def __init_subclass__(cls, factory: Callable | None = None, random: bool = False, **more):
        super().__init_subclass__(**more)
        if factory is not None:
            cls._factory, cls._random = staticmethod(factory), random
            cls.__init__ = _init(factory, random, cls._hidden)

    def _data_given(self) -> dict[str, Any]:
        """Parameters of the factory that follow from the data, and are none of the face's own."""
        return {}

    def _split(self) -> tuple[tuple, dict[str, Any]]:
        """(what is fixed in the program, the numbers and arrays it is given); ValueError for wrong values."""
        given = self._data_given()
        fixed, numbers = list(given.items()), {}
        for name, rule in inspect.signature(self._factory).parameters.items():
            if name in given:
                continue
            value = getattr(self, name)
            if name in self._static:
                fixed.append((name, value))
            elif isinstance(rule.default, float) or not isinstance(value, str | int | None):
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
            args = [a if a is None or not self._pads else _padded(a) for a in (X, *after)]
            return jax.device_get(_program(self._factory, fixed, method)(numbers, before, *args))

    def _valid(self, X, *y, **options):
        """X, or (X, y), as scikit-learn validates them, and dense."""
        rules = {'dtype': TYPES, 'ensure_all_finite': self._finite, 'accept_sparse': 'csr' if self._sparse else False}
        out = validate_data(self, X, *y, **rules | options)
        X, *y = out if y else [out]
        if sp.issparse(X):
            if X.shape[0] * X.shape[1] > DENSE:
                raise ValueError(f'X: expected at most {DENSE:,} numbers where it is sparse, as {type(self).__name__} '
                                 f'makes it dense, found {X.shape[0]:,} x {X.shape[1]:,}; fix: fewer columns, or a '
                                 'naive Bayes classifier of counts')
            X = X.toarray()
        return (X, *y) if y else X

    def _fit(self, X, y, sample_weight):
        seed = check_random_state(self.random_state).randint(2**31 - 1) if self._random else 0
        weight = None
        if self._pads or sample_weight is not None:
            weight = _check_sample_weight(sample_weight, X, dtype=X.dtype, ensure_non_negative=True)
        self.state_ = self._call('fit', seed, X, y, weight)
        self.n_iter_ = max(1, int(getattr(self.state_, 'steps', 1)))
        if self._searches and not getattr(self.state_, 'converged', True):
            warnings.warn(f'{type(self).__name__}: stopped after {self.n_iter_} steps, before it converged; raise '
                          'max_iter or tol, or scale the columns of X', ConvergenceWarning, stacklevel=3)
        return self

    def _apply(self, method: str, X):
        check_is_fitted(self)
        if self._sparse and sp.issparse(X) and X.shape[0] > (rows := max(1, PART // max(1, X.shape[1]))):
            X = sp.csr_matrix(X)
            return np.concatenate([self._apply(method, X[i:i + rows]) for i in range(0, X.shape[0], rows)])
        X = self._valid(X, reset=False)
        return self._call(method, self.state_, X)[:len(X)]

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = self._sparse
        return tags


def _init(factory: Callable, random: bool, hidden: tuple[str, ...]) -> Callable:
    """An __init__ with the factory's parameters, which is where scikit-learn looks for them."""
    own = [p for p in inspect.signature(factory).parameters.values() if p.name not in hidden]
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


class RegressorFace(RegressorMixin, Face):
    """The regressions with one target."""

    def fit(self, X, y, sample_weight=None):
        X, y = self._valid(X, y, y_numeric=True)
        return self._fit(X, y.astype(X.dtype), sample_weight)

    def predict(self, X):
        return self._apply('predict', X)


def _has(method: str) -> Callable:
    def check(self) -> bool:
        fixed, numbers = self._split()
        return getattr(self._factory(**dict(fixed), **numbers), method) is not None
    return check


class ClassifierFace(ClassifierMixin, Face):
    """The classifiers: classes_ are the labels, codes 0, 1, ... are what the factory's estimator sees.

    `class_weight` is a parameter where the factory has one, and becomes part of the rows' weights here, as a dict of
    labels can be read nowhere else.
    """

    _hidden = ('n_classes',)

    def _data_given(self):
        given = {'n_classes': len(getattr(self, 'classes_', (0, 1)))}
        return given | ({'class_weight': None} if hasattr(self, 'class_weight') else {})

    def fit(self, X, y, sample_weight=None):
        X, y = self._valid(X, y)
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f'y: expected at least two classes, found one class, {self.classes_[0]!r}')
        if getattr(self, 'class_weight', None) is not None:
            sample_weight = _check_sample_weight(sample_weight, X, dtype=X.dtype, ensure_non_negative=True)
            sample_weight = sample_weight * compute_sample_weight(self.class_weight, y)
        return self._fit(X, codes.astype(np.int32), sample_weight)

    def predict(self, X):
        codes = self._apply('predict', X)       # which says so if there was no fit yet
        return self.classes_[codes]

    @available_if(_has('proba'))
    def predict_proba(self, X):
        return self._apply('proba', X)

    @available_if(_has('proba'))
    def predict_log_proba(self, X):
        return np.log(self._apply('proba', X))

    @available_if(_has('decision'))
    def decision_function(self, X):
        return self._apply('decision', X)
