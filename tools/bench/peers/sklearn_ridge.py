"""GridSearchCV over scikit-learn's Ridge; precision and number of processes by trial."""
from tools.bench import inputs
from tools.bench.peers import Peer

CHOICES = [{'threads': n, 'dtype': kind} for n, kind in ((1, 'float32'), (1, 'float64'), (2, 'float32'))]


def require():
    import sklearn
    return sklearn


def build(pair, mode, data_dir, *, steps, threads=1, dtype='float64'):
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import GridSearchCV
    x, y, alphas, folds = inputs.ridge(pair)
    x, y = x.astype(dtype), y.astype(dtype)
    search = GridSearchCV(Ridge(), {'alpha': alphas}, cv=folds, n_jobs=threads if threads > 1 else None, refit=False)

    def run(n):
        for _ in range(n):
            search.fit(x, y)

    return Peer(run, lambda: {'r2': search.best_score_, 'alpha': search.best_params_['alpha']})
