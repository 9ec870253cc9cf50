"""Begin a component: its file, its row in the catalogue, and a test that fails until you have written the rest.

    python -m tools.new_component --level=2 --name=highway --kind='linen module' --topic='Deep Neural Networks (DNN)'

Everything is checked before anything is written, and no file is overwritten.  docs/add_a_component.md is the guide.
"""
import ast
import keyword
import re
import textwrap

from common.errors import UsageError
from levels import KINDS, Member
from levels.catalogue import members
from tools import scaffold

CLASSES = ('linen module', 'cell', 'gnn layer')         # the others are functions
NEEDS = {'estimator': 1, 'cell': 4, 'rl agent': 6, 'gnn layer': 7, 'generative': 7}     # where their contract lives
BY_HAND = {'scikit-learn face': 'levels/level1_classical/sklearn_api/', 'lesson': 'levels/level0_foundations/lessons/',
           'tuner': 'levels/level2_neural/tuning/'}
FOLDERS = {'gnn layer': 'graphs', 'generative': 'generative'}
PACKAGE = '''"""Level {number}, {title}: TODO name what is here.

`MEMBERS` is this level's part of `levels.catalogue`. Importing the package imports no component.
"""

from levels import Member

DONE = ()     # topics whose definition of done is met, tests and all

MEMBERS = ()
'''
TEST = '"""{} beside its peer: the same weights and inputs, the same numbers."""\n'
ROW = '''    Member(
        name={0.name!r},
        kind={0.kind!r},
        import_path={0.import_path!r},
        level={0.level},
        topic={0.topic!r},
        oracle={0.oracle!r},
        paper={0.paper!r},
    ),
'''


def parse(argv: list[str]):
    parser = scaffold.Parser('tools.new_component', __doc__)
    parser.add_argument('--level', required=True, help='0 to 7')
    parser.add_argument('--name', required=True, help='as in highway or HighwayNet')
    parser.add_argument('--kind', required=True, help=', '.join(k for k in KINDS if k not in BY_HAND))
    parser.add_argument('--topic', required=True, help='as docs/roadmap.toml writes it')
    parser.add_argument('--folder', default='', help='a package of the level that the file goes into, as in regression')
    parser.add_argument('--oracle', default='TODO the peer', help='the peer, as in torch.nn.Linear')
    parser.add_argument('--paper', default='TODO author year, title', help='author year, title')
    return parser.parse_args(argv)


def names(name: str, kind: str) -> tuple[str, str]:
    """(name of the object, of its module): ('HighwayNet', 'highway_net')."""
    if not re.fullmatch(r'[A-Za-z][A-Za-z0-9_]{0,29}', name) or keyword.iskeyword(name):
        raise UsageError(f'name: expected a Python name of at most 30 letters, digits and _; found {name!r}')
    snake = re.sub(r'(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])', '_', name).lower()
    if keyword.iskeyword(snake):
        raise UsageError(f'name: {snake}.py could not be imported')
    camel = name if name[0].isupper() else ''.join(part[:1].upper() + part[1:] for part in name.split('_'))
    return camel if kind in CLASSES else snake, snake


def level_of(args, levels: list[dict]) -> dict:
    """The level, with kind and topic checked against it."""
    numbers = [str(level['number']) for level in levels]
    number = scaffold.one_of('level', args.level, numbers, f'docs/roadmap.toml, which has {", ".join(numbers)}')
    scaffold.one_of('kind', args.kind, KINDS, f'docs/contracts.md: {", ".join(KINDS)}')
    if args.kind in BY_HAND:
        raise UsageError(f'kind: {args.kind}: there is no template; add it in {BY_HAND[args.kind]}')
    level = levels[numbers.index(number)]
    scaffold.one_of('topic', args.topic, [t for each in levels for t in each['topics']], 'docs/roadmap.toml')
    if args.topic not in level['topics']:
        home = next(each['number'] for each in levels if args.topic in each['topics'])
        raise UsageError(f'level: {args.topic!r} is a topic of level {home}, did you mean --level={home}?')
    if level['number'] < NEEDS.get(args.kind, 0):
        raise UsageError(f'kind: {args.kind} needs level {NEEDS[args.kind]}, which level {number} may not import')
    return level


