"""The docs tell the truth: their Python runs, their commands parse, their links, paths, names and numbers exist.

In a page's HTML comments:
    <!-- test: devices=8 -->            its Python sees that many virtual CPU devices (default: one)
    <!-- in: PATH: TEXT -->             TEXT, on which a number of the page rests, must occur in that file
    <!-- run: ... -->                   Python that is executed with the page's blocks, and not shown
A block whose info string is `python no-run` is only compiled.  A block that starts with `# file: PATH` is written to
PATH, and the page's commands for that project are executed.
"""
import ast
import importlib
import importlib.util
import os
import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from common import errors, launch
from levels.catalogue import KINDS, members

ROOT = Path(__file__).resolve().parents[2]
READMES = sorted((ROOT / 'projects').glob('*/README.md'))
PAGES = sorted([ROOT / 'README.md', *(ROOT / 'docs').glob('*.md'), *READMES])
NAME = lambda page: f'{page.parent.name}/README.md' if page in READMES else page.name
IDS = [NAME(p) for p in PAGES]
FENCE = re.compile(r'^(?P<ticks>```+)(?P<info>[^\n]*)\n(?P<body>.*?)^(?P=ticks)[ \t]*$', re.S | re.M)
HIDDEN = re.compile(r'^<!-- run:\n(.*?)^-->', re.S | re.M)
FILES = ('py', 'json', 'jsonl', 'npz', 'png')      # `signals.png` is a file, not a name of common/signals.py
COMING: set[str] = set()              # what pages say is planned
EXIT_CODES_ELSEWHERE = {0, 1, 7}        # done; a bug; common.processes.LOST, which no exception carries


class Block(NamedTuple):
    line: int           # of its first line of code, from 1
    info: str
    body: str

    @property
    def file(self) -> str:
        """The path that a block is written to, or ''."""
        found = re.match(r'# file: (\S+)\n', self.body)
        return found[1] if found else ''


@cache
def blocks(page: Path) -> tuple[Block, ...]:
    text = page.read_text(encoding='utf-8')
    found = [Block(text[:m.start('body')].count('\n') + 1, m['info'].strip(), m['body']) for m in FENCE.finditer(text)]
    found += [Block(text[:m.start(1)].count('\n') + 1, 'python', m[1]) for m in HIDDEN.finditer(text)]
    return tuple(sorted(found))


def prose(page: Path) -> str:
    """The page without its fences and comments."""
    return re.sub(r'<!--.*?-->', '', FENCE.sub('', page.read_text(encoding='utf-8')), flags=re.S)


def spans(page: Path) -> list[str]:
    """What stands between single backticks, on one line or broken over two."""
    return [' '.join(s.split()) for s in re.findall(r'`([^`]+)`', prose(page))]


def marks(page: Path, kind: str) -> list[str]:
    return re.findall(rf'<!-- {kind}: (.*?) -->', page.read_text(encoding='utf-8'))


def files(page: Path) -> dict[str, str]:
    return {b.file: b.body for b in blocks(page) if b.file}


def commands(page: Path) -> list[list[str]]:
    """The words of each command in bash blocks; a backslash continues a line."""
    text = '\n'.join(b.body for b in blocks(page) if b.info.split()[:1] == ['bash'])
    return [words for line in text.replace('\\\n', ' ').splitlines() if (words := shlex.split(line, comments=True))]


def environment(page: Path, folder: Path) -> dict[str, str]:
    devices = next((m.partition('=')[2] for m in marks(page, 'test') if m.startswith('devices=')), '1')
    return {**os.environ, 'PYTHONPATH': os.pathsep.join([str(folder), str(ROOT)]), 'JAX_PLATFORMS': 'cpu',
            'XLA_FLAGS': f'--xla_force_host_platform_device_count={devices}', 'MPLBACKEND': 'agg'}


def execute(command: list[str], page: Path, folder: Path) -> subprocess.CompletedProcess:
    return subprocess.run(command, cwd=folder, env=environment(page, folder), capture_output=True, text=True,
                          check=False, timeout=300)


