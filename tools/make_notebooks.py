"""Notebooks from their sources: runs docs/notebooks/NAME.py (percent format) and writes the executed twin NAME.ipynb.

    python -m tools.make_notebooks                    # those whose twin is stale
    python -m tools.make_notebooks 01 05 --again      # these two, stale or not; the beginning of a name is enough
    python -m tools.make_notebooks --check            # run nothing; exit 1 if a twin is stale

A twin is fresh if its cells are the source's, the hash in its metadata is that of the source, and every code cell has
run in order, without an error and without a word about the machine. Needs the extra `notebooks`.
"""
import argparse
import hashlib
import json
import os
import re
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / 'docs' / 'notebooks'
LIMIT = 120                     # seconds of one notebook, on a machine with nothing else to do
PATIENCE = 4 * LIMIT            # seconds for one cell, on a busy one
LARGEST = 1_500_000             # bytes of a twin
MACHINE = re.compile(r'(?<![\w.:/-])(/(work|home|root|opt|tmp|usr|var|mnt|private|Users)/|~/|[A-Z]:\\\w)|'
                     r'site-packages|ipykernel_\d+| at 0x[0-9a-f]{6,}')
# One virtual device, no screen, and nothing of the user's own settings.
KERNEL = {'JAX_PLATFORMS': 'cpu', 'XLA_FLAGS': '', 'MPLBACKEND': 'module://matplotlib_inline.backend_inline',
          'PYTHONHASHSEED': '0', 'PYTHONPATH': str(ROOT), 'PYDEVD_DISABLE_FILE_VALIDATION': '1', 'COLUMNS': '100'}


def digest(text: str) -> str:
    """The hash of a source."""
    return hashlib.sha256('\n'.join(text.splitlines()).encode()).hexdigest()


def read(text: str, name: str):
    """The notebook of a source, not run; ids and metadata depend on the source alone."""
    import jupytext
    book = jupytext.reads(text, fmt='py:percent')
    for i, cell in enumerate(book.cells):
        cell['id'] = f'cell-{i}'
        cell['metadata'] = {k: v for k, v in cell['metadata'].items() if k == 'tags'}
    book['metadata'] = {'kernelspec': {'name': 'python3', 'display_name': 'Python 3', 'language': 'python'},
                        'language_info': {'name': 'python'}, 'source': {'file': name, 'sha256': digest(text)}}
    book['nbformat'], book['nbformat_minor'] = 4, 5
    return book


def execute(text: str, name: str):
    """The notebook of a source, run in a kernel of this interpreter.  Raises nbclient's errors for a cell that fails.

    The working directory is a fresh folder, so nothing that a notebook writes stays.
    """
    from nbclient import NotebookClient
    book = read(text, name)
    with tempfile.TemporaryDirectory() as folder:
        kernel = Path(folder) / 'kernels' / 'this'
        kernel.mkdir(parents=True)
        (kernel / 'kernel.json').write_text(json.dumps({
            'argv': [sys.executable, '-m', 'ipykernel_launcher', '-f', '{connection_file}'],
            'display_name': 'this interpreter', 'language': 'python'}), encoding='utf-8')
        place = Path(folder) / 'here'
        place.mkdir()
        client = NotebookClient(book, kernel_name='this', timeout=PATIENCE, record_timing=False, coalesce_streams=True,
                                resources={'metadata': {'path': str(place)}})
        client.create_kernel_manager()
        client.km.kernel_spec_manager.kernel_dirs = [str(kernel.parent)]
        if os.name != 'nt':
            client.km.transport, client.km.ip = 'ipc', str(Path(folder) / 'k')     # no ports that others could take
        client.execute(env={**os.environ, **KERNEL, 'IPYTHONDIR': folder})
    made = read(text, name)
    for new, old in zip(book.cells, made.cells, strict=True):
        new['metadata'] = old['metadata']
    book['metadata'] = made['metadata']
    return book


def dumps(book) -> str:
    """The text of a twin."""
    import nbformat
    return nbformat.writes(book).rstrip('\n') + '\n'


