"""How well scores tell links from pairs that are none: ROC AUC, average precision, MRR, Hits@k; pure array functions.

Ties are counted as scikit-learn (AUC, AP) and OGB (MRR, Hits) count them.  All can be jitted and vmapped, over splits
for example; none has a useful gradient.
"""
import jax.numpy as jnp
from jaxtyping import Array, Float


def _needs(positive: Float[Array, '...'], negative: Float[Array, '...'], ndim: int) -> None:
    if positive.ndim != 1 or negative.ndim != ndim or not positive.size or not negative.size:
        raise ValueError(f'positive, negative: expected scores of 1 and {ndim} axes, not empty, found shapes '
                         f'{positive.shape} and {negative.shape}')


def roc_auc(positive: Float[Array, ' p'], negative: Float[Array, ' n']) -> Float[Array, '']:
    """The probability that a random positive scores higher than a random negative; a tie counts half.

    Formula: (1 / pn) sum_ij [p_i > n_j] + [p_i = n_j] / 2, by one sort of the negatives.
    Paper: Hanley, McNeil 1982, The meaning and use of the area under a ROC curve, section III.
    Shapes: positive [p], negative [n] -> scalar.
    Errors: ValueError for other ranks, or none of one kind.
    Example:
        positive = jnp.array([0.9, 0.4])
        negative = jnp.array([0.1, 0.4])
        roc_auc(positive, negative)                             # 0.875: one tie in four pairs
        roc_auc(negative, positive)                             # 0.125
    """
    _needs(positive, negative, 1)
    ordered = jnp.sort(negative)
    below, upto = (jnp.searchsorted(ordered, positive, side=side) for side in ('left', 'right'))
    return jnp.mean((below + upto).astype(ordered.dtype) / (2 * negative.size))


def average_precision(positive: Float[Array, ' p'], negative: Float[Array, ' n']) -> Float[Array, '']:
    """Mean over the positives of the precision at each one's own score: the area under the precision-recall steps.

    Formula: sum_k (R_k - R_{k-1}) P_k over the distinct scores = (1 / p) sum_i TP(s_i) / (TP(s_i) + FP(s_i)), where
        TP(s) and FP(s) count the positives and negatives that score s or more.
    Paper: as defined in scikit-learn's `average_precision_score`, without interpolation.
    Shapes: positive [p], negative [n] -> scalar.
    Errors: ValueError for other ranks, or none of one kind.
    Example:
        positive = jnp.array([0.9, 0.4])
        negative = jnp.array([0.5, 0.1])
        average_precision(positive, negative)                   # (1 + 2/3) / 2
        average_precision(positive, 0 * negative)               # 1
    """
    _needs(positive, negative, 1)
    above = lambda scores: scores.size - jnp.searchsorted(jnp.sort(scores), positive, side='left')
    hits, misses = (above(scores).astype(positive.dtype) for scores in (positive, negative))
    return jnp.mean(hits / (hits + misses))


def mrr(positive: Float[Array, ' p'], negative: Float[Array, 'p n']) -> Float[Array, '']:
    """Mean reciprocal rank of each positive among its own negatives; ties get the middle of their ranks.

    Formula: mean_i 1 / r_i, r_i = 1 + (#[n_ij > p_i] + #[n_ij >= p_i]) / 2.
    Paper: Hu et al. 2020, Open Graph Benchmark, as in its evaluator for ogbl-citation2.
    Shapes: positive [p], negative [p, n] -> scalar.
    Errors: ValueError for other ranks, empty arrays, unequal p.
    Example:
        positive = jnp.array([0.5, 0.5])
        negative = jnp.array([[0.1, 0.9], [0.1, 0.2]])
        mrr(positive, negative)                                 # (1/2 + 1) / 2
        mrr(positive, 0 * negative)                             # 1
    """
    _needs(positive, negative, 2)
    if len(positive) != len(negative):
        raise ValueError(f'negative: expected a row for each of {len(positive)} positives, found {len(negative)}')
    over, upto = jnp.sum(negative > positive[:, None], axis=1), jnp.sum(negative >= positive[:, None], axis=1)
    return jnp.mean(1 / (1 + (over + upto).astype(positive.dtype) / 2))


def hits_at(positive: Float[Array, ' p'], negative: Float[Array, ' n'], *, k: int) -> Float[Array, '']:
    """Share of the positives that score strictly higher than the k-th best negative; 1 if there are fewer than k.

    Formula: mean_i [p_i > n_(k)], n_(k) the k-th largest of all negatives.
    Paper: Hu et al. 2020, Open Graph Benchmark, as in its evaluator for ogbl-collab and ogbl-ddi.
    Shapes: positive [p], negative [n], the same negatives for all -> scalar.
    Errors: ValueError for other ranks, empty arrays, k < 1.
    Example:
        positive = jnp.array([0.9, 0.5])
        negative = jnp.array([0.6, 0.1])
        hits_at(positive, negative, k=1)                        # 0.5
        hits_at(positive, negative, k=2)                        # 1
    """
    _needs(positive, negative, 1)
    if k < 1:
        raise ValueError(f'k: expected 1 or more, found {k}')
    if negative.size < k:
        return jnp.ones((), positive.dtype)
    return jnp.mean((positive > jnp.sort(negative)[-k]).astype(positive.dtype))
