"""What new_component and new_project share: a command line that answers in one line, templates, the roadmap, edits of
tables, and writing that is all or nothing.
"""
import argparse
import ast
import contextlib
import os
import re
import string
import sys
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path

from common.errors import UsageError, did_you_mean, one_line

ROOT = Path(__file__).resolve().parents[1]
TEMPLATES = Path(__file__).resolve().parent / 'templates'


class Parser(argparse.ArgumentParser):
    """Errors are a UsageError, which `run` prints in one line."""

    def __init__(self, module: str, text: str):
        super().__init__(prog=f'python -m {module}', description=text, allow_abbrev=False,
                         formatter_class=argparse.RawDescriptionHelpFormatter)

    def error(self, message: str):
        for word in re.findall(r'--[\w-]+', message.partition('unrecognized arguments: ')[2]):
            message += did_you_mean(word, [o for action in self._actions for o in action.option_strings])
        raise UsageError(message)


def run(main: Callable[[list[str]], None]) -> None:
    """Runs a command; what a person can act on is one line on stderr and exit code 2."""
    try:
        main(sys.argv[1:])
    except UsageError as error:
        print(f'error: {one_line(error)}', file=sys.stderr)
        sys.exit(2)


def one_of(what: str, word: str, known: Iterable[str], where: str) -> str:
    """`word`, if it is known; else a UsageError that says what was probably meant, and where the words stand."""
    known = list(known)
    if word not in known:
        lower = {k.lower(): k for k in known}
        near = did_you_mean(word.lower(), lower, full=lower)
        inside = [k for k in known if len(word) > 2 and word.lower() in k.lower()]
        raise UsageError(f'{what}: {word!r} is not in {where}'
                         + (near or (f', did you mean {inside[0]}?' if inside else '')))
    return word


def roadmap() -> list[dict]:
    """The levels of docs/roadmap.toml, each with `topics` and `projects` (slug -> title) besides."""
    path = ROOT / 'docs/roadmap.toml'
    if not path.is_file():
        raise UsageError(f'{path} is not there: run this in a checkout of the repository, not from an installed wheel')
    levels = tomllib.loads(path.read_text(encoding='utf-8'))['level']
    for level in levels:
        level['topics'] = [t for s in level['section'] for t in s.get('topics', ())]
        level['projects'] = {p['slug']: p['title'] for s in level['section'] for p in s.get('projects', ())}
    return levels


def read(path: str) -> str:
    """A file of the checkout."""
    try:
        return (ROOT / path).read_text(encoding='utf-8')
    except OSError as error:
        raise UsageError(f'{path}: {error.strerror}') from error


def sections(name: str) -> dict[str, string.Template]:
    """The sections of a file of templates, each begun by a line `==== TITLE`."""
    text = (TEMPLATES / name).read_text(encoding='utf-8')
    parts = re.split(r'^==== (.+)\n', text, flags=re.M)[1:]
    return {title: string.Template(body) for title, body in zip(parts[::2], parts[1::2], strict=True)}


def add_row(page: str, row: str) -> str:
    """The Markdown page with `row` ('| `levels/x` | what |') put in order among the rows that begin with its folder.

    The page as it is where its first cell has a row already.
    """
    path = re.match(r'\| `([^`]+)` \|', row)[1]
    lines, folder = page.splitlines(), path.rpartition('/')[0]
    cells = {i: m[1] for i, line in enumerate(lines) if (m := re.match(rf'\| `({re.escape(folder)}/[^`]*)` \|', line))}
    if path in cells.values():
        return page
    # a table without rows yet: below the heading of the folder, then below the table's two lines
    start = next((i + 3 for i, line in enumerate(lines) if line == f'## {folder}'), None)
    packages = [i for i, cell in cells.items() if not cell.endswith('.py')]
    at = next((i for i in packages if cells[i] > path), max(cells, default=start) + 1 if cells else start)
    if at is None:
        raise UsageError(f'there is no table of {folder}/ for the row {row}')
    return '\n'.join([*lines[:at], row, *lines[at:]]) + '\n'


def write(new: dict[str, str], edited: dict[str, str]) -> None:
    """Writes files below the root, all or none.  UsageError for a new file that is there, Python that does not parse,
    or has lines over 120 characters, or a file that cannot be written."""
    for path, text in {**new, **edited}.items():
        if path in new and (ROOT / path).exists():
            raise UsageError(f'{path} is there already; nothing was written')
        if path.endswith('.py'):
            try:
                ast.parse(text, path)
            except SyntaxError as error:
                raise UsageError(f'{path}, line {error.lineno}: would not parse ({error.msg})') from error
        long = [n for n, line in enumerate(text.splitlines(), 1) if len(line) > 120]
        if long and (path in new or path.endswith('.py')):
            raise UsageError(f'{path}, line {long[0]}: would be over 120 characters; shorten what you pass')
    waiting, folders = {}, []
    try:
        for path, text in {**new, **edited}.items():
            target = ROOT / path
            for folder in reversed([f for f in target.parents if not f.exists()]):
                folder.mkdir()
                folders.append(folder)
            waiting[target] = target.with_name(target.name + '.tmp')
            waiting[target].write_text(text, encoding='utf-8')
        for target, tmp in waiting.items():
            os.replace(tmp, target)
    except OSError as error:
        for remove in (*(tmp.unlink for tmp in waiting.values()), *(folder.rmdir for folder in reversed(folders))):
            with contextlib.suppress(OSError):
                remove()
        raise UsageError(f'{error.filename}: {error.strerror}; nothing was written') from error
    for path in (*new, *edited):
        print(f'{"made  " if path in new else "edited"} {path}')
