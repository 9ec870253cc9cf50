"""pandas: from a raw table of text to typed columns, without missing values, to arrays."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from levels.level0_foundations.lessons.lesson import Exercise, exercise, need, raises

KINDS = ('bread', 'cheese', 'fruit', 'tea')
MONTHS = pd.period_range('2024-01', '2024-06', freq='M')


class Orders(NamedTuple):
    """Orders that were made up: as they came, all text, and as they are."""

    raw: pd.DataFrame
    clean: pd.DataFrame


def made_up_orders(seed: int, n: int = 40) -> Orders:
    """A raw table as people type it: blanks, capitals, currencies, gaps, and rows that came twice."""
    rng = np.random.default_rng(seed)
    kinds = rng.choice(KINDS, n)
    prices = np.round(np.exp(rng.normal(3, 2, n)), 2)
    counts = rng.integers(1, 30, n)
    days = pd.Timestamp('2024-01-01') + pd.to_timedelta(rng.integers(0, 180, n), unit='D')
    no_price, no_count, no_day = rng.random((3, n)) < 0.15
    clean = pd.DataFrame({
        'order': [f'{i:04d}' for i in rng.permutation(n)],
        'day': pd.Series(days).where(~no_day),
        'kind': pd.Categorical(kinds, categories=KINDS),
        'price': pd.Series(prices).where(~no_price),
        'count': pd.Series(counts, dtype='Int64').where(~no_count),
    })
    gap = lambda: rng.choice(['', 'n/a', ' - '])
    spell = lambda word: rng.choice([word, word.upper(), word.title(), f' {word} '])
    money = lambda v: rng.choice([f'{v:,.2f}', f' {v:.2f}', f'EUR {v:,.2f}', f'{v:,.2f} EUR'])
    rows = np.sort(np.concatenate([np.arange(n), rng.choice(n, n // 8, replace=False)]))    # some come twice
    raw = pd.DataFrame({        # and every time they are typed anew
        'Order': [f' {clean["order"][i]}' if rng.random() < 0.3 else clean['order'][i] for i in rows],
        'Day': [gap() if no_day[i] else f'{days[i]:%Y-%m-%d}' for i in rows],
        'Kind': [spell(kinds[i]) for i in rows],
        'Price': [gap() if no_price[i] else money(prices[i]) for i in rows],
        'Count': [gap() if no_count[i] else f'{counts[i]}{rng.choice(["", ".0"])}' for i in rows],
    }, dtype=str)
    return Orders(raw, clean)


def _frame(value, columns) -> pd.DataFrame:
    need(isinstance(value, pd.DataFrame), f'expected a DataFrame, found {type(value).__name__}')
    need(list(value.columns) == list(columns), f'expected the columns {", ".join(columns)}')
    return value


def _same(a: pd.DataFrame, b: pd.DataFrame) -> bool:
    """Equal in values, types and order; the labels of the rows play no part."""
    return a.reset_index(drop=True).equals(b.reset_index(drop=True))


@exercise(
    '''Write clean(raw): from made_up_orders(seed).raw, which is all text, a table with the columns order (text), day
    (datetime64), kind (category with the categories bread, cheese, fruit, tea), price (float64) and count (Int64), in
    this order. Blanks and capitals in kinds, "EUR" and the commas of thousands are noise; '', 'n/a' and '-' are missing
    values. Every order is kept once, at its first row. raw stays as it is.''',
    'Begin with the blanks: raw.apply(lambda column: column.str.strip()) for all columns at once; then the gaps.',
    'pd.to_numeric and pd.to_datetime make types of text; Int64 (capital I) is the integer that can be missing.',
    'A row that came twice has the same order number, but other blanks: drop duplicates after stripping.')
def clean(answer):
    for seed in range(6):
        raw, want = made_up_orders(seed)
        before = raw.copy()
        found = _frame(answer(raw), want.columns)
        need(raw.equals(before), 'raw was changed')
        need(found['order'].tolist() == want['order'].tolist(), 'every order once, in the order of their first rows')
        for column in ('kind', 'price', 'count'):
            need(found[column].dtype == want[column].dtype, f'{column}: expected {want[column].dtype}, found '
                 f'{found[column].dtype}' + (' with other categories' if column == 'kind' else ''))
        need(pd.api.types.is_datetime64_any_dtype(found['day']),
             f'day: expected datetime64, found {found["day"].dtype}')
        for column in want:
            a, b = found[column].reset_index(drop=True), want[column]
            need((a.isna() == b.isna()).all(), f'{column}: other values are missing than should be')
            need((a[b.notna()] == b[b.notna()]).all(), f'{column}: a value is wrong')


@exercise(
    '''Write fill(train, test): both tables (as `clean` gives them) with every missing price replaced by the median
    price of its kind in train, and a new last column was_missing (bool). A kind without a price in train gets
    the median of all prices of train. Nothing of test may have an influence on what is filled in. Neither
    table is changed.''',
    'The medians are learnt on train alone: a Series with one number for each kind.',
    "train.groupby('kind', observed=False)['price'].median() has all kinds; some may be NaN.",
    "Series.map looks every row's kind up in it; a mapped categorical column needs astype(float).")
def fill(answer):
    for seed in range(6):
        train, test = made_up_orders(seed).clean, made_up_orders(100 + seed).clean
        if seed % 2:
            train.loc[train['kind'] == 'tea', 'price'] = np.nan
            test.loc[test.index[test['kind'] == 'tea'][:1], 'price'] = np.nan
        before = train.copy(), test.copy()
        found = answer(train, test)
        need(_same(train, before[0]) and _same(test, before[1]), 'a table was changed')
        for new, old in zip(found, before, strict=True):
            _frame(new, [*old.columns, 'was_missing'])
            gone = old['price'].isna()
            need(new['was_missing'].dtype == bool and (new['was_missing'] == gone).all(), 'was_missing is wrong')
            need((new['price'][~gone] == old['price'][~gone]).all(), 'a price that was there must stay')
            for kind in KINDS:
                prices = before[0]['price'][before[0]['kind'] == kind].dropna()
                want = prices.median() if len(prices) else before[0]['price'].median()
                here = new['price'][gone & (old['kind'] == kind)]
                need(np.allclose(here.astype(float), want, rtol=1e-12),
                     f'{kind}: a gap got another number than train says')
        other = test.assign(price=test['price'] * 1000)
        need(_same(answer(train, other)[0], found[0]), 'what is filled in train depends on test')


@exercise(
    '''Write monthly(orders): the turnover, price times count, of every month of 2024-01 to 2024-06 (rows, a
    PeriodIndex) and kind (columns, all four), float64. Rows that lack day, price or count do not count; where
    nothing was sold, 0.''',
    "orders['day'].dt.to_period('M') gives the month of every row.",
    'Group by month and kind, sum, and unstack; or pivot_table with aggfunc="sum".',
    'A month without an order is not among the groups: reindex with tables.MONTHS and fill_value=0.')
def monthly(answer):
    for seed in range(6):
        orders = made_up_orders(seed).clean
        if seed % 2:
            orders = orders[orders['day'].dt.month != 3]
        before = orders.copy()
        found = answer(orders)
        need(_same(orders, before), 'the orders were changed')
        need(isinstance(found, pd.DataFrame) and found.shape == (6, 4), 'expected 6 months and 4 kinds')
        need(list(found.index) == list(MONTHS) and list(found.columns) == list(KINDS),
             'rows are the months, columns the kinds, both in order')
        need(all(d == np.float64 for d in found.dtypes), f'expected float64, found {found.dtypes.iloc[0]}')
        full = orders.dropna(subset=['day', 'price', 'count'])
        for month in MONTHS:
            for kind in KINDS:
                rows = full[(full['day'].dt.to_period('M') == month) & (full['kind'] == kind)]
                want = float(sum(p * int(c) for p, c in zip(rows['price'], rows['count'])))
                need(np.isclose(found.loc[month, kind], want), f'{kind} in {month} is wrong')


@exercise(
    '''Write with_region(orders, shops): the orders, all and in their order, with a new last column region looked up in
    shops (columns kind and region, one row for each kind that it knows); 'unknown' where shops does not know the kind.
    If a kind stands in shops twice, raise ValueError: the rows would multiply.''',
    'A left join keeps every row of the left table, and its order.',
    'merge has the argument validate: many rows of orders may meet one row of shops.',
    'Rows that met none have NaN in region: fillna.')
def with_region(answer):
    rng = np.random.default_rng(0)
    for seed in range(6):
        orders = made_up_orders(seed).clean.sample(frac=1, random_state=seed)
        orders['kind'] = orders['kind'].astype(str)
        known = rng.permutation(KINDS)[:rng.integers(1, 5)]
        shops = pd.DataFrame({'kind': known, 'region': rng.choice(['north', 'south'], len(known))})
        found = _frame(answer(orders, shops), [*orders.columns, 'region'])
        need(len(found) == len(orders), f'{len(orders)} orders became {len(found)}')
        need(found['order'].tolist() == orders['order'].tolist(), 'the orders come in another order')
        want = [dict(shops.to_numpy()).get(k, 'unknown') for k in orders['kind']]
        need(found['region'].tolist() == want, 'a region is wrong')
        need(raises(ValueError, answer, orders, pd.concat([shops, shops.iloc[:1]])), 'a kind that shops has twice must '
             'raise ValueError')


@exercise(
    '''Write tidy(wide): from one row for each city, with the columns city, 2021, 2022, ... (text), to one row for each
    observation: city, year (int64), value (float64), without missing values, sorted by city and year, rows numbered
    from 0.''',
    'melt makes rows of columns: which column is an identifier, and what are the others called?',
    'The names of columns are text: a year has to become a number.',
    'dropna, sort_values with two columns, reset_index(drop=True).')
def tidy(answer):
    rng = np.random.default_rng(1)
    for _ in range(8):
        years = rng.permutation(np.arange(2015, 2025))[:rng.integers(1, 6)]
        wide = pd.DataFrame(rng.normal(size=(4, len(years))), columns=[str(y) for y in years])
        wide = wide.mask(rng.random(wide.shape) < 0.3)
        wide.insert(0, 'city', rng.permutation(['Oslo', 'Lima', 'Pune', 'Bonn']))
        found = _frame(answer(wide), ['city', 'year', 'value'])
        need(found['year'].dtype == np.int64 and found['value'].dtype == np.float64, 'year is int64, value float64')
        rows = wide.itertuples(index=False)
        want = sorted((c, int(y), v) for c, *vs in rows for y, v in zip(years, vs) if not np.isnan(v))
        need(list(found.itertuples(index=False, name=None)) == want, 'observations are lost, added or not sorted')
        need(found.index.tolist() == list(range(len(want))), 'rows are numbered from 0')


@exercise(
    '''Write to_arrays(orders): a dictionary of NumPy arrays that JAX takes: price float32 [n], NaN where missing; count
    int32 [n], 0 where missing; count_known bool [n]; kind int32 [n], its place among the categories; day int32
    [n], days since 2024-01-01, -1 where missing.''',
    'Series.to_numpy(dtype) makes an array; with missing integers it needs na_value, or fillna before.',
    "orders['kind'].cat.codes are the places among the categories.",
    "A difference of dates has .dt.days, a float where one is missing: fillna(-1) before astype.")
def to_arrays(answer):
    want = {'price': np.float32, 'count': np.int32, 'count_known': np.bool_, 'kind': np.int32, 'day': np.int32}
    for seed in range(6):
        orders = made_up_orders(seed).clean.sample(frac=1, random_state=seed)
        orders = orders[orders['kind'] != 'bread'] if seed % 2 else orders
        before = orders.copy()
        found = answer(orders)
        need(_same(orders, before), 'the orders were changed')
        need(isinstance(found, dict) and set(found) == set(want), f'expected the arrays {", ".join(want)}')
        for name, dtype in want.items():
            a = found[name]
            need(isinstance(a, np.ndarray) and a.dtype == dtype, f'{name}: expected a NumPy array of {dtype.__name__}')
            need(a.shape == (len(orders),), f'{name}: expected one entry for each order')
        need(np.allclose(found['price'], orders['price'], rtol=1e-6, equal_nan=True), 'price is wrong')
        need([KINDS[i] for i in found['kind']] == orders['kind'].tolist(), 'kind: the codes are not the places')
        need((found['count_known'] == orders['count'].notna()).all(), 'count_known is wrong')
        need(found['count'].tolist() == [0 if pd.isna(v) else int(v) for v in orders['count']], 'count is wrong')
        days = [-1 if pd.isna(d) else (d - pd.Timestamp('2024-01-01')).days for d in orders['day']]
        need(found['day'].tolist() == days, 'day is wrong')


def pandas_lesson() -> tuple[Exercise, ...]:
    """Six exercises, from a raw table of text to typed arrays: clean, fill, sum up, join, tidy, convert.

    Formula: what is found equals the clean table behind the raw one, for tables made up anew from six seeds.
    Paper: McKinney 2010, Data structures for statistical computing in Python; Wickham 2014, Tidy data.
    Shapes: tables of 40 orders; the last exercise ends in five arrays [n].
    Errors: AssertionError of `check`, one line, for an answer that is not right yet.
    Example:
        exercises = {e.name: e for e in pandas_lesson()}
        try: exercises['clean'].check(lambda raw: raw)
        except AssertionError as error: line = str(error)
        assert line == 'expected the columns order, day, kind, price, count'
        assert made_up_orders(0).raw['Price'].str.contains('EUR').any()
    """
    return clean, fill, monthly, with_region, tidy, to_arrays
