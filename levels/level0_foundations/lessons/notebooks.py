"""Jupyter notebooks: cells and their order, hidden state, stripped outputs, percent format, the executed twin.

Needs the extra `notebooks`: pip install 'ai-roadmap[notebooks]'.
"""

import copy
import random

from levels.level0_foundations.lessons.lesson import Exercise, exercise, need, raises


def notebook(*cells: str, counts: list | None = None):
    """A notebook of code cells, and of text where a cell begins with '# %% [markdown]'; `counts`: when each ran."""
    from nbformat import v4
    made = []
    for i, text in enumerate(cells):
        head, _, rest = text.partition('\n')
        markdown = head == '# %% [markdown]'
        cell = v4.new_markdown_cell(rest) if markdown else v4.new_code_cell(text)
        cell['id'] = f'cell-{i}'
        if not markdown and counts:
            cell['execution_count'] = counts[i]
        made.append(cell)
    return v4.new_notebook(cells=made, metadata={'kernelspec': {
        'name': 'python3', 'display_name': 'Python 3', 'language': 'python'}})


def _wired(rng: random.Random, n: int) -> tuple[list[str], list[int]]:
    """Shuffled cells, each of which defines a name by others, and the order that reads from top to bottom."""
    uses = [rng.sample(range(i), min(i, rng.randrange(3))) for i in range(n)]
    place = rng.sample(range(n), n)     # of cell i on the page
    name = [f'v{rng.randrange(10**6)}_{i}' for i in range(n)]
    cells = [''] * n
    for i in range(n):
        decoy = rng.choice(name)
        cells[place[i]] = rng.choice([
            f'{name[i]} = {" + ".join(["1", *(name[j] for j in uses[i])])}   # {decoy} comes later',
            f"text = 'before {decoy}'\n{name[i]} = len([{', '.join(name[j] for j in uses[i])}])"])
    needs = {place[i]: {place[j] for j in uses[i]} for i in range(n)}
    order: list[int] = []
    while len(order) < n:
        order.append(min(c for c in range(n) if c not in order and needs[c] <= set(order)))
    return cells, order


@exercise(
    '''Write order(cells): cells are the sources of a notebook that was run in some other order than it stands in.
    Return the indices of the cells in an order in which a fresh kernel runs them without a NameError; wherever
    several cells could come next, the one that stands first. If there is no such order, raise ValueError.
    Names in comments and texts mean nothing.''',
    'Which names does a cell store, and which does it load? ast.walk(ast.parse(source)) finds every ast.Name.',
    'A name has a ctx: ast.Store or ast.Load. Builtins such as len are defined from the beginning.',
    'Again and again: of the cells that are left take the first one whose names are there. None is ready: a circle.')
def order(answer):
    rng = random.Random(0)
    for n in [1, 2, *(rng.randrange(3, 9) for _ in range(30))]:
        cells, want = _wired(rng, n)
        found = list(answer(list(cells)))
        need(sorted(found) == list(range(n)), 'every cell must be named once')
        space: dict = {}
        for i in found:
            need(not raises(NameError, exec, cells[i], space), f'in this order cell {i} meets a name that is not there')
        need(found == want, 'it runs, but a cell that stands earlier could have come first')
    need(raises(ValueError, answer, ['a = b', 'b = a']), 'two cells that need each other have no order: ValueError')
    need(raises(ValueError, answer, ['a = 1', 'c = a + gone']), 'a name that no cell defines: ValueError')


@exercise(
    '''Write runs(notebook): whether the notebook runs from top to bottom in a fresh kernel. Its stored outputs and
    counts prove nothing: run it. The notebook itself stays as it is.''',
    'nbclient.NotebookClient(notebook).execute() runs every cell in a kernel of its own.',
    'It raises nbclient.exceptions.CellExecutionError for a cell that fails.',
    'execute writes outputs into the notebook that it was given: give it copy.deepcopy(notebook).')
