"""The study of models: nested choice, final models, one of several, fewer rows; what cannot leak."""
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from common import spread, strategies
from common.errors import DataError
from levels.level1_classical import metrics, study
from levels.level1_classical.classification.knn import knn_regressor
from levels.level1_classical.classification.svc import svr
from levels.level1_classical.preprocessing import thinned
from levels.level1_classical.regression.linear import ols
from levels.level1_classical.regression.ridge import ridge

KEY = jax.random.key(0)
DRAW = np.random.default_rng(0)
X = DRAW.normal(size=(40, 3)).astype(np.float32)
Y = (X @ [1.0, -2.0, 0.5] + DRAW.normal(size=40)).astype(np.float32)
FOLDS = study.folds('kfold', 40, outer=4, inner=3, seed=0)
CHOSEN = study.Recipe(ridge, {'alpha': np.array([0.01, 1.0, 100.0])})


@pytest.fixture(scope='module')
def found():
    lines = []
    recipes = {'ridge': CHOSEN, 'turns': CHOSEN._replace(in_turn=True), 'ols': study.Recipe(ols, {})}
    return study.run(strategies.jit(rules=spread.RULES), recipes, X, Y, [FOLDS], metric='neg_mse', seed=3,
                     tell=lines.append).found, lines


def test_a_study_is_what_fitting_fold_by_fold_by_hand_gives(found):
    m = found[0]['ridge'][0]
    fit = lambda a, rows: ridge(alpha=a).fit(KEY, X[rows], Y[rows])
    score = lambda a, train, test: -np.mean((ridge(alpha=a).predict(fit(a, train), X[test]) - Y[test]) ** 2)
    alphas = [float(np.float32(a)) for a in CHOSEN.grid['alpha']]
    for f, (train, test) in enumerate(zip(*FOLDS.outer)):
        inner = [np.mean([score(a, *part) for part in zip(FOLDS.inner.train[f], FOLDS.inner.test[f])]) for a in alphas]
        assert np.allclose(m.inner[f], inner, rtol=1e-4) and m.chosen[f] == np.argmax(inner)
        a = alphas[m.chosen[f]]
        assert np.isclose(m.score[f], score(a, train, test), rtol=1e-4)
        assert np.allclose(m.out_of_fold[test], ridge(alpha=a).predict(fit(a, train), X[test]), atol=1e-4)
    assert m.best['alpha'] in alphas
    whole = ridge(alpha=m.best['alpha']).fit(KEY, X, Y)
    assert np.allclose(m.state.coef, whole.coef, atol=1e-5), 'the final model is not that of all rows'
    assert np.allclose(m.state.intercept, whole.intercept, atol=1e-5)


def test_in_turn_changes_nothing_and_no_grid_is_one_point(found):
    a, b, c = (found[0][name][0] for name in ('ridge', 'turns', 'ols'))
    assert a.best == b.best and np.allclose(a.score, b.score, rtol=1e-5) and (a.chosen == b.chosen).all()
    assert c.best == {} and c.inner.shape == (4, 1) and np.allclose(c.state.coef, ols().fit(KEY, X, Y).coef, atol=1e-5)
    assert len(found[1]) == 4 and 'ols (3 of 3): neg_mse -' in found[1][-1]


def test_a_study_that_was_killed_goes_on_with_the_same_bits(tmp_path, monkeypatch):
    recipes = {'ridge': CHOSEN, 'ols': study.Recipe(ols, {})}
    again = lambda keep, tell: study.run(strategies.jit(rules=spread.RULES), recipes, X, Y, [FOLDS, FOLDS],
                                         metric='neg_mse', seed=3, keep=keep, tell=tell).found
    whole, lines = again(tmp_path / 'whole', print), []
    names = sorted(p.name for p in (tmp_path / 'whole').iterdir())
    assert names == ['ols_3.npy', 'ols_4.npy', 'ridge_3.npy', 'ridge_4.npy']
    (tmp_path / 'killed').mkdir()
    for name in ('ridge_3.npy', 'ridge_4.npy', 'ols_3.npy'):        # killed before the last
        (tmp_path / 'killed' / name).write_bytes((tmp_path / 'whole' / name).read_bytes())
    compiled, real = [], study.compile
    monkeypatch.setattr(study, 'compile', lambda _, recipe, *a: compiled.append(recipe) or real(_, recipe, *a))
    resumed = again(tmp_path / 'killed', lines.append)
    assert compiled == [recipes['ols']] and 'of 1 the scores are there' in lines[0]
    jax.tree.map(np.testing.assert_array_equal, whole, resumed)
    (tmp_path / 'killed' / 'ridge_3.npy').write_bytes(b'torn')
    with pytest.raises(DataError, match=r'ridge_3.npy: not the scores of a study \(.*\); fix: remove it'):
        again(tmp_path / 'killed', lines.append)


