"""Who survived the Titanic: all 1,313 passengers inside the package bokeh-sampledata, and the file of 891 of them.

Both give {'x': float32 [n, features], 'survived': int32 [n]}: in the order of `data_files.canonical_order`, the first
80 % are train, the rest test. What nobody knows is NaN in `x`; for ages, a column of its own says so.
"""

import csv
import re
from pathlib import Path

import numpy as np

from common.data_files import Splits, canonical_order, fault, in_package, reinstall

PACKAGE = 'bokeh-sampledata==2026.1'
TITLES = ('Master', 'Miss', 'Mrs')      # besides Mr; everything else (Dr, Rev, Col, ...) counts as rare
ALL = ('second_class', 'third_class', 'male', 'age', 'age_unknown', *(t.lower() for t in TITLES), 'rare_title')
PORTS = ('Q', 'S')                      # Queenstown, Southampton; besides C, Cherbourg
FEATURES = {'titanic': ALL, 'titanic_891': (*ALL, 'siblings_spouses', 'parents_children', 'log_fare',
                                            *(f'from_{p}' for p in PORTS))}
SPELLINGS = {'Ms': 'Miss', 'Mlle': 'Miss', 'Mme': 'Mrs', 'Mister': 'Mr'}
CLASSES = {'1st': 1, '2nd': 2, '3rd': 3, '1': 1, '2': 2, '3': 3, '*': np.nan}       # one man's is not known


def find_all(name: str, data_dir: Path) -> list[Path]:
    """The csv in bokeh-sampledata's package; `data_dir` plays no part."""
    return [in_package(name, PACKAGE, 'bokeh_sampledata/_data/titanic_all.csv')]


def find_891(name: str, data_dir: Path) -> list[Path]:
    """`<data_dir>/titanic.csv`; else `DataError`."""
    path = data_dir / 'titanic.csv'
    if not path.is_file():
        raise fault(f'{name}: not found: {path}', f'{fix_891(path)}, or pass its folder as --data_dir')
    return [path]


def fix_891(path: Path) -> str:
    """What to do about a file that is missing or damaged."""
    return f'put the training table of 891 passengers (PassengerId, Survived, Pclass, Name, ...) at {path}'


def title(name: str) -> str:
    """'Allen, Miss Elisabeth Walton' -> 'Miss'; what is none of Mr, Master, Miss, Mrs is 'rare'."""
    word = re.search(r',\s*(?:the\s+)?([A-Za-z]+)', name)
    found = SPELLINGS.get(word[1], word[1]) if word else ''
    return found if found in ('Mr', *TITLES) else 'rare'


def about(klass: str, name: str, sex: str, age: str) -> list[float]:
    """The columns `ALL`.  ValueError or KeyError for an unknown class or sex, or an age that is no number."""
    years = float(age) if age not in ('', 'NA') else np.nan
    kind = title(name)
    level = CLASSES[klass]
    return [*(level if np.isnan(level) else level == k for k in (2, 3)), {'male': 1, 'female': 0}[sex],
            years, np.isnan(years), *(kind == t for t in TITLES), kind == 'rare']


def parse_all(name: str, files: list[Path]) -> Splits:
    """(train, test) of all passengers.  Raises `DataError` for an unreadable file or row, a column that is missing."""
    return read(name, files[0], reinstall(PACKAGE), ('name', 'class', 'age', 'sex', 'survived'),
                lambda r: about(r['class'], r['name'], r['sex'], r['age']), 'survived')


def parse_891(name: str, files: list[Path]) -> Splits:
    """(train, test) of the 891, which have more columns.  Raises `DataError` as `parse_all`."""
    return read(name, files[0], fix_891(files[0]),
                ('Survived', 'Pclass', 'Name', 'Sex', 'Age', 'SibSp', 'Parch', 'Fare', 'Embarked'),
                lambda r: [*about(r['Pclass'], r['Name'], r['Sex'], r['Age']), float(r['SibSp']), float(r['Parch']),
                           np.log1p(float(r['Fare'])), *(r['Embarked'] == p for p in PORTS)], 'Survived')


def read(name: str, path: Path, fix: str, columns: tuple[str, ...], row_of, target: str) -> Splits:
    """The rows of a csv by `row_of`, in two parts."""
    where = f'{name}: {path}'
    try:
        rows = list(csv.DictReader(path.read_text(encoding='utf-8').splitlines()))
    except (OSError, ValueError) as error:
        raise fault(f'{where}: unreadable file ({error})', fix) from error
    if missing := [c for c in columns if c not in (rows[0] if rows else ())]:
        raise fault(f'{where}: no column {missing[0]!r}', fix)
    x, survived = [], []
    for number, row in enumerate(rows):
        try:
            x.append(row_of(row))
            survived.append({'0': 0, '1': 1}[row[target]])
        except (KeyError, TypeError, ValueError) as error:
            raise fault(f'{where}: unreadable row {number} ({error})', fix) from error
    table = {'x': np.array(x, np.float32), 'survived': np.array(survived, np.int32)}
    if np.isinf(table['x']).any() or len(set(survived)) < 2 or len(rows) < 10:
        raise fault(f'{where}: expected 10 or more passengers, some of whom survived, and finite numbers', fix)
    order = canonical_order(np.array([r.get('name') or r.get('Name') for r in rows]), table['survived'])
    cut = len(order) * 4 // 5
    train, test = ({k: v[part] for k, v in table.items()} for part in (order[:cut], order[cut:]))
    return train, test
