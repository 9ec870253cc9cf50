"""Check the rules of the house that a machine can check: `python -m tools.check_layout [FOLDER]`.

    direction   common imports common; level N imports common and levels <= N; a project imports common, levels and
                itself; nothing imports tests, and only tools import tools
    owners      pmap, Mesh, shard_map, collectives, tfds, Orbax, ... are each named in one file
    loops       no host loop over training steps outside common/loop.py (and the peers of the bench)
    oracles     torch, transformers and other test peers are not imported, but in functions of BRIDGES and in CLASSES
    unpickling  nothing is unpickled, in tests neither
    size        lines of a file: common 200, levels 300, a project's main.py and experiment.py 130, tools 200

Files are parsed, never run.  One line per problem, `path:line: what`; exit code 1 when there is any.
"""
import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

CODE = ('common', 'levels', 'projects', 'tools')
CAPS = ((r'common/', 200), (r'levels/', 300), (r'projects/[^/]+/(main|experiment)\.py$', 130), (r'tools/', 200))
OWNERS = (      # what, the dotted names, the files that may use them (a number: any files, but no more than so many)
    ('distribution', r'(jax|flax)\.(.+\.)?(pmap|(Abstract)?Mesh|shard_map|(make|set|use)_mesh|mesh_utils)(\.|$)',
     ('common/strategies.py',)),
    ('a collective', r'jax\.lax\.(psum|pmean|pmax|pmin|psum_scatter|all_gather|all_to_all|ppermute|axis_index)$',
     ('common/parallel.py',)),
    ('prefetching', r'common\.data\.Prefetch$', ('common/loop.py',)),
    ('tensorflow_datasets', r'tensorflow_datasets(\.|$)', ('common/tfds_files.py',)),
    ('Orbax', r'orbax(\.|$)', ('common/checkpoint.py',)),
    ('gymnax', r'gymnax(\.|$)', 1),
    ('gymnasium or ALE', r'(gymnasium|ale_py)(\.|$)', 1),
    ('jraph', r'jraph(\.|$)', 2),
)
STEPS, STEP_LOOPS = ('step', 'advance', 'train_step'), ('common/loop.py', 'tools/bench/peers/')   # torch's own loops
ORACLES = re.compile(r'(torch\w*|tensorflow|tf_keras|keras|transformers|diffusers|timm|xgboost|lightgbm|umap|hdbscan|'
                     r'statsmodels|librosa|open_clip|x_transformers|stable_baselines3|gpytorch|dgl|ogb)(\.|$)')
BRIDGES = ('levels/level2_neural/frameworks/',      # the topics Keras, TensorFlow and PyTorch: inside functions only
           'tools/bench/peers/')                    # what the bench compares with: the same work, in the peer
CLASSES = ('tools/bench/peers/torch_nets.py', 'tools/bench/peers/torch_mobile.py')      # of torch.nn.Module
UNPICKLE = re.compile(r'(_?pickle|cloudpickle|dill|marshal)\.(load|loads|Unpickler)$|(joblib|torch)\.load$|'
                      r'pandas\.read_pickle$|shelve(\.|$)')


class Module(NamedTuple):
    """A parsed file.  `names`: every (line, dotted name) that it imports or reaches through an import."""
    path: str
    lines: int
    tree: ast.Module
    imports: list[tuple[int, str, bool]]    # line, dotted name, whether it runs with the module and not in a function
    names: list[tuple[int, str]]


