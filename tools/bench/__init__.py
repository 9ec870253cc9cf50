"""How fast every project steps, on this machine, and against whom: `python -m tools.bench`.  See docs/benchmarks.md.

    python -m tools.bench                              every project and strategy; a table, and JSON with --out=FILE
    python -m tools.bench --peer                       and the same work in torch, stable-baselines3, PyG, scikit-learn
    python -m tools.bench compare A.json B.json        what changed beyond the noise
    python -m tools.bench baseline --reason='...'      rewrites the FLOPs and bytes that tests hold every step to

    suite        what is run, in which order, and the JSON
    workloads    the table: names, sizes, targets        forms    what its rows are made of
    classical/   the estimators of level 1: one row each
    worker       one measurement in a process of its own, told when to run
    projects     a project's own run, caught at `loop.fit`
    ours         the work that peers do as well, on the core
    peers/       the peers
    pairs        A B A B, ratios, and when there is none
    goals        the same up to a test accuracy: `ours_goals`, `peers/torch_goals`
    flops        formulas        machine     peaks, load, versions        table, compare    for people
    baseline     the gates without noise

Here is the command line alone: nothing that takes time is imported before it is right.
"""
import argparse
import sys
from pathlib import Path

from common.errors import UsageError, did_you_mean
from tools.bench import workloads

STRATEGIES = ('jit', 'pmap', 'mesh')
SCHEMA = 1          # of the JSON; goes up when a number changes its meaning
COMMANDS = ('compare', 'baseline')


class _Parser(argparse.ArgumentParser):
    def error(self, message):
        found = message.removeprefix('unrecognized arguments: ').split()
        if message.startswith('unrecognized') and found:
            known = [o for a in self._actions for o in a.option_strings]
            message = f'no flag {found[0]}{did_you_mean(found[0].partition("=")[0], known)}'
        raise UsageError(message)


def parse(argv: list[str]) -> argparse.Namespace:
    """The command line.  Raises UsageError with one line for whatever is wrong; --help prints and exits."""
    command = argv[0] if argv and not argv[0].startswith('-') else ''
    if command and command not in COMMANDS:
        raise UsageError(f'no command {command!r}{did_you_mean(command, COMMANDS)}; there are {", ".join(COMMANDS)}')
    parser = _Parser(prog=f'python -m tools.bench {command}'.strip(), description=__doc__.splitlines()[0],
                     allow_abbrev=False)
    if command == 'compare':
        parser.add_argument('files', nargs='*', metavar='FILE', help='A.json and B.json, older first')
    elif command == 'baseline':
        parser.add_argument('--reason', default='', help='why the numbers may change; written into the file')
    else:
        parser.add_argument('--only', default='', help='names, with commas between: ' + ', '.join(workloads.shown()))
        parser.add_argument('--strategy', default='', help='one of ' + ', '.join(STRATEGIES) + '; default: all')
        parser.add_argument('--peer', action='store_true', help='the comparisons with peers as well')
        parser.add_argument('--quick', action='store_true', help='fewer repeats: for trying, not for reporting')
        parser.add_argument('--out', default='', help='the JSON file; default: runs/bench.json')
        parser.add_argument('--data_dir', default='', help='folder of full-size data sets (cora.npz)')
    args = parser.parse_args(argv[1:] if command else argv)
    args.command = command
    _check(args)
    return args


def _check(args) -> None:
    if args.command == 'compare':
        if len(args.files) != 2:
            raise UsageError(f'compare: expected two files, found {len(args.files)}')
        return
    if args.command == 'baseline':
        if not args.reason.strip():
            raise UsageError('baseline: say why the numbers may change, as --reason=TEXT')
        return
    args.only = [name for name in args.only.split(',') if name]
    for name in args.only:
        if name not in workloads.names():
            raise UsageError(f'--only={name}: no such workload{did_you_mean(name, workloads.names())}; there are '
                             + ', '.join(workloads.shown()))
    groups = workloads.groups()
    args.only = [one for name in args.only for one in groups.get(name, [name])]
    if args.strategy and args.strategy not in STRATEGIES:
        raise UsageError(f'--strategy={args.strategy}: not one of {", ".join(STRATEGIES)}'
                         f'{did_you_mean(args.strategy, STRATEGIES)}')
    out = Path(args.out or 'runs/bench.json')
    if out.is_dir() or (out.parent.exists() and not out.parent.is_dir()):
        raise UsageError(f'--out={out}: not a file that can be written')
    args.out = out


def main(argv: list[str] | None = None) -> int:
    """The exit code; errors for people are one line and 2."""
    argv = sys.argv[1:] if argv is None else argv
    try:
        args = parse(argv)
        if args.command == 'compare':
            from tools.bench import compare
            print('\n'.join(compare.lines(*map(compare.load, args.files))))
        elif args.command == 'baseline':
            from tools.bench import baseline
            print(baseline.rewrite(args.reason))
        else:
            from tools.bench import suite
            suite.run(args)
    except UsageError as e:
        print(f'error: {e}', file=sys.stderr)
        return e.exit_code
    except OSError as e:
        print(f'error: {e.filename}: {e.strerror}', file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0
