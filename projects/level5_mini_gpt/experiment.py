"""Trains the language model, compares it with counting, and writes what it says."""
import json
import time
from typing import NamedTuple

import jax
import numpy as np

from common import data, datasets, experiment, loop, plots, results, texts, trees
from common.runs import Run, read_metrics
from levels.level5_transformers import tokenizers
from levels.level5_transformers.decode import generate
from levels.level5_transformers.gpt import GPT
from projects.level5_mini_gpt import config as config_lib
from projects.level5_mini_gpt import utilisation
from projects.level5_mini_gpt.model import build, final_params, tiled
from projects.level5_mini_gpt.ngram import bits_per_token


class Book(NamedTuple):
    """A book as tokens, and what describes it."""
    tokenizer: tokenizers.Characters | tokenizers.BytePairs
    train: np.ndarray
    test: np.ndarray
    about: dict
    base: dict


def load(c, data_dir: str | None) -> Book:
    """The book as tokens of a vocabulary that its training part gave, and what counting makes of it."""
    ds = datasets.load(c.data, data_dir=data_dir)
    train, test = (texts.as_str(split['text']) for split in (ds.train, ds.test))
    chars = tokenizers.Characters.of(train)
    tokenizer = chars if c.tokenizer == 'char' else tokenizers.BytePairs.train(train, size=c.vocab)
    small = lambda text: tokenizer.encode(text).astype(np.uint16 if tokenizer.size < 2**16 else np.int32)
    base = {}
    if c.ngram:     # of characters, whatever a token is
        orders = {'unigram': 1, f'{c.ngram}-gram': c.ngram}
        base = {f'{name}, bits per character': bits_per_token(chars.encode(train), chars.encode(test), order=n,
                                                              size=chars.size) for name, n in orders.items()}
    return Book(tokenizer, small(train), small(test), ds.describe(), base)


def sampler(run: Run, model: GPT, tokenizer):
    """A hook that writes samples/step_*.txt: four texts that begin with a line break, of the first seed."""
    c = run.config
    first = jax.random.key_data(jax.random.split(jax.random.key(c.seed))[1])       # the key of its Carry
    start = np.repeat(tokenizer.encode('\n')[None], 4, 0)

    def write(step, carry):
        keys = np.asarray(jax.random.key_data(carry.key)).reshape(-1, *first.shape)
        if not np.array_equal(keys[0], first):      # seeds that run in turn come here one after another
            return
        params = trees.to_host(final_params(c, carry.state))
        if carry.key.ndim:
            params = jax.tree.map(lambda x: x[0], params)
        tokens = generate(model, params, start, new=c.sample_tokens, key=jax.random.key(c.seed), cache='slide',
                          temperature=c.temperature, top_k=c.top_k, top_p=c.top_p)
        if run.writes:
            parts = [tokenizer.decode(row).strip('\n') for row in np.asarray(tokens)]
            (run.samples / f'step_{step:06d}.txt').write_text(f'\n{"-" * 40}\n'.join(parts) + '\n', encoding='utf-8')
    return write


def main(run: Run) -> None:
    c = run.config
    book = load(c, run.args.data_dir or None)
    model, task = build(c, book.tokenizer)
    source = lambda seed: data.windows(book.train, c.context + 1, c.batch_size, seed=seed)
    meter = utilisation.Meter(c.dtype)
    hooks = [loop.Hook(c.log_every, meter)]
    if c.sample_every and jax.process_count() == 1:     # of several processes none may have all of the parameters
        hooks.append(loop.Hook(c.sample_every, sampler(run, model, book.tokenizer)))
    trained = experiment.train(run, task, source, evaluate=tiled(book.test, c.context), eval_batch=64, hooks=hooks,
                               units={'tokens': c.context})
    if run.writes:
        (run.dir / 'tokenizer.json').write_text(json.dumps(book.tokenizer.to_json()), encoding='utf-8')
        lines = {name.partition(',')[0]: value for name, value in book.base.items()}
        figure = plots.curves(read_metrics(run.dir), [('loss', 'cross-entropy (nats per token)'),
                                                      ('bits_per_char', 'bits per character')],
                              f'GPT on {c.data}', {'bits_per_char': lines})
        plots.save(figure, run.plots / 'curves.png')
    used = utilisation.of(run, trained, meter, book.tokenizer.size) if run.writes else {}
    results.finish(run, trained, data=book.about, expected=config_lib.expected(c), baseline=book.base,
                   cpu_seconds=time.process_time(), **used)     # of this process, compiling and samples included
    if run.writes:
        print(f'MFU: {100 * used["mfu"]:.1f} % ({used["tokens_per_s"]:,.0f} tokens/s, {used["flops_per_token"]:,.0f} '
              f'FLOPs a token, {used["peak_flops_per_s"] / 1e9:.0f} GFLOPS in a product of matrices)')
