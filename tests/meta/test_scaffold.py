"""tools.new_component and tools.new_project, in a copy of the repository: what they make keeps the rules of the house,
runs, and fails where its author has to write; and a wrong command leaves nothing behind."""
import ast
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from common.errors import UsageError
from levels import KINDS
from tools import new_component, new_project, scaffold
from tools.check_layout import check

ROOT = Path(__file__).parents[2]
KEPT = ('common', 'levels', 'projects', 'tools', 'docs', 'tests/parity', 'tests/contracts')
FILES = ('pyproject.toml', 'README.md', 'WORKSPACE.md', 'tests/__init__.py', 'tests/conftest.py',
         'tests/meta/test_catalogue.py', 'tests/faults/__init__.py', 'tests/faults/processes.py',
         'tests/projects/__init__.py')
MADE = [        # level, name, kind, topic; names as long as they may be
    (2, 'ProbeModule', 'linen module', 'Deep Neural Networks (DNN)'),
    (1, 'probe_estimator', 'estimator', 'Scikit-Learn'),
    (2, 'probe_loss', 'loss', 'Loss Functions'), (0, 'probe_optimiser', 'optimiser', 'Gradient descent'),
    (4, 'ProbeCell', 'cell', 'LSTM'), (3, 'probe_op', 'op', 'Pooling Layers'),
    (7, 'ProbeLayer', 'gnn layer', 'Link Prediction'), (7, 'probe_generative', 'generative', 'GANs'),
    (6, 'probe_agent', 'rl agent', 'PPO')]
SLUGS = {'level2_probe': 'mnist_5k', 'level1_probe': 'hprice2'}


def copy(root: Path) -> Path:
    """What the tools and their tests need of the repository; two projects more are on its roadmap."""
    for name in KEPT:
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns('__pycache__'))
    for name in FILES:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, root / name)
    page = root / 'docs/roadmap.toml'
    for slug in SLUGS:
        level = slug.partition('_')[0]
        page.write_text(re.sub(rf'( *{{title = .*, slug = "{level}_\w+"}},\n)',
                               rf'''\1  {{title = "It's a probe", slug = "{slug}"}},\n''', page.read_text(), count=1))
    return root


def state(root: Path) -> dict[str, bytes]:
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob('*')
            if p.is_file() and '__pycache__' not in p.parts}


def component(level, name, kind, topic, **more):
    new_component.main([f'--level={level}', f'--name={name}', f'--kind={kind}', f'--topic={topic}',
                        *(f'--{k}={v}' for k, v in more.items())])


def outcomes(root: Path, *argv: str) -> dict[str, str]:
    """test -> '' or why it failed, of a pytest in the copy."""
    subprocess.run([sys.executable, '-m', 'pytest', '-q', '-p', 'no:cacheprovider', '--junitxml=seen.xml', *argv],
                   cwd=root, capture_output=True, check=False, timeout=300)
    cases = ET.parse(root / 'seen.xml').iter('testcase')
    return {f'{c.get("classname").rpartition(".")[2]}::{c.get("name")}':
            ''.join(f'{child.tag}: {child.get("message")}' for child in c) for c in cases}


@pytest.fixture(scope='module')
def tree(tmp_path_factory):
    """The copy with one component of each kind and two projects; (root, files before)."""
    root = copy(tmp_path_factory.mktemp('tree'))
    before = state(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scaffold, 'ROOT', root)
        for level, name, kind, topic in MADE:
            component(level, name.ljust(30, 'x'), kind, topic, paper='Ada, Bob 2001, A title'.ljust(95, '.'))
        for slug, data in SLUGS.items():
            new_project.main([f'--slug={slug}', f'--data={data}'])
    return root, before


def test_there_is_a_template_of_every_kind():
    assert {kind for _, _, kind, _ in MADE} == set(KINDS) - set(new_component.BY_HAND)
    assert set(scaffold.sections('components.txt')) == {k + s for _, _, k, _ in MADE for s in ('', ' test')}


