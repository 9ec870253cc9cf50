"""Decoding: from a model that gives logits to text, greedily or by drawing; one jitted scan for a batch of prompts.

Paper: temperature and top-k: Fan, Lewis, Dauphin 2018, Hierarchical Neural Story Generation, section 5.4; top-p:
    Holtzman et al. 2020, The Curious Case of Neural Text Degeneration, section 3.1; min-p: Nguyen et al. 2024, Turning
    Up the Heat: Min-p Sampling for Creative and Coherent LLM Outputs, section 3; repetition penalty: Keskar et al.
    2019, CTRL, section 4.1.

Prompts of different lengths are padded on the left, with a mask that is False there. Beam search: `beam_search.py`.

Example:
    from levels.level5_transformers.decode import generate, left_pad
    prompts, mask = left_pad([[5, 6, 7], [9]])
    tokens = generate(model, params, prompts, new=20, mask=mask)                       # greedy
    tokens = generate(model, params, prompts, new=20, mask=mask, key=key, temperature=0.8, top_k=40, top_p=0.95)
    tokens = generate(model, params, prompts, new=20, mask=mask, repetition=1.2)        # greedy, and says nothing twice
    tokens = generate(model, params, prompts, new=2000, mask=mask, key=key, min_p=0.05, cache='slide')  # long texts
"""

import functools
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key

from common.scatter import scatter
from levels.level5_transformers.gpt import GPT, empty_cache


def filter_logits(logits: Float[Array, '*batch vocab'], *, temperature: float = 1.0, top_k: int = 0,
                  top_p: float = 1.0, min_p: float = 0.0) -> Float[Array, '*batch vocab']:
    """Logits of the distribution that is drawn from; -inf for what can not be drawn.

    Formula: l / temperature; then the k largest; then, of what is left, the fewest whose probabilities reach top_p;
        then those that are at least min_p times as probable as the most probable one.
    Paper: Fan, Lewis, Dauphin 2018, section 5.4; Holtzman et al. 2020, section 3.1; Nguyen et al. 2024, section 3.
    Shapes: [..., vocab] -> [..., vocab], float32 at least.
    top_k 0, top_p 1 and min_p 0 leave all; one token is always left. Among equal logits the lower number goes first in
        top_k and top_p, so that never more than k are left; min_p treats them alike.
    Errors: ValueError for a temperature that is not positive, a negative top_k, a top_p or min_p outside [0, 1].
    Example:
        logits = jnp.log(jnp.array([0.1, 0.4, 0.2, 0.3]))
        jnp.isfinite(filter_logits(logits, top_k=2))         # [False, True, False, True]
        jnp.isfinite(filter_logits(logits, top_p=0.8))       # [False, True, True, True]: 0.4 + 0.3 is below 0.8
        jnp.isfinite(filter_logits(logits, min_p=0.6))       # [False, True, False, True]: 0.6 of 0.4 is 0.24
        jax.nn.softmax(filter_logits(logits, temperature=0.5)).max() > 0.5
    """
    if not temperature > 0 or top_k < 0 or not 0 <= top_p <= 1:
        raise ValueError(f'temperature, top_k, top_p: expected > 0, >= 0 and 0 to 1; '
                         f'found {temperature}, {top_k}, {top_p}')
    if not 0 <= min_p <= 1:
        raise ValueError(f'min_p: expected 0 to 1; found {min_p}')
    logits = logits.astype(jnp.promote_types(logits.dtype, jnp.float32)) / temperature
    size = logits.shape[-1]
    if 0 < top_k < size or top_p < 1:
        order = jnp.argsort(-logits, axis=-1, stable=True)
        best = jnp.take_along_axis(logits, order, -1)
        rank = jnp.broadcast_to(jnp.arange(size), best.shape)
        keep = rank < (top_k or size)
        if top_p < 1:
            p = jax.nn.softmax(jnp.where(keep, best, -jnp.inf), axis=-1)
            before = jnp.cumsum(p, axis=-1) - p         # what those ahead of it have together
            keep &= (before < top_p) | (rank == 0)
        kept = jnp.take_along_axis(keep, jnp.argsort(order, axis=-1), -1)
        logits = jnp.where(kept, logits, -jnp.inf)
    if min_p > 0:
        p = jax.nn.softmax(logits, axis=-1)     # what went before divides all by one number, and changes no ratio
        logits = jnp.where(p >= min_p * p.max(-1, keepdims=True), logits, -jnp.inf)
    return logits


