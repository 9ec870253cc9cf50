"""Pages that are made from data: docs/parity.md from the ledger of parity tests, docs/bench_results.md from the bench.

    PARITY_LEDGER=ledger.jsonl python -m pytest tests/parity     # measure: one JSON line per comparison
    python -m tools.make_docs --ledger=ledger.jsonl              # docs/data/parity.json and docs/parity.md
    python -m tools.bench --peer --data_dir=DATA                 # measure, on a quiet machine
    python -m tools.make_docs --bench=runs/bench.json            # a file in docs/data/bench, and docs/bench_results.md
    python -m tools.make_docs --check                            # are the pages what the data says?

A row of the ledger is {component, peer, quantity, error, gate}: error is the largest difference that was measured,
gate the bound that the test holds it to.
"""
import argparse
import json
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parents[1] / 'docs'
DATA, PAGE = DOCS / 'data' / 'parity.json', DOCS / 'parity.md'
BENCH, RESULTS = DOCS / 'data' / 'bench', DOCS / 'bench_results.md'
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


RESULTS_HEAD = """# Benchmarks: the runs that were kept

Made by `python -m tools.make_docs` from `docs/data/bench`, which `tools.bench --peer` wrote; do not edit. What the
columns mean is in [benchmarks](benchmarks.md). A ratio is the peer's time over ours: above 1 we are faster.
"""


def kept(folder: Path) -> list[dict]:
    """The runs in a folder, the newest first."""
    runs = [json.loads(path.read_text(encoding='utf-8')) for path in folder.glob('*.json')]
    return sorted(runs, key=lambda run: run['started'], reverse=True)


def render_runs(runs: list[dict]) -> str:
    """The page of the runs."""
    return '\n'.join([RESULTS_HEAD, *map(render_bench, runs)])


def render_bench(result: dict) -> str:
    """The part of one run."""
    from tools.bench import table
    m, load = result['machine'], result['load']
    text = [f'## {result["started"][:16].replace("T", " ")}\n',
            f'* {m["device_kind"]}, {m["processor"]}, load {load["start"]:.1f} to {load["end"]:.1f}',
            f'* {", ".join(f"{k} {v}" for k, v in sorted(m["versions"].items()))}',
            f'* peaks: {table.peaks(result["peaks"])}']
    for title, (cells, notes) in (('Projects', table.cells_of_rows(result['rows'])),
                                  ('Beside peers', table.cells_of_pairs(result['pairs']))):
        if len(cells) + len(notes) == 1:
            continue
        text += [f'\n### {title}\n', *('| ' + ' | '.join(line) + ' |' for line in (
            cells[0], ['---'] * len(cells[0]), *cells[1:])), '', *(f'* {note}' for note in notes)]
    return '\n'.join(text).rstrip() + '\n'


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
    parser.add_argument('--bench', type=Path, help='the JSON of tools.bench --peer')
    parser.add_argument('--check', action='store_true', help='write nothing; exit 1 if a page is stale')
    args = parser.parse_args(argv)
    if args.ledger:
        DATA.parent.mkdir(exist_ok=True)
        DATA.write_text(json.dumps(merge(read_lines(args.ledger)), indent=1) + '\n', encoding='utf-8')
    if args.bench:
        text = args.bench.read_text(encoding='utf-8')
        BENCH.mkdir(exist_ok=True)
        name = json.loads(text)['started'][:16].replace(':', '')
        (BENCH / f'{name}.json').write_text(text, encoding='utf-8')
    code = 0
    for page, made in ((PAGE, lambda: render(json.loads(DATA.read_text(encoding='utf-8')))),
                       (RESULTS, lambda: render_runs(kept(BENCH)))):
        text = made()
        if not args.check:
            page.write_text(text, encoding='utf-8')
            print(f'{page.name}: {len(text.splitlines())} lines')
        elif page.exists() and page.read_text(encoding='utf-8') == text:
            print(f'docs/{page.name} is fresh')
        else:
            print(f'docs/{page.name} is stale: python -m tools.make_docs')
            code = 1
    return code


if __name__ == '__main__':
    sys.exit(main())
