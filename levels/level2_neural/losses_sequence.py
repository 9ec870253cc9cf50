"""The loss of sequences whose alignment is not known: connectionist temporal classification.

The mean is the caller's, as for the losses in `losses.py`.

Example:
    from levels.level2_neural.losses_sequence import ctc_loss
    loss = ctc_loss(logits, labels, lengths=frames).mean()      # labels are padded with -100
"""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

NEVER = -1e30       # the log of a probability of 0: sums of it stay finite, and so do slopes


def _extended(logp: Float[Array, 'frames classes'], labels: Int[Array, ' words'], blank: int):
    """(log p of blank, word 1, blank, word 2, ..., blank in each frame [frames, 2 words + 1], which words may follow
    the word before without a blank [2 words + 1])."""
    classes = logp.shape[-1]
    # before the gather: where a word is outside the classes nan is put, not what happens to stand at the edge
    inside = (labels >= 0) & (labels < classes)
    words = jnp.take(logp, jnp.where(inside, labels, 0), axis=1, mode='clip')
    words = jnp.where(inside[None], words, jnp.nan)
    between = jnp.broadcast_to(logp[:, blank, None], words.shape)
    rows = jnp.stack([between, words], -1).reshape(len(logp), -1)
    other = jnp.concatenate([jnp.zeros(1, bool), labels[1:] != labels[:-1]])[:len(labels)]
    skips = jnp.stack([jnp.zeros_like(other), other], -1).reshape(-1)
    return jnp.concatenate([rows, logp[:, blank, None]], 1), jnp.append(skips, False)


def _one(logits, labels, frames, blank: int, ignore_index: int):
    """The loss of one sequence."""
    real = labels != ignore_index
    count = jnp.sum(real)
    # of frames that are not there nothing is looked at, whatever stands in them
    there = jnp.arange(len(logits)) < frames
    logp = jax.nn.log_softmax(jnp.where(there[:, None], logits, 0))
    rows, skips = _extended(logp, jnp.where(real, labels, blank), blank)
    places = jnp.arange(len(skips))
    never = jnp.full((2,), NEVER, logp.dtype)

    def frame(alpha, now):
        here, row = now
        padded = jnp.concatenate([never, alpha])
        ways = jnp.stack([alpha, padded[1:-1], jnp.where(skips, padded[:-2], NEVER)])
        moved = jax.nn.logsumexp(ways, 0) + row
        return jnp.where(here, moved, alpha), None

    first = jnp.where(places < 2, rows[0], NEVER)
    alpha, _ = jax.lax.scan(frame, first, (there[1:], rows[1:]))
    last = jnp.where((places == 2 * count) | (places == 2 * count - 1), alpha, NEVER)
    total = jax.nn.logsumexp(last)
    total = jnp.where(frames > 0, total, jnp.where(count > 0, NEVER, 0))
    return jnp.where(total < NEVER / 2, jnp.inf, -total)


def ctc_loss(
    logits: Float[Array, '*batch frames classes'],
    labels: Int[Array, '*batch words'],
    *,
    lengths: Int[Array, '*batch'] | None = None,
    blank: int = 0,
    ignore_index: int = -100,
) -> Float[Array, '*batch']:
    """Minus the log of the probability that frames, with repeats merged and blanks taken out, read as the labels.

    Formula: -log sum over paths of prod_t p_t(path_t), p_t = softmax(logits_t), over all paths that collapse to the
        labels. With z = blank, label, blank, ..., blank: a_t(s) = p_t(z_s) (a_{t-1}(s) + a_{t-1}(s - 1) +
        a_{t-1}(s - 2)), the last term only where z_s is a label other than z_{s-2}; in logarithms.
    Paper: Graves, Fernandez, Gomez, Schmidhuber 2006, Connectionist temporal classification, section 4.1.
    Shapes: logits [*batch, frames, classes], labels [*batch, words], at their end padded with `ignore_index`, lengths
        [*batch] (frames that count; all by default) -> [*batch]. inf with a slope of 0 where the frames are too few for
        the labels; nan where a label is no class. A label that is the blank is read as it stands, as torch does.
    Errors: ValueError for other shapes, labels or lengths that are no integers, a blank that is no class, no frames.
    Cost: time frames x words for each sequence, in one scan over the frames.
    Example:
        logits = jnp.zeros((2, 2, 3))                           # two sequences, two frames, classes blank, 1, 2
        labels = jnp.array([[1, -100], [1, 2]])
        loss = ctc_loss(logits, labels)
        assert jnp.allclose(jnp.exp(-loss), jnp.array([3 / 9, 1 / 9]))      # (1, 1), (1, blank), (blank, 1); (1, 2)
    """
    logits, labels = jnp.asarray(logits), jnp.asarray(labels)
    logits = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
    if logits.ndim < 2 or labels.ndim != logits.ndim - 1 or logits.shape[:-2] != labels.shape[:-1] or not (
            jnp.issubdtype(labels.dtype, jnp.integer)):
        raise ValueError('logits, labels: expected [*batch, frames, classes] and integers [*batch, words]; found '
                         f'{logits.shape} and {labels.dtype} {labels.shape}')
    *batch, frames, classes = logits.shape
    if frames < 1:
        raise ValueError(f'logits: expected at least one frame; found shape {logits.shape}')
    if not 0 <= blank < classes:
        raise ValueError(f'blank: expected a class, 0 to {classes - 1}; found {blank}')
    lengths = jnp.full(batch, frames, jnp.int32) if lengths is None else jnp.asarray(lengths)
    if lengths.shape != tuple(batch) or not jnp.issubdtype(lengths.dtype, jnp.integer):
        raise ValueError(f'lengths: expected integers {tuple(batch)}; found {lengths.dtype} {lengths.shape}')
    n = math.prod(batch)
    each = jax.vmap(lambda x, y, count: _one(x, y, count, blank, ignore_index))(
        logits.reshape(n, frames, classes), labels.reshape(n, labels.shape[-1]), lengths.reshape(n))
    return each.reshape(batch)
