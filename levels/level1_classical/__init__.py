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
_CHECK = 'sklearn.utils.estimator_checks.check_estimator'

DONE = (_OLS, _RIDGE, _LASSO, _CV, _METRICS, _SKLEARN, _KMEANS)     # topics whose definition of done is met


def _row(kind: str, path: str, topic: str, oracle: str, paper: str) -> Member:
    return Member(path.rpartition('.')[2], kind, f'{_HERE}.{path}', 1, topic, oracle, paper)


MEMBERS = (
    _row('estimator', 'regression.linear.ols', _OLS, 'LinearRegression of scikit-learn, numpy.linalg.lstsq', _GOLUB),
    _row('estimator', 'regression.ridge.ridge', _RIDGE, 'sklearn.linear_model.Ridge', _HOERL),
    _row('op', 'regression.ridge.ridge_loo', _RIDGE, 'sklearn.linear_model.RidgeCV, refitting without each row',
         'Allen 1974, The relationship between variable selection and data augmentation'),
    _row('estimator', 'regression.lasso.lasso', _LASSO, 'sklearn.linear_model.Lasso', _TIBSHIRANI),
    _row('estimator', 'regression.lasso.elastic_net', _LASSO, 'sklearn.linear_model.ElasticNet', _ZOU),
    _row('op', 'regression.lasso.lasso_path', _LASSO, 'sklearn.linear_model.lasso_path, enet_path',
         'Friedman, Hastie, Tibshirani 2010, Regularization paths for generalized linear models'),
    _row('op', 'regression.lasso.stability_selection', _LASSO, 'sklearn.linear_model.Lasso on the same subsamples',
         'Meinshausen, Buehlmann 2010, Stability selection'),
    _row('op', 'metrics.mse', _METRICS, 'sklearn.metrics.mean_squared_error', _ESL),
    _row('op', 'metrics.rmse', _METRICS, 'sklearn.metrics.root_mean_squared_error', _ESL),
    _row('op', 'metrics.mae', _METRICS, 'sklearn.metrics.mean_absolute_error', _ESL),
    _row('op', 'metrics.r2', _METRICS, 'sklearn.metrics.r2_score', _ESL),
    _row('op', 'model_selection.grid_search', _CV, 'sklearn.model_selection.GridSearchCV',
         'Stone 1974, Cross-validatory choice and assessment of statistical predictions'),
    _row('op', 'model_selection.ridge_search', _CV, 'sklearn.model_selection.GridSearchCV',
         'Chan, Golub, LeVeque 1983, Algorithms for computing the sample variance'),
    _row('estimator', 'unsupervised.kmeans.kmeans', _KMEANS, 'sklearn.cluster.KMeans', _LLOYD),
    _row('estimator', 'unsupervised.kmeans.minibatch_kmeans', _KMEANS, 'sklearn.cluster.MiniBatchKMeans', _SCULLEY),
    _row('scikit-learn face', 'sklearn_api.OLS', _SKLEARN, _CHECK, _GOLUB),
    _row('scikit-learn face', 'sklearn_api.Ridge', _SKLEARN, _CHECK, _HOERL),
    _row('scikit-learn face', 'sklearn_api.Lasso', _SKLEARN, _CHECK, _TIBSHIRANI),
    _row('scikit-learn face', 'sklearn_api.ElasticNet', _SKLEARN, _CHECK, _ZOU),
    _row('scikit-learn face', 'sklearn_api.KMeans', _SKLEARN, _CHECK, _LLOYD),
    _row('scikit-learn face', 'sklearn_api.MiniBatchKMeans', _SKLEARN, _CHECK, _SCULLEY),
)