def test_what_is_made_keeps_the_rules(tree):
    root, before = tree
    after = state(root)
    new, changed = after.keys() - before.keys(), {f for f in before if after[f] != before[f]}
    assert len(new) == 2 * len(MADE) + 6 * len(SLUGS)
    tables = {f for f in changed if re.fullmatch(r'levels/level\d_\w+/__init__.py', f)}
    assert len(tables) == 7 and changed - tables <= {'README.md', 'WORKSPACE.md', 'docs/contracts.md'}
    python = sorted(f for f in new | tables if f.endswith('.py'))
    done = subprocess.run([sys.executable, '-m', 'ruff', 'check', '--no-cache', *python], cwd=root, text=True,
                          capture_output=True, check=False)
    assert done.returncode == 0, done.stdout
    assert [p for p in check(root) if p.partition(':')[0] in python] == []
    assert all(b'TODO' in after[f] for f in new if not f.endswith(('main.py', '__init__.py', 'test_level1_probe.py',
                                                                   'test_level2_probe.py')))
    for f in tables:        # a row more at the end, and nothing else
        old, now = ([ast.unparse(n) for n in ast.parse(text).body] for text in (before[f], after[f]))
        assert now[:-1] == old[:-1] and now[-1].startswith(old[-1].removesuffix(')').removesuffix(','))


def test_pages_name_what_is_made(tree):
    root, before = tree
    workspace, readme = ((root / f).read_text().splitlines() for f in ('WORKSPACE.md', 'README.md'))
    assert all(f"| `projects/{slug}` | It's a probe; see `projects/{slug}/README.md` |" in workspace for slug in SLUGS)
    projects = [m[1] for line in workspace if (m := re.match(r'\| `projects/(\w+)`', line))]
    assert projects == sorted(projects) and len(workspace) == len(before['WORKSPACE.md'].splitlines()) + 2
    old = before['README.md'].decode().splitlines()
    counts = lambda lines: [int(m[1]) for line in lines if (m := re.search(r'\| (\d+) of \d+[^|]*\|$', line))]
    grown = [b - a for a, b in zip(counts(old), counts(readme), strict=True)]
    assert grown == [0, 1, 1, 0, 0, 0, 0, 0, 2] and all(len(line) <= 120 for line in {*readme} - {*old})


def test_components_have_a_row_and_a_card_and_fail_where_they_must(tree):
    root, _ = tree
    page = (root / 'docs/contracts.md').read_text()
    batteries = {b for _, _, kind, _ in MADE if (b := new_component.contract(page, kind)[1])}
    tests = sorted(f'tests/parity/{p.name}' for p in (root / 'tests/parity').glob('test_probe_*.py'))
    seen = outcomes(root, 'tests/meta/test_catalogue.py', *tests, *(f'{b}::test_every_pair_ran' for b in batteries),
                    '-k', 'probe or test_every_pair_ran or test_json_command or test_listing')
    assert len(tests) == len(MADE) and len(batteries) >= 5
    for _, name, kind, _ in MADE:
        name = name.ljust(30, 'x')
        for test in ('test_row_is_true', 'test_docstring_is_a_reference_card', 'test_example_runs'):
            assert seen.pop(f'test_catalogue::{test}[{name}]') == '', (kind, test)
        if kind == 'estimator':
            assert seen.pop(f'test_catalogue::test_estimators_say_how_their_time_and_memory_grow[{name}]') == ''
    assert seen.pop('test_catalogue::test_json_command') == ''
    assert seen.pop('test_catalogue::test_listing_loads_no_component') == ''
    counts = {test: why for test, why in seen.items() if test.endswith('test_every_pair_ran')}
    assert len(counts) == len(batteries) and all('AssertionError' in why and 'obe' in why for why in counts.values())
    peers = {test: why for test, why in seen.items() if test not in counts}
    assert len(peers) == len(MADE)
    for test, why in peers.items():
        assert 'write peer() below' in why and 'docs/add_a_component.md' in why, f'{test}: {why}'


def test_projects_run_and_fail_where_they_must(tree):
    root, _ = tree
    seen = outcomes(root, '--noconftest', *(f'tests/projects/test_{slug}.py' for slug in SLUGS))
    failed = {test: why for test, why in seen.items() if why}
    assert len(seen) == 6 and len(failed) == 2, failed
    for slug in SLUGS:
        why = failed[f'test_{slug}::test_there_is_something_to_reach_and_something_to_beat']
        assert f'projects/{slug}/config.py: write what the full recipe reaches' in why


