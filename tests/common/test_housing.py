"""The house price sets: what they hold, and that damage is one clear line."""
import bz2

import numpy as np
import pytest

from common import datasets, housing
from common.errors import DataError


def test_hprice2():
    ds = datasets.load('hprice2')
    x, price = (np.concatenate([ds.train[k], ds.test[k]]) for k in ('x', 'price'))
    assert x.shape == (506, 8) and x.dtype == price.dtype == np.float32 and np.isfinite(x).all()
    assert (len(ds.train['x']), len(ds.test['x'])) == datasets.DATASETS['hprice2'].counts and ds.info['verified']
    assert round(price.min()) == 5 and 50 < price.max() < 51 and 22 < price.mean() < 23
    r = np.corrcoef(np.column_stack([x, price]).T)[-1]      # rooms make a price, the poor of a place unmake it
    assert r[housing.BOSTON.index('rooms')] > 0.6 and r[housing.BOSTON.index('lowstat')] < -0.7
    assert not {r.tobytes() for r in ds.train['x']} & {r.tobytes() for r in ds.test['x']}


def test_california(shared_file):
    ds = datasets.load('california_housing', data_dir=shared_file('california_housing.csv').parent)
    assert ds.info['verified'] and ds.train['x'].shape == (16_512, 12) and ds.test['x'].shape == (4_128, 12)
    x = np.concatenate([ds.train['x'], ds.test['x']])
    lacking = np.isnan(x)
    assert lacking.sum() == 207 == lacking[:, housing.CALIFORNIA.index('total_bedrooms')].sum()
    assert set(np.unique(x[:, 8:])) == {0, 1} and x[:, 8:].sum(1).max() == 1


def csv(*rows, columns=(*housing.CENSUS, 'median_house_value', 'ocean_proximity')):
    return '\n'.join([','.join(columns), *(','.join(map(str, row)) for row in rows)]) + '\n'


GOOD = [[i, i, i, i, i, i, i, i, 1000 * i, 'INLAND'] for i in range(12)]


@pytest.mark.parametrize(('text', 'message'), [
    (csv(*GOOD[:5]), '5 rows, expected at least 10'),
    (csv(*GOOD, ['x', *GOOD[0][1:]]), 'unreadable row 12'),
    (csv(*GOOD, ['', *GOOD[0][1:]]), 'unreadable row 12'),
    (csv(*GOOD, ['nan', *GOOD[0][1:]]), 'unreadable row 12: not a finite'),
    (csv(*GOOD, GOOD[0][:4]), 'unreadable row 12'),
    (csv(*GOOD, [*GOOD[0][:9], 'MOON']), "unknown ocean_proximity 'MOON'"),
    (csv(*GOOD, columns=(*'abcdefgh', 'median_house_value', 'ocean_proximity')), "no column 'longitude'"),
])
def test_damage_is_one_line(tmp_path, text, message):
    path = tmp_path / 'california_housing.csv'
    path.write_text(text)
    with pytest.raises(DataError, match=message) as error:
        datasets.load('california_housing', data_dir=tmp_path)
    assert str(path) in str(error.value) and 'fix: put' in str(error.value) and '\n' not in str(error.value)


def test_missing_and_own_files(tmp_path, monkeypatch):
    with pytest.raises(DataError, match='not found'):
        datasets.load('california_housing', data_dir=tmp_path)
    (tmp_path / 'california_housing.csv').write_text(csv(*GOOD, [*GOOD[3][:4], '', *GOOD[3][5:]]))
    mine = datasets.load('california_housing', data_dir=tmp_path)
    assert mine.info['verified'] is False and np.isnan(np.concatenate([mine.train['x'], mine.test['x']])).sum() == 1
    other = tmp_path / 'other.csv.bz2'
    other.write_bytes(bz2.compress(b'price\n1\n'))
    entry = datasets.DATASETS['hprice2']
    monkeypatch.setitem(datasets.DATASETS, 'hprice2', entry._replace(find=lambda name, folder: [other]))
    with pytest.raises(DataError, match='has SHA-256'):
        datasets.load('hprice2')
    with pytest.raises(DataError, match="no column 'crime'"):
        housing.parse_boston('hprice2', [other])
    other.write_bytes(b'no bz2')
    with pytest.raises(DataError, match='unreadable file'):
        housing.parse_boston('hprice2', [other])
