"""The MLP in torch with fused Adam.  `dataloader`: batches from a DataLoader, as its tutorials have them; `resident`:
images scaled once, kept as one tensor, batches by index_select of a shuffle."""
import itertools

import numpy as np

from common import datasets
from tools.bench.peers import Peer, cuda


def require():
    import torch
    return torch


def choices(pair, mode):
    return cuda.FORMS if cuda.wanted() else [{'threads': 1}, {'threads': 2}]


def digits(torch, split: dict, layout: str = 'flat'):
    """(images float32 0..1, labels) as tensors: [n, 784], or [n, 1, 28, 28]."""
    x = torch.from_numpy(split['image'].astype(np.float32) / 255)
    x = x.reshape(len(x), -1) if layout == 'flat' else x.permute(0, 3, 1, 2).contiguous()
    return x, torch.from_numpy(split['label'].astype(np.int64))


def stepper(torch, net, rate: float, graph: bool = False):
    """(x, y) -> one step of fused Adam."""
    tx = torch.optim.Adam(net.parameters(), lr=rate, fused=True, capturable=graph)
    loss_fn = torch.nn.CrossEntropyLoss()

    def learn(x, y):
        tx.zero_grad(set_to_none=True)
        loss_fn(net(x), y).backward()
        tx.step()
    return learn


def shuffled(torch, x, y, batch: int):
    """Batches for ever: a new shuffle for each epoch, the remainder dropped."""
    while True:
        order = torch.randperm(len(x), device=x.device)
        for i in range(len(x) // batch):
            rows = order[i * batch:(i + 1) * batch]
            yield x.index_select(0, rows), y.index_select(0, rows)


def loaded(torch, x, y, batch: int):
    """The same from a DataLoader."""
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=batch, shuffle=True,
                                         drop_last=True, pin_memory=cuda.wanted())
    while True:
        for pair in loader:
            yield cuda.moved(*pair)


def accuracy(torch, net, x, y) -> float:
    with torch.no_grad():
        x, y = cuda.moved(x, y)
        return float((net(x).argmax(1) == y).float().mean())


def build(pair, mode, data_dir, *, steps, threads=1, graph=False):
    torch = cuda.prepared(require(), threads)
    ds, widths = datasets.load('mnist_5k'), (784, *pair.sizes['hidden'], 10)
    layers = [m for a, b in itertools.pairwise(widths) for m in (torch.nn.Linear(a, b), torch.nn.ReLU())]
    net, = cuda.moved(torch.nn.Sequential(*layers[:-1]))
    x, y = digits(torch, ds.train)
    if mode == 'dataloader':
        batches = loaded(torch, x, y, pair.sizes['batch'])
    else:
        batches = shuffled(torch, *cuda.moved(x, y), pair.sizes['batch'])
    learn = stepper(torch, net, pair.sizes['rate'], graph)
    learn = cuda.captured(torch, learn, *next(batches)) if graph else learn

    def run(n):
        for _ in range(n):
            learn(*next(batches))
        cuda.wait(torch)

    return Peer(run, lambda: {'accuracy': accuracy(torch, net, *digits(torch, ds.test))})
