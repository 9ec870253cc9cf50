"""The scikit-learn faces: every check of scikit-learn's, in Pipeline, GridSearchCV and clone."""
import copy
import inspect

import jax
import numpy as np
import pytest
import sklearn
from sklearn.base import clone
from sklearn.datasets import load_diabetes
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator, estimator_checks_generator

from levels.catalogue import load, members
from levels.level1_classical import model_selection as ms
from levels.level1_classical.preprocessing import chain, scaler
from levels.level1_classical.regression.ridge import ridge
from levels.level1_classical.sklearn_api import DEVIATIONS, KMeans, Lasso, Ridge, all_estimators, face
from levels.level1_classical.sklearn_api.face import Face

FACES = members(kind='scikit-learn face')
X, Y = (v.astype('float32') for v in load_diabetes(return_X_y=True))
RAN = {}
# How many checks scikit-learn has for each face, by its version: classifiers have more than clusterings, tags and
# weights bring some.  For a version that is not here: count them anew, see what was added and taken away, add a row.
CHECKS = {'1.9': {
    'AgglomerativeClustering': 46, 'BernoulliNB': 63, 'ComplementNB': 64, 'DecisionTreeClassifier': 62,
    'DecisionTreeRegressor': 59, 'ElasticNet': 61, 'GaussianNB': 62, 'GradientBoostingClassifier': 61,
    'GradientBoostingRegressor': 58, 'IncrementalPCA': 47, 'KMeans': 58, 'KNeighborsClassifier': 62,
    'KNeighborsRegressor': 60, 'Lasso': 61, 'LinearSVC': 64, 'LogisticRegression': 64, 'MeanShift': 53,
    'MiniBatchKMeans': 58, 'MultinomialNB': 64, 'OLS': 61, 'PCA': 47, 'RandomForestClassifier': 62,
    'RandomForestRegressor': 59, 'Ridge': 61, 'SGDClassifier': 64, 'SGDRegressor': 60, 'SVC': 63, 'SVR': 59,
    'SpectralClustering': 46, 'TSNE': 41, 'UMAP': 47}}
VERSION = '.'.join(sklearn.__version__.split('.')[:2])
SKIPPED = {'check_array_api_input'}     # by scikit-learn, for every face: none of them claims to support it


@pytest.fixture(autouse=True)
def plain_rank_promotion():
    """Code of scikit-learn's own checks runs here as well."""
    before = jax.config.jax_numpy_rank_promotion
    yield
    jax.config.update('jax_numpy_rank_promotion', before)


@pytest.fixture
def forgotten():
    """Hundreds of programs for each face: all of them together have more memory maps than a process may have."""
    yield
    jax.clear_caches()


# Half a minute of compiling each. In the default suite one face of each kind; the others share its code.
ALWAYS = ('Ridge', 'ElasticNet', 'KMeans')


@pytest.mark.parametrize('row', [pytest.param(row, id=row.name, marks=() if row.name in ALWAYS else pytest.mark.slow)
                                 for row in FACES])
def test_check_estimator(row, forgotten):
    """All checks pass, but for the listed deviations, which must still fail: a list too long is a defect too."""
    known = DEVIATIONS.get(row.name)
    done = check_estimator(load(row)(), expected_failed_checks=known, on_skip=None, on_fail=None)
    failed = {(r['check_name'], repr(r['exception'])[:300]) for r in done if r['status'] == 'failed'}
    assert not failed
    assert {r['check_name'] for r in done if r['status'] == 'xfail'} == set(DEVIATIONS.get(row.name, ()))
    assert {r['check_name'] for r in done if r['status'] == 'skipped'} == SKIPPED
    RAN[row.name] = sum(r['status'] == 'passed' for r in done)
    assert RAN[row.name] == CHECKS[VERSION][row.name] - len(known or ()) - len(SKIPPED)


def test_the_number_of_checks_of_every_face_is_known():
    """Of all faces, by listing the checks without running them: what a face claims decides which it gets."""
    assert VERSION in CHECKS, f'scikit-learn {VERSION}: no counts of its checks'
    assert {row.name: sum(1 for _ in estimator_checks_generator(load(row)(), mark=None)) for row in FACES} == CHECKS[
        VERSION]


def test_every_selected_face_was_checked(request):
    """Must stand behind `test_check_estimator`.  The slow suite selects all, the default one those of ALWAYS."""
    assert len(FACES) == 31 and {row.name for row in FACES} >= set(ALWAYS)
    selected = [i for i in request.session.items if i.module is request.module
                and i.originalname == 'test_check_estimator']
    assert len(RAN) == len(selected)


