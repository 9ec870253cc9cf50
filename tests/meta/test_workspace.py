"""WORKSPACE.md names every part of the repository, and nothing that is not there; the README's status table is true."""
import re
import tomllib
from pathlib import Path

import pytest

from levels.catalogue import done, members

ROOT = Path(__file__).parents[2]
MADE_BY_USERS = {'runs/'}
TEXT = (ROOT / 'WORKSPACE.md').read_text(encoding='utf-8')
README = (ROOT / 'README.md').read_text(encoding='utf-8')


def parts() -> set[str]:
    """What the map must name, as paths below the root."""
    files = {*(ROOT / 'common').glob('*.py'), *(ROOT / 'tools').glob('*.py'), *(ROOT / 'levels').glob('*.py')}
    folders = {f.parent for name in ('levels', 'projects') for f in (ROOT / name).glob('*/__init__.py')}
    folders |= {f.parent for f in (ROOT / 'tests').glob('*/*.py')}
    found = {p.relative_to(ROOT).as_posix() for p in files | folders}
    return found - {'tools/__init__.py', 'levels/__init__.py'}


def named(text: str) -> set[str]:
    """Everything in `code` that reads as a path of this repository."""
    words = set(re.findall(r'`([^`\s]+)`', text))
    tops = ('common/', 'levels/', 'projects/', 'tools/', 'tests/', 'docs/', 'runs/', '.ci/')
    return {w for w in words if w.startswith(tops) or re.fullmatch(r'[A-Z]\w+(\.(md|cff))?|pyproject\.toml', w)}


def missing(text: str) -> list[str]:
    return sorted(w for w in named(text) - MADE_BY_USERS - {'Task', 'Carry'} if not (ROOT / w).exists())


def test_everything_is_named():
    assert len(parts()) > 45
    assert sorted(parts() - {w.rstrip('/') for w in named(TEXT)}) == []


def test_nothing_named_is_missing():
    assert {'README.md', 'Makefile', 'LICENSE', '.ci/run', 'common/', 'docs/roadmap.toml'} <= named(TEXT)
    assert missing(TEXT) == []


def test_every_file_has_its_line():
    rows = [re.match(r'\| `([^`]+)`', line) for line in TEXT.splitlines()]
    first = [m[1] for m in rows if m]
    assert len(first) == len(set(first)) and set(first) >= {p for p in parts() if p.startswith('common/')}


def test_a_wrong_map_is_seen():
    assert missing(TEXT + '`common/nothing.py` `levels/level9_none`') == ['common/nothing.py', 'levels/level9_none']
    assert 'common/loop.py' not in named(TEXT.replace('`common/loop.py`', 'the loop'))


def roadmap():
    return tomllib.loads((ROOT / 'docs/roadmap.toml').read_text(encoding='utf-8'))['level']


def status(text: str) -> dict[str, tuple[int, int, int, int]]:
    """The README's table: first cell -> topics done, topics, projects done, projects."""
    cell = r'(\d+) of (\d+)[^|]*'
    return {m[1]: tuple(int(n) for n in m.groups()[1:])
            for m in re.finditer(rf'^\| ([^|]+?) \| {cell}\| {cell}\|$', text, re.M)}


def test_the_status_table_is_true():
    rows, total = status(README), (0, 0, 0, 0)
    for level in roadmap():
        topics = {t for s in level['section'] for t in s.get('topics', ())}
        slugs = [p['slug'] for s in level['section'] for p in s.get('projects', ())]
        true = (len(topics & set(done())), len(topics),
                sum((ROOT / 'projects' / slug / 'main.py').exists() for slug in slugs), len(slugs))
        assert rows.pop(f'{level["number"]} {level["title"]}') == true, level['title']
        total = tuple(a + b for a, b in zip(total, true))
    assert rows == {'all': total} and total[1::2] == (120, 28)


def test_a_topic_that_is_done_has_entries_and_is_on_the_roadmap():
    topics = {t for level in roadmap() for s in level['section'] for t in s.get('topics', ())}
    assert set(done()) <= {r.topic for r in members()} <= topics and len(set(done())) == len(done()) > 0


@pytest.mark.parametrize('page', [README, TEXT, (ROOT / 'projects/level2_mnist/README.md').read_text('utf-8')])
def test_pages_hold_no_path_of_a_machine_and_are_short_lines(page):
    assert not re.search(r'(?<![\w.])/(work|home|root|opt|tmp|usr)\b', page)
    assert max(map(len, page.splitlines())) <= 120 and '\u2014' not in page


def test_the_citation_agrees_with_the_package():
    project = tomllib.loads((ROOT / 'pyproject.toml').read_text(encoding='utf-8'))['project']
    lines = (ROOT / 'CITATION.cff').read_text(encoding='utf-8').splitlines()
    cff = dict(line.split(': ', 1) for line in lines if re.match(r'\w[\w-]*: ', line))
    assert cff['cff-version'] == '1.2.0' and cff['date-released'] == '2026-11-22' and cff['type'] == 'software'
    assert (cff['title'], cff['version'], cff['license']) == (project['name'], project['version'], project['license'])
    assert lines[-2:] == ['authors:', f'  - name: {project["authors"][0]["name"]}'] and cff['message']
    licence = (ROOT / 'LICENSE').read_text(encoding='utf-8')
    assert 'Version 2.0, January 2004' in licence and 'END OF TERMS AND CONDITIONS' in licence and len(licence) > 11_000