def add_member(text: str, member: Member, path: str) -> str:
    """The source of a level's `__init__.py` with one more row at the end of its literal table MEMBERS."""
    body = ast.parse(text).body
    tables = [n.value for n in body if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == 'MEMBERS']
    imports = any(a.name == 'Member' for n in body if isinstance(n, ast.ImportFrom) for a in n.names)
    lines = text.splitlines(keepends=True)
    if len(tables) != 1 or not isinstance(tables[0], ast.Tuple) or not imports:
        raise UsageError(f'{path}: expected `from levels import Member` and one literal table MEMBERS = (...)')
    before = lines[:tables[0].end_lineno]
    last, end = before.pop(), tables[0].end_col_offset
    head = ''.join([*before, last[:end - 1]]).rstrip()
    comma = '' if head.endswith((',', '(')) else ','
    return head + comma + '\n' + ROW.format(member) + ')' + last[end:] + ''.join(lines[len(before) + 1:])


def contract(page: str, kind: str) -> tuple[str, str]:
    """(docs/contracts.md with a kind that was coming now having members, the battery of the kind or '')."""
    page = page.replace(f'| `{kind}` | coming |', f'| `{kind}` | members |')
    found = re.search(rf'^\| `{re.escape(kind)}` \| battery: \[`([\w/.]+)`\]', page, re.M)
    return page, found[1] if found else ''


def plan(args) -> tuple[dict[str, str], dict[str, str], str]:
    """(new files, edited files, battery of the kind)."""
    level = level_of(args, scaffold.roadmap())
    name, module = names(args.name, args.kind)
    for flag in ('oracle', 'paper'):
        text = getattr(args, flag)
        if not text.strip() or len(text) > 95 or not text.isprintable() or '\\' in text or '"' in text:
            raise UsageError(f'{flag}: expected 1 to 95 characters without " and \\; found {text!r}')
    if taken := [row.import_path for row in members() if row.name == name]:
        raise UsageError(f'name: {name} is in the catalogue already, as {taken[0]}')
    folder = args.folder or FOLDERS.get(args.kind, '')
    package = '/'.join(filter(None, [level['package'], folder]))
    has = sorted(p.parent.name for p in (scaffold.ROOT / level['package']).glob('*/__init__.py'))
    if folder:
        scaffold.one_of('folder', folder, has, f'{level["package"]}, which has {", ".join(has) or "none"}')
    member = Member(name, args.kind, f'{package.replace("/", ".")}.{module}.{name}', level['number'], args.topic,
                    args.oracle, args.paper)
    table, edited, new = f'{level["package"]}/__init__.py', {}, {}
    if (scaffold.ROOT / table).exists():
        edited[table] = add_member(scaffold.read(table), member, table)
    else:
        new[table] = add_member(PACKAGE.format(**level), member, table)
        row = f'| `{level["package"]}` | level {level["number"]}: {name} |'
        edited['WORKSPACE.md'] = scaffold.add_row(scaffold.read('WORKSPACE.md'), row)
    page, battery = contract(scaffold.read('docs/contracts.md'), args.kind)
    if page != scaffold.read('docs/contracts.md'):
        edited['docs/contracts.md'] = page
    laws = f'a case in {battery}' if battery else 'tests of its laws (docs/contracts.md)'
    words = {'name': name, 'module': member.import_path.rpartition('.')[0], 'paper': args.paper, 'constants':
             f"PEER = {args.oracle!r}\nTODO = ('{name}: write peer() below, and {laws}; '\n"
             "        'docs/add_a_component.md says how')\n",
             'paper_here': textwrap.fill(args.paper, 105, subsequent_indent='    ')}
    templates = scaffold.sections('components.txt')
    new[f'{package}/{module}.py'] = templates[args.kind].substitute(words)
    new[f'tests/parity/test_{module}.py'] = TEST.format(name) + templates[f'{args.kind} test'].substitute(words)
    return new, edited, battery


def main(argv: list[str]) -> None:
    new, edited, battery = plan(parse(argv))
    scaffold.write(new, edited)
    lacks = f'the count of {battery}, which lacks a case' if battery else 'nothing else, as the kind has no battery yet'
    print(f'Now fails, until you write it: the peer in {list(new)[-1]}, and {lacks}.\n'
          'Then the component itself and every TODO; docs/add_a_component.md says how.')


if __name__ == '__main__':
    scaffold.run(main)