def written(page: Path, folder: Path) -> list[str]:
    """Writes the page's files below `folder` and returns the packages of its projects, 'projects.demo'."""
    for path, body in files(page).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(body, encoding='utf-8')
    if (folder / 'projects').exists():
        (folder / 'projects/__init__.py').write_text('')
    return sorted({'.'.join(Path(p).parts[:2]) for p in files(page) if p.startswith('projects/')})


def test_every_project_s_readme_is_a_page_with_commands():
    projects = {p.parent.name for p in (ROOT / 'projects').glob('*/main.py')}
    assert {p.parent.name for p in READMES} == projects and len(projects) >= 15
    for page in READMES:
        own = [words for words in commands(page) if words[:3] == ['python', '-m', f'projects.{page.parent.name}.main']]
        assert own, f'{NAME(page)}: no command runs it'


def test_there_are_pages_with_python():
    assert len(PAGES) >= 8 and sum(b.info == 'python' for p in PAGES for b in blocks(p)) >= 20


@pytest.mark.parametrize('page', [p for p in PAGES if any(b.info.startswith('python') for b in blocks(p))],
                         ids=NAME)
def test_python_runs(page, tmp_path):
    shown = [b for b in blocks(page) if b.info in ('python', 'python no-run')]
    assert len(shown) == sum(b.info.startswith('python') for b in blocks(page)), 'an info string is not known'
    for b in shown:
        compile(b.body, f'{page.name} from line {b.line}', 'exec')
    parts, at = [], 0
    for b in (b for b in shown if b.info == 'python' and not b.file):
        parts.append('\n' * (b.line - 1 - at) + b.body)         # every line keeps its number in the page
        at = b.line - 1 + b.body.count('\n')
    if not parts:
        return
    (tmp_path / 'page.py').write_text(''.join(parts), encoding='utf-8')
    done = execute([sys.executable, 'page.py'], page, tmp_path)
    if done.returncode:
        where = int(([0, *re.findall(r'page\.py", line (\d+)', done.stderr)])[-1])
        block = next((b for b in reversed(shown) if b.line <= where), shown[0])
        pytest.fail(f'{page.name}, line {where}, in the block:\n\n{block.body}\n{done.stderr[-3000:]}', pytrace=False)


@pytest.mark.parametrize('page', [p for p in PAGES if files(p)], ids=NAME)
def test_projects_of_the_page_run(page, tmp_path):
    """Each command of the page that names one of its own files or projects, in their order."""
    packages, ran = written(page, tmp_path), 0
    for words in commands(page):
        if words[0] == 'python' and any(w in (f'{p}.main' for p in packages) or w in files(page) for w in words):
            done = execute([sys.executable, *words[1:]], page, tmp_path)
            assert done.returncode == 0, f'{shlex.join(words)}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}'
            ran += 1
    assert ran >= len(packages)
    for package in packages:
        results = [p for p in tmp_path.glob('runs/*/result.json') if f'"{package.split(".")[1]}"' in p.read_text()]
        assert results, 'no run of the page wrote a result'
        assert any('"expected": {}' not in p.read_text() for p in results), 'no run reached for what is expected'
        assert all('"passed": true' in p.read_text() for p in results)


@pytest.mark.parametrize('page', PAGES, ids=IDS)
def test_commands_parse(page, tmp_path, monkeypatch):
    packages = written(page, tmp_path)
    for words in commands(page):
        assert words[0] in ('python', 'pip', 'make', '.'), f'{shlex.join(words)}: not a command that is checked'
        if words[0] == 'make':
            assert all(re.search(rf'^{re.escape(w)}:', (ROOT / 'Makefile').read_text(), re.M) for w in words[1:]), words
        if words[:2] == ['pip', 'install']:
            extras = [e for w in words for e in re.findall(r'\[([\w,-]+)\]', w)]
            text = (ROOT / 'pyproject.toml').read_text()
            assert all(re.search(rf'^{e} = \[', text, re.M) for x in extras for e in x.split(',')), words
        if words[:2] != ['python', '-m']:
            assert words[0] != 'python', f'{shlex.join(words)}: commands are `python -m module`'
            continue
        module, argv = words[2], words[3:]
        package = module.removesuffix('.main')
        if package in packages:
            if not any(a in ('--help', '-h') for a in argv):
                code = 'import sys; from common import launch; launch.parse(sys.argv[1], sys.argv[2:])'
                done = execute([sys.executable, '-c', code, package, *argv], page, tmp_path)
                assert done.returncode == 0, f'{shlex.join(words)}: {done.stderr[-500:]}'
            continue
        assert importlib.util.find_spec(module), f'{module}: no such module'
        if module.startswith('projects.') and module.endswith('.main'):
            workdir = [] if any(a.startswith('--workdir') for a in argv) else ['--workdir=x']
            if '--help' not in argv:
                launch.parse(package, [*argv, *workdir])        # UsageError names what is wrong
        elif module.startswith(('tools.', 'projects.')):        # a command beside a project's own: `enjoy`
            source = Path(importlib.util.find_spec(module).origin).read_text()
            for flag in (a.partition('=')[0].lstrip('-') for a in argv if a.startswith('--')):
                assert re.search(rf"""['"](--)?{flag}['"]""", source), f'{module}: no flag --{flag}'


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r'^#+ (.*)$', FENCE.sub('', page.read_text(encoding='utf-8')), re.M)
    return {re.sub(r'[^\w\- ]', '', h.replace('`', '').lower()).replace(' ', '-') for h in headings}


