"""Segments as a manager reads them: a name made from the figures, the figures, and a sentence each."""
import numpy as np
from jaxtyping import Int

from projects.level1_customer_segments.rfm import Customers

RECENCY = ('active', 'cooling', 'quiet')
SEEN = (1 / 6, 2 / 3)       # of the days that were watched: seen since then is active, is not yet quiet
MONEY = ('small spenders', 'middling spenders', 'big spenders')


def names(rows: list[dict], days: list[float], money: list[float]) -> list[str]:
    """One name a segment, by where its medians lie among the edges; equal names get their figures as well."""
    place = lambda edges, value: int(np.sum(value > np.array(edges)))
    often = lambda count: 'one-time' if count < 1.5 else 'repeat' if count < 4 else 'regular'
    made = [f'{RECENCY[place(days, r["recency"])]} {often(r["frequency"])} buyers, '
            f'{MONEY[place(money, r["money"])]}' for r in rows]
    made = [name[0].upper() + name[1:] for name in made]
    return [name if made.count(name) == 1 else f'{name} (about {r["money"]:.0f}, {r["recency"]:.0f} days)'
            for name, r in zip(made, rows)]


def profile(customers: Customers, cut: int, labels: Int[np.ndarray, ' n']) -> list[dict]:
    """One row a segment that has customers: counts and shares, medians, what they spent later."""
    spent, later = customers.x[:, 2].astype(np.float64), customers.later.astype(np.float64)
    rows = []
    for segment in np.unique(labels):
        own = labels == segment
        recency, frequency, money = (float(v) for v in np.median(customers.x[own], 0))
        rows.append({
            'segment': int(segment), 'customers': int(own.sum()), 'share': float(own.mean()), 'recency': recency,
            'frequency': frequency, 'money': money, 'share_of_revenue': float(spent[own].sum() / spent.sum()),
            'share_of_later_revenue': float(later[own].sum() / later.sum()),
            'bought_later': float((later[own] > 0).mean()), 'mean_later': float(later[own].mean())})
    thirds = [float(q) for q in np.quantile(spent, [1 / 3, 2 / 3])]
    return [{'name': name, **row} for name, row in zip(names(rows, [cut * s for s in SEEN], thirds), rows)]


def sentence(row: dict) -> str:
    """A segment in plain words."""
    times = 'once' if row['frequency'] < 1.5 else f'{row["frequency"]:.0f} times'
    return (f'{row["share"]:.0%} of the customers and {row["share_of_revenue"]:.0%} of the revenue. The typical '
            f'one bought {times}, spent {row["money"]:.0f} and was last seen {row["recency"]:.0f} days before. '
            f'Afterwards {row["bought_later"]:.0%} came back; on average each spent {row["mean_later"]:.0f}, together '
            f'{row["share_of_later_revenue"]:.0%} of the later revenue.')


def markdown(rows: list[dict], head: str) -> str:
    """The table and the sentences of a run, as a page."""
    columns = {'segment': lambda r: f'{r["segment"]} {r["name"]}', 'customers': lambda r: f'{r["customers"]:,}',
               'median days since last purchase': lambda r: f'{r["recency"]:.0f}',
               'median purchases': lambda r: f'{r["frequency"]:.0f}', 'median spent': lambda r: f'{r["money"]:.2f}',
               'share of revenue': lambda r: f'{r["share_of_revenue"]:.1%}',
               'came back later': lambda r: f'{r["bought_later"]:.1%}',
               'mean spent later': lambda r: f'{r["mean_later"]:.2f}'}
    line = lambda cells: '| ' + ' | '.join(cells) + ' |'
    table = [line(columns), line('---' for _ in columns), *(line(f(r) for f in columns.values()) for r in rows)]
    text = [f'**{r["name"]}**: {sentence(r)}' for r in rows]
    return '\n\n'.join([f'# {head}', '\n'.join(table), *text]) + '\n'
