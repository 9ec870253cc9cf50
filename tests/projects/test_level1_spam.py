"""The project as its users run it: what it leaves behind, no leaks, as scikit-learn's models, killed and run again."""
import functools
import signal
import time

import jax
import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from sklearn.naive_bayes import BernoulliNB, ComplementNB, MultinomialNB
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC

from common import datasets
from common.errors import DataError
from levels.level1_classical import metrics_scores
from levels.level1_classical import model_selection as ms
from projects.level1_spam import config as config_lib
from projects.level1_spam import errors, experiment, models
from tests.faults import processes
from tests.faults.processes import result

MODULE = 'projects.level1_spam.main'
SMOKE = config_lib.get_config('smoke').models
TRAIN = datasets.load('sms_spam_4k').train
TEXTS, SPAM = TRAIN['text'][:900].tolist(), TRAIN['spam'][:900]
PEERS = {
    'bernoulli': (CountVectorizer, BernoulliNB(alpha=0.1)), 'multinomial': (CountVectorizer, MultinomialNB(alpha=0.1)),
    'complement': (CountVectorizer, ComplementNB(alpha=0.1)),
    'logistic_counts': (CountVectorizer, LogisticRegression(C=10.0, tol=1e-6, max_iter=5000)),
    'logistic_tfidf': (TfidfVectorizer, LogisticRegression(C=10.0, tol=1e-6, max_iter=5000)),
    'svm_counts': (CountVectorizer, LinearSVC(C=0.1, loss='hinge', max_iter=100_000)),
    'svm_tfidf': (TfidfVectorizer, LinearSVC(C=1.0, loss='hinge', max_iter=100_000)),
}
POINTS = {name: {'alpha': 0.1} if name in models.BAYES else {'C': peer.C} for name, (_, peer) in PEERS.items()}
finish = functools.partial(processes.finish, module=MODULE, timeout=600)


@pytest.fixture(scope='module')
def smoke(tmp_path_factory):
    folder = tmp_path_factory.mktemp('spam')
    finish(folder, '--config=smoke', '--seeds=2')
    return folder


def test_the_run_folder(smoke):
    plots = ('models', 'precision_recall', 'words', 'confusion', 'calibration', 'slices')
    for name in ('config.json', 'env.json', 'metrics.jsonl', 'samples/mistakes.txt',
                 *(f'{n}.safetensors' for n in SMOKE), *(f'plots/{n}.png' for n in plots)):
        assert (smoke / name).exists(), name
    r = result(smoke)
    assert r['data']['verified'] and (r['data']['train'], r['data']['test']) == (3627, 907) and r['seeds'] == [0, 1]
    assert r['baseline']['cv_f1 of always_ham'] == 0 and 0.8 < r['baseline']['cv_f1 of keywords'] < 0.9
    for name in SMOKE:
        m = {key: r['metrics'][f'cv_{key}_{name}'] for key in experiment.METRICS}
        assert len(m['f1']['values']) == 2 and 0.7 < m['f1']['mean'] < 0.9        # of 100 words, 1,000 messages
        assert m['auc']['mean'] > 0.9 and m['ap']['mean'] > 0.75 and 0 < m['false_alarms']['mean'] < 0.3
        assert r['comparison']['f1'][f'{name} - always_ham']['low'] > 0.5
        assert len(r['mistakes'][name]['false alarms']) == 5 == len(r['mistakes'][name]['missed spam'])
        assert r['mistakes'][name]['missed spam'][0]['chance'] < 0.5 < r['mistakes'][name]['false alarms'][0]['chance']
    assert len(r['comparison']['f1']) == 10 == len(r['comparison']['ap'])
    assert {s['column'] for s in r['slices']} == {'length', 'digits', 'link', 'currency'}
    for column in ('length', 'digits', 'link', 'currency'):
        mine = [s for s in r['slices'] if s['column'] == column and s['model'] == 'multinomial']
        assert sum(s['count'] for s in mine) == 1000 and sum(s['spam'] for s in mine) == TRAIN['spam'][:1000].sum()
    assert 'is finished' in finish(smoke, '--config=smoke', '--seeds=2')


