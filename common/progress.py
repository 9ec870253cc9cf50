"""Live progress: a bar on a terminal, plain lines in a log. Text that the stream cannot encode is escaped."""
import os
import sys
import time
from typing import TextIO


class Progress:
    """`with Progress(total) as p: p.update(step, {'loss': 0.1}, 1e4); p.say('saved')`.

    `start` is the step that a resumed run begins at, `enabled=False` keeps it silent (other processes than 0). Plain
    lines come at most every `quiet_s` seconds, except the first and the last.
    """

    def __init__(self, total: int, unit: str = '', *, start: int = 0, enabled: bool = True, quiet_s: float = 1.0,
                 stream: TextIO | None = None):
        self.total, self.unit, self.start, self.enabled, self.quiet_s = total, unit, start, enabled, quiet_s
        self.stream = stream or sys.stdout
        self.live = enabled and self.stream.isatty() and os.environ.get('TERM', '') not in ('', 'dumb')
        self._bar = self._task = self._said = None
        self._began = time.monotonic()

    def __enter__(self) -> 'Progress':
        self._began = time.monotonic()
        if self.live:
            from rich.console import Console
            from rich.progress import BarColumn, TextColumn
            from rich.progress import Progress as Bar
            self._bar = Bar(TextColumn('{task.description}', markup=False), BarColumn(bar_width=24),
                            TextColumn('{task.fields[text]}', markup=False), console=Console(file=self.stream))
            self._task = self._bar.add_task(self.unit, total=self.total, completed=self.start, text='')
            self._bar.start()
        return self

    def __exit__(self, *exc) -> None:
        if self._bar:
            self._bar.stop()

    def update(self, step: int, values: dict, rows_per_s: float | None = None) -> None:
        """Shows where the run is, e.g. 'step 400/2000  loss 0.1234  12,345 rows/s  eta 0:12'."""
        if not self.enabled:
            return
        now = time.monotonic()
        done, seconds = step - self.start, now - self._began
        eta = clock(seconds / done * (self.total - step)) if done > 0 else '?'
        parts = [f'step {step}/{self.total}', *(f'{k} {number(v)}' for k, v in values.items())]
        parts += [f'{rows_per_s:,.0f} rows/s'] if rows_per_s else []
        text = '  '.join([*parts, f'eta {eta}' if step < self.total else f'took {clock(seconds)}'])
        if self._bar:
            self._bar.update(self._task, completed=step, text=self._fit(text))
        elif self._said is None or step >= self.total or now - self._said >= self.quiet_s:
            self._said = now
            self._line(f'{self.unit}  {text}' if self.unit else text)

    def say(self, text: str) -> None:
        """Prints a line of its own."""
        if self._bar:
            self._bar.console.print(self._fit(text), markup=False, highlight=False)
        elif self.enabled:
            self._line(text)

    def _line(self, text: str) -> None:
        print(self._fit(text), file=self.stream, flush=True)

    def _fit(self, text: str) -> str:
        encoding = getattr(self.stream, 'encoding', None) or 'utf-8'
        return text.encode(encoding, 'backslashreplace').decode(encoding)


def number(value) -> str:
    """Four significant digits; a list or array (one value per seed) as its mean; anything else as it is."""
    if hasattr(value, 'tolist'):
        value = value.tolist()
    if isinstance(value, list | tuple) and value:
        return number(sum(value) / len(value))
    return f'{value:.4g}' if isinstance(value, float) else str(value)


def clock(seconds: float) -> str:
    """'0:12' or '1:02:03'."""
    m, s = divmod(round(seconds), 60)
    h, m = divmod(m, 60)
    return f'{h}:{m:02}:{s:02}' if h else f'{m}:{s:02}'