def test_every_estimator_has_one_face_and_every_face_is_in_the_catalogue():
    listed = all_estimators()
    assert [name for name, _ in listed] == sorted(row.name for row in FACES)
    assert {cls._factory.__name__ for _, cls in listed} == {row.name for row in members(kind='estimator', level=1)}
    assert {'KMeans', 'MiniBatchKMeans'} <= {n for n, _ in all_estimators('cluster')}
    assert {'ElasticNet', 'Lasso', 'OLS', 'Ridge'} <= {n for n, _ in all_estimators('regressor')}
    kinds = [{n for n, _ in all_estimators(k)} for k in ('classifier', 'regressor', 'cluster', 'transformer')]
    # as scikit-learn's own, TSNE is of no kind: it has neither predict nor transform
    assert set.union(*kinds) == {name for name, _ in listed if name != 'TSNE'} and not kinds[0] & kinds[1]
    with pytest.raises(ValueError, match='type_filter: expected one of classifier'):
        all_estimators('classifiers')
    for _, cls in listed:       # parameters are the factory's, with its defaults
        rules = inspect.signature(cls._factory).parameters
        assert {k: v for k, v in cls().get_params().items() if k != 'random_state'} == {
            k: p.default for k, p in rules.items() if k not in cls._hidden}


def test_pipeline_grid_search_and_clone_agree_with_the_functions():
    alphas = np.array([0.01, 1.0, 100.0])
    peer = GridSearchCV(make_pipeline(StandardScaler(), Ridge(solver='eigh')), {'ridge__alpha': alphas}, cv=KFold(4))
    peer.fit(X, Y)
    assert not hasattr(peer, 'error_') and np.isfinite(peer.cv_results_['mean_test_score']).all()
    make = lambda alpha: chain(scaler(), ridge(alpha=alpha, solver='eigh'))
    found = ms.grid_search(make, X, Y, ms.splits('kfold', X, n_splits=4), {'alpha': alphas})
    theirs = np.stack([peer.cv_results_[f'split{f}_test_score'] for f in range(4)])
    assert np.abs(theirs - found.scores).max() < 2e-5 and peer.best_params_['ridge__alpha'] == found.best['alpha']
    again = clone(peer.best_estimator_).fit(X, Y)
    assert np.array_equal(again.predict(X), peer.predict(X))


def test_a_grid_is_compiled_once():
    """Penalties and folds of 90 and 91 rows share a program: numbers are arguments and rows are padded."""
    face._program.cache_clear()
    GridSearchCV(Lasso(), {'alpha': np.linspace(0.1, 1, 5)}, cv=KFold(3)).fit(X[:100], Y[:100])
    assert face._program.cache_info().misses == 2       # fit and predict
    program = face._program(Lasso._factory, Lasso()._split()[0], 'fit')
    assert program._cache_size() == 1


@pytest.mark.parametrize('rows', [1, 15, 16, 17, 255, 257, 1000, 70_000])
def test_padding_wastes_little(rows):
    padded = face._padded(np.ones((rows, 2), 'float32'))
    assert len(padded) >= rows and padded[:rows].all() and not padded[rows:].any()
    assert len(padded) < max(17, 2 * rows) and (rows < 257 or len(padded) < 1.13 * rows)


def test_values_types_and_copies():
    with pytest.raises(ValueError, match='alpha: expected at least 0, found'):
        Ridge(alpha=-1.0).fit(X, Y)
    with pytest.raises(TypeError):
        Ridge(alhpa=1.0)
    for dtype in ('float32', 'float64'):
        model = Ridge(alpha=[1.0, 2.0]).fit(X.astype(dtype), np.stack([Y, -Y], 1))
        assert model.coef_.dtype == dtype == model.predict(X.astype(dtype)).dtype and model.coef_.shape == (2, 10)
    assert np.array_equal(copy.deepcopy(model).predict(X), model.predict(X))
    fitted = KMeans(n_clusters=3, init=X[:3], n_init=1).fit(X)
    assert clone(fitted).init.shape == (3, 10) and not hasattr(clone(fitted), 'state_')
    assert fitted.score(X) == pytest.approx(-fitted.inertia_, rel=1e-4)
    assert list(fitted.get_feature_names_out()) == ['kmeans0', 'kmeans1', 'kmeans2'] and issubclass(KMeans, Face)