def repetition_penalty(logits: Float[Array, '*batch vocab'], seen: Bool[Array, '*batch vocab'], *,
                       penalty: float) -> Float[Array, '*batch vocab']:
    """Logits in which tokens that have been said are less likely (or more, for a penalty below 1).

    Formula: l / penalty where l >= 0 and l penalty where l < 0, for tokens in `seen`; l for all others. The paper
        divides whatever the sign, which rewards repetition where l < 0; this form is the one in use since.
    Paper: Keskar et al. 2019, CTRL: a conditional transformer language model for controllable generation, section 4.1.
    Shapes: logits [..., vocab], seen bool [..., vocab] -> [..., vocab]; `seen_tokens` makes `seen` from a prompt.
    A token counts once, however often it was said.
    Errors: ValueError for a penalty that is not positive.
    Example:
        seen = seen_tokens(jnp.array([[0, 0, 1]]), vocab=3)
        logits = jnp.array([[2.0, -1.0, 3.0]])
        y = repetition_penalty(logits, seen, penalty=2.0)
        assert (y == jnp.array([[1.0, -2.0, 3.0]])).all()
    """
    if not penalty > 0:
        raise ValueError(f'repetition: expected a positive penalty; found {penalty}')
    return jnp.where(seen, jnp.where(logits < 0, logits * penalty, logits / penalty), logits)


def seen_tokens(tokens: Int[Array, 'batch time'], *, vocab: int,
                mask: Bool[Array, 'batch time'] | None = None) -> Bool[Array, 'batch vocab']:
    """Which tokens of the vocabulary are in each row; those where the mask is False (padding) are not counted."""
    where = tokens if mask is None else jnp.where(mask, tokens, vocab)
    return jax.vmap(lambda row: scatter(jnp.zeros(vocab, bool), row, True))(where)


def left_pad(prompts: Sequence[Sequence[int]], *, pad: int = 0) -> tuple[Int[np.ndarray, 'batch time'],
                                                                         Bool[np.ndarray, 'batch time']]:
    """Prompts of any lengths -> (tokens, mask), both [batch, longest]. ValueError for none, or an empty one."""
    if not prompts or min(map(len, prompts)) < 1:
        raise ValueError('prompts: expected one or more, none of them empty')
    longest = max(map(len, prompts))
    tokens = np.array([[pad] * (longest - len(p)) + list(p) for p in prompts], np.int32)
    return tokens, np.array([[False] * (longest - len(p)) + [True] * len(p) for p in prompts])


def generate(model: GPT, params: Any, prompts: Int[Array, 'batch time'], *, new: int,
             key: Key[Array, ''] | None = None, mask: Bool[Array, 'batch time'] | None = None,
             temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0, min_p: float = 0.0, repetition: float = 1.0,
             end: int | None = None, pad: int = 0, cache: bool | Literal['slide'] = True) -> Int[Array, 'batch new']:
    """`new` tokens after each prompt: the most likely one each time without `key` (or at temperature 0), else drawn.

    mask: False where a prompt is padded, on the left.  end: what follows this token is `pad`.
    repetition: penalty for all tokens of the prompt and those said since, before anything else (greedily too).
    cache: True keeps keys and values, and prompt and new tokens must fit into the context; False lets the model see the
        last `context` tokens at each step, which costs more and has no end; 'slide' does the first until the context is
        full and the second from then on: the tokens of False for less.
    Deterministic in `key`; step i draws with fold_in(key, i).
    Raises ValueError for a prompt that is empty, too long, or padded elsewhere than on the left; new below 1.
    """
    if cache not in (True, False, 'slide'):
        raise ValueError(f"cache: expected True, False or 'slide'; found {cache!r}")
    prompts, mask = check_prompts(model, prompts, mask, new=new, fit=cache is True)
    if key is None or temperature == 0:
        key, temperature = None, 1.0
    how = {'temperature': temperature, 'top_k': top_k, 'top_p': top_p, 'min_p': min_p}
    filter_logits(jnp.zeros(2), **how)                          # the errors, before tracing
    repetition_penalty(jnp.zeros(2), jnp.zeros(2, bool), penalty=repetition)
    # Of the tokens that come from the cache the first needs the prompt alone, and the last one needs no slot.
    cached = {True: new, False: 0, 'slide': min(new, max(0, model.context - prompts.shape[1] + 1))}[cache]
    return _generate(model, params, prompts, mask, key, new=new, cached=cached, repetition=repetition, end=end, pad=pad,
                     **how)


