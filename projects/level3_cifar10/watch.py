"""CPU seconds of training alone, noted in timing.jsonl at each evaluation, and carried on by a run that resumes."""
import time
from collections.abc import Callable

import numpy as np

from common.rows import read_rows
from common.runs import Run


class Watch:
    """Stands still while the run compiles and while it evaluates.

        watch = Watch(run)
        watch.expect('resnet9', [seed])         # before a fit of one or several seeds begins
        loop.fit(..., resumed=watch.go, hooks=[Hook(100, lambda step, carry: watch.look(score)(carry))])
        watch.curve('resnet9', seed)            # [[step, CPU seconds, accuracy], ...]
    """

    def __init__(self, run: Run):
        self.run, self.name, self.seeds, self.waiting = run, '', [], []
        self.seconds, self.since = 0.0, 0.0

    def expect(self, name: str, seed: int) -> None:
        """A fit of this network is about to begin; of several seeds in one program each is told."""
        self.name, self.waiting = name, [*self.waiting, seed]

    def go(self, step: int) -> None:
        """Training goes on from this step, with the seconds that it had taken to get there."""
        self.seeds, self.waiting = self.waiting or self.seeds, []
        before = [row for row in self._rows() if row['seeds'] == self.seeds and row['step'] <= step]
        last = max(before, key=lambda row: row['step'], default=None)
        self.seconds = last['cpu_seconds'] * step / last['step'] if last else 0.0
        self.since = time.process_time()

    def look(self, score: Callable) -> Callable:
        """`score`, a function of a Carry, that is not counted, and whose accuracy is noted."""
        def watched(carry):
            self.seconds += time.process_time() - self.since
            values = score(carry)
            accuracy = [float(v) for v in np.atleast_1d(values['accuracy'])]
            self.run.timing(int(carry.step), network=self.name, seeds=self.seeds, accuracy=accuracy,
                            cpu_seconds=round(self.seconds, 3))
            self.since = time.process_time()
            return values
        return watched

    def curve(self, name: str, seed: int) -> list[list[float]]:
        """[step, CPU seconds, test accuracy] of each evaluation; seeds of one program share their seconds."""
        found = {row['step']: [row['step'], row['cpu_seconds'], row['accuracy'][row['seeds'].index(seed)]]
                 for row in self._rows(name) if seed in row['seeds']}
        return [found[step] for step in sorted(found)]

    def _rows(self, name: str | None = None) -> list[dict]:
        path = self.run.dir / 'timing.jsonl'
        rows = read_rows(path) if path.exists() else []
        return [row for row in rows if row.get('network') == (name or self.name)]


def passing(curve: list[list[float]], goal: float) -> dict[str, float] | None:
    """Step and CPU seconds of the first evaluation at which the goal was reached; None where it never was."""
    return next(({'step': step, 'cpu_seconds': seconds} for step, seconds, value in curve if value >= goal), None)
