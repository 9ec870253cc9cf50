"""Notebooks: every source has a fresh executed twin, built as docs/notebooks/README.md says; a stale twin is seen."""
import ast
import base64
import io
import json
import re
import resource
import shutil
import subprocess
import sys
from functools import cache

import jupytext
import nbformat
import pytest
from nbformat import v4
from PIL import Image

from levels.catalogue import load, members
from levels.level0_foundations.lessons import mathematics
from levels.level0_foundations.lessons.show import moving
from levels.level0_foundations.linear_algebra.grid import animate_grid
from levels.level0_foundations.linear_algebra.transforms import rotation
from levels.level2_neural.exercises import backprop_exercises
from tools import make_notebooks as maker

SOURCES = sorted(maker.FOLDER.glob('*.py'))
IDS = [p.stem for p in SOURCES]
LEVEL0 = ['01_arrays_and_tables', '02_linear_algebra', '03_calculus_and_autodiff', '04_probability', '05_optimisation',
          '06_git_and_notebooks']
SECTIONS = ['The idea', 'The mathematics', 'The component', 'Exercises']
PICTURES, IN_THE_IDEA, EXERCISES = 6, 3, 3     # at least
MOVING = {'01_arrays_and_tables', '02_linear_algebra', '03_calculus_and_autodiff', '05_optimisation'}
RUN_ALWAYS = '06_git_and_notebooks'            # the others with `make test-slow`
SMALL = '# %% [markdown]\n# # A title\n\n# %%\nx = 1\nprint(x)\n\n# %%\nx + 1\n'


@cache
def twin(source):
    return json.loads(source.with_suffix('.ipynb').read_text(encoding='utf-8'))


def text(cell) -> str:
    return ''.join(cell['source'])


def sections(book) -> dict[str, list[dict]]:
    """The cells below each heading of the second rank."""
    found, name = {}, ''
    for cell in book['cells']:
        heads = re.findall(r'^## (.*)$', text(cell), re.M) if cell['cell_type'] == 'markdown' else []
        assert len(heads) < 2, f'two sections in one cell: {heads}'
        name = heads[0] if heads else name
        found.setdefault(name, []).append(cell)
    return found


def pictures(cells) -> list[bytes]:
    return [base64.b64decode(''.join(out['data']['image/png']))
            for cell in cells for out in cell.get('outputs', ()) if 'image/png' in out.get('data', {})]


def code(cells) -> str:
    return '\n'.join(text(cell) for cell in cells if cell['cell_type'] == 'code')


def printed(cells) -> str:
    return '\n'.join(''.join(out.get('text', '')) for cell in cells for out in cell.get('outputs', ()))


def test_levels_0_and_2_have_their_notebooks():
    assert set(IDS) >= {*LEVEL0, '07_mlp_from_scratch'}
    assert {p.stem for p in maker.FOLDER.glob('*.ipynb')} == set(IDS), 'a twin without a source'
    page = (maker.FOLDER / 'README.md').read_text(encoding='utf-8')
    assert re.findall(r'^\| `(\d\w+)` \|', page, re.M) == IDS
    assert re.findall(r'^\| `## ([^`]+)` \|', page, re.M) == SECTIONS


@pytest.mark.parametrize('source', SOURCES, ids=IDS)
def test_the_twin_is_fresh(source):
    assert maker.check(source) == [], f'python -m tools.make_notebooks {source.stem}'
    book, want = twin(source), jupytext.read(source, fmt='py:percent')     # once more, without the tool
    assert [(c['cell_type'], text(c)) for c in book['cells']] == [(c.cell_type, c.source) for c in want.cells]
    kinds = {out['output_type'] for c in book['cells'] for out in c.get('outputs', ())}
    assert kinds <= {'stream', 'display_data', 'execute_result'}
    assert all(c['execution_count'] for c in book['cells'] if c['cell_type'] == 'code')
    rest = re.sub(r'"image/png": "[^"]*"', '', json.dumps(book))
    assert str(maker.ROOT) not in rest and sys.prefix not in rest


@pytest.mark.parametrize('source', SOURCES, ids=IDS)
def test_pictures_come_first_then_mathematics_then_the_component_then_exercises(source):
    parts = sections(twin(source))
    assert list(parts) == ['', *SECTIONS]
    idea, mathematics_, component, exercises = (parts[name] for name in SECTIONS)
    words = lambda cells: '\n'.join(text(c) for c in cells if c['cell_type'] == 'markdown')
    assert not pictures(parts['']) and len(pictures(idea)) >= IN_THE_IDEA and '$$' not in words(idea)
    assert words(mathematics_).count('$$') >= 2 and words(mathematics_).count('$$') % 2 == 0
    tree = ast.parse(code(twin(source)['cells']))
    ours = {a.asname or a.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)
            and node.module.startswith('levels.') for a in node.names} - {'attempt', 'hint', 'todo', 'moving'}
    used = {n.id for n in ast.walk(ast.parse(code(component))) if isinstance(n, ast.Name)}
    assert len(ours & used) >= 3 and len(pictures(component)) >= 2
    assert 'attempt(' not in code(idea + mathematics_ + component)
    assert len(re.findall(r'^attempt\(', code(exercises), re.M)) >= EXERCISES