def test_by_fold_and_differences_either_way_round():
    guess = Y + 1 + (np.arange(40) % 2)
    by = study.by_fold(metrics.mse, Y, guess, FOLDS.outer.test)
    assert np.allclose(by, [np.mean((guess - Y)[t] ** 2) for t in FOLDS.outer.test], rtol=1e-5)
    pairs = study.compare({'a': np.array([[1.0, 2.0, 4.0]]), 'b': np.array([[0.0, 0.0, 1.0]])}, 3)
    ab, ba = (study.between(pairs, *names) for names in ('ab', 'ba'))
    assert np.isclose(ab['mean'], 2) and ab['mean'] == -ba['mean'] and (ab['low'], ab['high']) == (-ba['high'],
                                                                                                    -ba['low'])
    assert study.between(pairs, 'a', 'a') is None


def test_one_of_is_the_model_of_that_number():
    models = [knn_regressor(n_neighbors=k) for k in (1, 4, 9)]

    @jax.jit
    def said(which):
        model = study.one_of(which, models)
        return model.predict(model.fit(KEY, X, Y), X), model.score(model.fit(KEY, X, Y), X, Y)

    for which, model in enumerate(models):
        state = model.fit(KEY, X, Y)
        guess, score = said(which)
        assert np.allclose(guess, model.predict(state, X), atol=1e-6) and np.isclose(score, model.score(state, X, Y))
    assert study.one_of(0, models).proba is None and study.one_of(0, models).update is None


def test_thinned_takes_so_many_of_the_rows_that_are_there():
    seen = []
    spy = ridge(alpha=1.0)._replace(fit=lambda key, X, y=None, weight=None: seen.append((X, y, weight)))
    weight = np.where(np.arange(40) % 4 == 0, 0, 1 + np.arange(40) % 3).astype(np.float32)
    thinned(spy, rows=12).fit(KEY, X, Y, weight)
    thinned(spy, rows=12).fit(jax.random.key(1), X, Y, weight)
    thinned(spy, rows=40).fit(KEY, X, Y)
    (x, y, w), (other, _, _), whole = seen
    rows = [int(np.flatnonzero((r == X).all(1))[0]) for r in np.asarray(x)]
    assert len(set(rows)) == 12 and (weight[rows] > 0).all() and not np.array_equal(x, other)
    assert np.array_equal(y, Y[rows]) and np.array_equal(w, weight[rows]) and whole[0] is X and whole[2] is None
    model = thinned(svr(C=10.0), rows=12)
    hidden = np.where((weight == 0)[:, None], 1e3, X).astype(np.float32)
    fit = jax.jit(lambda x: model.predict(model.fit(KEY, x, Y, weight), X))
    assert np.array_equal(fit(X), fit(hidden)), 'a row without weight has a say'
    few = thinned(ridge(alpha=1.0), rows=30).fit(KEY, X, Y, (np.arange(40) < 5).astype(np.float32))
    assert np.allclose(few.coef, ridge(alpha=1.0).fit(KEY, X[:5], Y[:5]).coef, atol=1e-5)   # fewer than asked for
    with pytest.raises(ValueError, match='rows: expected at least 1'):
        thinned(spy, rows=0)
    assert jnp.isfinite(few.coef).all()
