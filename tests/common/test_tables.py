"""The tables of passengers, messages and purchases: what they hold, and what their parsers refuse."""
import numpy as np
import pytest

from common import datasets, messages, passengers, purchases
from common.errors import DataError


@pytest.mark.parametrize('name', ['titanic', 'sms_spam_4k', 'cdnow'])
def test_embedded_sets_are_verified(name):
    ds = datasets.load(name)
    sizes = tuple(len(next(iter(part.values()))) for part in (ds.train, ds.test))
    assert ds.info['verified'] and sizes == datasets.DATASETS[name].counts
    assert set(ds.info['columns']) == set(ds.train) == set(ds.test)


@pytest.mark.parametrize(('name', 'file'), [('titanic_891', 'titanic.csv'), ('sms_spam', 'sms_spam.tsv')])
def test_full_size_sets(name, file, shared_file):
    ds = datasets.load(name, data_dir=shared_file(file).parent)
    assert ds.info['verified'] and len(ds.train[next(iter(ds.train))]) == datasets.DATASETS[name].counts[0]


def test_passengers():
    ds = datasets.load('titanic')
    x, survived = ds.train['x'], ds.train['survived']
    column = dict(zip(passengers.ALL, x.T, strict=True))
    assert np.array_equal(np.isnan(column['age']), column['age_unknown'] == 1) and np.isnan(column['age']).mean() > 0.3
    assert not (column['male'] * (column['mrs'] + column['miss'])).any() and column['master'].sum() > 40
    assert survived[column['male'] == 0].mean() > 0.6 and survived[column['male'] == 1].mean() < 0.25
    assert [passengers.title(n) for n in ('Rothes, the Countess of', 'Astor, Mlle X', 'No comma', 'Van, Master A')] == [
        'rare', 'Miss', 'rare', 'Master']


def test_messages_are_in_one_part_only():
    ds = datasets.load('sms_spam_4k')
    texts = np.concatenate([ds.train['text'], ds.test['text']])
    assert len(set(texts.tolist())) == len(texts) == 4534 and ds.train['spam'].mean() == pytest.approx(0.1246, abs=1e-3)
    assert ds.train['spam'][np.char.find(ds.train['text'], 'claim') >= 0].mean() > 0.9


def test_purchases():
    ds = datasets.load('cdnow')
    assert not set(ds.train['customer'].tolist()) & set(ds.test['customer'].tolist())
    both = {k: np.concatenate([ds.train[k], ds.test[k]]) for k in ds.train}
    assert len(set(both['customer'].tolist())) == 23_570 and both['day'].min() == 0 and both['day'].max() == 545
    assert (np.diff(ds.train['customer'].astype(np.int64) * 1000 + ds.train['day']) >= 0).all()
    assert both['amount'].sum() == pytest.approx(2_500_315.63, rel=1e-5)


PASSENGERS = 'PassengerId,Survived,Pclass,Name,Sex,Age,SibSp,Parch,Ticket,Fare,Cabin,Embarked\n'
GOOD = {'titanic_891': ('titanic.csv', PASSENGERS, [
            f'{i},{i % 2},{i % 3 + 1},"A, Mr {i}",male,{20 + i},0,0,x,7.5,,S' for i in range(12)]),
        'sms_spam': ('sms_spam.tsv', 'label\ttext\n', [f'{("ham", "spam")[i % 2]}\tmessage {i}' for i in range(12)]),
        'transactions': ('transactions.csv', 'customer,date,items,amount\n', [
            f'{i},2024-01-{i % 28 + 1:02},1,9.5' for i in range(40)])}
BAD = {'titanic_891': [('3,1,4,"B, Mr",male,30,0,0,x,7.5,,S', 'unreadable row 12'),
                       ('3,2,1,"B, Mr",male,30,0,0,x,7.5,,S', 'unreadable row 12'),
                       ('3,1,1,"B, Mr",male,old,0,0,x,7.5,,S', 'unreadable row 12'),
                       ('3,1,1,"B, Mr",man,30,0,0,x,7.5,,S', 'unreadable row 12')],
       'sms_spam': [('eggs\tmessage', 'unreadable row 13: expected ham or spam'), ('ham message', 'unreadable row 13'),
                    ('ham\t ', 'unreadable row 13')],
       'transactions': [('x,2024-01-01,1,9.5', 'unreadable row 40'), ('3,01.02.2024,1,9.5', 'unreadable row 40'),
                        ('3,2024-01-01,1,-2', 'expected items and amount'),
                        ('3,2024-01-01,1,inf', 'unreadable row 40')]}


@pytest.mark.parametrize('name', GOOD)
def test_one_s_own_files(name, tmp_path):
    file, header, rows = GOOD[name]
    path = tmp_path / file
    path.write_text(header + '\n'.join(rows) + '\n')
    ds = datasets.load(name, data_dir=tmp_path)
    assert ds.info['verified'] is False and all(len(part[next(iter(part))]) for part in (ds.train, ds.test))
    for row, says in BAD[name]:
        path.write_text(header + '\n'.join([*rows, row]) + '\n')
        with pytest.raises(DataError, match=says) as error:
            datasets.load(name, data_dir=tmp_path)
        assert '\n' not in str(error.value) and 'fix: put' in str(error.value)
    path.write_text(header + rows[0] + '\n')
    with pytest.raises(DataError, match='expected'):
        datasets.load(name, data_dir=tmp_path)
    path.write_bytes(b'\xff\xfe' + header.encode())
    with pytest.raises(DataError, match='unreadable file'):
        datasets.load(name, data_dir=tmp_path)


@pytest.mark.parametrize(('parse', 'columns'), [(passengers.parse_891, 'Survived'), (purchases.parse_csv, 'customer')])
def test_a_missing_column(parse, columns, tmp_path):
    (tmp_path / 'x').write_text('a,b\n1,2\n')
    with pytest.raises(DataError, match=f"no column '{columns}'"):
        parse('mine', [tmp_path / 'x'])


def test_the_same_message_twice_counts_once(tmp_path):
    _, header, rows = GOOD['sms_spam']
    (tmp_path / 'x').write_text(header + '\n'.join(rows + rows) + '\n')
    train, test = messages.parse_original('mine', [tmp_path / 'x'])
    assert len(train['text']) + len(test['text']) == 12
