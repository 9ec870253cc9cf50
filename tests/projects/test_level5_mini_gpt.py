"""The mini-GPT as its users run it: what it leaves behind, killed and resumed, on several devices, what it reaches."""
import functools
import json
import math
import types

import jax
import numpy as np
import optax
import pytest

from common import data, optim, results, trees
from common.runs import read_metrics
from common.task import start
from levels.level5_transformers import tokenizers
from levels.level5_transformers.gpt import GPT
from projects.level5_mini_gpt import config as config_lib
from projects.level5_mini_gpt import experiment, recipes, utilisation
from projects.level5_mini_gpt import model as model_lib
from projects.level5_mini_gpt.ngram import bits_per_token
from tests.faults import processes
from tests.faults.processes import result

PROJECT = 'projects.level5_mini_gpt.main'
SMOKE = ('--config=smoke', '--config.ngram=0', '--config.sample_every=0')
finish = functools.partial(processes.finish, module=PROJECT)


@pytest.fixture(scope='module')
def smoke(tmp_path_factory):
    folder = tmp_path_factory.mktemp('gpt')
    finish(folder, '--config=smoke')
    return folder


def test_what_a_run_leaves(smoke):
    for name in ('metrics.jsonl', 'result.json', 'plots/curves.png', 'tokenizer.json', 'samples/step_000010.txt',
                 'samples/step_000020.txt'):
        assert (smoke / name).exists(), name
    r = result(smoke)
    assert r['data']['name'] == 'king_james' and r['data']['verified'] and r['expected'] == {}
    assert (r['data']['train'], r['data']['test']) == (3_942_680, 197_007)
    bits, nats = (r['metrics'][k]['mean'] for k in ('bits_per_char', 'loss'))
    assert abs(bits - nats / math.log(2)) < 1e-4 * bits          # a token is a character
    base = r['baseline']
    assert base['3-gram, bits per character'] < base['unigram, bits per character'] < bits < math.log2(68) + 0.1
    rows = [json.loads(line) for line in (smoke / 'timing.jsonl').read_text().splitlines()]
    assert len(rows) == 4
    assert all(abs(x['tokens_per_s'] - 16 * x['rows_per_s']) < 1e-6 * x['tokens_per_s'] for x in rows)
    assert 0 < r['mfu'] < 1 and r['cpu_seconds'] > 0
    assert abs(r['mfu'] - r['tokens_per_s'] * r['flops_per_token'] / r['peak_flops_per_s']) < 1e-9
    speed = 20 * 8 * 16 / r['seconds']['train']         # what the loop's own clock says
    assert abs(r['tokens_per_s'] / speed - 1) < 0.02
    tokenizer = tokenizers.from_json(json.loads((smoke / 'tokenizer.json').read_text()))
    texts = (smoke / 'samples/step_000020.txt').read_text(encoding='utf-8')
    assert tokenizer.size == 68 and texts.count('-' * 40) == 3 and set(texts) <= set(tokenizer.vocabulary)


def test_killed_and_resumed_is_the_unbroken_run(smoke, tmp_path):
    flags = ('--config=smoke', '--async_checkpoints=False')
    process = processes.start(tmp_path, *flags, module=PROJECT)
    processes.wait_for_step(tmp_path, 15)       # beyond the checkpoint of step 10
    processes.kill_after(process, 0.0)
    finish(tmp_path, *flags)
    assert processes.fingerprint(tmp_path) == processes.fingerprint(smoke)
    for sample in ('step_000010.txt', 'step_000020.txt'):
        assert (tmp_path / 'samples' / sample).read_bytes() == (smoke / 'samples' / sample).read_bytes()


@pytest.mark.parametrize('strategy', ['pmap', 'mesh'])
def test_every_strategy_gives_the_same_numbers(smoke, tmp_path, strategy):
    finish(tmp_path, *SMOKE, f'--strategy={strategy}', '--host_devices=2')
    for a, b in zip(read_metrics(smoke), read_metrics(tmp_path), strict=True):
        assert a.keys() == b.keys() and abs(a['loss'] - b['loss']) < 2e-4 * a['loss']


def test_seeds_byte_pairs_and_the_better_recipe(tmp_path):
    flags = ('--config.tokenizer=bpe', '--config.vocab=300', '--config.optimizer=muon', '--config.positions=rope',
             '--config.norm=rms_norm', '--config.qk_norm=True', '--config.activation=relu2', '--config.ema=0.9')
    finish(tmp_path, *SMOKE, *flags, '--seeds=2', '--seed_mode=vmap')
    r = result(tmp_path)
    bits, nats = (r['metrics'][k]['values'] for k in ('bits_per_char', 'loss'))
    assert len(set(nats)) == 2 and all(b < n / math.log(2) / 1.2 for b, n in zip(bits, nats, strict=True))
    assert tokenizers.from_json(json.loads((tmp_path / 'tokenizer.json').read_text())).size == 300


