"""Beam search: the most probable texts that a search of fixed width finds, as one jitted program over the KV cache.

Paper: Lowerre 1976, The Harpy Speech Recognition System (the search); Sutskever, Vinyals, Le 2014, Sequence to Sequence
    Learning with Neural Networks, section 3.2 (for decoding); Wu et al. 2016, Google's Neural Machine Translation
    System, section 7 (scores normalised by length: there ((5 + n) / 6)^alpha, here n^alpha, as transformers has it).

Example:
    from levels.level5_transformers.beam_search import beam_search
    from levels.level5_transformers.decode import left_pad
    prompts, mask = left_pad([[5, 6, 7], [9]])
    found = beam_search(model, params, prompts, new=20, beams=4, mask=mask, end=0)
    found.tokens[:, 0]                                       # the best text of each prompt
"""

import functools
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from levels.level5_transformers.decode import check_prompts
from levels.level5_transformers.gpt import GPT, KVCache, empty_cache


class Beams(NamedTuple):
    """What was found for each prompt, the best first: tokens (`pad` after the end) and normalised scores."""

    tokens: Int[Array, 'batch beams new']
    scores: Float[Array, 'batch beams']


class _Search(NamedTuple):
    """Beams that go on, with log-probabilities; texts that are finished, with scores (-inf: none there yet)."""

    i: Int[Array, '']                       # tokens so far
    live: Int[Array, 'batch beams new']
    logp: Float[Array, 'batch beams']
    finished: Beams
    open: Bool[Array, 'batch']              # whether more texts may finish


def beam_search(model: GPT, params: Any, prompts: Int[Array, 'batch time'], *, new: int, beams: int,
                mask: Bool[Array, 'batch time'] | None = None, length_penalty: float = 1.0, end: int | None = None,
                pad: int = 0, early_stopping: bool | Literal['never'] = False) -> Beams:
    """The `beams` best texts of up to `new` tokens after each prompt.

    Formula: score = sum_t log p(token_t | before) / n^length_penalty, n being the text's tokens, its end among them. In
        each step the 2 beams most probable continuations of the live beams are looked at: those among the first
        `beams` of them that end are finished, and the best `beams` that do not end live on. What lives after `new`
        tokens is finished then.
    Paper: Sutskever, Vinyals, Le 2014, section 3.2; Wu et al. 2016, section 7.
    Shapes: prompts int [batch, time], mask bool [batch, time], False for padding, on the left -> tokens int32
        [batch, beams, new], scores [batch, beams], float32 at least; the best first.
    length_penalty: above 0 favours long texts, below 0 short ones. A score is known when a text ends: an earlier one is
        replaced only by a better one.
    early_stopping: when the search of a row ends, besides after `new` tokens. With `beams` texts finished,
        True: at once;  False: when the best live beam, ended now, would have no better score than the worst of them
        (a guess for length_penalty > 0: it might get better yet);  'never': when it could not have one, were it to go
        on to `new` tokens for nothing (length_penalty > 0; else as False).
    Deterministic; among equal scores the lower beam, then the lower token goes first. Rows do not see each other, but
        all of them are computed until the last one has ended.
    Errors: ValueError as `generate` (prompt and new tokens must fit into the context), and for beams below 1 or above
        half the vocabulary, or another early_stopping.
    Example:
        model = GPT(vocab_size=11, context=16, layers=1, heads=2, width=8)
        prompts = jnp.array([[3, 1, 4], [1, 5, 9]])
        params = model.init(jax.random.key(0), prompts)['params']
        found = beam_search(model, params, prompts, new=6, beams=3, end=0)
        assert found.tokens.shape == (2, 3, 6) and (found.scores[:, 0] >= found.scores[:, 1]).all()
    """
    prompts, mask = check_prompts(model, prompts, mask, new=new)
    if not 1 <= beams <= model.vocab_size // 2:
        raise ValueError(f'beams: expected 1 to half of vocab_size={model.vocab_size}; found {beams}')
    if early_stopping not in (True, False, 'never'):
        raise ValueError(f"early_stopping: expected True, False or 'never'; found {early_stopping!r}")
    return _search(model, params, prompts, mask, new=new, beams=beams, length_penalty=length_penalty, end=end, pad=pad,
                   early_stopping=early_stopping)


