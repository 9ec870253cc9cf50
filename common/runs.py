"""A run's folder: config.json env.json metrics.jsonl timing.jsonl checkpoints/ plots/ samples/ result.json run.lock.

    with Run(args).open() as run:
        if run.finished() is None:
            run.truncate(step)                      # on resume: drop rows that the checkpoint has not seen
            run.log(step, 'train', {'loss': 0.5})   # metrics.jsonl, deterministic
            run.timing(step, rows_per_s=1e5)        # timing.jsonl, not
            run.result({...})

`metrics.jsonl` has one JSON object per line: step, split, unit (left out when ''), then the values sorted by name;
floats as `repr` writes them, NaN and infinities as strings. It holds no time: its SHA-256 is that of the unbroken run.
"""
import os
import time
from pathlib import Path

from common import folder, runtime
from common.errors import RunError, one_line
from common.rows import Rows, read_rows

RESULT_FLAGS = ('seeds', 'reduction', 'on_nan', 'loss_spike')     # flags that change results; `_identity` adds two


class Run:
    """A run folder. Nothing is touched before `open`. In a run of many processes only process 0 locks and writes."""

    def __init__(self, args):
        self.args, self.config = args, args.config
        self.dir = Path(os.path.abspath(args.workdir))
        self.checkpoints, self.plots, self.samples = (self.dir / n for n in ('checkpoints', 'plots', 'samples'))
        self.writes = args.process_id == 0
        self.notes: list[str] = []         # what `open` has to tell: a lock taken over, harmless changes
        self._lock = folder.Lock(self.dir / 'run.lock')
        self._metrics, self._timing = Rows(self.dir / 'metrics.jsonl'), Rows(self.dir / 'timing.jsonl')

    def open(self) -> 'Run':
        """Makes the folder, locks it and compares its config. RunError or RunLocked before anything else is written."""
        if not self.writes:
            self._compare()
            return self
        folder.usable(self.args.workdir)
        self._lock.acquire()
        try:
            if self._lock.killed:
                self.notes.append(f'taking over from a run that was killed: {folder.describe(self._lock.killed)}')
            self._compare()
            for sub in (self.checkpoints, self.plots, self.samples):
                try:
                    sub.mkdir(exist_ok=True)
                except OSError as e:
                    raise RunError(f'{sub} cannot be made: {e.strerror}') from None
            if self.finished() is None:
                folder.write_json(self.dir / 'config.json', self._identity())
                folder.write_json(self.dir / 'env.json', runtime.environment())
        except BaseException:
            self._lock.release()
            raise
        return self

    def close(self) -> None:
        """Closes the files and frees the folder."""
        self._metrics.close()
        self._timing.close()
        self._lock.release()

    def __enter__(self) -> 'Run':
        return self

    def __exit__(self, *exc) -> None:
        self.close()

    def finished(self) -> dict | None:
        """The result of a run that is done, else None. RunError if result.json is damaged."""
        return folder.read_json(self.dir / 'result.json')

    def result(self, values: dict) -> None:
        """Writes result.json, which marks the run as finished. StorageError if the disk refuses."""
        if self.writes:
            self.sync()
            folder.write_json(self.dir / 'result.json', values)

    def env(self, **more) -> None:
        """Adds to env.json."""
        if self.writes:
            path = self.dir / 'env.json'
            folder.write_json(path, {**(folder.read_json(path) or {}), **more})

    def log(self, step: int, split: str, values: dict, unit: str = '') -> None:
        """Appends a row to metrics.jsonl. Values are numbers, text, None, or (nested) lists or arrays of numbers."""
        if clash := {'step', 'split', 'unit'} & set(values):
            raise ValueError(f'a metric cannot be called {min(clash)!r}')
        row = {'step': int(step), 'split': split} | ({'unit': unit} if unit else {})
        if self.writes:
            self._metrics.append(row | {k: values[k] for k in sorted(values)})

    def timing(self, step: int, **values) -> None:
        """Appends a row to timing.jsonl: seconds, rates, memory; `time` is the wall clock."""
        if self.writes:
            self._timing.append({'step': int(step), 'time': round(time.time(), 3), **values})

    def truncate(self, step: int, unit: str = '') -> None:
        """Drops rows of `unit` beyond `step` (-1: all) and a torn last line from metrics.jsonl, in one step."""
        if self.writes:
            self._metrics.keep(lambda row: row.get('unit', '') != unit or row['step'] <= step)

    def sync(self) -> None:
        """Forces the logged rows to the disk, so that a checkpoint that follows never outlives them in a power cut."""
        self._metrics.sync()

    def _identity(self) -> dict:
        """What must not change between the starts of one run."""
        flags = {name: getattr(self.args, name) for name in RESULT_FLAGS}
        flags |= {'seed_mode': self.args.seed_mode} if self.args.seeds > 1 else {}
        flags |= {'micro_batches': self.args.micro_batches} if self.args.reduction == 'ordered' else {}
        return folder.plain({'project': self.args.package, 'config': self.config.to_dict(), 'flags': flags})

    def _compare(self) -> None:
        """RunError with one line per difference between this start and what the folder holds."""
        stored, now = folder.read_json(self.dir / 'config.json'), self._identity()
        if stored is None:
            for path in (self.dir / 'result.json', self._metrics.path, *self.checkpoints.glob('*')):
                if path.exists():
                    raise RunError(f'{self.dir} has {path.name} but no config.json: neither resumed nor overwritten')
            return
        old, new = _flat(stored), _flat(now)
        changed = {name: one_line(f'{name}: was {old.get(name, "(absent)")}, now {new.get(name, "(absent)")}')
                   for name in sorted(set(old) | set(new)) if old.get(name, ()) != new.get(name, ())}
        harmless = [text + ' (harmless)' for name, text in changed.items() if name in self.args.harmless]
        lines = [text for name, text in changed.items() if name not in self.args.harmless]
        if lines:
            raise RunError('\n  '.join([f'{self.dir} holds a run with another config:', *lines, *harmless])
                           + f'\nUse another --workdir or the old values. Fields that may change: '
                           f'{", ".join(self.args.harmless) or "none"}')
        self.notes += harmless


def read_metrics(path: str | os.PathLike) -> list[dict]:
    """The rows of a metrics.jsonl (or of the one in a run folder) in file order; a torn last line is left out.

    NaN and infinities come back as floats. FileNotFoundError if there is none, RunError if an earlier line is damaged.
    """
    path = Path(path)
    return read_rows(path / 'metrics.jsonl' if path.is_dir() else path)


def _flat(identity: dict) -> dict:
    """Config fields by name, flags as --name; RunError if the file is not of this form."""
    try:
        flags = {f'--{k}': v for k, v in identity['flags'].items()}
        return dict(identity['config']) | flags | {'project': identity['project']}
    except (KeyError, TypeError, ValueError, AttributeError):
        raise RunError('the config.json of the run is damaged: it must hold project, config and flags') from None