def read(root: Path, file: Path) -> Module:
    """Parses one file.  Raises SyntaxError."""
    path, text = file.relative_to(root).as_posix(), file.read_text(encoding='utf-8')
    tree = ast.parse(text, path)
    lazy = {id(n) for f in ast.walk(tree) if isinstance(f, ast.FunctionDef | ast.AsyncFunctionDef)
            for n in ast.walk(f)}
    imports, alias = [], {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for a in node.names:
                imports.append((node.lineno, a.name, id(node) not in lazy))
                alias[a.asname or a.name.partition('.')[0]] = a.name if a.asname else a.name.partition('.')[0]
        elif isinstance(node, ast.ImportFrom):
            above = path.split('/')[:-node.level] if node.level else []
            base = '.'.join([*above, *filter(None, [node.module])])
            for a in node.names:
                imports.append((node.lineno, f'{base}.{a.name}', id(node) not in lazy))
                alias[a.asname or a.name] = f'{base}.{a.name}'
        elif isinstance(node, ast.Call) and _dotted(node.func, {}).endswith('import_module') and node.args \
                and isinstance(node.args[0], ast.Constant):
            imports.append((node.lineno, str(node.args[0].value), id(node) not in lazy))
    used = [(n.lineno, _dotted(n, alias)) for n in ast.walk(tree) if isinstance(n, ast.Attribute | ast.Name)]
    names = [(line, name) for line, name, _ in imports] + [(line, name) for line, name in used if '.' in name]
    return Module(path, len(text.splitlines()), tree, imports, sorted(set(names)))


def _dotted(node: ast.AST, alias: dict[str, str]) -> str:
    """`jnp.linalg.norm` -> 'jax.numpy.linalg.norm'; '' for what is not a chain of names."""
    if isinstance(node, ast.Name):
        return alias.get(node.id, node.id)
    if isinstance(node, ast.Attribute) and (left := _dotted(node.value, alias)):
        return f'{left}.{node.attr}'
    return ''


def modules(root: Path, folders: tuple[str, ...] = CODE) -> list[Module]:
    """All Python files below those folders."""
    return [read(root, f) for name in folders for f in sorted((root / name).rglob('*.py'))]


def _level(text: str) -> int | None:
    found = re.match(r'levels[./]level(\d+)_', text)
    return int(found[1]) if found else None


def _may_import(path: str, name: str) -> bool:
    here, top = path.partition('/')[0], name.partition('.')[0]
    if top not in (*CODE, 'tests') or here == 'tests':
        return True
    if here == 'tools':
        return top != 'tests'
    if top == 'common':
        return here != 'levels' or not name.startswith('common.strategies')     # no model names a strategy
    if here == 'levels' and top == 'levels':
        mine, theirs = _level(path), _level(name)
        if mine is None:
            return True             # levels/__init__.py and catalogue.py
        return theirs <= mine if theirs is not None else not name.startswith('levels.catalogue')
    if here == 'projects':
        return top == 'levels' or f'{name}.'.startswith('.'.join(path.split('/')[:2]) + '.')
    return False


def direction(m: Module) -> Iterator[tuple[int, str]]:
    for line, name, _ in m.imports:
        if not _may_import(m.path, name):
            yield line, f'direction: {name} must not be imported here'


def oracles(m: Module) -> Iterator[tuple[int, str]]:
    for line, name, top in m.imports:
        if ORACLES.match(name) and (top or not m.path.startswith(BRIDGES)) and m.path not in CLASSES:
            yield line, f'oracles: {name} belongs to tests'


def loops(m: Module) -> Iterator[tuple[int, str]]:
    kinds = ast.For | ast.While | ast.ListComp | ast.GeneratorExp | ast.SetComp | ast.DictComp
    for loop in (n for n in ast.walk(m.tree) if isinstance(n, kinds)):
        for call in (n for n in ast.walk(loop) if isinstance(n, ast.Call)):
            name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, 'id', '')
            if name in STEPS and not m.path.startswith(STEP_LOOPS):
                yield call.lineno, f'loops: {name}() in a host loop; use common.loop.fit, task.train_fn or task.solve'


def unpickling(m: Module) -> Iterator[tuple[int, str]]:
    for line, name in m.names:
        if UNPICKLE.match(name):
            yield line, f'unpickling: {name}'
    for call in (n for n in ast.walk(m.tree) if isinstance(n, ast.Call)):
        allow = [k.value for k in call.keywords if k.arg == 'allow_pickle']
        if _dotted(call.func, {}) in ('np.load', 'numpy.load'):
            allow += call.args[2:3]
        if any(not (isinstance(v, ast.Constant) and v.value is False) for v in allow):
            yield call.lineno, 'unpickling: allow_pickle is not False'


def size(m: Module) -> Iterator[tuple[int, str]]:
    cap = next((n for pattern, n in CAPS if re.match(pattern, m.path)), m.lines)
    if m.lines > cap:
        yield cap + 1, f'size: {m.lines} lines, at most {cap}'


def owners(all_modules: list[Module]) -> Iterator[tuple[str, int, str]]:
    for what, pattern, allowed in OWNERS:
        uses = [(m.path, line, name) for m in all_modules for line, name in m.names if re.match(pattern, name)]
        files = allowed if isinstance(allowed, tuple) else tuple(dict.fromkeys(p for p, _, _ in uses))[:allowed]
        for path, line, name in uses:
            if path not in files:
                yield path, line, f'owners: {name}: {what} belongs to {", ".join(files)} alone'


def check(root: Path) -> list[str]:
    """All problems below `root`, as `path:line: what`."""
    try:
        code, tests = modules(root), modules(root, ('tests',))
    except (SyntaxError, UnicodeDecodeError) as e:
        return [f'{getattr(e, "filename", root)}:{getattr(e, "lineno", 0)}: does not parse: {e}']
    found = [(m.path, *p) for m in code for rule in (direction, oracles, loops, unpickling, size) for p in rule(m)]
    found += [(m.path, *p) for m in tests for p in unpickling(m)]
    return [f'{path}:{line}: {text}' for path, line, text in sorted({*found, *owners(code)})]


def main(argv: list[str]) -> int:
    root = Path(argv[0]) if argv else Path(__file__).resolve().parents[1]
    problems = check(root)
    print('\n'.join(problems) or f'layout: {len(modules(root))} files keep the rules')
    return bool(problems)


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
