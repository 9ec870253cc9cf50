"""One measurement in a process of its own: `python -m tools.bench.worker '{"do": ..., ...}'`.

It speaks with its parent in lines of JSON: out on what was standard output (everything that is printed meanwhile goes
to standard error), in by `go` and `stop`.  A side of a comparison waits for `go`, does one repeat, says what it took,
and waits again; so two sides take turns, and neither runs while the other is timed.
"""
import json
import os
import sys
import time
from collections.abc import Callable

from common.errors import DataError, UserError, one_line
from tools.bench import workloads

TRIAL = 1.0     # seconds


class Stop(Exception):
    """The parent has seen enough."""


class Bell:
    """`wait` until the parent rings, `report` what was done since."""

    def __init__(self, out, into):
        self.out, self.into = out, into
        self.since = self.cpu = 0.0
        self.peak: int | None = None

    def send(self, **message) -> None:
        self.out.write(json.dumps(message) + '\n')
        self.out.flush()

    def wait(self) -> None:
        if self.into.readline().strip() != 'go':
            raise Stop
        self.since, self.cpu = time.perf_counter(), time.process_time()

    def report(self, look: Callable[[], dict] | None = None) -> None:
        """`look`: what is said with it, and is not timed."""
        wall, cpu = time.perf_counter() - self.since, time.process_time() - self.cpu
        self.peak = peak_rss()      # before quality is worked out
        self.send(wall=wall, cpu=cpu, **(look() if look else {}))

    def judged(self, quality: dict) -> None:
        """Quality by name: a number, or one for each seed."""
        self.send(quality={k: [float(x) for x in v] if isinstance(v, list) else [float(v)] for k, v in quality.items()},
                  peak_rss_bytes=self.peak)


def peak_rss() -> int | None:
    """The most memory that this process has had, in bytes."""
    try:
        import resource
    except ImportError:
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == 'darwin' else 1024 * most


def tuned(peer, mode: str, pair: workloads.Pair, data_dir: str, single: bool) -> tuple[dict, dict[str, float | str]]:
    """The peer's fastest configuration here, by one short trial of each, and what the trials took per step, or why
    there is no such trial."""
    every = peer.choices(pair, mode) if hasattr(peer, 'choices') else peer.CHOICES
    choices = [c for c in every if not single or c.get('threads', 1) == 1]
    if len(choices) == 1:
        return choices[0], {}
    seconds, failed, n = {}, {}, max(1, pair.steps // 10)
    for i, choice in enumerate(choices):
        try:
            side = peer.build(pair, mode, data_dir, steps=pair.steps, **choice)
            seconds[i] = trial(side, n, pair.steps == 1)
        except RuntimeError as e:       # a form that this device does not have
            failed[i] = f'{type(e).__name__}: {one_line(e)}'
    if not seconds:
        raise RuntimeError(f'no configuration works here: {failed}')
    best = min(seconds, key=seconds.get)
    return choices[best], {json.dumps(choices[i], sort_keys=True): t for i, t in sorted({**seconds, **failed}.items())}


def trial(side, n: int, once: bool) -> float:
    """Seconds per step; the first of two runs is not warm, but tells where a second one would take long."""
    for _ in range(2):
        began = time.perf_counter()
        side.run(n)
        took = (time.perf_counter() - began) / n
        if once and took > TRIAL:
            break
    return took


def side(bell: Bell, request: dict) -> None:
    """One side of a pair: ours, or a peer's."""
    pair = workloads.pair(request['pair'])
    pair = pair._replace(**{k: request[k] for k in ('steps', 'repeats', 'seeds')})
    total = (pair.repeats + 1) * pair.steps     # the first is not counted
    name, _, mode = request['side'].partition('.')
    if pair.goal is not None:
        pair = pair._replace(sizes={**pair.sizes, 'seed': request['seed']})
    if name == 'ours':
        from tools.bench import ours
        ours.serve(pair, bell, request['data_dir'], total)
        return
    from tools.bench import peers
    peer = peers.load(name)
    choice, trials = tuned(peer, mode, pair, request['data_dir'], request['single'])
    made = peer.build(pair, mode, request['data_dir'], steps=total, **choice)
    bell.send(ready={'choice': choice, 'trials': trials})
    for _ in range(pair.repeats + 1):
        bell.wait()
        made.run(pair.steps)
        bell.report(made.quality if pair.goal is not None else None)
    bell.wait()         # the last turn of the others is over
    bell.judged(made.quality())


def work(bell: Bell, request: dict) -> None:
    kind = request['do']
    if kind == 'peaks':
        from tools.bench import machine
        bell.send(peaks=machine.peaks(request['quick']))
    elif kind == 'project':
        from tools.bench import projects
        bell.send(row=projects.measure(request))
    else:
        side(bell, request)


def main(argv: list[str], do: Callable = work) -> int:
    out = os.fdopen(os.dup(1), 'w', encoding='utf-8')
    os.dup2(2, 1)
    bell = Bell(out, sys.stdin)
    request = json.loads(argv[0])
    if request.get('core') is not None and hasattr(os, 'sched_setaffinity'):
        os.sched_setaffinity(0, {request['core']})
    try:
        do(bell, request)
    except Stop:
        return 0
    except (UserError, DataError) as e:
        bell.send(error=one_line(e))
        return 2
    except Exception as e:
        bell.send(error=f'{type(e).__name__}: {one_line(e)}')
        raise
    return 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