def runs(answer):
    from nbformat import v4
    fine = notebook('x = 1', '# %% [markdown]\nThe *next* cell.', 'print(x + 1)')
    fine.cells[2]['outputs'] = [v4.new_output('error', ename='NameError', evalue='x', traceback=[])]
    hidden = notebook('y = x + 1', 'print(y)', counts=[2, 3])      # the cell that made x was deleted
    hidden.cells[1]['outputs'] = [v4.new_output('stream', text='2\n')]
    swapped = notebook('print(total)', 'total = 3', counts=[2, 1])
    for name, book, want in (('one with an old error', fine, True), ('one that lost a cell', hidden, False),
                             ('one that was run upwards', swapped, False)):
        before = copy.deepcopy(book)
        need(answer(book) is want, f'{name}: expected {want}')
        need(book == before, 'the notebook was changed')


@exercise(
    '''Write stale(notebook): the indices (into notebook.cells) of the code cells whose outputs one cannot trust: those
    that never ran (execution_count None), and those that ran before a code cell above them did.''',
    'The count of a cell says when it ran; it grows with every run of any cell.',
    'Keep the largest count seen so far on the way down.',
    "Only cells whose cell_type is 'code' have a count; an index counts all cells.")
def stale(answer):
    rng = random.Random(1)
    need(list(answer(notebook('a', '# %% [markdown]\nb', 'c', counts=[1, None, 2]))) == [], 'this one was run in order')
    for _ in range(60):
        n = rng.randrange(1, 8)
        texts = [rng.choice(['x = 1', '# %% [markdown]\ntext']) for _ in range(n)]
        counts = [rng.choice([None, *[c] * 4]) for c in rng.sample(range(1, 20), n)]
        book = notebook(*texts, counts=counts)
        code = [i for i, cell in enumerate(book.cells) if cell['cell_type'] == 'code']
        want = [i for i in code if counts[i] is None or any((counts[j] or 0) > counts[i] for j in code if j < i)]
        found = list(answer(book))
        need(found == want, f'code cells with the counts {[counts[i] for i in code]}: not these')


@exercise(
    '''Write strip(notebook): a copy without outputs, execution counts and the metadata of cells, so that a diff shows
    what a person changed. Sources, kinds and ids of cells and the metadata of the notebook stay; the notebook that was
    given is not changed; stripping twice is stripping once.''',
    'copy.deepcopy first: a cell is a dictionary, and shared ones change for both.',
    "A code cell has 'outputs', a list, and 'execution_count', None for a cell that did not run.",
    'Cells of text have neither; nbformat.validate tells whether the result is a notebook.')
def strip(answer):
    import nbformat
    from nbformat import v4
    book = notebook('x = 1\nprint(x)', '# %% [markdown]\n# A title', 'x', counts=[4, None, 7])
    book.cells[0]['outputs'] = [v4.new_output('stream', text='1\n')]
    book.cells[2]['metadata'] = {'execution': {'iopub.status.busy': '2024-01-01'}, 'collapsed': True}
    before = copy.deepcopy(book)
    once = answer(book)
    need(book == before, 'the notebook that was given was changed')
    need(once is not None, 'expected the copy')
    need(not raises(nbformat.ValidationError, nbformat.validate, once), 'the result is not a valid notebook')
    for new, old in zip(once.cells, before.cells, strict=True):
        need((new['id'], new['cell_type'], new['source']) == (old['id'], old['cell_type'], old['source']),
             'ids, kinds and sources stay')
        need(not new['metadata'], 'the metadata of a cell is left')
        if new['cell_type'] == 'code':
            need(new['outputs'] == [] and new['execution_count'] is None, 'an output or a count is left')
    need(once['metadata'] == before['metadata'], 'the metadata of the notebook stays')
    need(answer(once) == once, 'stripping twice is stripping once')


