"""Model FLOPs utilisation: what share of this machine's arithmetic goes into the model.

Formula: MFU = tokens per second x FLOPs per token / peak; FLOPs per token = 6 N + 12 layers context width, N being the
    weights of all products: forward 2 N, both gradients 4 N; scores and averages of attention 4 context width a layer
    and three times that with gradients, the masked half included. Norms, softmax, embeddings (a gather), the optimiser
    and anything computed twice do not count: a dearer optimiser lowers MFU.
Source: Chowdhery et al. 2022, PaLM, appendix B.
"""
import time
from typing import Any

import jax
import jax.numpy as jnp

from common.experiment import Trained
from common.rows import read_rows
from common.runs import Run


def flops_per_token(c, vocab: int) -> float:
    """Floating-point operations that a token costs in training; the head is tied to the embedding, and counts once."""
    weights = c.layers * 12 * c.width**2 + vocab * c.width
    return 6.0 * weights + 12.0 * c.layers * c.context * c.width


class Meter:
    """A hook that multiplies square matrices between two stretches of training: what the device gives to a product.

    On a machine of its own that is its peak. Where others compute too it is what they leave of it at that time, as
    they do with training: one look at the end of a long run would compare two different loads.
    """

    def __init__(self, dtype: str):
        self.n = 1024 if jax.devices()[0].platform == 'cpu' else 4096
        self.a = (jax.random.normal(jax.random.key(0), (self.n, self.n)) / self.n**0.5).astype(jnp.dtype(dtype))
        self.multiply = jax.jit(lambda a, b: a @ b)     # a power of `a` stays finite
        self.products, self.seconds = 0, 0.0

    def __call__(self, step: int, carry: Any) -> None:
        b = jax.block_until_ready((self.multiply(self.a, self.a), carry))[0]
        for _ in range(2):
            began = time.perf_counter()
            b = jax.block_until_ready(self.multiply(self.a, b))
            self.products, self.seconds = self.products + 1, self.seconds + time.perf_counter() - began

    def flops_per_s(self) -> float:
        """Of one device, over all products so far; measured now where there was none yet."""
        if not self.products:
            self(0, None)
        return self.products * 2.0 * self.n**3 / self.seconds


def of(run: Run, trained: Trained, meter: Meter, vocab: int) -> dict[str, float]:
    """What result.json says: MFU and its three factors. Speed is that of training alone (compiling, evaluation, samples
    and saves left out) over all seeds and starts of the run; the peak is the meter's, times the devices that were used.

    Virtual devices of a CPU share its cores, and count as one.
    """
    rows = read_rows(run.dir / 'timing.jsonl')
    seconds = sum(row['train_seconds'] for row in rows)
    speed = sum(row['tokens_per_s'] * row['train_seconds'] for row in rows) / seconds
    devices = len(trained.carries) if trained.mode == 'devices' else jax.device_count()
    if jax.devices()[0].platform == 'cpu' or (run.args.strategy == 'jit' and trained.mode != 'devices'):
        devices = 1
    per_token, peak = flops_per_token(run.config, vocab), devices * meter.flops_per_s()
    return {'mfu': speed * per_token / peak, 'tokens_per_s': speed, 'flops_per_token': per_token,
            'peak_flops_per_s': peak}
