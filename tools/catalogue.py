"""Print the catalogue of components: `python -m tools.catalogue [--json] [--kind KIND] [--level N]`."""

import argparse
import json

from levels.catalogue import KINDS, as_json, members


def main(argv: list[str] | None = None) -> None:
    """Print a table, or with `--json` a list of {name, kind, import, level, topic, oracle, paper}."""
    parser = argparse.ArgumentParser(prog='python -m tools.catalogue', description='List every public component.')
    parser.add_argument('--json', action='store_true', help='a JSON list instead of a table')
    parser.add_argument('--kind', choices=KINDS, help='only this kind')
    parser.add_argument('--level', type=int, help='only this level')
    args = parser.parse_args(argv)
    rows = members(kind=args.kind, level=args.level)
    if args.json:
        print(json.dumps(as_json(rows), indent=2))
        return

    from rich.console import Console
    from rich.table import Table

    table = Table(title=f'{len(rows)} components')
    table.add_column('level', justify='right')
    for column in ('name', 'kind', 'topic', 'import'):
        table.add_column(column, no_wrap=column != 'topic')
    table.add_column('oracle')
    for r in rows:
        table.add_row(str(r.level), r.name, r.kind, r.topic, r.import_path, r.oracle)
    console = Console()
    # a pipe has no width of its own, and 80 columns would break the import paths; `--json` also has the papers
    (console if console.is_terminal else Console(width=200)).print(table)


if __name__ == '__main__':
    main()
