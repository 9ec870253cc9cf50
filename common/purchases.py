"""What customers bought: the CDNOW transactions inside lifetimes, and any csv of transactions.

Both give one row for each purchase, {'customer': int32, 'day': int32, 'items': int32, 'amount': float32}, in order of
customer and day; day 0 is the first of all. Whole customers are train or test: four fifths, chosen by a hash of their
numbers.
"""

import csv
import datetime
import hashlib
from pathlib import Path

import numpy as np

from common.data_files import Splits, fault, in_package, reinstall

PACKAGE = 'lifetimes==0.11.3'
HEADER = ('customer', 'date', 'items', 'amount')
COLUMNS = {'customer': 'int32: a number', 'day': 'int32: days since the first purchase of all',
           'items': 'int32: how many', 'amount': 'float32: dollars'}


def find_cdnow(name: str, data_dir: Path) -> list[Path]:
    """The table in lifetimes' package; `data_dir` plays no part."""
    return [in_package(name, PACKAGE, 'lifetimes/datasets/CDNOW_master.txt')]


def find_csv(name: str, data_dir: Path) -> list[Path]:
    """`<data_dir>/transactions.csv`; else `DataError`."""
    path = data_dir / 'transactions.csv'
    if not path.is_file():
        raise fault(f'{name}: not found: {path}', f'{csv_fix(path)}, or pass its folder as --data_dir')
    return [path]


def csv_fix(path: Path) -> str:
    """What to do about a file that is missing or damaged."""
    return f'put a table with the columns {", ".join(HEADER)} (dates as 2024-12-31, customers as numbers) at {path}'


def parse_cdnow(name: str, files: list[Path]) -> Splits:
    """(train, test).  Raises `DataError` for an unreadable file or row."""
    fix = reinstall(PACKAGE)
    return tables(name, files[0], [line.split() for line in lines(name, files[0], fix)[1:] if line.strip()], fix)


def parse_csv(name: str, files: list[Path]) -> Splits:
    """(train, test).  Raises `DataError` for an unreadable file or row, a column that is missing."""
    fix = csv_fix(files[0])
    rows = list(csv.DictReader(lines(name, files[0], fix)))
    if missing := [c for c in HEADER if c not in (rows[0] if rows else ())]:
        raise fault(f'{name}: {files[0]}: no column {missing[0]!r}', fix)
    return tables(name, files[0], [[r[c] for c in HEADER] for r in rows], fix)


def lines(name: str, path: Path, fix: str) -> list[str]:
    """The lines of a text file."""
    try:
        return path.read_text(encoding='utf-8').splitlines()
    except (OSError, ValueError) as error:
        raise fault(f'{name}: {path}: unreadable file ({error})', fix) from error


def tables(name: str, path: Path, rows: list[list[str]], fix: str) -> Splits:
    """Rows of customer, date, items, amount as columns, in two parts."""
    values = []
    for number, row in enumerate(rows):
        try:
            customer, date, items, amount = row
            day = datetime.date.fromisoformat(date).toordinal()
            values.append((int(customer), day, int(items), float(amount)))
            if not (values[-1][2] >= 0 and 0 <= values[-1][3] < np.inf):
                raise ValueError('expected items and amount of at least 0')
        except (TypeError, ValueError) as error:
            raise fault(f'{name}: {path}: unreadable row {number} ({error})', fix) from error
    values.sort()
    apart = {c: hashlib.sha256(str(c).encode()).digest()[0] >= 205 for c, *_ in values}     # 51 of 256
    if len(values) < 10 or len(set(apart.values())) < 2:
        raise fault(f'{name}: {path}: {len(apart)} customers, expected more', fix)
    first = min(day for _, day, *_ in values)
    train, test = ([v for v in values if apart[v[0]] is of] for of in (False, True))
    return columns(train, first), columns(test, first)


def columns(values: list[tuple], first: int) -> dict[str, np.ndarray]:
    """Sorted rows as arrays."""
    customer, day, items, amount = zip(*values, strict=True)
    return {'customer': np.array(customer, np.int32), 'day': np.array(day, np.int32) - np.int32(first),
            'items': np.array(items, np.int32), 'amount': np.array(amount, np.float32)}
