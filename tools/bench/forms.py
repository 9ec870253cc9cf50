"""What a comparison with a peer is made of: the rows of `workloads` and of `classical`.  No JAX here."""
from typing import Any, NamedTuple


class Peer(NamedTuple):
    """A module of `peers/` and what it is asked for, as `torch_mlp.resident`; target: the wall ratio to reach, one: the
    ratio of CPU seconds of one thread; or None."""
    name: str
    target: float | None
    one: float | None = None


class Quality(NamedTuple):
    """What both sides are asked for after the same number of steps, and how much worse ours may be; with several seeds
    at least two standard errors of the difference."""
    name: str
    better: str         # 'higher' or 'lower'
    margin: float


class Pair(NamedTuple):
    """`steps` in one repeat, `repeats` of them after one that is not counted; `sizes` is what both sides read."""
    name: str
    what: str
    peers: tuple[Peer, ...]
    unit: str
    units_per_step: int
    steps: int
    repeats: int
    quality: Quality
    sizes: dict[str, Any]
    data: str = ''      # a file that --data_dir must have
    seeds: int = 1      # whose quality is compared, by their means; those beyond the first are not timed
    group: str = ''     # what `--only` may name instead of all that are in it
    one_thread: bool = True     # whether CPU seconds of one thread are taken as well
    own_cores: bool = False     # whether our side may be faster on one core, which a trial then tells
    own_devices: bool = False   # the same of a batch that is split among as many devices as there are cores
    goal: float | None = None   # of `goals`: the quality to reach, looked at after each repeat

    def quick(self) -> 'Pair':
        if self.goal is not None:
            return self._replace(seeds=1)
        return self._replace(steps=max(1, self.steps // 4), repeats=min(3, self.repeats), seeds=1)
