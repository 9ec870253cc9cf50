"""Pages that are made from data: docs/parity.md from the ledger of parity tests.

    PARITY_LEDGER=ledger.jsonl python -m pytest tests/parity     # measure: one JSON line per comparison
    python -m tools.make_docs --ledger=ledger.jsonl              # docs/data/parity.json and docs/parity.md
    python -m tools.make_docs --check                            # is the page what the data says?

A row is {component, peer, quantity, error, gate}: error is the largest difference that was measured, gate the bound
that the test holds it to.
"""
import argparse
import json
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parents[1] / 'docs'
DATA, PAGE = DOCS / 'data' / 'parity.json', DOCS / 'parity.md'
KEYS = ('component', 'peer', 'quantity')
HEAD = """# Parity: every component beside its peer

Made by `python -m tools.make_docs` from `docs/data/parity.json`; do not edit. A row is one comparison that a test in
`tests/parity` makes with the same weights or inputs on both sides: the largest difference measured on one CPU, and the
gate that the test holds it to. *Relative* errors (so said in the tests) are divided by the peer's largest entry.
"""


def merge(lines: list[dict]) -> list[dict]:
    """One row per (component, peer, quantity), in order, with its largest error; ValueError if gates differ."""
    rows: dict[tuple, dict] = {}
    for line in lines:
        key = tuple(line[k] for k in KEYS)
        row = rows.setdefault(key, dict(line))
        if row['gate'] != line['gate']:
            raise ValueError(f'{key}: expected one gate, found {row["gate"]} and {line["gate"]}')
        row['error'] = max(row['error'], line['error'])
    return [{**rows[key], 'error': float(f'{rows[key]["error"]:.1e}')} for key in sorted(rows)]


def render(rows: list[dict]) -> str:
    """The page."""
    text, last = [HEAD], None
    for row in rows:
        if row['component'] != last:
            last = row['component']
            text += [f'\n## {last}\n', '| peer | quantity | error | gate |', '| --- | --- | --- | --- |']
        text.append(f'| {row["peer"]} | {row["quantity"]} | {row["error"]:.1e} | {row["gate"]:.0e} |')
    return '\n'.join(text) + '\n'


def read_lines(path: Path) -> list[dict]:
    """The rows of a ledger that tests wrote."""
    return [json.loads(line) for line in path.read_text(encoding='utf-8').splitlines()]


def stale(measured: list[dict], written: list[dict]) -> list[str]:
    """What a whole run of the parity tests and the written data disagree in: rows and gates, and errors past a gate."""
    a, b = ({(*(r[k] for k in KEYS), r['gate']) for r in rows} for rows in (measured, written))
    return [f'not in docs/data/parity.json: {row}' for row in sorted(a - b)] + [
        f'no test measures: {row}' for row in sorted(b - a)]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--ledger', type=Path, help='JSON lines written under $PARITY_LEDGER')
    parser.add_argument('--check', action='store_true', help='write nothing; exit 1 if the page is stale')
    args = parser.parse_args(argv)
    if args.ledger:
        DATA.parent.mkdir(exist_ok=True)
        DATA.write_text(json.dumps(merge(read_lines(args.ledger)), indent=1) + '\n', encoding='utf-8')
    page = render(json.loads(DATA.read_text(encoding='utf-8')))
    if args.check:
        fresh = PAGE.exists() and PAGE.read_text(encoding='utf-8') == page
        print('docs/parity.md is fresh' if fresh else 'docs/parity.md is stale: python -m tools.make_docs')
        return 0 if fresh else 1
    PAGE.write_text(page, encoding='utf-8')
    print(f'{PAGE.name}: {len(page.splitlines())} lines')
    return 0


if __name__ == '__main__':
    sys.exit(main())
