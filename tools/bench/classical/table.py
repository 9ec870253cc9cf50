"""The rows.  Targets are those of docs/benchmarks.md; None where none was set."""
import numpy as np

from tools.bench.classical import CORES, Other, Row
from tools.bench.forms import Quality

LINEAR = {'rows': 100_000, 'features': 100}
COUNTS = {**LINEAR, 'clusters': 10}
TREES = {'rows': 20_000, 'features': 50}
MAPS = {'rows': 5_000, 'features': 50, 'clusters': 10}
KNN = {'rows': 50_000, 'queries': 10_000, 'features': 64, 'clusters': 10}
JOBS = ({'n_jobs': 1}, {'n_jobs': CORES})
TWICE = ({}, {'dtype': 'float64'})          # the precision in which a peer is faster
SOLVED = Quality('least_squares', 'lower', 1e-5)
RIGHT = Quality('accuracy', 'higher', 0.005)
BAYES = Quality('log_loss', 'lower', 1e-3)
CLASSES = lambda d: {'n_classes': d.clusters}
PENALTIES = np.logspace(0, 4, 50)
BOOST = {'n_estimators': 100, 'learning_rate': 0.1, 'max_depth': 6}
LEAVES = {**BOOST, 'num_leaves': 64, 'min_child_samples': 1, 'min_child_weight': 1.0, 'reg_lambda': 1.0, 'verbose': -1}


def _skl(path: str, options=None, choices=({},), target=None) -> tuple[Other, ...]:
    return (Other(f'sklearn.{path}', options or {}, choices, target),)


def _bayes(name: str, what: str, peer: str) -> Row:
    return Row(f'{name}_nb', f'{what} naive Bayes, fit', 'counts', COUNTS, f'classification.naive_bayes.{name}_nb',
               CLASSES, _skl(f'naive_bayes.{peer}'), BAYES)