@pytest.mark.parametrize('page', PAGES, ids=IDS)
def test_links_resolve(page):
    for target in re.findall(r'\]\(([^)\s]+)\)', prose(page)):
        if re.match(r'\w+:', target):
            continue
        path, _, anchor = target.partition('#')
        there = (page.parent / path).resolve() if path else page
        assert there.exists() and there.is_relative_to(ROOT), f'{target}: no such file'
        assert not anchor or anchor in anchors(there), f'{target}: no such heading, there are {sorted(anchors(there))}'


@pytest.mark.parametrize('page', PAGES, ids=IDS)
def test_paths_and_names_exist(page):
    own = {str(parent) for f in files(page) for parent in (Path(f), *Path(f).parents)}
    for span in spans(page):
        if re.fullmatch(r'(common|levels|projects|tests|tools|docs)/[\w./]*', span) and span.rstrip('/') not in own:
            assert (ROOT / span).exists(), f'`{span}`: no such file or folder'
        if found := re.fullmatch(r'((?:common|levels|tools)(?:\.\w+)+)(\(.*\))?', span):
            assert found[1] in COMING or exists(found[1]), f'`{span}`: no such module or name'
        found = re.fullmatch(r'(\w+)\.(\w+)(\(.*\))?', span)          # `loop.fit(...)`: a module of common
        if found and (ROOT / f'common/{found[1]}.py').exists() and found[2] not in FILES:
            assert exists(f'common.{found[1]}.{found[2]}'), f'`{span}`: no such name'


def test_what_is_said_to_come_is_not_here_yet():
    assert not [name for name in COMING if exists(name)], 'it is here: say so in the pages, and take it from COMING'


def exists(name: str) -> bool:
    """Whether a dotted path can be imported."""
    parts = name.split('.')
    for n in range(len(parts), 0, -1):
        try:
            value = importlib.import_module('.'.join(parts[:n]))
        except ModuleNotFoundError:
            continue
        for part in parts[n:]:
            if not hasattr(value, part):
                return False
            value = getattr(value, part)
        return True
    return False


@pytest.mark.parametrize('page', PAGES, ids=IDS)
def test_flags_exist(page):
    """Every `--flag` in the prose is a flag of projects, a field of some project, or of a tool that is named."""
    fields = {f'config.{n}' for p in (ROOT / 'projects').glob('*/config.py')
              for n in importlib.import_module(f'projects.{p.parent.name}.config').FIELDS}
    known = {n for n, f in launch.Args.__dataclass_fields__.items() if f.metadata} | {'config', 'help'} | fields
    known |= {'config.NAME', 'config.field'}
    known |= {n for p in (ROOT / 'tools').rglob('*.py') for n in re.findall(r"'--(\w+)'", p.read_text('utf-8'))}
    for span in spans(page):
        for name in re.findall(r'(?<![\w-])--([\w.]+)', span):
            assert name in known or name.removeprefix('no') in known, f'`{span}`: no flag --{name}'


