"""Linear regressions, their metrics and cross-validation against scikit-learn, at the gates of oracles.md."""
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from parity_ledger import compare
from sklearn import linear_model, metrics, model_selection
from sklearn.datasets import load_diabetes
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from levels.level1_classical import metrics as M
from levels.level1_classical import model_selection as ms
from levels.level1_classical.preprocessing import chain, clipper, imputer, polynomial, scaler
from levels.level1_classical.regression.lasso import elastic_net, lasso_path, stability_selection
from levels.level1_classical.regression.linear import ols
from levels.level1_classical.regression.ridge import ridge, ridge_loo

KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
X, y = load_diabetes(return_X_y=True)
X = 20 * X + 3      # scikit-learn ships it centred and tiny, which would flatter everybody
Y = np.stack([y, y**1.5 / 10, np.sin(y)], 1)
W = RNG.integers(0, 3, len(y)).astype(float)
F64 = {32: 1, 64: 1e-5}     # float64 is held to a gate 1e5 times as narrow


def run(bits, fit, *args):
    with jax.enable_x64(bits == 64):
        dtype = f'float{bits}'
        state = jax.jit(fit)(KEY, *(None if a is None else jnp.asarray(a, dtype) for a in args))
        assert state.coef.dtype == dtype
        return jax.device_get(state)


@pytest.mark.parametrize('bits', [32, 64])
@pytest.mark.parametrize('solver', ['qr', 'svd', 'lstsq'])
def test_ols(solver, bits):
    for target, weight in ((y, None), (y, W), (Y, W)):
        theirs = linear_model.LinearRegression().fit(X, target, weight)
        ours = run(bits, ols(solver=solver).fit, X, target, weight)
        name = f'{solver}, f{bits}, {target.ndim}-d y, {"weights" if weight is not None else "no weights"}'
        compare('ols', 'LinearRegression', f'coef, {name}', ours.coef.T, theirs.coef_, 1e-5 * F64[bits], relative=True)
        compare('ols', 'LinearRegression', f'intercept, {name}', ours.intercept, theirs.intercept_, 1e-5 * F64[bits],
                relative=True)
    theirs = linear_model.LinearRegression(fit_intercept=False).fit(X, y)
    ours = run(bits, ols(solver=solver, fit_intercept=False).fit, X, y)
    compare('ols', 'LinearRegression', f'no intercept, f{bits}, {solver}', ours.coef, theirs.coef_, 2e-5 * F64[bits],
            relative=True)
    assert ours.intercept == 0


@pytest.mark.parametrize('bits', [32, 64])
@pytest.mark.parametrize('solver', ['qr', 'svd', 'lstsq'])
def test_ols_of_dependent_columns_has_the_smallest_norm(solver, bits):
    wide = np.concatenate([X, X[:, :3] - X[:, 3:6], X[:, :1]], 1)
    centre = wide - wide.mean(0)
    theirs = np.linalg.lstsq(centre, y - y.mean(), rcond=1e-10)[0]
    ours = run(bits, ols(solver=solver).fit, wide, y)
    assert ours.rank == 10 == np.linalg.matrix_rank(centre)
    compare('ols', 'numpy.linalg.lstsq', f'minimum norm, {solver}, f{bits}', ours.coef, theirs, 1e-5 * F64[bits],
            relative=True)
    few = run(bits, ols(solver=solver).fit, X[:6], y[:6])
    theirs = np.linalg.lstsq(X[:6] - X[:6].mean(0), y[:6] - y[:6].mean(), rcond=1e-10)[0]
    compare('ols', 'numpy.linalg.lstsq', f'fewer rows than columns, {solver}, f{bits}', few.coef, theirs,
            2e-5 * F64[bits], relative=True)
    assert few.rank == 5


