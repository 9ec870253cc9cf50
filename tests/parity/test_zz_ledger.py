"""The made pages are what their data says; tests/conftest.py compares the ledger with what the tests measure."""
import copy
import json

import pytest

from tools import make_docs


def written():
    return json.loads(make_docs.DATA.read_text(encoding='utf-8'))


def test_the_pages_are_what_the_data_says():
    assert make_docs.main(['--check']) == 0
    assert all(0 <= row['error'] <= row['gate'] for row in written())


def test_a_stale_page_or_ledger_is_seen(tmp_path, monkeypatch):
    rows = written()
    changed = copy.deepcopy(rows)
    changed[0]['gate'] *= 10
    assert len(make_docs.stale(changed, rows)) == 2 and len(make_docs.stale(rows[1:], rows)) == 1
    for name in ('PAGE', 'RESULTS'):        # each by itself
        with monkeypatch.context() as own:
            own.setattr(make_docs, name, tmp_path / f'{name}.md')
            assert make_docs.main(['--check']) == 1
            make_docs.main([])
            assert make_docs.main(['--check']) == 0


def test_the_bench_was_no_trial():
    """What the results page shows is a whole run on a machine that had nothing else to do."""
    from tools.bench import SCHEMA, workloads
    result = json.loads(make_docs.BENCH.read_text(encoding='utf-8'))
    assert result['schema'] == SCHEMA and not result['quick']
    assert {r['name'] for r in result['rows']} == set(workloads.projects())
    assert {r['name'] for r in result['pairs']} == {p.name for p in workloads.PAIRS}
    assert not any('failed' in r for r in result['rows'] + result['pairs'])


def test_a_bad_ledger_is_seen():
    rows = written()
    changed = [rows[0] | {'gate': rows[0]['gate'] * 10}]
    with pytest.raises(ValueError, match='expected one gate'):
        make_docs.merge([rows[0], *changed])
