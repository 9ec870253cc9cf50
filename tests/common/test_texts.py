"""Texts by name: the King James Bible and tiny Shakespeare, from their containers, whole and in order."""
import sqlite3

import numpy as np
import pytest

from common import datasets, texts
from common.errors import DataError


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))


def both(ds):
    return tuple(texts.as_str(split['text']) for split in (ds.train, ds.test))


def test_codes_there_and_back():
    text = 'Æneas — “🙂”\n'
    assert texts.as_str(texts.codes(text)) == text and texts.codes(text).dtype == np.uint32
    assert len(texts.codes(text)) == len(text)


def test_king_james_is_what_its_entry_says():
    ds = datasets.load('king_james')
    train, test = both(ds)
    assert (len(train), len(test)) == datasets.DATASETS['king_james'].counts
    assert train.startswith('In the beginning God created the heaven and the earth.\nAnd the earth was without form')
    assert train.endswith('Amen.\n\n') and test.startswith('Now these are the generations of the sons of Noah')
    assert (train.count('\n\n'), test.count('\n\n')) == (1130, 59) and len(set(train)) == 68 and set(test) <= set(train)
    lines = (train + test).replace('\n\n', '\n').splitlines()
    assert len(lines) == 31_102 and sum(map(len, lines)) + 31_101 == 4_138_497
    assert ds.info['verified'] and datasets.load('king_james').describe() == ds.describe()      # now from the cache


def test_a_database_of_another_form_is_refused(tmp_path):
    (path := tmp_path / 'x.sqlite').write_bytes(b'not a database, though long enough to be looked at' * 50)
    with pytest.raises(DataError, match=r'x\.sqlite cannot be read .*; fix: python -m pip install'):
        texts.parse_king_james('king_james', [path])
    for rows, problem in (([], 'has 0 chapters'), ([(1, 1, ' ')], 'a verse of chapter 1 is empty')):
        path = tmp_path / f'{len(rows)}.sqlite'
        with sqlite3.connect(path) as db:
            db.execute('CREATE TABLE verses (chapter_id, verse_number, text)')
            db.executemany('INSERT INTO verses VALUES (?, ?, ?)', rows)
        db.close()
        with pytest.raises(DataError, match=problem):
            texts.parse_king_james('king_james', [path])


def test_shakespeare_is_the_canonical_one(shared_file):
    ds = datasets.load('tiny_shakespeare', data_dir=shared_file('tiny_shakespeare.txt').parent)
    train, test = both(ds)
    assert (len(train), len(test)) == datasets.DATASETS['tiny_shakespeare'].counts and ds.info['verified']
    assert train.startswith('First Citizen:\nBefore we proceed any further') and len(set(train)) == 65
    assert train + test == shared_file('tiny_shakespeare.txt').read_text()


def test_file_and_tfds_give_the_same_text(tmp_path):
    import tensorflow_datasets as tfds
    text = ''.join(f'{i}. Speak, speak; to thee, {chr(233)}!\n' for i in range(57))

    class TinyShakespeare(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        """Cut as TFDS cuts it: nine tenths, and each half of the rest."""
        VERSION = tfds.core.Version('1.0.0')

        def _info(self):
            return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(
                {'text': tfds.features.Text()}))

        def _split_generators(self, dl_manager):
            cut = len(text) * 9 // 10
            half = cut + (len(text) - cut) // 2
            parts = {'train': text[:cut], 'validation': text[cut:half], 'test': text[half:]}
            return {name: iter([(0, {'text': part})]) for name, part in parts.items()}

        def _generate_examples(self):
            raise NotImplementedError

    TinyShakespeare(data_dir=str(tmp_path / 'a'), file_format='array_record').download_and_prepare()
    (tmp_path / 'b').mkdir()
    (tmp_path / 'b/tiny_shakespeare.txt').write_text(text, encoding='utf-8')
    a, b = (datasets.load('tiny_shakespeare', data_dir=tmp_path / d) for d in 'ab')
    assert both(a) == both(b) and ''.join(both(a)) == text
    assert a.info['content_sha256'] == b.info['content_sha256'] and a.info['verified'] is False


def test_missing_and_damaged_shakespeare(tmp_path):
    with pytest.raises(DataError, match=r'tiny_shakespeare\.txt .* fix: python -m tools\.prepare_data'):
        datasets.load('tiny_shakespeare', data_dir=tmp_path)
    for content, problem in ((b'\xff' * 50, 'cannot be read'), (b'short', 'has 5 characters')):
        (tmp_path / 'tiny_shakespeare.txt').write_bytes(content)
        with pytest.raises(DataError, match=problem):
            datasets.load('tiny_shakespeare', data_dir=tmp_path)