@pytest.mark.parametrize('bits', [32, 64])
@pytest.mark.parametrize('solver', ['cholesky', 'svd', 'eigh', 'cg'])
def test_ridge(solver, bits):
    gate = (1e-5 if solver == 'svd' else 1e-4) * F64[bits]
    more = {'tol': 1e-6 if bits == 32 else 1e-12}
    for target, alpha, weight in ((y, 0.3, None), (y, 10.0, W), (Y, np.array([0.1, 1.0, 50.0]), W)):
        theirs = linear_model.Ridge(alpha, solver='svd').fit(X, target, weight)
        ours = run(bits, ridge(alpha=alpha, solver=solver, **more).fit, X, target, weight)
        assert ours.converged and (ours.steps > 0) == (solver == 'cg')
        name = f'{solver}, f{bits}, {target.ndim}-d y'
        for t in range(3 if theirs.coef_.ndim > 1 else 1):      # target by target: their scales differ
            compare('ridge', 'Ridge(svd)', f'coef, {name}', ours.coef.T[t] if target.ndim > 1 else ours.coef,
                    theirs.coef_[t] if target.ndim > 1 else theirs.coef_, gate, relative=True)
        compare('ridge', 'Ridge(svd)', f'intercept, {name}', ours.intercept, theirs.intercept_, gate, relative=True)


@pytest.mark.parametrize(('solver', 'gate'), [('cholesky', 1e-4), ('svd', 1e-4), ('cg', 1e-3)])
def test_ridge_on_285_collinear_columns(solver, gate):
    """Products of up to three columns: where float32 Gram matrices lost 8e-4 before the residual was taken of X."""
    wide = StandardScaler().fit_transform(PolynomialFeatures(3, include_bias=False).fit_transform(X - 3))
    theirs = linear_model.Ridge(1.0, solver='svd').fit(wide, y)
    ours = run(32, ridge(solver=solver, max_iter=5000).fit, wide, y)
    compare('ridge', 'Ridge(svd)', f'coef, 285 columns, {solver}, f32', ours.coef, theirs.coef_, gate, relative=True)


@pytest.mark.parametrize('bits', [32, 64])
def test_ridge_with_more_columns_than_rows(bits):
    x, target = X[:7], Y[:7]
    for solver in ('cholesky', 'svd', 'eigh'):
        theirs = linear_model.Ridge(0.5, solver='svd').fit(x, target)
        compare('ridge', 'Ridge(svd)', f'dual, {solver}, f{bits}', run(bits, ridge(alpha=0.5, solver=solver).fit, x,
                target).coef.T, theirs.coef_, 1e-4 * F64[bits], relative=True)


@pytest.mark.parametrize('bits', [32, 64])
def test_leave_one_out_in_closed_form(bits):
    alphas = np.array([0.1, 10.0])
    with jax.enable_x64(bits == 64):
        x, t, w = (jnp.asarray(v[:60], f'float{bits}') for v in (X, Y[:, :2], W + 1))
        ours = jax.jit(functools.partial(ridge_loo, alphas=alphas))(x, t, weight=w)
        plain = ridge_loo(x, t[:, 0], alphas=alphas)
    for a, alpha in enumerate(alphas):
        errors = np.empty((60, 2))
        for i in range(60):
            rest = np.arange(60) != i
            model = linear_model.Ridge(alpha, solver='svd').fit(X[:60][rest], Y[:60, :2][rest], (W + 1)[:60][rest])
            errors[i] = Y[i, :2] - model.predict(X[i:i + 1])[0]
        compare('ridge_loo', 'Ridge without each row', f'errors, f{bits}', ours[a], errors, 1e-4 * F64[bits],
                relative=True)
    cv = linear_model.RidgeCV(alphas, store_cv_results=True).fit(X[:60], y[:60])
    compare('ridge_loo', 'RidgeCV', f'squared errors, f{bits}', plain.T**2, cv.cv_results_, 1e-4 * F64[bits],
            relative=True)


def test_leave_one_out_chooses_an_alpha_for_each_target():
    alphas = np.logspace(-1, 3, 9)
    peer = linear_model.RidgeCV(alphas, alpha_per_target=True).fit(X, Y)
    with jax.enable_x64(True):
        errors = jax.jit(functools.partial(ridge_loo, alphas=alphas))(X, Y)
    best = alphas[np.mean(np.asarray(errors) ** 2, 1).argmin(0)]
    assert np.array_equal(best, peer.alpha_) and len(set(best)) > 1
    ours = run(64, ridge(alpha=best).fit, X, Y)
    compare('ridge', 'RidgeCV(alpha_per_target)', 'coef', ours.coef.T, peer.coef_, 1e-8, relative=True)


