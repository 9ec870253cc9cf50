"""The numbers for people: lines of progress, and the tables at the end."""


def amount(x: float | None, unit: str = '') -> str:
    """1234567 -> '1.23 M': three digits and a prefix."""
    if x is None:
        return '-'
    for factor, prefix in ((1e12, 'T'), (1e9, 'G'), (1e6, 'M'), (1e3, 'k'), (1, ''), (1e-3, 'm'), (1e-6, 'u')):
        if abs(x) >= factor:
            return f'{x / factor:.3g} {prefix}{unit}'.strip()
    return f'{x:.3g} {unit}'.strip()


def share(x: float | None) -> str:
    return '-' if x is None else f'{x:.0%}'


def ratio(x: float | None) -> str:
    return '-' if x is None else f'{x:.2f}'


def why(row: dict) -> str:
    return ''.join(f'{k}: {row[k]}' for k in ('skipped', 'failed') if k in row)


def peaks(found: dict) -> str:
    return (f'{amount(found["matmul_flops_per_s"], "FLOP/s")} in a matrix product, '
            f'{amount(found["copy_bytes_per_s"], "B/s")} in a copy')


def brief(row: dict) -> str:
    """A row on one line."""
    if why(row):
        return why(row)
    if 'peer' in row:
        q = row['quality']
        return (f'{ratio(row["wall_ratio"])} x {row["peer"]} ({row["refused"] or "wall"}), '
                f'{ratio(row["cpu_ratio_one_thread"])} in CPU seconds of one thread; target {row["target"]}; '
                f'{q["name"]} {q["ours"]:.4g} against {q["theirs"]:.4g}')
    return (f'{amount(row["step_s"]["p50"], "s")} a step, {amount(row["units_per_s"])} {row["unit"]}/s, '
            f'compiled in {row["compile_s"]["cold"]:.1f} s, again in {row["compile_s"]["warm"]:.1f} s')


def grid(rows: list[list[str]]) -> list[str]:
    """Columns as wide as their widest cell; the first row is the header."""
    width = [max(len(r[i]) for r in rows) for i in range(len(rows[0]))]
    line = lambda r: '  '.join(c.ljust(w) if i < 2 else c.rjust(w) for i, (c, w) in enumerate(zip(r, width))).rstrip()
    return [line(rows[0]), '  '.join('-' * w for w in width), *map(line, rows[1:])]


def cells_of_rows(rows: list[dict]) -> tuple[list[list[str]], list[str]]:
    """(header and a line for each row that was measured, what is to be said of the others)."""
    head = ['project', 'strategy', 'compile', 'warm', 'step p10', 'p50', 'p90', 'per second', 'FLOPs', 'XLA FLOPs',
            'bytes', 'peak', 'matmul', 'copy']
    cells = [head]
    for r in (r for r in rows if not why(r)):
        step, use = r['step_s'], r.get('utilisation', {})
        cells.append([r['name'], f'{r["strategy"]} {r["devices"]}', f'{r["compile_s"]["cold"]:.1f} s',
                      f'{r["compile_s"]["warm"]:.1f} s', *(amount(step[p], 's') for p in ('p10', 'p50', 'p90')),
                      f'{amount(r["units_per_s"])} {r["unit"]}', amount(r['flops']['analytic']),
                      amount(r['flops']['xla']), amount(r['bytes'], 'B'), amount(r['peak_bytes'], 'B'),
                      share(use.get('matmul')), share(use.get('copy'))])
    return cells, [f'{r["name"]} {r["strategy"]}: {why(r)}' for r in rows if why(r)]


def cells_of_pairs(rows: list[dict]) -> tuple[list[list[str]], list[str]]:
    """The same of comparisons."""
    cells = [['work', 'peer', 'wall', 'target', 'met', 'CPU s, 1 thread', 'quality', 'ours', 'theirs', 'equal', 'load']]
    for r in (r for r in rows if not why(r)):
        q, met = r['quality'], {True: 'yes', False: 'no', None: '-'}[r['met']]
        cells.append([r['name'], r['peer'], ratio(r['wall_ratio']), ratio(r['target']), met,
                      ratio(r['cpu_ratio_one_thread']), q['name'], f'{q["ours"]:.4g}', f'{q["theirs"]:.4g}',
                      'yes' if q['equal'] else 'NO', '-'.join(f'{x:.1f}' for x in r['load'])])
    notes = [f'{r["name"]} {r["peer"]}: no wall ratio, {r["refused"]}' for r in rows if r.get('refused')]
    return cells, notes + [f'{r["name"]} {r["peer"]}: {why(r)}' for r in rows if why(r)]


def lines(result: dict) -> list[str]:
    """The whole result."""
    m, load = result['machine'], result['load']
    out = [f'{m["device_kind"]}, {m["processor"]}; jax {m["versions"]["jax"]}; peaks: {peaks(result["peaks"])}; '
           f'load {load["start"]:.1f} to {load["end"]:.1f} on {load["cores"]} cores'
           + ('; --quick: not for reporting' if result['quick'] else '')]
    for found in (cells_of_rows(result['rows']) if result['rows'] else None,
                  cells_of_pairs(result['pairs']) if result['pairs'] else None):
        out += ['', *grid(found[0]), *found[1]] if found else []
    return out