@exercise(
    '''Write percent(notebook): the notebook as a Python script in percent format, which jupytext reads back: every code
    cell after a line `# %%`, every text cell after `# %% [markdown]` with `# ` before each of its lines (`#` before an
    empty one). The script must be Python that runs.''',
    "jupytext.writes(notebook, fmt='py:percent') does it; by hand it is a dozen lines.",
    'A text of several lines needs the mark on every line, on empty ones too.',
    'Leave one empty line between cells, and none inside that was not there.')
def percent(answer):
    import jupytext
    rng = random.Random(2)
    parts = ['x = 1', 'def f(a):\n\n    return a\n\n\ny = f(2)', '# a remark\nz = 3',
             '# %% [markdown]\n# Title\n\nTwo\nlines',
             '# %% [markdown]\n* one\n* two', "text = '''a\n\nb'''"]
    for n in (1, 2, *[5] * 12):
        book = notebook(*(rng.choice(parts) for _ in range(n)))
        script = answer(book)
        need(isinstance(script, str), 'expected the text of a script')
        again = jupytext.reads(script, fmt='py:percent')
        pairs = lambda b: [(c['cell_type'], c['source']) for c in b.cells]
        need(pairs(again) == pairs(book), f'{len(book.cells)} cells were read back as others')
        compile(script, 'script', 'exec')


@exercise(
    '''Write is_fresh(script, notebook): whether a notebook is the executed twin of a script in percent format: the same
    cells (kind and source), the code cells run in order as 1, 2, 3, ..., and no output of type error.''',
    "jupytext.reads(script, fmt='py:percent') gives the cells that it should have.",
    'Compare kinds and sources of all cells, and their number.',
    'The counts of the code cells, in order, are list(range(1, n + 1)) after one run in a fresh kernel.')
def is_fresh(answer):
    import jupytext
    from nbformat import v4
    texts = ['x = 1', '# %% [markdown]\nA text.', 'print(x)', 'x += 1']
    book = notebook(*texts, counts=[1, None, 2, 3])
    script = jupytext.writes(book, fmt='py:percent')
    need(answer(script, book) is True, 'a fresh twin was refused')
    cases = {'a changed source': notebook('x = 2', *texts[1:], counts=[1, None, 2, 3]),
             'a changed text': notebook('x = 1', '# %% [markdown]\nOther.', *texts[2:], counts=[1, None, 2, 3]),
             'a cell too few': notebook(*texts[:3], counts=[1, None, 2]),
             'a cell too many': notebook(*texts, 'x', counts=[1, None, 2, 3, 4]),
             'cells run in another order': notebook(*texts, counts=[1, None, 3, 2]),
             'a cell run twice': notebook(*texts, counts=[1, None, 2, 4]),
             'cells that never ran': notebook(*texts), 'an error': copy.deepcopy(book)}
    cases['an error'].cells[2]['outputs'] = [v4.new_output('error', ename='E', evalue='', traceback=[])]
    for name, twin in cases.items():
        need(answer(script, twin) is False, f'{name} was not seen')


def jupyter_lesson() -> tuple[Exercise, ...]:
    """Six exercises: an order that runs, a fresh kernel, stale cells, stripped outputs, percent format, the twin.

    Formula: a notebook is right if a fresh kernel runs it from top to bottom; what it shows must come from that run.
    Paper: Kluyver et al. 2016, Jupyter notebooks; Pimentel et al. 2019, A large-scale study about quality and
        reproducibility of Jupyter notebooks.
    Shapes: no arrays; notebooks are nbformat's.
    Errors: AssertionError of `check`, one line, for an answer that is not right yet.
    Example:
        exercises = {e.name: e for e in jupyter_lesson()}
        try: exercises['order'].check(lambda cells: range(len(cells)))
        except AssertionError as error: line = str(error)
        assert 'a name that is not there' in line
        assert notebook('x = 1', counts=[3]).cells[0]['execution_count'] == 3
    """
    return order, runs, stale, strip, percent, is_fresh
