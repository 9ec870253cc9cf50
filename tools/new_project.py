"""Begin a project: a thin slice that runs, its README, and a test that fails until you have written the rest.

    python -m tools.new_project --slug=level2_dnn_vs_linear --data=hprice2

Everything is checked before anything is written, and no file is overwritten.  docs/add_a_project.md is the guide.
"""
import re

from common.errors import UsageError
from tools import scaffold

FILES = ('__init__.py', 'main.py', 'config.py', 'experiment.py', 'README.md')
SETS = {        # embedded data sets, and what differs between them in the templates
    'mnist_5k': {
        'ready': "    flat = lambda images: images.reshape(len(images), -1) / np.float32(255)\n"
                 "    return [{'x': flat(d['image']), 'y': d['label']} for d in (dataset.train, dataset.test)]",
        'output': 'n_out=10', 'task': "classifier(model, optax.adam(c.rate), image='x', label='y'",
        'panels': "[('loss', 'cross-entropy (nats)'), ('accuracy', 'accuracy')]",
        'metric': 'accuracy', 'side': '>=', 'base': 'logistic regression'},
    'hprice2': {
        'ready': "    scale = {k: (v.mean(0), v.std(0)) for k, v in dataset.train.items()}\n"
                 "    split = lambda rows: {'x': rows['x'], 'y': rows['price']}\n"
                 '    scaled = lambda rows: {k: np.float32((v - scale[k][0]) / scale[k][1]) for k, v in rows.items()}\n'
                 '    return [split(scaled(rows)) for rows in (dataset.train, dataset.test)]',
        'output': "n_out=1, kind='regression'", 'task': 'regressor(model, optax.adam(c.rate)',
        'panels': "[('loss', 'mean squared error (in variances of the price)')]",
        'metric': 'loss', 'side': '<=', 'base': 'linear regression'},
}


def parse(argv: list[str]):
    parser = scaffold.Parser('tools.new_project', __doc__)
    parser.add_argument('--slug', required=True, help='of docs/roadmap.toml')
    parser.add_argument('--data', default='mnist_5k', help=f'to begin with: {" or ".join(SETS)}')
    return parser.parse_args(argv)


def count(readme: str, level: dict, slug: str) -> str:
    """The README with one project more in the status table: in the level's row, named if it fits, and in the sum."""
    rows = re.findall(rf'^\| (?:{level["number"]} {re.escape(level["title"])}|all) \|.*$', readme, re.M)
    cells = [re.fullmatch(r'(.*\| )(\d+)( of \d+)(: (?:`\w+`(?:, )?)+)?[^|]*( \|)', row) for row in rows]
    if len(rows) != 2 or None in cells:
        raise UsageError(f'README.md: no row of level {level["number"]} and row of all levels that end with N of M')
    for row, cell in zip(rows, cells, strict=True):
        start, done, of, named, end = cell.groups()
        start = f'{start}{int(done) + 1}{of}'
        names = f'{named}, `{slug}`' if named else f': `{slug}`' if done == '0' else ': see `projects/`'
        if len(start + names + end) > 120:
            names = ': see `projects/`'
        readme = readme.replace(row, start + ('' if row.startswith('| all') else names) + end)
    return readme


def plan(args) -> tuple[dict[str, str], dict[str, str]]:
    """(new files, edited files)."""
    levels = scaffold.roadmap()
    slugs = {slug: level for level in levels for slug in level['projects']}
    slug = scaffold.one_of('slug', args.slug, slugs, 'docs/roadmap.toml')
    data = scaffold.one_of('data', args.data, SETS, f'what a project can begin with: {", ".join(SETS)}')
    if (scaffold.ROOT / 'projects' / slug).exists():
        raise UsageError(f'projects/{slug} is there already; nothing was written')
    level, short = slugs[slug], slug.partition('_')[2]
    words = {'slug': slug, 'short': short, 'title': level['projects'][slug], 'data': data, **SETS[data]}
    text = {name: template.substitute(words) for name, template in scaffold.sections('project.txt').items()}
    new = {f'projects/{slug}/{name}': text[name] for name in FILES} | {f'tests/projects/test_{slug}.py': text['test']}
    row = f'| `projects/{slug}` | {words["title"]}; see `projects/{slug}/README.md` |'
    return new, {'WORKSPACE.md': scaffold.add_row(scaffold.read('WORKSPACE.md'), row),
                 'README.md': count(scaffold.read('README.md'), level, slug)}


def main(argv: list[str]) -> None:
    new, edited = plan(parse(argv))
    scaffold.write(new, edited)
    print(f'It runs already.  One test of {list(new)[-1]} fails until `expected` and the baseline are written.\n'
          'Then every TODO; docs/add_a_project.md says how.')


if __name__ == '__main__':
    scaffold.run(main)