def check_prompts(model: GPT, prompts: Int[Array, 'batch time'], mask: Bool[Array, 'batch time'] | None, *, new: int,
                  fit: bool = True) -> tuple[Int[Array, 'batch time'], Bool[Array, 'batch time']]:
    """(prompts, mask) as arrays. Raises ValueError as `generate` does; `fit`: all must fit into the context."""
    prompts = jnp.asarray(prompts, jnp.int32)
    if prompts.ndim != 2 or prompts.shape[1] < 1 or new < 1:
        raise ValueError(f'prompts, new: expected [batch, time] and at least 1; found {prompts.shape}, {new}')
    if fit and prompts.shape[1] + new > model.context:
        raise ValueError(f'new: expected at most context={model.context} tokens with the prompt of {prompts.shape[1]}; '
                         f'found {new} (cache=False has no such limit)')
    mask = jnp.ones(prompts.shape, bool) if mask is None else jnp.asarray(mask, bool)
    if mask.shape != prompts.shape:
        raise ValueError(f'mask: expected {prompts.shape}; found {mask.shape}')
    if not isinstance(mask, jax.core.Tracer) and not (mask[:, -1].all() and (mask[:, 1:] >= mask[:, :-1]).all()):
        raise ValueError('mask: expected padding on the left alone, and no empty prompt')
    return prompts, mask


class _Said(NamedTuple):
    """The last token of each row, whether it has ended, and all tokens it has seen (None without a penalty)."""

    token: Int[Array, 'batch']
    done: Bool[Array, 'batch']
    seen: Bool[Array, 'batch vocab'] | None


_STATIC = ('model', 'new', 'cached', 'temperature', 'top_k', 'top_p', 'min_p', 'repetition', 'end', 'pad')


@functools.partial(jax.jit, static_argnames=_STATIC)
def _generate(model, params, prompts, mask, key, *, new, cached, repetition, end, pad, **how):
    """The first `cached` tokens come from the cache, the others from a window of the last `context` tokens."""
    def choose(said, logits, i):
        if said.seen is not None:
            logits = repetition_penalty(logits, said.seen, penalty=repetition)
        token = (jnp.argmax(logits, -1) if key is None else
                 jax.random.categorical(jax.random.fold_in(key, i), filter_logits(logits, **how)))
        token = jnp.where(said.done, pad, token).astype(jnp.int32)
        done = said.done if end is None else said.done | (token == end)
        seen = said.seen if said.seen is None else jax.vmap(lambda row, t: row.at[t].set(True))(said.seen, token)
        return _Said(token, done, seen)

    (batch, time), variables = prompts.shape, {'params': params}
    seen = None if repetition == 1 else seen_tokens(prompts, vocab=model.vocab_size, mask=mask)
    said, parts = _Said(jnp.zeros(batch, jnp.int32), jnp.zeros(batch, bool), seen), []
    if cached:
        memory = empty_cache(model, batch=batch, length=min(time + cached, max(model.context, time)))
        logits, memory = model.apply(variables, prompts, memory, mask=mask, method='extend')
        said = choose(said, logits[:, -1], 0)

        def step(carry, i):
            said, memory = carry
            logits, memory = model.apply(variables, said.token[:, None], memory, method='extend')
            said = choose(said, logits[:, -1], i)
            return (said, memory), said.token

        first = said.token
        (said, _), rest = jax.lax.scan(step, (said, memory), jnp.arange(1, cached))
        parts = [first[:, None], rest.T]
    if cached < new:
        # The last `context` tokens, on the right of a window of fixed size; what is free on its left is masked.
        window = jnp.concatenate([jnp.zeros((batch, model.context), jnp.int32), prompts, *parts], 1)[:, -model.context:]
        real = jnp.concatenate([jnp.zeros((batch, model.context), bool), mask, jnp.ones((batch, cached), bool)], 1)
        push = lambda rows, last: jnp.concatenate([rows[:, 1:], last[:, None]], axis=1)

        def slide(carry, i):
            window, real, said = carry
            logits = model.apply(variables, window, mask=real)
            said = choose(said, logits[:, -1], i)
            return (push(window, said.token), push(real, jnp.ones_like(said.done)), said), said.token

        _, rest = jax.lax.scan(slide, (window, real[:, -model.context:], said), jnp.arange(cached, new))
        parts.append(rest.T)
    return jnp.concatenate(parts, axis=1)