@pytest.mark.parametrize('source', SOURCES, ids=IDS)
def test_pictures_are_there_to_be_seen(source):
    cells = twin(source)['cells']
    found = pictures(cells)
    assert len(found) >= PICTURES
    moves = 0
    for png in found:
        with Image.open(io.BytesIO(png)) as image:
            moves += getattr(image, 'n_frames', 1) > 1
            low, high = image.convert('L').getextrema()
            assert min(image.size) >= 150 and max(image.size) <= 1200, image.size
            assert high - low > 80, 'nothing is on it'
    assert moves or source.stem not in MOVING
    for i, cell in enumerate(cells):
        if pictures([cell]):
            assert 'markdown' in {c['cell_type'] for c in cells[i - 2:i]}, f'cell {i}: no words before the picture'


def test_every_exercise_is_asked_once_and_none_is_answered():
    asked = [name for source in SOURCES
             for name in re.findall(r"^attempt\(\w+(?:\['(\w+)'\]|\.\w+)", code(twin(source)['cells']), re.M)]
    lines = [line for source in SOURCES
             for line in re.findall(r'^(\w+): (.*)$', printed(sections(twin(source))['Exercises']), re.M)]
    every = [e for row in members(kind='lesson') for e in load(row)()]
    every += [e for name in ('linear_algebra', 'calculus', 'probability', 'optimisation')
              for e in getattr(mathematics, f'{name}_exercises')()]
    every += backprop_exercises()
    assert len(every) > 40 and len(asked) == len(every)
    answered = sorted(name for name, line in lines if line.startswith('not yet. '))
    assert answered == sorted(e.name for e in every)
    assert not any(line == 'right' for _, line in lines)




def shown(book, kind, **what):
    book['cells'][1]['outputs'].append(v4.new_output(kind, **what))


STALE = {
    'a comment in the source': lambda s, b: s.replace('x = 1', 'x = 1   # one'),
    'a word in the source': lambda s, b: s.replace('A title', 'Another title'),
    'a cell more in the source': lambda s, b: s + '\n# %%\nx\n',
    'a cell of the twin': lambda s, b: b['cells'][1].update(source='x = 2'),
    'a text of the twin': lambda s, b: b['cells'][0].update(source='# Another'),
    'a cell less in the twin': lambda s, b: b['cells'].pop(),
    'a hash': lambda s, b: b['metadata']['source'].update(sha256='0' * 64),
    'a cell that never ran': lambda s, b: b['cells'][2].update(execution_count=None),
    'cells that ran in another order': lambda s, b: (b['cells'][1].update(execution_count=2),
                                                     b['cells'][2].update(execution_count=1)),
    'an error': lambda s, b: shown(b, 'error', ename='E', evalue='', traceback=[]),
    'a warning': lambda s, b: shown(b, 'stream', name='stderr', text='Careful'),
    'a path': lambda s, b: shown(b, 'stream', text='in /home/me/x.py'),
    'an address': lambda s, b: shown(b, 'stream', text='<x at 0x7f00aa11bb22>'),
    'its size': lambda s, b: shown(b, 'stream', text='long ' * 400_000),
    'its form': lambda s, b: b.update(cells={}),
}


@pytest.fixture(scope='module')
def small():
    """The twin of a small source, really run."""
    return json.loads(maker.dumps(maker.execute(SMALL, 'small.py')))


@pytest.mark.parametrize('change', STALE)
def test_a_stale_twin_is_seen(change, small):
    assert maker.problems(SMALL, 'small.py', json.dumps(small)) == []
    book = nbformat.from_dict(small)
    changed = STALE[change](SMALL, book)
    source = changed if isinstance(changed, str) else SMALL
    assert maker.problems(source, 'small.py', json.dumps(book)) != []


def test_a_copy_of_a_real_notebook_goes_stale(tmp_path):
    source, other = tmp_path / SOURCES[0].name, SOURCES[0].with_suffix('.ipynb')
    shutil.copy(SOURCES[0], source)
    assert maker.check(source) == ['there is no twin']
    shutil.copy(other, tmp_path)
    assert maker.check(source) == []
    source.write_text(source.read_text().replace('import numpy as np', 'import numpy as np  # changed', 1))
    assert len(maker.check(source)) == 2        # the hash and a cell


