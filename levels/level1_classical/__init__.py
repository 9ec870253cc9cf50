"""Level 1, classical machine learning: regression, cross-validation, metrics, k-means, and their scikit-learn faces.

`MEMBERS` is this level's part of `levels.catalogue`. Importing the package imports no component.
"""

from levels import Member

_HERE = 'levels.level1_classical'
_OLS, _RIDGE, _LASSO = 'Multiple Linear Regression', 'Ridge Regression', 'Lasso Regression & Feature Selection'
_CV, _METRICS, _SKLEARN, _KMEANS = 'Cross-Validation', 'MSE, RMSE, MAE, R2', 'Scikit-Learn', 'K-means clustering'
_HOERL = 'Hoerl, Kennard 1970, Ridge regression: biased estimation for nonorthogonal problems'
_TIBSHIRANI = 'Tibshirani 1996, Regression shrinkage and selection via the lasso'
_ZOU = 'Zou, Hastie 2005, Regularization and variable selection via the elastic net'
_GOLUB = 'Golub, Van Loan 2013, Matrix Computations'
_ESL = 'Hastie, Tibshirani, Friedman 2009, The Elements of Statistical Learning'
_LLOYD = 'Lloyd 1982, Least squares quantization in PCM; Arthur, Vassilvitskii 2007, k-means++'
_SCULLEY = 'Sculley 2010, Web-scale k-means clustering'
_TREE, _WARD = 'Hierarchical clustering', 'Ward 1963, Hierarchical grouping to optimize an objective function'
_LANCE = 'Lance, Williams 1967, A general theory of classificatory sorting strategies'
_SHIFT, _COMANICIU = 'Mean Shift', 'Comaniciu, Meer 2002, Mean shift: a robust approach toward feature space analysis'
_SPECTRAL, _MALIK = 'Spectral clustering', 'Shi, Malik 2000, Normalized cuts and image segmentation'
_ROUSSEEUW = 'Rousseeuw 1987, Silhouettes: a graphical aid to the interpretation and validation of cluster analysis'
_PCA = 'PCA (Principal Component Analysis)'
_PEARSON = 'Pearson 1901, On lines and planes of closest fit to systems of points in space'
_ROSS = 'Ross, Lim, Lin, Yang 2008, Incremental learning for robust visual tracking'
_TREES, _FOREST, _BOOSTING = 'Decision Trees', 'Random Forest', 'Gradient Boosting / XGBoost'
_BREIMAN, _CHEN = 'Breiman 2001, Random forests', 'Chen, Guestrin 2016, XGBoost: a scalable tree boosting system'
_CART = 'Breiman, Friedman, Olshen, Stone 1984, Classification and Regression Trees'
_KNN = 'k-Nearest Neighbors (kNN)'
_COVER = 'Cover, Hart 1967, Nearest neighbor pattern classification'
_ALTMAN = 'Altman 1992, An introduction to kernel and nearest-neighbor nonparametric regression'
_LOGISTIC, _COX = 'Logistic Regression', 'Cox 1958, The regression analysis of binary sequences'
_TSNE, _MAATEN = 't-SNE', 'van der Maaten, Hinton 2008, Visualizing data using t-SNE'
_BAYES, _MANNING = 'Naive Bayes', 'Manning, Raghavan, Schuetze 2008, Introduction to Information Retrieval'
_RENNIE = 'Rennie, Shih, Teevan, Karger 2003, Tackling the poor assumptions of naive Bayes text classifiers'
_EVAL = 'Evaluation Metrics'
_SOKOLOVA = 'Sokolova, Lapalme 2009, A systematic analysis of performance measures for classification tasks'
_SVM, _CORTES = 'Support Vector Machines (SVM)', 'Cortes, Vapnik 1995, Support-vector networks'
_KEERTHI = 'Keerthi, DeCoste 2005, A modified finite Newton method for fast solution of large scale linear SVMs'
_DRUCKER = 'Drucker, Burges, Kaufman, Smola, Vapnik 1996, Support vector regression machines'
_SIMPLE, _DRAPER = 'Simple Linear Regression', 'Draper, Smith 1998, Applied Regression Analysis'
_UMAP, _MCINNES = 'UMAP', 'McInnes, Healy, Melville 2018, UMAP: uniform manifold approximation and projection'
_GD = 'Gradient Descent for Regression'
_SGD, _ROBBINS = 'Stochastic Gradient Descent (SGD)', 'Robbins, Monro 1951, A stochastic approximation method'
_CHECK = 'sklearn.utils.estimator_checks.check_estimator'