def test_a_killed_run_goes_on_and_ends_with_the_same_bits(smoke, tmp_path):
    process = processes.start(tmp_path, '--config=smoke', '--seeds=2', module=MODULE)
    while not list(tmp_path.glob('scores/*.npy')) and process.poll() is None:
        time.sleep(0.02)
    processes.kill_after(process, 0, signal.SIGKILL)        # one model is searched, or some
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob('scores/*.npy')}
    assert kept
    assert not (tmp_path / 'result.json').exists()
    (tmp_path / 'metrics.jsonl').write_text('{"step": 0, "split": "test", "cv_f1_multinomial": 0.1}\n{"torn')
    finish(tmp_path, '--config=smoke', '--seeds=2')
    assert {path: path.stat().st_mtime_ns for path in kept} == kept, 'searched again'
    assert processes.fingerprint(tmp_path) == processes.fingerprint(smoke)
    for name in SMOKE:
        assert (tmp_path / f'{name}.safetensors').read_bytes() == (smoke / f'{name}.safetensors').read_bytes()
    assert (tmp_path / 'samples/mistakes.txt').read_bytes() == (smoke / 'samples/mistakes.txt').read_bytes()


@pytest.mark.parametrize('flags', [('--strategy=pmap', '--host_devices=2'), ('--strategy=mesh', '--host_devices=4')])
def test_every_strategy_gives_the_same_numbers(smoke, tmp_path, flags):
    """3 outer and 6 inner folds over 2 and 4 devices: shares that do not come out even.  The first of the seeds."""
    finish(tmp_path, '--config=smoke', *flags)
    ours, theirs = result(tmp_path), result(smoke)
    assert ours['best'] == {name: best[:1] for name, best in theirs['best'].items()}
    for name, metric in theirs['metrics'].items():
        assert np.allclose(ours['metrics'][name]['values'], metric['values'][:1], rtol=1e-4), name


def test_the_artefact_takes_raw_messages(smoke, tmp_path):
    test, r = datasets.load('sms_spam_4k').test, result(smoke)
    for name in SMOKE:
        spam = models.load(smoke / f'{name}.safetensors')
        texts = test['text'].tolist()
        assert f1_score(test['spam'], spam.predict(texts)) == pytest.approx(
            r['metrics'][f'test_f1_{name}']['values'][0], rel=1e-5)
        margin, chance = spam.decision(texts), spam.proba(texts)
        assert float(metrics_scores.average_precision(test['spam'], margin)) == pytest.approx(
            r['metrics'][f'test_ap_{name}']['values'][0], rel=1e-4)
        assert chance.min() >= 0 and chance.max() <= 1 and (np.diff(chance[np.argsort(margin)]) >= 0).all()
        assert np.mean((chance - test['spam']) ** 2) < 0.06
        assert spam.predict(['URGENT! You won a prize: call 09061701461 now to claim your free cash', 'see you at home',
                             'wordsnobodysaid', '']).tolist() == [1, 0, 0, 0]
        assert spam.predict([]).shape == (0,) and spam.about['model'] == name and 'free' in spam.about['features']
        with pytest.raises(ValueError, match='texts: expected a list of messages'):
            spam.predict('free')
    good = (smoke / 'multinomial.safetensors').read_bytes()
    for damage in (b'', b'\x08' * 100, good[:-8], good.replace(b'multinomial', b'multinomiaX')):
        (tmp_path / 'bad').write_bytes(damage)
        with pytest.raises(DataError, match='not a model of this project'):
            models.load(tmp_path / 'bad')


def fitted(name, texts, spam, weight):
    """(the words that were kept, every other number of the state)"""
    words, found = models.table(texts)
    model = models.maker(name, 150)(**POINTS[name])
    terms, last = jax.device_get(jax.jit(model.fit)(jax.random.key(0), found.toarray(), spam, weight))
    return [words[j] for j in terms.columns], [terms.idf, *jax.tree.leaves(last)]