LINEAR_ROWS = (
    Row('ols', 'least squares', 'linear', LINEAR, 'regression.linear.ols', {},
        _skl('linear_model.LinearRegression', choices=TWICE), SOLVED, repeats=3),
    Row('ridge', 'ridge regression', 'linear', LINEAR, 'regression.ridge.ridge', {'alpha': 10.0},
        _skl('linear_model.Ridge', {'alpha': 10.0, 'solver': 'cholesky'}, TWICE, 0.85), SOLVED),
    Row('ridge_path', 'ridge regression for 50 penalties: one program, or one after the other', 'linear', LINEAR,
        'regression.ridge.ridge', {'alpha': PENALTIES, 'solver': 'eigh'},
        _skl('linear_model.Ridge', {'alpha': PENALTIES, 'solver': 'cholesky'}, target=20.0),
        Quality('swept', 'lower', 1e-5), do='sweep', sweep=('alpha',), repeats=3),
    Row('lasso', 'lasso', 'linear', LINEAR, 'regression.lasso.lasso', {'alpha': 0.01, 'tol': 1e-4},
        _skl('linear_model.Lasso', {'alpha': 0.01, 'tol': 1e-4}, ({'precompute': True}, {'precompute': False}), 1.4),
        Quality('elastic', 'lower', 1e-5)),
    Row('elastic_net', 'elastic net', 'linear', LINEAR, 'regression.lasso.elastic_net',
        {'alpha': 0.01, 'l1_ratio': 0.5, 'tol': 1e-4},
        _skl('linear_model.ElasticNet', {'alpha': 0.01, 'l1_ratio': 0.5, 'tol': 1e-4},
             ({'precompute': True}, {'precompute': False})), Quality('elastic', 'lower', 1e-5)),
    Row('lasso_path', 'lasso for 50 penalties', 'linear', LINEAR, 'regression.lasso.lasso_path',
        {'n_alphas': 50, 'tol': 1e-4}, _skl('linear_model.lasso_path', {'alphas': 50, 'tol': 1e-4}),
        Quality('path', 'lower', 1e-5), do='call'),
    Row('sgd_regressor', 'stochastic gradient descent, squared loss, 5 epochs', 'linear', LINEAR,
        'regression.sgd.sgd_regressor', {'max_iter': 5, 'tol': 0.0},
        _skl('linear_model.SGDRegressor', {'max_iter': 5, 'tol': None, 'random_state': 0}),
        Quality('r2', 'higher', 0.002), repeats=3),
    Row('sgd_classifier', 'stochastic gradient descent, hinge, 5 epochs', 'logits', LINEAR,
        'regression.sgd.sgd_classifier', {'max_iter': 5, 'tol': 0.0},
        _skl('linear_model.SGDClassifier', {'max_iter': 5, 'tol': None, 'random_state': 0}),
        Quality('accuracy', 'higher', 0.02), repeats=3),
    Row('logistic', 'logistic regression of two classes', 'logits', LINEAR, 'classification.logistic.logistic',
        {'C': 1.0, 'tol': 1e-5},
        _skl('linear_model.LogisticRegression', {'C': 1.0, 'tol': 1e-4},
             ({'solver': 'lbfgs'}, {'solver': 'newton-cholesky'}), 0.9), Quality('logistic_loss', 'lower', 1e-5)),
    Row('linear_svc', 'linear support vector machine, squared hinge', 'logits', TREES,
        'classification.linear_svc.linear_svc', {'C': 1.0, 'tol': 1e-4},
        _skl('svm.LinearSVC', {'C': 1.0, 'dual': False}, target=4.0),
        Quality('hinge', 'lower', 1e-4)),
)
NEAR_ROWS = (
    Row('gaussian_nb', 'Gaussian naive Bayes, fit', 'groups', COUNTS, 'classification.naive_bayes.gaussian_nb',
        CLASSES, _skl('naive_bayes.GaussianNB', target=1.8), BAYES),
    Row('gaussian_nb_predict', 'Gaussian naive Bayes, predict', 'groups', {**COUNTS, 'queries': 100_000},
        'classification.naive_bayes.gaussian_nb', CLASSES, _skl('naive_bayes.GaussianNB', target=9.0),
        Quality('agreement', 'higher', 0.001), do='predict'),
    _bayes('multinomial', 'multinomial', 'MultinomialNB'),
    _bayes('bernoulli', 'Bernoulli', 'BernoulliNB'),
    _bayes('complement', 'complement', 'ComplementNB'),
    Row('nearest', 'the 10 nearest rows of each query', 'groups', KNN, 'neighbours.nearest', {'k': 10},
        _skl('neighbors.NearestNeighbors', {'n_neighbors': 10, 'algorithm': 'brute'}, JOBS, 1.8),
        Quality('distance', 'lower', 1e-4), do='neighbours', repeats=3),
    Row('knn_classifier', '5 nearest neighbours, predict classes', 'groups', KNN, 'classification.knn.knn_classifier',
        lambda d: {'n_neighbors': 5, 'n_classes': d.clusters},
        _skl('neighbors.KNeighborsClassifier', {'n_neighbors': 5, 'algorithm': 'brute'}, JOBS),
        Quality('agreement', 'higher', 0.001), do='predict', repeats=3),
    Row('knn_regressor', '5 nearest neighbours, predict numbers', 'groups', KNN, 'classification.knn.knn_regressor',
        {'n_neighbors': 5}, _skl('neighbors.KNeighborsRegressor', {'n_neighbors': 5, 'algorithm': 'brute'}, JOBS),
        Quality('agreement_r2', 'higher', 0.001), do='predict', repeats=3),
    Row('svc', 'support vector machine, radial kernel', 'curved_classes', {'rows': 5_000, 'features': 20},
        'classification.svc.svc', {'C': 1.0}, _skl('svm.SVC', {'C': 1.0, 'cache_size': 1000}, target=1.1), RIGHT,
        repeats=3),
    Row('svr', 'support vector regression, radial kernel', 'curved', {'rows': 5_000, 'features': 20},
        'classification.svc.svr', {'C': 1.0}, _skl('svm.SVR', {'C': 1.0, 'cache_size': 1000}),
        Quality('r2', 'higher', 0.002), repeats=3),
)
TREE_ROWS = (
    Row('decision_tree_classifier', 'decision tree of depth 10', 'curved_classes', TREES,
        'ensembles.tree.decision_tree_classifier', {'max_depth': 10},
        _skl('tree.DecisionTreeClassifier', {'max_depth': 10, 'random_state': 0}), RIGHT, repeats=3),
    Row('decision_tree_regressor', 'decision tree of depth 10', 'curved', TREES,
        'ensembles.tree.decision_tree_regressor', {'max_depth': 10},
        _skl('tree.DecisionTreeRegressor', {'max_depth': 10, 'random_state': 0}), Quality('r2', 'higher', 0.01),
        repeats=3),
    Row('random_forest_classifier', 'random forest of 100 trees of depth 10', 'curved_classes', TREES,
        'ensembles.forest.random_forest_classifier', {'n_estimators': 100, 'max_depth': 10, 'max_bins': 63},
        _skl('ensemble.RandomForestClassifier',
             {'n_estimators': 100, 'max_depth': 10, 'n_jobs': CORES, 'random_state': 0}, target=2.3),
        Quality('accuracy', 'higher', 0.01), repeats=2),
    Row('random_forest_regressor', 'random forest of 30 trees of depth 10, a third of the columns', 'curved', TREES,
        'ensembles.forest.random_forest_regressor',
        {'n_estimators': 30, 'max_depth': 10, 'max_features': 16, 'max_bins': 63},
        _skl('ensemble.RandomForestRegressor', {'n_estimators': 30, 'max_depth': 10, 'max_features': 16,
                                                'n_jobs': CORES, 'random_state': 0}),
        Quality('r2', 'higher', 0.01), repeats=2),
    Row('gradient_boosting_regressor', '100 rounds of depth 6', 'curved', {'rows': 100_000, 'features': 50},
        'ensembles.boosting.gradient_boosting_regressor', BOOST,
        (Other('lightgbm.LGBMRegressor', {**LEAVES, 'n_jobs': CORES}, target=0.35, one=0.6),
         Other('xgboost.XGBRegressor', {**BOOST, 'tree_method': 'hist', 'n_jobs': CORES}),
         Other('sklearn.ensemble.HistGradientBoostingRegressor',
               {'max_iter': 100, 'learning_rate': 0.1, 'max_depth': 6, 'max_leaf_nodes': 64, 'early_stopping': False})),
        Quality('mse', 'lower', 0.01), repeats=2),
    Row('gradient_boosting_classifier', '100 rounds of depth 6, two classes', 'curved_classes',
        {'rows': 50_000, 'features': 50}, 'ensembles.boosting.gradient_boosting_classifier', BOOST,
        (Other('lightgbm.LGBMClassifier', {**LEAVES, 'n_jobs': CORES}),), Quality('log_loss', 'lower', 0.01),
        repeats=2),
)
MAP_ROWS = (
    Row('kmeans', "k-means, 20 of Lloyd's iterations from the same rows", 'groups',
        {'rows': 200_000, 'features': 32, 'clusters': 64}, 'unsupervised.kmeans.kmeans',
        lambda d: {'n_clusters': d.clusters, 'init': d.init, 'max_iter': 20, 'tol': 0.0},
        _skl('cluster.KMeans',
             lambda d: {'n_clusters': d.clusters, 'init': d.init, 'n_init': 1, 'max_iter': 20, 'tol': 0.0},
             ({'algorithm': 'lloyd'}, {'algorithm': 'elkan'}), 1.8), Quality('inertia', 'lower', 0.01)),
    Row('minibatch_kmeans', 'k-means by 100 batches of 1,024 rows from the same rows', 'groups',
        {'rows': 200_000, 'features': 32, 'clusters': 64}, 'unsupervised.kmeans.minibatch_kmeans',
        lambda d: {'n_clusters': d.clusters, 'init': d.init, 'max_iter': 100},
        _skl('cluster.MiniBatchKMeans',
             lambda d: {'n_clusters': d.clusters, 'init': d.init, 'n_init': 1, 'batch_size': 1024, 'random_state': 0,
                        'max_iter': max(1, 102_400 // len(d.X)), 'max_no_improvement': None}),
        Quality('inertia', 'lower', 0.5)),
    Row('pca', 'the first principal components', 'low_rank', {'rows': 60_000, 'features': 784, 'components': 50},
        'unsupervised.pca.pca', lambda d: {'n_components': d.components, 'solver': 'eigh'},
        _skl('decomposition.PCA', lambda d: {'n_components': d.components, 'random_state': 0},
             ({'svd_solver': 'covariance_eigh'}, {'svd_solver': 'randomized'}), 0.95),
        Quality('variance', 'higher', 1e-4), repeats=3),
    Row('incremental_pca', 'principal components by batches of 1,000', 'low_rank',
        {'rows': 20_000, 'features': 200, 'components': 20}, 'unsupervised.pca.incremental_pca',
        lambda d: {'n_components': d.components, 'batch_size': 1000},
        _skl('decomposition.IncrementalPCA', lambda d: {'n_components': d.components, 'batch_size': 1000}),
        Quality('variance', 'higher', 1e-3), repeats=3),
    Row('spectral_clustering', 'spectral clustering, radial kernel', 'apart', {**MAPS, 'features': 10},
        'unsupervised.spectral.spectral_clustering', {'n_clusters': 10, 'gamma': 0.02},
        _skl('cluster.SpectralClustering', {'n_clusters': 10, 'gamma': 0.02, 'random_state': 0},
             ({'eigen_solver': 'arpack'}, {'eigen_solver': 'lobpcg'}), 5.0),
        Quality('rand', 'higher', 0.01), repeats=2),
    Row('mean_shift', 'mean shift from every row', 'far', {'rows': 5_000, 'features': 3, 'clusters': 12},
        'unsupervised.mean_shift.mean_shift', {'bandwidth': 3.0},
        _skl('cluster.MeanShift', {'bandwidth': 3.0, 'n_jobs': CORES}, target=20.0), Quality('rand', 'higher', 0.01),
        repeats=1),
    Row('ward', "the tree of Ward's linkage", 'apart', MAPS, 'unsupervised.hierarchical.linkage', {'method': 'ward'},
        (Other('scipy.cluster.hierarchy.linkage', {'method': 'ward'}, target=1.0),), Quality('heights', 'lower', 1e-3),
        do='call', repeats=3),
    Row('agglomerative', "agglomerative clustering by Ward's linkage", 'apart', MAPS,
        'unsupervised.hierarchical.agglomerative', {'n_clusters': 10},
        _skl('cluster.AgglomerativeClustering', {'n_clusters': 10}), Quality('rand', 'higher', 0.01), repeats=3),
    Row('tsne', 't-SNE, 350 steps', 'apart', MAPS, 'unsupervised.tsne.tsne',
        {'max_iter': 350, 'early_iter': 100, 'min_gradient': 0.0},
        (Other('openTSNE.TSNE', {'early_exaggeration_iter': 100, 'n_iter': 250, 'n_jobs': CORES, 'random_state': 0},
               ({'negative_gradient_method': 'fft'}, {'negative_gradient_method': 'bh'}), 0.8),),
        Quality('trust', 'higher', 0.005), repeats=2),
    Row('umap', 'UMAP, 200 epochs', 'apart', MAPS, 'unsupervised.umap.umap', {'n_epochs': 200},
        (Other('umap.UMAP', {'n_epochs': 200, 'n_jobs': CORES}, target=2.5),), Quality('trust', 'higher', 0.005),
        repeats=3),
)
ROWS = LINEAR_ROWS + NEAR_ROWS + TREE_ROWS + tuple(row._replace(alone=True) for row in MAP_ROWS)