DONE = (        # topics whose definition of done is met
    _OLS, _SIMPLE, _RIDGE, _LASSO, _GD, _SGD, _CV, _METRICS, _EVAL, _SKLEARN, _LOGISTIC, _KNN, _SVM, _BAYES, _TREES,
    _FOREST, _BOOSTING, _KMEANS, _SPECTRAL, _SHIFT, _TREE, _PCA, _TSNE, _UMAP)


def _row(kind: str, path: str, topic: str, oracle: str, paper: str) -> Member:
    return Member(path.rpartition('.')[2], kind, f'{_HERE}.{path}', 1, topic, oracle, paper)


MEMBERS = (
    _row('estimator', 'regression.linear.ols', _OLS, 'LinearRegression of scikit-learn, numpy.linalg.lstsq', _GOLUB),
    _row('op', 'regression.simple.simple_regression', _SIMPLE, 'scipy.stats.linregress', _DRAPER),
    _row('op', 'regression.simple.bands', _SIMPLE, 'scipy.stats.t', _DRAPER),
    _row('estimator', 'regression.ridge.ridge', _RIDGE, 'sklearn.linear_model.Ridge', _HOERL),
    _row('op', 'regression.ridge.ridge_loo', _RIDGE, 'sklearn.linear_model.RidgeCV, refitting without each row',
         'Allen 1974, The relationship between variable selection and data augmentation'),
    _row('estimator', 'regression.lasso.lasso', _LASSO, 'sklearn.linear_model.Lasso', _TIBSHIRANI),
    _row('estimator', 'regression.lasso.elastic_net', _LASSO, 'sklearn.linear_model.ElasticNet', _ZOU),
    _row('op', 'regression.lasso.lasso_path', _LASSO, 'sklearn.linear_model.lasso_path, enet_path',
         'Friedman, Hastie, Tibshirani 2010, Regularization paths for generalized linear models'),
    _row('op', 'regression.lasso.stability_selection', _LASSO, 'sklearn.linear_model.Lasso on the same subsamples',
         'Meinshausen, Buehlmann 2010, Stability selection'),
    _row('op', 'feature_selection.sequential_selection', _LASSO,
         'sklearn.feature_selection.SequentialFeatureSelector',
         'Kohavi, John 1997, Wrappers for feature subset selection'),
    _row('op', 'feature_selection.recursive_elimination', _LASSO, 'sklearn.feature_selection.RFE, RFECV',
         'Guyon, Weston, Barnhill, Vapnik 2002, Gene selection for cancer classification using SVMs'),
    _row('op', 'metrics.mse', _METRICS, 'sklearn.metrics.mean_squared_error', _ESL),
    _row('op', 'metrics.rmse', _METRICS, 'sklearn.metrics.root_mean_squared_error', _ESL),
    _row('op', 'metrics.mae', _METRICS, 'sklearn.metrics.mean_absolute_error', _ESL),
    _row('op', 'metrics.r2', _METRICS, 'sklearn.metrics.r2_score', _ESL),
    _row('op', 'metrics_labels.accuracy', _EVAL, 'sklearn.metrics.accuracy_score', _SOKOLOVA),
    _row('op', 'metrics_labels.balanced_accuracy', _EVAL, 'sklearn.metrics.balanced_accuracy_score',
         'Brodersen, Ong, Stephan, Buhmann 2010, The balanced accuracy'),
    _row('op', 'metrics_labels.confusion_matrix', _EVAL, 'sklearn.metrics.confusion_matrix', _SOKOLOVA),
    _row('op', 'metrics_labels.precision', _EVAL, 'sklearn.metrics.precision_score', _SOKOLOVA),
    _row('op', 'metrics_labels.recall', _EVAL, 'sklearn.metrics.recall_score', _SOKOLOVA),
    _row('op', 'metrics_labels.f_beta', _EVAL, 'sklearn.metrics.fbeta_score',
         'van Rijsbergen 1979, Information Retrieval'),
    _row('op', 'metrics_labels.mcc', _EVAL, 'sklearn.metrics.matthews_corrcoef',
         'Matthews 1975; Gorodkin 2004, Comparing two K-category assignments'),
    _row('op', 'metrics_labels.cohen_kappa', _EVAL, 'sklearn.metrics.cohen_kappa_score',
         'Cohen 1960, A coefficient of agreement for nominal scales'),
    _row('op', 'metrics_scores.log_loss', _EVAL, 'sklearn.metrics.log_loss',
         'Gneiting, Raftery 2007, Strictly proper scoring rules'),
    _row('op', 'metrics_scores.brier', _EVAL, 'sklearn.metrics.brier_score_loss',
         'Brier 1950, Verification of forecasts expressed in terms of probability'),
    _row('op', 'metrics_scores.roc_curve', _EVAL, 'sklearn.metrics.roc_curve',
         'Fawcett 2006, An introduction to ROC analysis'),
    _row('op', 'metrics_scores.roc_auc', _EVAL, 'sklearn.metrics.roc_auc_score',
         'Hanley, McNeil 1982, The meaning and use of the area under a ROC curve'),
    _row('op', 'metrics_scores.average_precision', _EVAL, 'sklearn.metrics.average_precision_score',
         'Davis, Goadrich 2006, The relationship between precision-recall and ROC curves'),
    _row('op', 'metrics_scores.top_k', _EVAL, 'sklearn.metrics.top_k_accuracy_score',
         'Russakovsky et al. 2015, ImageNet large scale visual recognition challenge'),
    _row('estimator', 'regression.sgd.sgd_regressor', _GD, 'sklearn.linear_model.SGDRegressor', _ROBBINS),
    _row('estimator', 'regression.sgd.sgd_classifier', _SGD, 'sklearn.linear_model.SGDClassifier',
         'Zhang 2004, Solving large scale linear prediction problems using stochastic gradient descent algorithms'),
    _row('op', 'metrics_clusters.silhouette_samples', _KMEANS, 'sklearn.metrics.silhouette_samples', _ROUSSEEUW),
    _row('op', 'metrics_clusters.silhouette', _KMEANS, 'sklearn.metrics.silhouette_score', _ROUSSEEUW),
    _row('op', 'metrics_clusters.adjusted_rand', _KMEANS, 'sklearn.metrics.adjusted_rand_score',
         'Hubert, Arabie 1985, Comparing partitions'),
    _row('op', 'model_selection.grid_search', _CV, 'sklearn.model_selection.GridSearchCV',
         'Stone 1974, Cross-validatory choice and assessment of statistical predictions'),
    _row('op', 'model_selection.ridge_search', _CV, 'sklearn.model_selection.GridSearchCV',
         'Chan, Golub, LeVeque 1983, Algorithms for computing the sample variance'),
    _row('estimator', 'classification.logistic.logistic', _LOGISTIC, 'sklearn.linear_model.LogisticRegression', _COX),
    _row('estimator', 'classification.naive_bayes.gaussian_nb', _BAYES, 'sklearn.naive_bayes.GaussianNB', _ESL),
    _row('estimator', 'classification.naive_bayes.multinomial_nb', _BAYES, 'sklearn.naive_bayes.MultinomialNB',
         _MANNING),
    _row('estimator', 'classification.naive_bayes.bernoulli_nb', _BAYES, 'sklearn.naive_bayes.BernoulliNB', _MANNING),
    _row('estimator', 'classification.naive_bayes.complement_nb', _BAYES, 'sklearn.naive_bayes.ComplementNB', _RENNIE),
    _row('estimator', 'unsupervised.kmeans.kmeans', _KMEANS, 'sklearn.cluster.KMeans', _LLOYD),
    _row('estimator', 'unsupervised.kmeans.minibatch_kmeans', _KMEANS, 'sklearn.cluster.MiniBatchKMeans', _SCULLEY),
    _row('op', 'unsupervised.hierarchical.linkage', _TREE, 'scipy.cluster.hierarchy.linkage', _LANCE),
    _row('op', 'unsupervised.hierarchical.cut', _TREE, 'scipy.cluster.hierarchy.fcluster',
         'Johnson 1967, Hierarchical clustering schemes'),
    _row('op', 'unsupervised.hierarchical.dendrogram', _TREE, 'scipy.cluster.hierarchy.dendrogram',
         'Sneath, Sokal 1973, Numerical Taxonomy'),
    _row('estimator', 'unsupervised.hierarchical.agglomerative', _TREE, 'sklearn.cluster.AgglomerativeClustering',
         _WARD),
    _row('estimator', 'unsupervised.mean_shift.mean_shift', _SHIFT, 'sklearn.cluster.MeanShift', _COMANICIU),
    _row('op', 'unsupervised.mean_shift.estimate_bandwidth', _SHIFT, 'sklearn.cluster.estimate_bandwidth', _COMANICIU),
    _row('estimator', 'unsupervised.spectral.spectral_clustering', _SPECTRAL, 'sklearn.cluster.SpectralClustering',
         _MALIK),
    _row('op', 'unsupervised.spectral.spectral_embedding', _SPECTRAL, 'sklearn.manifold.spectral_embedding',
         'Belkin, Niyogi 2003, Laplacian eigenmaps for dimensionality reduction'),
    _row('estimator', 'unsupervised.pca.pca', _PCA, 'sklearn.decomposition.PCA', _PEARSON),
    _row('estimator', 'unsupervised.pca.incremental_pca', _PCA, 'sklearn.decomposition.IncrementalPCA', _ROSS),
    _row('op', 'unsupervised.pca.incremental_update', _PCA, 'sklearn.decomposition.IncrementalPCA.partial_fit', _ROSS),
    _row('estimator', 'ensembles.tree.decision_tree_classifier', _TREES, 'sklearn.tree.DecisionTreeClassifier', _CART),
    _row('estimator', 'ensembles.tree.decision_tree_regressor', _TREES, 'sklearn.tree.DecisionTreeRegressor', _CART),
    _row('op', 'ensembles.pruning.pruning_path', _TREES, 'DecisionTreeRegressor.cost_complexity_pruning_path', _CART),
    _row('op', 'ensembles.pruning.prune', _TREES, 'sklearn.tree.DecisionTreeRegressor(ccp_alpha)', _CART),
    _row('op', 'ensembles.drawing.to_text', _TREES, 'sklearn.tree.export_text', _CART),
    _row('op', 'ensembles.drawing.to_picture', _TREES, 'the nodes and tests of sklearn.tree.plot_tree',
         'Reingold, Tilford 1981, Tidier drawings of trees'),
    _row('estimator', 'ensembles.boosting.gradient_boosting_regressor', _BOOSTING,
         'xgboost (hist), sklearn.ensemble.HistGradientBoostingRegressor', _CHEN),
    _row('estimator', 'ensembles.boosting.gradient_boosting_classifier', _BOOSTING,
         'xgboost (hist), sklearn.ensemble.HistGradientBoostingClassifier', _CHEN),
    _row('estimator', 'ensembles.forest.random_forest_classifier', _FOREST, 'sklearn.ensemble.RandomForestClassifier',
         _BREIMAN),
    _row('estimator', 'ensembles.forest.random_forest_regressor', _FOREST, 'sklearn.ensemble.RandomForestRegressor',
         _BREIMAN),
    _row('op', 'ensembles.permutation.permutation_importance', _FOREST, 'sklearn.inspection.permutation_importance',
         _BREIMAN),
    _row('op', 'neighbours.nearest', _KNN, "sklearn.neighbors.NearestNeighbors(algorithm='brute')", _COVER),
    _row('estimator', 'classification.knn.knn_classifier', _KNN, 'sklearn.neighbors.KNeighborsClassifier', _COVER),
    _row('estimator', 'classification.knn.knn_regressor', _KNN, 'sklearn.neighbors.KNeighborsRegressor', _ALTMAN),
    _row('estimator', 'unsupervised.tsne.tsne', _TSNE, 'sklearn.manifold.TSNE, _t_sne._joint_probabilities', _MAATEN),
    _row('op', 'unsupervised.trustworthiness.trustworthiness', _TSNE, 'sklearn.manifold.trustworthiness',
         'Venna, Kaski 2001, Neighborhood preservation in nonlinear projection methods'),
    _row('estimator', 'classification.linear_svc.linear_svc', _SVM, 'sklearn.svm.LinearSVC', _KEERTHI),
    _row('estimator', 'classification.svc.svc', _SVM, 'sklearn.svm.SVC, CalibratedClassifierCV', _CORTES),
    _row('estimator', 'classification.svc.svr', _SVM, 'sklearn.svm.SVR', _DRUCKER),
    _row('op', 'classification.svc.support', _SVM, 'sklearn.svm.SVC.support_', _CORTES),
    _row('estimator', 'unsupervised.umap.umap', _UMAP, 'umap.UMAP, umap.umap_.fuzzy_simplicial_set', _MCINNES),
    _row('scikit-learn face', 'sklearn_api.OLS', _SKLEARN, _CHECK, _GOLUB),
    _row('scikit-learn face', 'sklearn_api.Ridge', _SKLEARN, _CHECK, _HOERL),
    _row('scikit-learn face', 'sklearn_api.Lasso', _SKLEARN, _CHECK, _TIBSHIRANI),
    _row('scikit-learn face', 'sklearn_api.ElasticNet', _SKLEARN, _CHECK, _ZOU),
    _row('scikit-learn face', 'sklearn_api.LogisticRegression', _SKLEARN, _CHECK, _COX),
    _row('scikit-learn face', 'sklearn_api.GaussianNB', _SKLEARN, _CHECK, _ESL),
    _row('scikit-learn face', 'sklearn_api.MultinomialNB', _SKLEARN, _CHECK, _MANNING),
    _row('scikit-learn face', 'sklearn_api.BernoulliNB', _SKLEARN, _CHECK, _MANNING),
    _row('scikit-learn face', 'sklearn_api.ComplementNB', _SKLEARN, _CHECK, _RENNIE),
    _row('scikit-learn face', 'sklearn_api.SGDRegressor', _SKLEARN, _CHECK, _ROBBINS),
    _row('scikit-learn face', 'sklearn_api.SGDClassifier', _SKLEARN, _CHECK, _ROBBINS),
    _row('scikit-learn face', 'sklearn_api.KMeans', _SKLEARN, _CHECK, _LLOYD),
    _row('scikit-learn face', 'sklearn_api.MiniBatchKMeans', _SKLEARN, _CHECK, _SCULLEY),
    _row('scikit-learn face', 'sklearn_api.TSNE', _SKLEARN, _CHECK, _MAATEN),
    _row('scikit-learn face', 'sklearn_api.UMAP', _SKLEARN, _CHECK, _MCINNES),
    _row('scikit-learn face', 'sklearn_api.PCA', _SKLEARN, _CHECK, _PEARSON),
    _row('scikit-learn face', 'sklearn_api.IncrementalPCA', _SKLEARN, _CHECK, _ROSS),
    _row('scikit-learn face', 'sklearn_api.AgglomerativeClustering', _SKLEARN, _CHECK, _WARD),
    _row('scikit-learn face', 'sklearn_api.MeanShift', _SKLEARN, _CHECK, _COMANICIU),
    _row('scikit-learn face', 'sklearn_api.SpectralClustering', _SKLEARN, _CHECK, _MALIK),
    _row('scikit-learn face', 'sklearn_api.DecisionTreeClassifier', _SKLEARN, _CHECK, _CART),
    _row('scikit-learn face', 'sklearn_api.DecisionTreeRegressor', _SKLEARN, _CHECK, _CART),
    _row('scikit-learn face', 'sklearn_api.GradientBoostingRegressor', _SKLEARN, _CHECK, _CHEN),
    _row('scikit-learn face', 'sklearn_api.GradientBoostingClassifier', _SKLEARN, _CHECK, _CHEN),
    _row('scikit-learn face', 'sklearn_api.RandomForestClassifier', _SKLEARN, _CHECK, _BREIMAN),
    _row('scikit-learn face', 'sklearn_api.RandomForestRegressor', _SKLEARN, _CHECK, _BREIMAN),
    _row('scikit-learn face', 'sklearn_api.KNeighborsClassifier', _SKLEARN, _CHECK, _COVER),
    _row('scikit-learn face', 'sklearn_api.KNeighborsRegressor', _SKLEARN, _CHECK, _ALTMAN),
    _row('scikit-learn face', 'sklearn_api.LinearSVC', _SKLEARN, _CHECK, _KEERTHI),
    _row('scikit-learn face', 'sklearn_api.SVC', _SKLEARN, _CHECK, _CORTES),
    _row('scikit-learn face', 'sklearn_api.SVR', _SKLEARN, _CHECK, _DRUCKER),
)