@pytest.mark.parametrize('name', config_lib.MODELS)
def test_nothing_of_a_test_fold_reaches_what_is_fitted(name):
    """Messages of a test fold in other words, and called otherwise, leave the vocabulary and every fitted number."""
    hidden = ms.splits('stratified', TEXTS, SPAM, n_splits=5, shuffle=True, random_state=0).test[0]
    other = [f'aardvark zyzzyva free free prize call{i % 7} 0000' if h else text
             for i, (text, h) in enumerate(zip(TEXTS, hidden))]
    labels = np.where(hidden, 1 - SPAM, SPAM)
    weight = (~hidden).astype(np.float32)
    (words, numbers), (again, same) = fitted(name, TEXTS, SPAM, weight), fitted(name, other, labels, weight)
    assert words == again and all(np.array_equal(a, b) for a, b in zip(numbers, same, strict=True))
    ones = np.ones_like(weight)
    (words, numbers), (again, others) = fitted(name, TEXTS, SPAM, ones), fitted(name, other, labels, ones)
    assert 'aardvark' in again and 'aardvark' not in words, 'a fit on all rows would be caught'
    assert not all(np.array_equal(a, b) for a, b in zip(numbers, others, strict=True))


@pytest.mark.parametrize('name', config_lib.MODELS)
def test_a_fold_is_scikit_learn_s_pipeline_on_its_rows(name):
    """Fitted by weights on part of a table of all messages: what CountVectorizer and a model make of that part."""
    words, found = models.table(TEXTS)
    train = ms.splits('stratified', TEXTS, SPAM, n_splits=3, shuffle=True, random_state=0).train[0]
    own = np.asarray(found[train].sum(0)).ravel()
    often = np.where(found[train].getnnz(0) >= models.MIN_DF, own, 0)
    k = int((often > 6).sum())      # a cut without ties
    vectoriser, last = PEERS[name]
    peer = make_pipeline(vectoriser(min_df=2, max_features=k), last)
    peer.fit(np.array(TEXTS)[train], SPAM[train])
    X, rest = found.toarray(), np.array(TEXTS)[~train]
    for closer in (1, 100):
        model = models.maker(name, k, closer)(**POINTS[name])
        state = jax.jit(model.fit)(jax.random.key(0), X, SPAM, train.astype(np.float32))
        ours = np.asarray(model.decision(state, X))[~train]
        assert ((ours > 0) == peer.predict(rest)).mean() > 0.985
    assert [words[j] for j in state[0].columns] == peer[0].get_feature_names_out().tolist() and k > 100
    if name in models.BAYES:
        both = peer.predict_log_proba(rest)
        assert np.allclose(ours, both[:, 1] - both[:, 0], rtol=1e-4, atol=2e-4)
    else:
        theirs = peer.decision_function(rest)
        print(name, np.abs(ours - theirs).max() / theirs.std())
        assert np.abs(ours - theirs).max() < 0.01 * theirs.std()


@pytest.mark.parametrize('name', ['multinomial', 'logistic_tfidf'])
def test_points_side_by_side_are_points_in_turn(name):
    made = models.recipe(name, 50)
    _, found = models.table(TEXTS[:300])
    folds = ms.splits('stratified', TEXTS[:300], SPAM[:300], n_splits=3)
    given = ms.arguments(found.toarray(), SPAM[:300], folds, made.grid)
    a, b, c = (np.asarray(jax.jit(ms.search(made.make, 'f1', in_turn=how))(*given)) for how in ('folds', True, False))
    assert a.shape == (3, len(next(iter(made.grid.values())))) and np.allclose(a, b, atol=0.02)
    assert np.allclose(a, c, atol=0.02) and np.median(np.abs(a - b)) < 1e-6 and a.std() > 0