def test_shakespeare_is_missing_by_name(tmp_path):
    out = finish(tmp_path / 'run', '--config=shakespeare', f'--data_dir={tmp_path}', code=5)
    assert str(tmp_path / 'tiny_shakespeare.txt') in out and 'tools.prepare_data' in out and 'Traceback' not in out


def test_fields_that_contradict_each_other_are_refused(tmp_path):
    out = finish(tmp_path, *SMOKE, '--config.width=18', '--config.heads=4', code=2)
    assert 'width=18: expected a multiple of heads=4' in out


def test_windows_cover_the_text_and_belong_to_the_step():
    tokens = np.arange(50, dtype=np.uint8)
    source = data.windows(tokens, 7, 4, seed=3)
    seen = [source(step)['tokens'] for step in range(300)]
    assert all(x.shape == (4, 7) and x.dtype == np.int32 and (np.diff(x) == 1).all() for x in seen)
    starts = np.concatenate([x[:, 0] for x in seen])
    assert set(starts) == set(range(44))                # the first and the last window are among them
    assert np.array_equal(source(5)['tokens'], data.windows(tokens, 7, 4, seed=3)(5)['tokens'])
    assert not np.array_equal(source(5)['tokens'], source(6)['tokens'])
    assert not np.array_equal(source(5)['tokens'], data.windows(tokens, 7, 4, seed=4)(5)['tokens'])
    parts = [source.host(5, slice(0, 2)), source.host(5, slice(2, 4))]         # two processes
    assert np.array_equal(np.concatenate(parts), source.host(5, slice(None)))
    assert len(np.unique(data.windows(tokens, 50, 3)(0)['tokens'][:, 0])) == 1
    with pytest.raises(data.ConfigError, match=r'tokens: expected at least length=51'):
        data.windows(tokens, 51, 1)


def test_tiles_predict_every_token_once():
    for n, whole in ((26, 5), (27, 5), (30, 5), (25, 4)):       # the last window ends with the last token, or not
        tiles = model_lib.tiled(np.arange(n), 5)['tokens']
        assert tiles.shape == (whole, 6) and np.array_equal(tiles[:, 1:].ravel(), np.arange(1, 5 * whole + 1))
        assert (tiles[:, 1:] - tiles[:, :-1] == 1).all()
    with pytest.raises(ValueError, match='tokens: expected more than length=5'):
        model_lib.tiled(np.arange(5), 5)


def test_ngrams_by_hand():
    train, test = (np.array([ord(c) - 97 for c in s]) for s in ('abab', 'abb'))
    # Unigrams over {a, b}: n=4, 2 kinds: (2 + 2/2)/(4 + 2) = 1/2. After a: b twice, 1 kind; after b: a once, 1 kind.
    assert bits_per_token(train, test, order=1, size=2) == 1.0
    after_a, after_b = (2 + 1 * 0.5) / (2 + 1), (0 + 1 * 0.5) / (1 + 1)
    assert abs(bits_per_token(train, test, order=2, size=2) + (math.log2(after_a) + math.log2(after_b)) / 2) < 1e-12


@pytest.mark.parametrize('order', [1, 2, 3])
def test_ngram_probabilities_sum_to_one(order):
    rng = np.random.default_rng(0)
    train = rng.integers(0, 4, 400) * rng.integers(0, 2, 400)
    history = [1, 3, 0]

    def p(tokens):      # of all tokens but the first, given it
        return 2.0 ** (-bits_per_token(train, np.array(tokens), order=order, size=4) * (len(tokens) - 1))
    assert abs(sum(p([*history, c]) for c in range(4)) / p(history) - 1) < 1e-9


def test_chance_is_the_loss_of_a_model_that_knows_nothing():
    """Zero parameters: uniform logits; bits per character follow from the lengths of the tokens."""
    model = GPT(vocab_size=8, context=4, layers=1, heads=1, width=4)
    lengths = np.array([1, 2, 3, 1, 1, 1, 1, 4])
    task = model_lib.language_model(model, lengths, optax.sgd(0.1), optim.Policy())
    batch = {'tokens': np.array([[0, 1, 2, 7, 1], [3, 2, 1, 1, 1]]), 'mask': np.array([1.0, 0.0])}
    state = task.init(jax.random.key(0), batch)
    state = state._replace(params=jax.tree.map(np.zeros_like, state.params))
    m = task.evaluate(jax.random.key(0), state, batch)
    assert abs(m['loss'].value - math.log(8)) < 1e-6 and m['loss'].weight == 4
    assert m['bits_per_char'].weight == 2 + 3 + 4 + 2 and abs(m['bits_per_char'].total - 4 * 3) < 1e-5


