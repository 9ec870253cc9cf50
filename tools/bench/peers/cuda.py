"""The torch peers on a GPU: they run there when JAX does, in TF32 as JAX does by default, and a whole step may be one
CUDA graph, which spares a small network the launches of its kernels."""
import functools
import os

FORMS = [{'graph': False}, {'graph': True}]


@functools.cache
def wanted() -> bool:
    """Whether torch has a GPU and JAX was not told to stay on the CPU."""
    import torch
    return torch.cuda.is_available() and os.environ.get('JAX_PLATFORMS') != 'cpu'


def prepared(torch, threads: int):
    """torch with its threads, seed and precision set."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    if wanted():
        torch.set_float32_matmul_precision('high')
        torch.backends.cudnn.benchmark = True
    return torch


def moved(*things):
    """Tensors and modules on the device that is measured."""
    return tuple(x.to('cuda', non_blocking=True) for x in things) if wanted() else things


def wait(torch) -> None:
    """Until the device has done what it was given."""
    if wanted():
        torch.cuda.synchronize()


def captured(torch, learn, *like):
    """`learn` as one CUDA graph, its arguments copied into fixed tensors; three steps are taken before."""
    fixed = [x.clone() for x in like]
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            learn(*fixed)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        learn(*fixed)

    def replay(*given):
        for place, value in zip(fixed, given, strict=True):
            place.copy_(value)
        graph.replay()

    return replay