def test_the_rules_and_the_kinds_of_message():
    texts = ['You won! Claim your prize at www.go.com', 'Are you free tonight?', 'see you', 'Only £5',
             'call 09061701461']
    assert models.keyword_rule(texts).tolist() == [3.5, 0.5, -0.5, 0.5, 0.5]       # won, claim, prize, a link
    assert models.always_ham(texts).max() < 0
    kinds = errors.groups(np.array(texts))
    assert kinds['link', 'a link'].tolist() == [True, False, False, False, False]
    assert kinds['currency', 'a currency sign'].tolist() == [False, False, False, True, False]
    assert kinds['digits', '5 to 14'].tolist() == [False, False, False, False, True]
    rows = errors.slices('keywords', {'text': np.array(texts), 'spam': np.array([1, 0, 0, 1, 1])},
                         models.keyword_rule(texts))
    whole = next(r for r in rows if r['slice'] == 'no link')
    assert (whole['count'], whole['spam'], whole['recall'], whole['false_alarms']) == (4, 2, 1.0, 0.5)
    assert next(r for r in rows if r['slice'] == '150 and over')['recall'] is None


def test_chances_of_margins_come_from_other_folds():
    """A sigmoid that saw the row it judges would be caught: labels of one fold change its own chances nowhere."""
    folds = experiment.folds_of(config_lib.get_config('smoke'), SPAM, 0)
    margin = np.random.default_rng(0).normal(size=900).astype(np.float32) + 2 * SPAM - 1
    test = folds.outer.test[0]
    plain, changed = (models.stated('svm_tfidf', margin, y, folds) for y in (SPAM, np.where(test, 1 - SPAM, SPAM)))
    assert np.array_equal(plain[test], changed[test]) and not np.allclose(plain[~test], changed[~test])
    assert np.mean((plain - SPAM) ** 2) < np.mean((models.chances(margin) - SPAM) ** 2)     # 12 % are spam, not half


def test_false_alarms_at_fixed_recall():
    y = np.array([1] * 10 + [0] * 10)
    scores = np.concatenate([np.arange(10, 20), [9.5, 10.5, 11.5, *range(7)]]).astype(np.float32)
    one = lambda w: float(experiment.false_alarms(y, scores, weight=w))
    assert one(np.ones(20, np.float32)) == pytest.approx(0.1)      # 9 of 10 are at 11 and above, and so is one ham
    w = np.ones(20, np.float32)
    w[12] = 0
    assert one(w) == 0


def test_the_original(tmp_path, shared_file):
    finish(tmp_path, '--config=smoke', '--config.data=sms_spam', f'--data_dir={shared_file("sms_spam.tsv").parent}')
    r = result(tmp_path)
    assert r['data']['verified'] and r['data']['train'] == 4128 and r['metrics']['cv_f1_multinomial']['mean'] > 0.7


def test_wrong_commands(tmp_path):
    said = finish(tmp_path / 'a', '--config=original', f'--data_dir={tmp_path}', code=5)
    assert 'put the SMS Spam Collection' in said
    assert 'sums nothing' in finish(tmp_path / 'b', '--config=smoke', '--reduction=ordered', code=2)
    said = finish(tmp_path / 'c', '--config=smoke', '--config.words=19000', code=2)
    assert '--config.words: expected at most' in said and 'found 19000' in said
    assert 'each once' in finish(tmp_path / 'd', "--config.models=('bernoulli', 'bernoulli')", code=2)


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_the_recipe_reaches_what_is_expected(tmp_path):
    finish(tmp_path, '--seeds=5', timeout=2900)
    r = result(tmp_path)
    assert r['passed'] and r['expected']
    for name, (value, side) in r['expected'].items():
        assert all(v >= value if side == '>=' else v <= value for v in r['metrics'][name]['values']), name
    for name in config_lib.MODELS:
        assert r['comparison']['f1'][f'{name} - always_ham']['low'] > 0.8


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_the_original_recipe(tmp_path, shared_file):
    finish(tmp_path, '--config=original', f'--data_dir={shared_file("sms_spam.tsv").parent}', timeout=2900)
    assert result(tmp_path)['passed'] and result(tmp_path)['expected']


def test_expected_values_are_for_whole_recipes_only():
    assert config_lib.expected(config_lib.get_config()) and config_lib.expected(config_lib.get_config('original'))
    assert not config_lib.expected(config_lib.get_config('smoke'))