@pytest.mark.parametrize(('words', 'bad'), [
    ('in /work/main/levels', True), ('/tmp/tmpabc/grid.gif', True), ("'/usr/lib/python3'", True),
    ('C:\\Users\\me', True), ('~/notes', True), ('ipykernel_123', True), ('<f at 0x7f3a2b1c>', True),
    ('levels/level0_foundations', False),
    ('a / b', False), ('https://host.org/home/x', False), ('0x600060 is a hash', False), ('and/or', False)])
def test_what_counts_as_a_word_about_the_machine(words, bad):
    assert bool(maker.MACHINE.search(words)) == bad


def test_making_twice_gives_the_same_and_a_failing_source_leaves_nothing(tmp_path, small, capsys):
    source = tmp_path / 'small.py'
    source.write_text(SMALL)
    assert maker.make(source) == [] == maker.check(source)
    assert json.loads(source.with_suffix('.ipynb').read_text()) == small
    bad = tmp_path / 'bad.py'
    bad.write_text('# %%\nopen("left", "w").close()\n\n# %%\n1 / 0\n')
    problem, = maker.make(bad)
    assert 'ZeroDivisionError' in problem
    assert {p.name for p in tmp_path.iterdir()} == {'small.py', 'small.ipynb', 'bad.py'}


def test_the_command():
    def run(*argv):
        return subprocess.run([sys.executable, '-m', 'tools.make_notebooks', *argv], cwd=maker.ROOT, text=True,
                              capture_output=True, check=False)

    good, bad = run('--check'), run('07_nothing')
    assert (good.returncode, good.stdout) == (0, ''.join(f'{name}: fresh\n' for name in IDS))
    assert bad.returncode == 2 and 'names: expected some of 01_' in bad.stderr and 'found 07_nothing' in bad.stderr


def shape(book) -> list:
    """Kinds of all outputs, and what was printed, numbers apart."""
    found = []
    for i, out in maker.outputs(book):
        said = re.sub(r'[-+]?\d[\d.,e+-]*', '#', maker.words(out)) if out['output_type'] == 'stream' else ''
        found.append((i, out['output_type'], sorted(out.get('data', {})), said.split()))
    return found


@pytest.mark.parametrize('source', [
    pytest.param(p, marks=() if p.stem == RUN_ALWAYS else pytest.mark.slow, id=p.stem) for p in SOURCES])
def test_it_runs_and_shows_what_the_twin_shows(source):
    spent = lambda: sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
    before, code_ = spent(), source.read_text(encoding='utf-8')
    book = maker.execute(code_, source.name)
    seconds = spent() - before      # of the processor, so that a busy machine does not count
    assert maker.problems(code_, source.name, maker.dumps(book)) == []
    old = nbformat.read(source.with_suffix('.ipynb'), as_version=4)
    assert shape(book) == shape(old), f'python -m tools.make_notebooks {source.stem} --again'
    assert 1 < seconds < maker.LIMIT


def test_moving_pictures(tmp_path):
    from matplotlib import pyplot as plt
    from matplotlib.animation import FuncAnimation
    gif = animate_grid(rotation(0.5), tmp_path / 'turn.gif', steps=4, hold=0, lines=3)
    made = moving(gif, rest=2.0, colours=16)
    with Image.open(io.BytesIO(made._repr_png_())) as image:
        assert image.format == 'PNG' and image.n_frames == made.frames == 4
        assert image.convert('RGB').getpixel((2, 2)) == (255, 255, 255) and len(image.getcolors(256)) <= 16
        times = []
        for i in range(4):
            image.seek(i)
            times.append(image.info['duration'])
    assert times[3] == times[0] + 2000 and abs(sum(times) / 1000 - made.seconds) < 1e-6
    figure, ax = plt.subplots(figsize=(2, 2))
    line, = ax.plot([0, 1], [0, 0])
    drawn = moving(FuncAnimation(figure, lambda i: line.set_ydata([0, i]), frames=3), fps=10, rest=0)
    assert (drawn.frames, drawn.seconds) == (3, 0.3) and not plt.fignum_exists(figure.number)
    for options in ({'colours': 1}, {'rest': -1}):
        with pytest.raises(ValueError, match='expected'):
            moving(gif, **options)
    still = tmp_path / 'still.gif'
    Image.new('RGB', (4, 4)).save(still)
    with pytest.raises(ValueError, match='source: expected at least 2 frames, found 1'):
        moving(still)
