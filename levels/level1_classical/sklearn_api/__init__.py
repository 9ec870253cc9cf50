"""Every estimator of this level as a scikit-learn class, by one adapter (`face.py`).

Example:
    from levels.level1_classical.sklearn_api import Ridge, all_estimators
    GridSearchCV(make_pipeline(StandardScaler(), Ridge()), {'ridge__alpha': [0.1, 1.0]}).fit(X, y)
    [name for name, cls in all_estimators('regressor')]
"""

from sklearn.base import ClassifierMixin, ClusterMixin, RegressorMixin, TransformerMixin

from levels.level1_classical.sklearn_api.bayes import BernoulliNB, ComplementNB, GaussianNB, MultinomialNB
from levels.level1_classical.sklearn_api.clusters import KMeans, MiniBatchKMeans
from levels.level1_classical.sklearn_api.decomposition import PCA, IncrementalPCA
from levels.level1_classical.sklearn_api.face import Face
from levels.level1_classical.sklearn_api.linear import OLS, ElasticNet, Lasso, Ridge
from levels.level1_classical.sklearn_api.linear_classifiers import LogisticRegression
from levels.level1_classical.sklearn_api.machines import SVC, SVR, LinearSVC
from levels.level1_classical.sklearn_api.manifold import TSNE, UMAP
from levels.level1_classical.sklearn_api.neighbours import KNeighborsClassifier, KNeighborsRegressor
from levels.level1_classical.sklearn_api.sgd import SGDClassifier, SGDRegressor
from levels.level1_classical.sklearn_api.trees import (
    DecisionTreeClassifier,
    DecisionTreeRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from levels.level1_classical.sklearn_api.unsupervised import AgglomerativeClustering, MeanShift, SpectralClustering

__all__ = [
    'DEVIATIONS',
    'OLS',
    'PCA',
    'SVC',
    'SVR',
    'TSNE',
    'UMAP',
    'AgglomerativeClustering',
    'BernoulliNB',
    'ComplementNB',
    'DecisionTreeClassifier',
    'DecisionTreeRegressor',
    'ElasticNet',
    'GaussianNB',
    'GradientBoostingClassifier',
    'GradientBoostingRegressor',
    'IncrementalPCA',
    'KMeans',
    'KNeighborsClassifier',
    'KNeighborsRegressor',
    'Lasso',
    'LinearSVC',
    'LogisticRegression',
    'MeanShift',
    'MiniBatchKMeans',
    'MultinomialNB',
    'RandomForestClassifier',
    'RandomForestRegressor',
    'Ridge',
    'SGDClassifier',
    'SGDRegressor',
    'SpectralClustering',
    'all_estimators',
]

MIXINS = {'classifier': ClassifierMixin, 'regressor': RegressorMixin, 'cluster': ClusterMixin,
          'transformer': TransformerMixin}
DEVIATIONS: dict[str, dict[str, str]] = {       # class -> check of scikit-learn that it does not pass -> why
    name: {
        'check_sample_weight_equivalence_on_dense_data':
            'random starts differ when rows are repeated; from given centers the law holds (scikit-learn: the same)'}
    for name in ('KMeans', 'MiniBatchKMeans')} | {
    name: {
        'check_sample_weight_equivalence_on_dense_data':
            'weights are exact, but the search stops within tol: with tol=1e-10 the check passes (tested)'}
    for name in ('SVC', 'SVR')} | {
    name: {
        'check_sample_weight_equivalence_on_dense_data':
            'the draws of rows differ when rows are repeated; on average the law holds (scikit-learn: the same)'}
    for name in ('RandomForestClassifier', 'RandomForestRegressor')} | {
    name: {
        f'check_sample_weight_equivalence_on_{kind}_data':
            'a row of weight 2 is one long step, a repeated row two short ones; over many keys the means agree '
            '(scikit-learn: the same)'
        for kind in ('dense', 'sparse')}
    for name in ('SGDClassifier', 'SGDRegressor')}


def all_estimators(type_filter: str | None = None) -> list[tuple[str, type]]:
    """(name, class) of every face, sorted by name, as scikit-learn's function of that name lists its own.

    Errors: ValueError for an unknown type_filter.
    """
    if type_filter is not None and type_filter not in MIXINS:
        raise ValueError(f'type_filter: expected one of {", ".join(MIXINS)}; found {type_filter!r}')
    kind = MIXINS.get(type_filter, Face)
    own = [c for c in globals().values() if isinstance(c, type) and issubclass(c, Face) and hasattr(c, '_factory')]
    return sorted(((c.__name__, c) for c in own if issubclass(c, kind)), key=lambda pair: pair[0])