@pytest.mark.parametrize('bits', [32, 64])
@pytest.mark.parametrize('l1_ratio', [1.0, 0.5])
def test_lasso_and_elastic_net(l1_ratio, bits):
    for alpha, weight in ((0.3, W), (2.0, None), (20.0, W)):
        peer = linear_model.ElasticNet(alpha=alpha, l1_ratio=l1_ratio, tol=1e-12, max_iter=100_000).fit(X, y, weight)
        tol = 1e-7 if bits == 32 else 1e-12
        ours = run(bits, elastic_net(alpha=alpha, l1_ratio=l1_ratio, tol=tol).fit, X, y, weight)
        assert ours.converged and ours.gap <= 1e-7
        assert ((ours.coef != 0) == (peer.coef_ != 0)).all(), 'the support differs'
        compare('elastic_net', 'ElasticNet', f'coef, f{bits}, l1_ratio {l1_ratio}', ours.coef, peer.coef_,
                1e-5 if bits == 32 else 1e-9, relative=True)


@pytest.mark.parametrize('bits', [32, 64])
def test_lasso_path(bits):
    with jax.enable_x64(bits == 64):
        ours = jax.device_get(jax.jit(functools.partial(lasso_path, n_alphas=30, eps=1e-2, tol=1e-7))(
            jnp.asarray(X, f'float{bits}'), jnp.asarray(y, f'float{bits}')))
    grid = linear_model.lasso_path(X - X.mean(0), y - y.mean(), n_alphas=30, eps=1e-2)[0]
    compare('lasso_path', 'lasso_path', f'alphas, f{bits}', ours.alphas, grid, 1e-5, relative=True)
    _, coef, _ = linear_model.lasso_path(X - X.mean(0), y - y.mean(), alphas=ours.alphas.astype(float), tol=1e-12,
                                              max_iter=100_000)
    compare('lasso_path', 'lasso_path', f'coef, f{bits}', ours.coef[1:], coef.T[1:], 2e-5, relative=True)
    inside = ours.alphas[1:]        # at the first alpha the first coefficient is zero up to rounding
    assert ours.converged.all() and ((ours.coef[1:] != 0) == (coef.T[1:] != 0)).all() and len(inside) == 29
    cold = linear_model.Lasso(alpha=float(ours.alphas[20]), tol=1e-12).fit(X, y)
    compare('lasso_path', 'Lasso', f'intercept, f{bits}', ours.intercept[20], cold.intercept_, 1e-4, relative=True)
    from_zero = run(bits, elastic_net(alpha=ours.alphas[20], l1_ratio=1.0, tol=1e-7).fit, X, y)
    assert ours.steps[20] < from_zero.steps, 'the path does not start from where it was'


def test_the_duality_gap_bounds_the_distance_to_the_minimum():
    objective = lambda b, i: ((y - X @ b - i) ** 2).sum() / (2 * len(y)) + 2.0 * np.abs(b).sum()
    best = linear_model.Lasso(alpha=2.0, tol=1e-12).fit(X, y)
    least, zero = objective(best.coef_, best.intercept_), y.var() / 2
    for steps in (1, 2, 4, 8):
        s = run(64, elastic_net(alpha=2.0, l1_ratio=1.0, tol=0.0, max_iter=steps).fit, X, y)
        short = (objective(s.coef, s.intercept) - least) / zero
        assert -1e-12 <= short <= s.gap and not s.converged and s.steps == steps


