"""docs/parity.md is what docs/data/parity.json says; tests/conftest.py compares that with what the tests measure."""
import copy
import json

import pytest

from tools import make_docs


def written():
    return json.loads(make_docs.DATA.read_text(encoding='utf-8'))


def test_the_page_is_what_the_data_says():
    assert make_docs.main(['--check']) == 0
    assert all(0 <= row['error'] <= row['gate'] for row in written())


def test_a_stale_page_or_ledger_is_seen(tmp_path, monkeypatch):
    rows = written()
    changed = copy.deepcopy(rows)
    changed[0]['gate'] *= 10
    assert len(make_docs.stale(changed, rows)) == 2 and len(make_docs.stale(rows[1:], rows)) == 1
    monkeypatch.setattr(make_docs, 'PAGE', tmp_path / 'parity.md')
    assert make_docs.main(['--check']) == 1
    make_docs.main([])
    assert make_docs.main(['--check']) == 0
    with pytest.raises(ValueError, match='expected one gate'):
        make_docs.merge([rows[0], changed[0]])
