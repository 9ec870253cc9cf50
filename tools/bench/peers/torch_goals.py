"""LeNet-5 and ResNet-9 in torch up to a test accuracy, by the recipes of `tools.bench.ours_goals`: resident tensors,
fused optimisers, memory format and number of threads by trial."""
import numpy as np

from common import datasets
from projects.level3_cifar10 import config
from tools.bench.peers import Peer, cuda, torch_lenet, torch_mlp, torch_nets

require = torch_mlp.require
choices = torch_lenet.choices
DATA = {'mnist_to_99': 'mnist', 'cifar10_to_60': 'cifar10_subset'}


def lenet(torch, pair, dataset):
    """(network, learn, guess, train, test): LeNet-5 with Adam."""
    net, = cuda.moved(torch_lenet.network(torch))
    learn = torch_mlp.stepper(torch, net, 1e-3)
    return net, learn, net, *(torch_mlp.digits(torch, split, 'image') for split in (dataset.train, dataset.test))


def resnet9(torch, pair, dataset):
    """The same of ResNet-9 with one cycle of SGD, decay of kernels alone, crops, flips and smoothed labels."""
    c = config.get_config('subset')
    net, = cuda.moved(torch_nets.ResNet9Peer(c.width))
    kernels = [p for p in net.parameters() if p.ndim > 1]
    tx = torch.optim.SGD(net.parameters(), lr=c.rate, momentum=c.momentum, nesterov=True, fused=True)
    loss_fn = torch.nn.CrossEntropyLoss(label_smoothing=c.smoothing)
    pixels = dataset.train['image']
    mean, std = (f(pixels, axis=(0, 1, 2), dtype=np.float64) for f in (np.mean, np.std))
    done, places = 0, torch.arange(32)

    def tensors(split):
        x = (split['image'] - mean) / std
        return torch.from_numpy(x.astype(np.float32)).permute(0, 3, 1, 2), torch.from_numpy(split['label']).long()

    def learn(x, y):
        nonlocal done
        n = len(x)
        wide = torch.nn.functional.pad(x, (c.crop,) * 4)
        rows, cols = (torch.randint(0, 2 * c.crop + 1, (n, 1)) + places for _ in range(2))
        x = wide[torch.arange(n)[:, None, None], :, rows[:, :, None], cols[:, None, :]].permute(0, 3, 1, 2)
        x = torch.where(torch.rand(n, 1, 1, 1) < 0.5, x.flip(3), x).contiguous(memory_format=layout(torch, net))
        rate = c.rate * float(np.interp(done, [0, c.climb * c.steps, c.steps], [0.05, 1.0, 0.01]))
        tx.param_groups[0]['lr'] = rate
        tx.zero_grad(set_to_none=True)
        loss_fn(net(x), y).backward()
        with torch.no_grad():
            torch._foreach_mul_(kernels, 1 - rate * c.weight_decay)
        tx.step()
        done += 1

    return net, learn, lambda x: net(x) + net(x.flip(3)), tensors(dataset.train), tensors(dataset.test)


def layout(torch, net):
    """The memory format that the network's kernels have."""
    kernel = next(p for p in net.parameters() if p.ndim == 4 and p.shape[1] > 1)
    return torch.channels_last if kernel.is_contiguous(memory_format=torch.channels_last) else torch.contiguous_format


def build(pair, mode, data_dir, *, steps, threads=1, channels_last=False, graph=False):
    torch = cuda.prepared(require(), threads)
    torch.manual_seed(pair.sizes['seed'])
    dataset = datasets.load(DATA[pair.name], data_dir=data_dir)
    net, learn, guess, train, test = {'mnist_to_99': lenet, 'cifar10_to_60': resnet9}[pair.name](torch, pair, dataset)
    net.to(memory_format=torch.channels_last if channels_last else torch.contiguous_format)
    batches = torch_mlp.shuffled(torch, *cuda.moved(*train), pair.sizes['batch'])

    def run(n):
        net.train()
        for _ in range(n):
            learn(*next(batches))
        cuda.wait(torch)

    def quality():
        net.eval()
        with torch.no_grad():
            hits = [(guess(x).argmax(1) == y).sum() for x, y in zip(*(a.split(1000) for a in cuda.moved(*test)))]
        return {'accuracy': float(sum(hits)) / len(test[1])}

    return Peer(run, quality)
