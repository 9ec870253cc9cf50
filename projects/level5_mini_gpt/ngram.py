"""The baselines: what counting says about the next character. On the host, in NumPy, exact.

Formula (interpolated Witten-Bell): p(c | h) = (n(hc) + t(h) p(c | h')) / (n(h) + t(h)); h' is h without its first
    character, n counts in the training text, t(h) is how many distinct characters followed h. A history never seen
    passes on to h'; below the unigrams lies the uniform distribution.
Source: Witten, Bell 1991, The Zero-Frequency Problem, method C; as interpolated in Chen, Goodman 1999, An Empirical
    Study of Smoothing Techniques for Language Modeling, section 2.6.
"""
import numpy as np
from jaxtyping import Int


def _grams(tokens: Int[np.ndarray, 'n'], n: int, size: int) -> Int[np.ndarray, 'm']:
    """The number of each run of n tokens, read in base `size`."""
    out = np.zeros(len(tokens) - n + 1, np.int64)
    for i in range(n):
        out = out * size + tokens[i:len(tokens) - n + 1 + i]
    return out


def _look(keys: np.ndarray, values: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """values at the sorted keys; 0 where there is none."""
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[at] == wanted, values[at], 0)


def bits_per_token(train: Int[np.ndarray, 'n'], test: Int[np.ndarray, 'm'], *, order: int, size: int) -> float:
    """Mean of -log2 p over the tokens of `test` but its first, histories of up to order - 1 tokens, all from `test`.

    Raises ValueError where size**order has no int64, or a text is shorter than `order` or 2.
    """
    if order < 1 or size ** order >= 2**63 or min(len(train), len(test)) < max(order, 2):
        raise ValueError(f'order: expected 1 or more, with {size}**order below 2**63 and texts of that length; '
                         f'found {order}')
    p = np.full(len(test), 1 / size)
    for n in range(1, order + 1):
        keys, counts = np.unique(_grams(train, n, size), return_counts=True)
        histories, first = np.unique(keys // size, return_index=True)       # keys are sorted, so are histories
        totals, kinds = np.add.reduceat(counts, first), np.diff([*first, len(keys)])
        wanted = _grams(test, n, size)
        seen, total, kind = _look(keys, counts, wanted), *(_look(histories, v, wanted // size) for v in (totals, kinds))
        # The first n - 1 tokens have shorter histories, and keep what the lower order said.
        longer = np.where(total > 0, (seen + kind * p[n - 1:]) / np.maximum(total + kind, 1), p[n - 1:])
        p = np.concatenate([p[:n - 1], longer])
    return float(-np.log2(p[1:]).mean())