def test_flops_of_a_token_are_those_of_the_matrices():
    """Two per weight forward and four back, the head included, and the products of attention, counted one by one."""
    c = config_lib.get_config('smoke')
    model, _ = model_lib.build(c, tokenizers.Characters('abcdefg'))
    shapes = jax.eval_shape(model.init, jax.random.key(0), np.zeros((1, 1), np.int32))['params']
    weights = sum(p.size for path, p in trees.named_leaves(shapes).items() if len(p.shape) == 2 and 'wpe' not in path)
    attention = 3 * c.layers * c.heads * 2 * (2 * c.context * (c.width // c.heads))     # q k' and w v, back twice
    assert utilisation.flops_per_token(c, 7) == 6 * weights + attention


def test_samples_are_those_without_a_cache(tmp_path, monkeypatch):
    """Cached while the context has room, and longer than it: the text that a window at each step gives."""
    c = config_lib.get_config('smoke')
    tokenizer = tokenizers.Characters('\nabcdefghijk')
    model, task = model_lib.build(c, tokenizer)
    carry = start(task, jax.random.key(c.seed), {'tokens': np.zeros((1, c.context + 1), np.int32)})
    carry = carry._replace(state=carry.state._replace(params=jax.tree.map(
        lambda p: 20 * p if p.ndim > 1 else p, carry.state.params)))     # so that tokens matter
    run = types.SimpleNamespace(config=c, writes=True, samples=tmp_path)
    assert c.sample_tokens > c.context
    generate, modes = experiment.generate, []

    def windowed(*args, cache, **kwargs):
        modes.append(cache)
        return generate(*args, cache=False, **kwargs)
    experiment.sampler(run, model, tokenizer)(1, carry)
    monkeypatch.setattr(experiment, 'generate', windowed)
    experiment.sampler(run, model, tokenizer)(2, carry)
    texts = [(tmp_path / f'step_{i:06d}.txt').read_text() for i in (1, 2)]
    assert texts[0] == texts[1] and modes == ['slide'] and len(set(texts[0])) > 6


def test_the_table_of_recipes_is_what_runs_left():
    rows = json.loads(recipes.FILE.read_text(encoding='utf-8'))
    assert {'shakespeare', 'better'} <= {r['variant'] for r in rows}
    readme = recipes.FILE.with_name('README.md').read_text(encoding='utf-8')
    assert recipes.table(rows) in readme
    for r in rows:
        c = config_lib.get_config(r['variant'])
        assert r['overrides'] == {k: v for k, v in c.to_dict().items() if v != config_lib.FIELDS[k].default}
        assert r['tokens'] == c.steps * c.batch_size * c.context and r['commit']['commit']
        ((name, (value, _)),) = config_lib.expected(c).items()
        values = r['metrics'][name]['values']
        assert len(values) == len(r['seeds']) and max(values) <= value
        assert r['metrics'][name] == results.interval(values)
    shakespeare = next(r for r in rows if r['variant'] == 'shakespeare')
    assert len(shakespeare['seeds']) >= 3, 'the loss at a fixed budget of tokens over three seeds'


def test_a_row_is_read_from_a_run_of_a_variant_alone(smoke, tmp_path):
    row = recipes.row(smoke)
    assert row['variant'] == 'smoke' and row['tokens'] == 20 * 8 * 16 and row['metrics'] == result(smoke)['metrics']
    for name in ('result.json', 'env.json', 'config.json'):
        (tmp_path / name).write_bytes((smoke / name).read_bytes())
    config = json.loads((tmp_path / 'config.json').read_text())
    config['config']['rate'] = 1e-3
    (tmp_path / 'config.json').write_text(json.dumps(config))
    with pytest.raises(ValueError, match='expected a run of one of full, shakespeare, better, smoke, unchanged'):
        recipes.row(tmp_path)


def test_expected_values_are_for_the_whole_recipe_only():
    for size in ('full', 'shakespeare', 'better'):
        config = config_lib.get_config(size)
        (value, op), = config_lib.expected(config).values()
        assert op == '<=' and value > 0
        with config.unlocked():
            config.steps -= 50
        assert config_lib.expected(config) == {}
    assert config_lib.expected(config_lib.get_config('shakespeare'))['loss'][0] <= 1.90
    assert config_lib.expected(config_lib.get_config('better'))['loss'][0] <= 1.75
    assert config_lib.expected(config_lib.get_config('smoke')) == {}


def assert_expected(folder, seeds):
    r = result(folder)
    ((name, (value, _)),) = r['expected'].items()
    assert r['passed'] and len(r['metrics'][name]['values']) == seeds
    assert max(r['metrics'][name]['values']) <= value, r['metrics']


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_the_king_james_recipe(tmp_path):
    finish(tmp_path, '--config=full', '--seeds=2', timeout=2900)
    assert_expected(tmp_path, 2)
    r = result(tmp_path)
    assert r['metrics']['bits_per_char']['mean'] < r['baseline']['unigram, bits per character'] / 2


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize('size', ['shakespeare', 'better'])
def test_shakespeare_recipes(tmp_path, shared_file, size):
    folder = shared_file('tiny_shakespeare.txt').parent
    finish(tmp_path, f'--config={size}', f'--data_dir={folder}', '--seeds=2', timeout=2900)
    assert_expected(tmp_path, 2)