def small(root: Path) -> Path:
    """A repository without a level."""
    for name in ('docs/roadmap.toml', 'docs/contracts.md', 'WORKSPACE.md', 'README.md', 'levels/__init__.py',
                 'levels/catalogue.py'):
        (root / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, root / name)
    page = root / 'WORKSPACE.md'
    page.write_text(re.sub(r'\| `levels/level[35].*\n', '', page.read_text()))
    return root


def test_a_level_that_is_not_here_yet_begins(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(scaffold, 'ROOT', small(tmp_path))
    page = tmp_path / 'docs/contracts.md'
    page.write_text(re.sub(r'\| `op` \| \w+ \|', '| `op` | coming |', page.read_text()))
    component(3, 'probe_one', 'op', 'Pooling Layers', oracle="Grandmother's", paper='Ada 2001')
    component(3, 'ProbeTwo', 'linen module', 'LeNet')
    assert 'edited docs/contracts.md' in capsys.readouterr().out and '| `op` | members |' in page.read_text()
    rows = [line for line in (tmp_path / 'WORKSPACE.md').read_text().splitlines() if line.startswith('| `levels/level')]
    assert rows == sorted(rows) and '| `levels/level3_vision` | level 3: probe_one |' in rows
    code = 'from levels.catalogue import members; print([(r.name, r.topic, r.oracle) for r in members()])'
    out = subprocess.run([sys.executable, '-c', code], cwd=tmp_path, text=True, capture_output=True, check=True)
    assert ast.literal_eval(out.stdout) == [('probe_one', 'Pooling Layers', "Grandmother's"),
                                            ('ProbeTwo', 'LeNet', 'TODO the peer')]


GOOD = {'level': 3, 'name': 'probe', 'kind': 'op', 'topic': 'Pooling Layers'}


@pytest.mark.parametrize(('change', 'message'), [
    ({'topic': 'Poling Layers'}, "topic: 'Poling Layers' is not in docs/roadmap.toml, did you mean Pooling Layers?"),
    ({'topic': 'gan'}, 'did you mean GANs?'), ({'topic': 'PCA'}, 'did you mean PCA (Principal Component Analysis)?'),
    ({'topic': 'GANs'}, "level: 'GANs' is a topic of level 7, did you mean --level=7?"),
    ({'kind': 'Linen modul'}, 'did you mean linen module?'), ({'kind': 'scikit-learn face'}, 'sklearn_api/'),
    ({'kind': 'lesson'}, 'level0_foundations/lessons/'),
    ({'level': 33}, "level: '33' is not in docs/roadmap.toml, which has 0, 1, 2, 3, 4, 5, 6, 7, did you mean 3?"),
    ({'kind': 'gnn layer'}, 'kind: gnn layer needs level 7, which level 3 may not import'),
    ({'name': '2probe'}, 'name: expected a Python name'), ({'name': 'lambda'}, 'name: expected a Python name'),
    ({'name': 'Lambda'}, 'name: lambda.py could not be imported'), ({'name': 'p' * 31}, 'name: expected a Python name'),
    ({'name': 'max_pool'}, 'name: max_pool is in the catalogue already, as levels.level3_vision.pooling.max_pool'),
    ({'folder': 'nets'}, "folder: 'nets' is not in levels/level3_vision, which has none"),
    ({'paper': 'a"""b'}, 'paper: expected 1 to 95 characters'), ({'oracle': ''}, 'oracle: expected 1 to 95'),
    ({'nmae': 'x'}, 'unrecognized arguments: --nmae=x, did you mean --name?')])
def test_a_wrong_component_is_one_line_and_nothing_is_written(tmp_path, monkeypatch, change, message):
    monkeypatch.setattr(scaffold, 'ROOT', small(tmp_path))
    before = state(tmp_path)
    with pytest.raises(UsageError) as error:
        component(**{**GOOD, **change})
    assert message in str(error.value) and '\n' not in str(error.value)
    assert state(tmp_path) == before


@pytest.mark.parametrize(('file', 'text', 'message'), [
    ('levels/level3_vision/probe.py', '', 'levels/level3_vision/probe.py is there already; nothing was written'),
    ('tests/parity/test_probe.py', '', 'tests/parity/test_probe.py is there already'),
    ('tests/parity', '', 'nothing was written'),            # a file where a folder should be
    ('levels/level3_vision/__init__.py', 'MEMBERS = ()', 'expected `from levels import Member` and one literal table'),
    ('levels/level3_vision/__init__.py', 'from levels import Member\nMEMBERS = tuple(_ROWS)', 'one literal table')])
def test_what_is_in_the_way_stays_and_nothing_is_written(tmp_path, monkeypatch, file, text, message):
    monkeypatch.setattr(scaffold, 'ROOT', small(tmp_path))
    (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file).write_text(text)
    before, folders = state(tmp_path), {p for p in tmp_path.rglob('*') if p.is_dir()}
    with pytest.raises(UsageError, match=re.escape(message)):
        component(**GOOD)
    assert state(tmp_path) == before and {p for p in tmp_path.rglob('*') if p.is_dir()} == folders


@pytest.mark.parametrize(('rows', 'after'), [
    ('()', 1), ('(Member(1),)', 2), ('(Member(1), Member(2))', 3), ('(\n    Member(1),   # last,\n)', 2),
    ('(\n    Member(1),\n    Member(2),\n)  # all', 3)])
def test_tables_of_any_form_grow(rows, after):
    row = new_component.Member('a', 'op', 'levels.x.a', 3, "it's", 'o', 'p')
    text = new_component.add_member(f'from levels import Member\nA, B = 1, 2\nMEMBERS = {rows}\nC = 3\n', row, 'x')
    table = ast.parse(text).body[2].value
    assert len(table.elts) == after and "topic=\"it's\"" in ast.unparse(table.elts[-1]) and text.endswith('C = 3\n')


@pytest.mark.parametrize(('argv', 'message'), [
    (['--slug=level2_mnits'], "slug: 'level2_mnits' is not in docs/roadmap.toml, did you mean level2_mnist?"),
    (['--slug=level2_mlp_from_scratch', '--data=mnist'], 'did you mean mnist_5k?'),
    (['--slug=level2_mnist'], 'projects/level2_mnist is there already; nothing was written'),
    ([], 'the following arguments are required: --slug')])
def test_a_wrong_project_is_one_line_and_nothing_is_written(tmp_path, monkeypatch, argv, message):
    monkeypatch.setattr(scaffold, 'ROOT', small(tmp_path))
    (tmp_path / 'projects/level2_mnist').mkdir(parents=True)
    before = state(tmp_path)
    with pytest.raises(UsageError) as error:
        new_project.main(argv)
    assert message in str(error.value) and '\n' not in str(error.value) and state(tmp_path) == before


def test_the_commands(tree):
    """As people run them: one line and exit code 2, and from where there is no checkout."""
    root, _ = tree
    for module, argv in (('new_component', ['--level=3', '--name=a', '--kind=opp', '--topic=GANs']),
                         ('new_project', ['--slug=level2_mnist'])):
        done = subprocess.run([sys.executable, '-m', f'tools.{module}', *argv], cwd=root, text=True,
                              capture_output=True, check=False)
        assert done.returncode == 2 and done.stdout == '' and len(done.stderr.splitlines()) == 1, done.stderr
        assert done.stderr.startswith('error: ')


def test_outside_a_checkout_it_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(scaffold, 'ROOT', tmp_path)
    with pytest.raises(UsageError, match=r'roadmap.toml is not there: run this in a checkout'):
        component(**GOOD)


def test_nothing_that_was_made_here_is_left_unwritten():
    """TODO is what the templates leave for an author."""
    files = [p for name in ('levels', 'projects', 'tests/parity', 'tests/projects') for p in (ROOT / name).rglob('*.*')]
    left = [p.relative_to(ROOT).as_posix() for p in files if p.suffix in ('.py', '.md') and 'TODO' in p.read_text()]
    assert len(files) > 80 and left == []
