"""Recency, frequency and money of each customer up to a day, and what they spent from that day on."""
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from common.errors import DataError

FEATURES = ('recency', 'frequency', 'money')
UNITS = ('days since the last purchase', 'purchases', 'money spent')


class Customers(NamedTuple):
    """One row a customer who bought before the cut; x has nothing of later days, `later` nothing of earlier ones."""

    number: Int[np.ndarray, ' n']
    x: Float[np.ndarray, 'n 3']
    first: Int[np.ndarray, ' n']        # day of the first purchase
    later: Float[np.ndarray, ' n']      # money

    @property
    def target(self) -> Float[np.ndarray, ' n']:
        """What is predicted: log(1 + money spent later)."""
        return np.log1p(self.later)


def table(purchases: dict[str, np.ndarray], cut: int, end: int) -> Customers:
    """The customers of some purchases (columns of `common.purchases`), seen on day `cut`; `end` is past the last day.

    Raises DataError where too few customers bought before the cut, or none after it.
    """
    day, amount = purchases['day'], purchases['amount'].astype(np.float64)
    early, late = day < cut, (day >= cut) & (day < end)
    number, who = np.unique(purchases['customer'][early], return_inverse=True)
    count = len(number)
    if count < 20 or not late.any():
        raise DataError(f'transactions: expected 20 customers or more before day {cut} and purchases after it, found '
                        f'{count} and {late.sum()}; fix: add rows, or set another --config.watched')
    first, last = np.full(count, cut), np.zeros(count, int)
    np.minimum.at(first, who, day[early])
    np.maximum.at(last, who, day[early])
    x = np.stack([cut - last, np.bincount(who), np.bincount(who, amount[early])], 1)
    place = np.minimum(np.searchsorted(number, purchases['customer'][late]), count - 1)
    known = number[place] == purchases['customer'][late]        # others are new: there is nothing to predict them by
    later = np.bincount(place[known], amount[late][known], count)
    return Customers(number, x.astype(np.float32), first, later.astype(np.float32))


def split(dataset, watched: float) -> tuple[Customers, Customers, int]:
    """(customers to learn from, customers to test on, the day of the cut)."""
    end = 1 + max(int(part['day'].max()) for part in (dataset.train, dataset.test))
    cut = round(end * watched)
    return table(dataset.train, cut, end), table(dataset.test, cut, end), cut
