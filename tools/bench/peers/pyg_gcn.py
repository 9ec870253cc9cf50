"""The GCN in torch_geometric with fused Adam; messages by scatter or by a sparse matrix, features dense or sparse, and
the number of threads (on a GPU: one CUDA graph) by trial.
The normalised adjacency is computed once (`cached=True`)."""
import numpy as np

from common import graph_data
from tools.bench import inputs
from tools.bench.peers import Peer, cuda


def require():
    import torch_geometric
    return torch_geometric


def choices(pair, mode):
    hows = cuda.FORMS if cuda.wanted() else [{'threads': 1}, {'threads': 2}]
    return [{**how, 'form': form} for how in hows for form in ('edges', 'csr')]


def build(pair, mode, data_dir, *, steps, threads=2, form='edges', graph=False):
    require()
    import torch
    from torch.nn import functional as F
    from torch_geometric.nn import GCNConv
    from torch_geometric.utils import to_torch_csr_tensor
    cuda.prepared(torch, threads)
    s, g = pair.sizes, graph_data.load('cora', data_dir=data_dir or None)
    train, _, test = (torch.from_numpy(m) for m in inputs.cora_masks(g.label))
    x = torch.zeros(g.nodes, g.words)
    x[g.row, g.column] = torch.from_numpy((1 / np.bincount(g.row, minlength=g.nodes))[g.row].astype(np.float32))
    y = torch.from_numpy(g.label.astype(np.int64))
    index = torch.from_numpy(np.concatenate([g.link, g.link[:, ::-1]]).T.astype(np.int64).copy())
    links = index if form == 'edges' else to_torch_csr_tensor(index, size=(g.nodes, g.nodes))     # symmetric

    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.one = GCNConv(g.words, s['hidden'], cached=True)
            self.two = GCNConv(s['hidden'], len(g.classes), cached=True)

        def forward(self, x):
            h = F.relu(self.one(F.dropout(x, s['dropout'], self.training), links))
            return self.two(F.dropout(h, s['dropout'], self.training), links)

    train = train.nonzero()[:, 0]       # a mask would make the host wait for the device
    x, y, train, test, links, net = cuda.moved(x, y, train, test, links, Net())
    tx = torch.optim.Adam(net.parameters(), lr=s['rate'], weight_decay=s['decay'], fused=True, capturable=graph)
    known = y[train]

    def learn():
        tx.zero_grad(set_to_none=True)
        F.cross_entropy(net(x)[train], known).backward()
        tx.step()

    learn = cuda.captured(torch, learn) if graph else learn

    def run(n):
        net.train()
        for _ in range(n):
            learn()
        cuda.wait(torch)

    def quality():
        net.eval()
        with torch.no_grad():
            return {'accuracy': float((net(x).argmax(1) == y)[test].float().mean())}

    return Peer(run, quality)