def outputs(book):
    """(index of the cell, output) of all outputs."""
    return [(i, out) for i, cell in enumerate(book.cells) for out in cell.get('outputs', ())]


def words(output) -> str:
    """What an output says in text, pictures apart."""
    data = output.get('data', {})
    texts = [output.get('text', ''), *(v for k, v in data.items() if k.startswith('text/'))]
    return '\n'.join(''.join(t) for t in texts)


def problems(text: str, name: str, twin: str) -> list[str]:
    """Why a twin is not the fresh one of a source; [] if it is."""
    import nbformat
    try:
        book = nbformat.reads(twin, as_version=4)
        nbformat.validate(book)
    except (ValueError, nbformat.ValidationError) as e:
        return [f'not a notebook: {str(e).splitlines()[0]}']
    want, found = read(text, name), []
    if book['metadata'] != want['metadata']:
        found.append('the metadata (hash of the source, kernel) differ from the source')
    pairs = [[(c['id'], c['cell_type'], c['source'], c['metadata']) for c in b.cells] for b in (book, want)]
    if pairs[0] != pairs[1]:
        found.append('its cells are not those of the source')
    counts = [c['execution_count'] for c in book.cells if c['cell_type'] == 'code']
    if counts != list(range(1, len(counts) + 1)):
        found.append('its cells have not been run once each from top to bottom')
    for i, out in outputs(book):
        if out['output_type'] == 'error':
            found.append(f'cell {i} ended in {out["ename"]}')
        elif out.get('name') == 'stderr':
            found.append(f'cell {i} warns: {words(out).strip().splitlines()[0][:80]}')
        elif said := MACHINE.search(words(out)):
            found.append(f'cell {i} shows something of this machine: {said[0]}')
    if len(twin.encode()) > LARGEST:
        found.append(f'{len(twin.encode()):,} bytes, at most {LARGEST:,}')
    return found


def sources(names: list[str], folder: Path = FOLDER) -> list[Path]:
    """The sources whose names begin so, all without names.  Raises ValueError for a name that none has."""
    every = sorted(folder.glob('*.py'))
    for name in names:
        if not any(p.stem.startswith(Path(name).stem) for p in every):
            raise ValueError(f'names: expected some of {", ".join(p.stem for p in every)}; found {name}')
    return [p for p in every if not names or any(p.stem.startswith(Path(n).stem) for n in names)]


def check(source: Path) -> list[str]:
    """The problems of a source's twin."""
    twin = source.with_suffix('.ipynb')
    if not twin.exists():
        return ['there is no twin']
    return problems(source.read_text(encoding='utf-8'), source.name, twin.read_text(encoding='utf-8'))


def make(source: Path) -> list[str]:
    """Runs a source and writes its twin, if it is one that may stay.  Returns the problems."""
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
    text, begin = source.read_text(encoding='utf-8'), time.monotonic()
    try:
        twin = dumps(execute(text, source.name))
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as e:
        return [str(e)]
    if found := problems(text, source.name, twin):
        return found
    source.with_suffix('.ipynb').write_text(twin, encoding='utf-8')
    print(f'{source.stem}: {time.monotonic() - begin:.0f} s, {len(twin.encode()) / 1000:.0f} kB')
    return []


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog='python -m tools.make_notebooks', description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('names', nargs='*', help='beginnings of names; default all')
    parser.add_argument('--again', action='store_true', help='run fresh ones too')
    parser.add_argument('--check', action='store_true', help='run nothing; exit 1 if a twin is stale')
    args = parser.parse_args(argv)
    try:
        chosen = sources(args.names)
    except ValueError as e:
        parser.error(str(e))
    bad = 0
    for source in chosen:
        found = check(source)
        if not args.check and (found or args.again):
            found = make(source)
        bad += bool(found)
        print('\n'.join(f'{source.stem}: {line}' for line in found) or f'{source.stem}: fresh')
    return bool(bad)


if __name__ == '__main__':
    sys.exit(main())
