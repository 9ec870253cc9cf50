"""How a result over seeds is reported: the interquartile mean and its bootstrap interval."""
import numpy as np
from jaxtyping import Float
from scipy import stats


def iqm(values: Float[np.ndarray, '*shape']) -> float:
    """Mean of the middle half of all values: less noisy than the median, not moved by a few bad seeds.

    Formula: sort, drop the lowest and the highest quarter (rounded down), take the mean.
    Paper: Agarwal et al. 2021, Deep reinforcement learning at the edge of the statistical precipice, section 4.3.
    Shapes: any -> a number.
    Errors: ValueError when there is no value.
    Example:
        assert iqm(np.array([0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 100.0])) == 3.5
        assert iqm(np.array([7.0])) == 7.0
        assert iqm(np.ones((4, 2))) == 1.0
        assert iqm(np.array([0.0, 1.0, 1.0, 1000.0])) == 1.0
    """
    if not np.size(values):
        raise ValueError('values: expected at least one, found none')
    return float(stats.trim_mean(np.asarray(values, np.float64).ravel(), 0.25))


def iqm_interval(values: Float[np.ndarray, 'seeds *rest'], *, level: float = 0.95, draws: int = 2000, seed: int = 0
                 ) -> tuple[float, float]:
    """Percentile bootstrap interval of the interquartile mean; whole seeds are drawn, as they are what is independent.

    Formula: quantiles (1 - level) / 2 and (1 + level) / 2 of `iqm` over `draws` resamples of the rows.
    Paper: Agarwal et al. 2021, section 4.1.
    Shapes: [seeds, ...] -> (low, high).
    Errors: ValueError when there is no value.
    Example:
        low, high = iqm_interval(np.arange(10.0))
        assert low < iqm(np.arange(10.0)) < high
        assert iqm_interval(np.full(5, 3.0)) == (3.0, 3.0)
        assert iqm_interval(np.arange(10.0)) == iqm_interval(np.arange(10.0))
    """
    if not np.size(values):
        raise ValueError('values: expected at least one, found none')
    rows = np.asarray(values, np.float64).reshape(len(values), -1)
    picks = np.random.default_rng(seed).integers(0, len(rows), (draws, len(rows)))
    means = stats.trim_mean(rows[picks].reshape(draws, -1), 0.25, axis=1)
    return tuple(float(q) for q in np.quantile(means, [(1 - level) / 2, (1 + level) / 2]))
