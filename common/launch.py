"""The entry of every project: parse, open the run folder, set up, run `<package>.experiment.main(run)`, exit.

    from common import launch
    if __name__ == '__main__':
        launch.main('projects.level2_mnist')

Everything that can be wrong with the command or the folder is said before JAX is imported. Exit codes: `common.errors`.
"""
import contextlib
import dataclasses
import importlib
import sys
from collections.abc import Iterator

from absl import flags

from common import runtime, signals
from common.args import HELP, Args, help_text, parse
from common.errors import Interrupted, UserError
from common.runs import Run

__all__ = ['Args', 'main', 'parse']


def main(package: str, argv: list[str] | None = None) -> None:
    """Runs the project and ends the process. `argv` is without the program's name (default: that of the process).

    Errors for people print their message; a bug keeps its traceback and ends with 1.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, ValueError):
            stream.reconfigure(errors='backslashreplace')
    try:
        run_project(package, sys.argv[1:] if argv is None else argv)
        code = 0
    except UserError as e:
        print(f'error: {e}' if not isinstance(e, Interrupted) else e, file=sys.stderr, flush=True)
        code = e.exit_code
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:         # --help | head
        code = 0
    sys.exit(code)


def run_project(package: str, argv: list[str]) -> None:
    """What `main` does, with errors raised."""
    if any(a in HELP for a in argv):
        print(help_text(package), flush=True)
        return
    args = parse(package, argv)
    if args.distributed == 'auto':      # which process this is, only JAX can tell
        with _processes(args):
            import jax
            _run(dataclasses.replace(args, process_id=jax.process_index(), num_processes=jax.process_count()))
    else:
        _run(args)


def _run(args: Args) -> None:
    """Opens the run folder, then JAX, then the project."""
    with signals.catch(), Run(args).open() as run:
        for note in run.notes:
            print(note, file=sys.stderr, flush=True)
        if (result := run.finished()) is not None:
            print(f'{run.dir} is finished: {summary(result)}', flush=True)
            return
        with _processes(args) if args.distributed != 'auto' else contextlib.nullcontext():
            run.env(runtime=runtime.setup(args))
            importlib.import_module(f'{args.package}.experiment').main(run)


@contextlib.contextmanager
def _processes(args: Args) -> Iterator[None]:
    """Joins the other processes of the run, if there are any."""
    flags.FLAGS(['main'])       # absl's own flags at their defaults, for libraries that read them
    if args.distributed == 'off':
        yield
        return
    runtime.setup(args)         # before JAX is imported
    from common import processes
    with processes.together(args):
        yield


def summary(result: dict) -> str:
    """The metrics of a result.json as 'accuracy 0.9712, loss 0.103'."""
    metrics = result.get('metrics')
    pairs = metrics.items() if isinstance(metrics, dict) else ()
    means = {k: v.get('mean') if isinstance(v, dict) else v for k, v in pairs}
    shown = [f'{k} {v:.6g}' if isinstance(v, int | float) else f'{k} {v}' for k, v in means.items()]
    return ', '.join(shown) or 'no metrics'
