"""Runs after all other parity tests: what they measured is what docs/data/parity.json and docs/parity.md say."""
import copy
import json
from pathlib import Path

import parity_ledger
import pytest

from tools import make_docs

HERE = Path(__file__).parent


def written():
    return json.loads(make_docs.DATA.read_text(encoding='utf-8'))


def test_the_page_is_what_the_data_says():
    assert make_docs.main(['--check']) == 0
    assert all(0 <= row['error'] <= row['gate'] for row in written())


def test_the_data_is_what_the_tests_measure(request):
    files = {item.path.name for item in request.session.items if item.path.parent == HERE}
    if files != {p.name for p in HERE.glob('test_*.py')} or request.session.testsfailed:
        pytest.skip('only a whole run of the parity tests can be compared')
    assert make_docs.stale(parity_ledger.ROWS, written()) == []


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