def test_stability_selection_chooses_as_scikit_learn_on_the_same_halves():
    alphas, draws = np.array([5.0, 1.0]), 6
    ours = stability_selection(KEY, X, y, alphas=alphas, draws=draws)
    chosen = np.zeros((2, X.shape[1]))
    for key in jax.random.split(KEY, draws):
        half = np.asarray(jax.random.permutation(key, len(X))[:len(X) // 2])
        for a, alpha in enumerate(alphas):
            chosen[a] += linear_model.Lasso(alpha=alpha, tol=1e-10).fit(X[half], y[half]).coef_ != 0
    compare('stability_selection', 'Lasso on the same halves', 'shares', ours, chosen / draws, 1e-6)


PEERS = {'mse': metrics.mean_squared_error, 'rmse': metrics.root_mean_squared_error, 'mae': metrics.mean_absolute_error,
         'r2': metrics.r2_score}


@pytest.mark.parametrize('name', list(PEERS))
def test_metrics(name):
    ours, peer, p = getattr(M, name), PEERS[name], Y + np.random.default_rng(1).normal(size=Y.shape) * Y.std(0)
    # (scikit-learn's R2 of a constant 0.7 is -1e31: its mean is not 0.7 in the last digit; of 0.75 it is)
    flat = np.stack([np.full(9, 0.1), np.arange(9.0), np.full(9, 0.75)], 1)
    guess = np.stack([np.full(9, 0.1), np.arange(9.0) + 1, np.zeros(9)], 1)
    for bits, gate in ((32, 1e-6), (64, 1e-12)):
        with jax.enable_x64(bits == 64):
            j = lambda v, bits=bits: jnp.asarray(v, f'float{bits}')
            for a, b in ((Y, p), (y, p[:, 0]), (flat, guess), (y[:2], p[:2, 0])):
                for w in (None, np.arange(len(a)) % 3 + 0.5):
                    given = None if w is None else j(w)
                    theirs = peer(a, b, sample_weight=w)
                    size = max(1, abs(theirs))  # R2 may be anything near 0, where a relative error means nothing
                    compare(
                        name,
                        f'sklearn {peer.__name__}',
                        f'f{bits}',
                        jax.jit(ours)(j(a), j(b), weight=given) / size,
                        theirs / size,
                        gate,
                    )
            for average, theirs in (('raw', 'raw_values'), (np.array([0.2, 0.3, 0.5]),) * 2, ('variance',
                                                                                             'variance_weighted')):
                if name == 'r2' or not isinstance(average, str) or average == 'raw':
                    wanted = peer(Y, p, multioutput=theirs)
                    size = np.maximum(1, abs(wanted))
                    compare(name, f'sklearn {peer.__name__}', f'{theirs}, f{bits}',
                            ours(j(Y), j(p), average=average) / size, wanted / size, gate)
            mask = np.arange(len(y)) % 4 > 0
            spoiled = np.where(mask[:, None], p, np.nan)
            wanted = peer(Y[mask], p[mask])
            size = max(1, abs(wanted))
            compare(name, f'sklearn {peer.__name__}', f'masked, f{bits}', ours(j(Y), j(spoiled), mask=mask) / size,
                    wanted / size, gate)
    assert M.r2(np.full(9, 0.7), np.zeros(9)) == 0
    assert jnp.isnan(M.r2([1.0], [2.0])) and M.r2([2.0, 2.0], [2.0, 2.0]) == 1 and M.r2([2.0, 2.0], [1.0, 2.0]) == 0


def test_metrics_of_parts_are_those_of_the_whole():
    p = Y + 1
    parts = [M.running(Y[i:i + 100] + 1e3, p[i:i + 100] + 1e3, weight=W[i:i + 100]) for i in range(0, len(Y), 100)]
    total = functools.reduce(M.merge, parts, M.running(Y[:1], p[:1], mask=[0]))
    for name, peer in PEERS.items():
        compare(name, 'sklearn on all rows', 'in parts', M.summary(total)[name], peer(Y, p, sample_weight=W), 2e-4,
                relative=True)

    @jax.jit        # a stream inside one program, its last part filled up with rows that do not count
    def stream(y, p, mask):
        first = jax.tree.map(jnp.zeros_like, M.running(y[0], p[0], mask=mask[0]))
        return M.summary(jax.lax.scan(lambda s, part: (M.merge(s, M.running(*part[:2], mask=part[2])), None), first,
                                      (y, p, mask))[0])

    fill = lambda v: np.concatenate([v, np.full((450 - len(v), *v.shape[1:]), np.nan)]).reshape(9, 50, *v.shape[1:])
    found = stream(fill(Y), fill(p), np.arange(450).reshape(9, 50) < len(Y))
    for name, peer in PEERS.items():
        compare(name, 'sklearn on all rows', 'in a stream', found[name], peer(Y, p), 2e-4, relative=True)
        if name != 'r2':
            compare(name, f'sklearn {peer.__name__}', 'one row', getattr(M, name)([1.5], [4.0]), peer([1.5], [4.0]), 0)


def test_folds_are_scikit_learns_index_for_index():
    labels, groups = (y > y.mean()).astype(int), np.arange(len(y)) // 7
    kinds = {'kfold': {'n_splits': 5, 'shuffle': True, 'random_state': 3}, 'stratified': {'n_splits': 4},
             'group': {'n_splits': 5}, 'stratified_group': {'n_splits': 3}, 'time_series': {'n_splits': 6, 'gap': 2},
             'repeated': {'n_splits': 3, 'n_repeats': 2, 'random_state': 1},
             'repeated_stratified': {'n_splits': 3, 'n_repeats': 2, 'random_state': 1}}
    assert set(kinds) == set(ms.SPLITTERS)
    for kind, options in kinds.items():
        ours = ms.splits(kind, X, labels, groups=groups, **options)
        pairs = list(ms.SPLITTERS[kind](**options).split(X, labels, groups))
        assert len(pairs) == len(ours.train)
        for f, (train, test) in enumerate(pairs):
            assert np.array_equal(np.flatnonzero(ours.train[f]), train)
            assert np.array_equal(np.flatnonzero(ours.test[f]), test)
    outer = ms.splits('kfold', X, n_splits=4)
    inner = ms.nested(outer, 'kfold', n_splits=3, shuffle=True, random_state=0)
    assert inner.train.shape == (4, 3, len(y)) and not (inner.train & inner.test).any()
    assert not ((inner.train | inner.test) & outer.test[:, None]).any(), 'an outer test row chooses the model'
    rows_of = np.flatnonzero(outer.train[1])
    for f, (train, _) in enumerate(model_selection.KFold(3, shuffle=True, random_state=0).split(rows_of)):
        assert np.array_equal(np.flatnonzero(inner.train[1, f]), rows_of[train])
    outer = ms.splits('group', X, groups=groups, n_splits=4)
    for kind, peer in (('group', model_selection.GroupKFold(3)), ('stratified', model_selection.StratifiedKFold(3)),
                       ('time_series', model_selection.TimeSeriesSplit(3))):
        inner = ms.nested(outer, kind, labels, groups=groups, n_splits=3)
        for o, train in enumerate(outer.train):
            own = np.flatnonzero(train)
            for f, pair in enumerate(peer.split(own, labels[own], groups[own])):
                assert all(np.array_equal(np.flatnonzero(m[o, f]), own[rows]) for m, rows in zip(inner, pair))


@pytest.mark.parametrize(('kind', 'metric', 'scoring'), [('kfold', 'r2', 'r2'), ('repeated', 'neg_rmse',
                         'neg_root_mean_squared_error'), ('time_series', 'neg_mae', 'neg_mean_absolute_error')])
def test_searches_score_as_grid_search_cv(kind, metric, scoring):
    alphas = np.logspace(-2, 3, 12)
    folds = ms.splits(kind, X, n_splits=5)
    peer = model_selection.GridSearchCV(linear_model.Ridge(solver='svd'), {'alpha': alphas}, scoring=scoring,
                                        cv=[(np.flatnonzero(a), np.flatnonzero(b)) for a, b in zip(*folds)]).fit(X, y)
    theirs = np.stack([peer.cv_results_[f'split{f}_test_score'] for f in range(len(folds.train))])
    for name, found in (('grid_search', ms.grid_search(ridge, X, y, folds, {'alpha': alphas}, metric=metric)),
                        ('ridge_search', ms.ridge_search(X, y, folds, alphas, metric=metric))):
        compare(name, 'GridSearchCV', f'scores, {kind}', found.scores, theirs, 1e-5, relative=True)
        assert found.best == peer.best_params_ and found.index == peer.best_index_


def test_a_grid_of_two_names_is_in_parameter_grid_s_order():
    grid = {'l1_ratio': [0.2, 0.9], 'alpha': [0.1, 1.0, 10.0]}
    folds = ms.splits('kfold', X, n_splits=3)
    found = ms.grid_search(elastic_net, X, y, folds, grid, metric='neg_mse')
    order = list(model_selection.ParameterGrid(grid))
    assert order == [{n: v[i].item() for n, v in found.points.items()} for i in range(6)]
    peer = model_selection.GridSearchCV(linear_model.ElasticNet(tol=1e-8), grid, cv=model_selection.KFold(3),
                                        scoring='neg_mean_squared_error').fit(X, y)
    compare('grid_search', 'GridSearchCV', 'elastic net, mean scores', found.scores.mean(0),
            peer.cv_results_['mean_test_score'], 1e-4, relative=True)


def test_a_search_leaves_no_trace_of_test_rows():
    """What is 1e6 in the test rows is zero times in their fold: the other fold's numbers keep their bits."""
    folds = ms.Splits(*(m[:1] for m in ms.splits('kfold', X, n_splits=3)))
    model = chain(imputer(), clipper(), scaler(), polynomial(), scaler(), ridge(alpha=1.0, solver='eigh'))
    spoiled = np.where(folds.test[0][:, None], 1e6, X)
    fit = jax.jit(model.fit)
    a, b = (fit(KEY, x, y, folds.train[0]) for x in (X, spoiled))
    assert all(np.array_equal(u, v) for u, v in zip(jax.tree.leaves(a), jax.tree.leaves(b)))
    leaky = jax.jit(lambda x: scaler().fit(KEY, x).mean)
    assert not np.allclose(leaky(X), leaky(spoiled)), 'a scaler that sees all rows would be caught'
    measured = np.where(folds.test, 0, 1).astype(bool)      # measured on rows that both have
    found = [ms.ridge_search(x, y, ms.Splits(folds.train, measured), [0.1, 10.0]).scores for x in (X, spoiled)]
    assert np.array_equal(*found)


def test_pipelines_of_preprocessing():
    gaps = X.copy()
    gaps[::5, 2] = np.nan
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    peer = make_pipeline(SimpleImputer(), StandardScaler(), PolynomialFeatures(2, include_bias=False), StandardScaler())
    model = chain(imputer(), scaler(), polynomial(), scaler())
    compare('chain', 'sklearn Pipeline', 'imputer, scaler, polynomial, scaler',
            model.transform(model.fit(KEY, gaps), gaps), peer.fit_transform(gaps), 2e-5)


@pytest.mark.parametrize('share', [0.0, 0.005, 0.1])
def test_clipping(share):
    """Ends as NumPy has them of repeated rows; rows of weight 0 have no say, however far out they are."""
    spoiled = np.where(W[:, None] > 0, X, 1e6).astype(np.float32)
    repeated = np.repeat(X.astype(np.float32), W.astype(int), axis=0)
    ends = np.quantile(repeated, [share, 1 - share], axis=0, method='inverted_cdf')
    model = clipper(share=share)
    state = jax.jit(model.fit)(KEY, spoiled, weight=W)
    compare('clipper', 'numpy.quantile', f'ends, share {share}', tuple(state), tuple(ends), 0)
    compare('clipper', 'numpy.clip', f'values, share {share}', model.transform(state, X.astype(np.float32)),
            np.clip(X.astype(np.float32), *ends), 0)
    with pytest.raises(ValueError, match='share: expected at least 0, at most'):
        clipper(share=0.5)


def test_paired_intervals_are_wider_than_the_naive_ones():
    d = np.array([[1.0, 2.0, 3.0], [2.0, 2.5, 1.5]])
    plain, wide = (ms.paired_interval(d, test_share=s) for s in (1e-9, 1 / 3))
    assert plain['mean'] == wide['mean'] == 2.0
    half = 2.5706 * d.std(ddof=1) / np.sqrt(6)      # t(5), by hand
    assert abs(plain['high'] - 2 - half) < 1e-3 and abs((wide['high'] - 2) / half - np.sqrt(1 + 6 * 0.5)) < 1e-3