@pytest.mark.parametrize('page', PAGES, ids=IDS)
def test_numbers_rest_on_code(page):
    for mark in marks(page, 'in'):
        path, _, text = mark.partition(': ')
        assert text in (ROOT / path).read_text(), f'{page.name} rests on {text!r}, which is not in {path} any more'


@pytest.mark.parametrize('page', PAGES, ids=IDS)
def test_no_machine_paths_or_hosts(page):
    text = page.read_text(encoding='utf-8')
    found = re.findall(r'(?<![\w.])/(?:work|home|root|tmp|Users|mnt)/\S*', text)
    assert not found, found


# ---- tables


def rows(page: str, first: str) -> list[list[str]]:
    """The cells of the table whose header starts with `first`."""
    text = (ROOT / 'docs' / page).read_text(encoding='utf-8')
    table = re.search(rf'^\| {re.escape(first)} \|.*\n\|[ -|]*\n((?:\|.*\n)+)', text, re.M)
    assert table, f'{page}: no table that starts with {first!r}'
    return [[cell.strip() for cell in re.split(r'(?<!\\)\|', line)[1:-1]] for line in table[1].splitlines()]


@cache
def functions() -> dict[str, set[str]]:
    """file name -> its test functions."""
    return {p.name: {n.name for n in ast.parse(p.read_text(encoding='utf-8')).body if isinstance(n, ast.FunctionDef)}
            for p in (ROOT / 'tests').rglob('test_*.py')}


def test_every_fault_names_tests_that_exist():
    table, seen = rows('faults.md', 'fault'), set()
    for fault, what, shown in table:
        named = re.findall(r'`(test_\w+\.py)::(\w+)`( \(slow\))?', shown)
        assert what and named, f'{fault}: no test'
        for file, name, slow in named:
            assert name in functions().get(file, ()), f'{fault}: there is no {file}::{name}'
            path = next((ROOT / 'tests').rglob(file))
            marked = re.search(rf'@pytest\.mark\.slow\n(?:@.*\n)*def {name}\(', path.read_text())
            assert bool(marked) == bool(slow), f'{name}: marked slow in one of docs and code only'
        seen |= {int(n) for n in re.findall(r'F(\d+)', fault)}
    assert {*range(1, 16), 17, 18, 19, 20, 33, 34, 37} <= seen


def test_exit_codes_are_those_of_the_errors():
    said = {name: int(code) for code, names, _ in rows('contracts.md', 'exit code') if code.isdigit()
            for name in re.findall(r'`(\w+)`', names)}
    real = {n: c.exit_code for n, c in vars(errors).items() if isinstance(c, type) and issubclass(c, errors.UserError)}
    abstract = {'UserError', 'Interrupted'}
    assert said == {n: c for n, c in real.items() if n not in abstract}
    codes = {int(c) for codes, *_ in rows('contracts.md', 'exit code') for c in codes.split(',')}
    assert codes == set(said.values()) | EXIT_CODES_ELSEWHERE | {130, 143}


def test_contracts_say_what_is_there():
    """When the first member of a kind arrives, its row says `members`, and with its laws `battery: FILE`."""
    table = {kind.strip('`'): state for kind, state, *_ in rows('contracts.md', 'kind')}
    assert set(table) == set(KINDS)
    for kind, state in table.items():
        assert (state == 'coming') == (not members(kind=kind)), f'{kind}: {len(members(kind=kind))} members, {state!r}'
        assert state in ('coming', 'members') or state.startswith('battery: '), f'{kind}: {state!r}'


def test_run_folder_and_decisions_are_complete():
    from common import runs
    said = {name for cells in rows('add_a_project.md', 'file') for name in re.findall(r'`([\w./]+)`', cells[0])}
    assert said == set(re.search(r"folder: (.*?)\.\n", runs.__doc__)[1].split())
    assert [int(n) for n in re.findall(r'^(\d+)\. ', (ROOT / 'docs/decisions.md').read_text(), re.M)] == [
        *range(1, 1 + len(re.findall(r'^\d+\. ', (ROOT / 'docs/decisions.md').read_text(), re.M)))]


def test_index_links_every_page():
    linked = set(re.findall(r'\]\((\w+\.md)\)', (ROOT / 'docs/index.md').read_text()))
    assert linked == {p.name for p in PAGES if p.parent.name == 'docs'} - {'index.md'}