def _at(x: Array, index: Int[Array, 'batch k']) -> Array:
    """x[row, index[row]] for each row: entries along the second axis."""
    return jax.vmap(lambda x, i: x[i])(x, index)


def _rows(memory: KVCache, rows: Int[Array, 'n']) -> KVCache:
    """The cache of those rows."""
    return KVCache(*jax.tree.map(lambda x: x[rows], memory[:3]), memory.at)


@functools.partial(jax.jit, static_argnames=('model', 'new', 'beams', 'length_penalty', 'end', 'pad', 'early_stopping'))
def _search(model, params, prompts, mask, *, new, beams, length_penalty, end, pad, early_stopping):
    (batch, time), variables = prompts.shape, {'params': params}

    def log_softmax(logits):
        return jax.nn.log_softmax(logits.astype(jnp.promote_types(logits.dtype, jnp.float32)), axis=-1)

    def advance(s: _Search, logp: Float[Array, 'batch live vocab']) -> tuple[_Search, Int[Array, 'batch beams']]:
        """One more token for each live beam, and which beam each of them came from."""
        total = s.logp[:, :, None] + logp
        best, index = jax.lax.top_k(total.reshape(batch, -1), 2 * beams)
        parent, token = index // model.vocab_size, (index % model.vocab_size).astype(jnp.int32)
        texts = jax.lax.dynamic_update_slice_in_dim(_at(s.live, parent), token[:, :, None], s.i, axis=2)
        n = s.i + 1
        ends = jnp.broadcast_to(n == new, token.shape)
        if end is not None:
            ends |= token == end

        enters = ends & (jnp.arange(2 * beams) < beams)[None] & s.open[:, None]
        scores = jnp.where(enters, best / n.astype(best.dtype) ** length_penalty, -jnp.inf)
        scores, chosen = jax.lax.top_k(jnp.concatenate([s.finished.scores, scores], 1), beams)
        finished = Beams(_at(jnp.concatenate([s.finished.tokens, texts], 1), chosen), scores)

        logp, chosen = jax.lax.top_k(jnp.where(ends, -jnp.inf, best), beams)
        full = jnp.isfinite(scores).all(1)
        if early_stopping is True:
            open = s.open & ~full
        else:
            far = new if early_stopping == 'never' and length_penalty > 0 else n
            hope = logp[:, 0] / jnp.asarray(far, best.dtype) ** length_penalty
            open = s.open & (~full | (hope > scores.min(1)))
        return _Search(n, _at(texts, chosen), logp, finished, open), _at(parent, chosen)

    logits, memory = model.apply(variables, prompts, empty_cache(model, batch=batch, length=time + new), mask=mask,
                                 method='extend')
    logp = log_softmax(logits[:, -1:])              # one live beam, the prompt
    blank = jnp.full((batch, beams, new), pad, jnp.int32)
    search = _Search(jnp.zeros((), jnp.int32), blank[:, :1], jnp.zeros((batch, 1), logp.dtype),
                     Beams(blank, jnp.full((batch, beams), -jnp.inf, logp.dtype)), jnp.ones(batch, bool))
    search, _ = advance(search, logp)
    memory = _rows(memory, jnp.repeat(jnp.arange(batch), beams))

    def more(carry):
        return (carry[0].i < new) & carry[0].open.any()

    def step(carry):
        search, memory = carry
        last = jax.lax.dynamic_index_in_dim(search.live, search.i - 1, axis=2, keepdims=False)
        logits, memory = model.apply(variables, last.reshape(-1, 1), memory, method='extend')
        search, parent = advance(search, log_softmax(logits).reshape(batch, beams, -1))
        rows = (parent + beams * jnp.arange(batch)[:, None]).reshape(-1)
        return search, _rows(memory, rows)

    search, _ = jax.lax.while_loop(more, step, (search, memory))
    return search.finished
