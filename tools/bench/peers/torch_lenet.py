"""LeNet-5 in torch with fused Adam, resident tensors; memory format and number of threads by trial."""
from common import datasets
from tools.bench.peers import Peer, cuda, torch_mlp

require = torch_mlp.require


def choices(pair, mode):
    forms = cuda.FORMS if cuda.wanted() else [{'threads': 1}, {'threads': 2}]
    return [{**form, 'channels_last': last} for form in forms for last in (False, True)]


def network(torch):
    """The layers of `levels.level3_vision.lenet.LeNet5`."""
    nn = torch.nn
    return nn.Sequential(nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(),
                         nn.MaxPool2d(2), nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(),
                         nn.Linear(84, 10))


def build(pair, mode, data_dir, *, steps, threads=1, channels_last=False, graph=False):
    torch = cuda.prepared(require(), threads)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    (net,), ds = cuda.moved(network(torch).to(memory_format=layout)), datasets.load('mnist_5k')
    x, y = cuda.moved(*torch_mlp.digits(torch, ds.train, 'image'))
    batches = torch_mlp.shuffled(torch, x, y, pair.sizes['batch'])
    one = torch_mlp.stepper(torch, net, pair.sizes['rate'], graph)

    def learn(x, y):
        one(x.contiguous(memory_format=layout), y)

    learn = cuda.captured(torch, learn, *next(batches)) if graph else learn

    def run(n):
        for _ in range(n):
            learn(*next(batches))
        cuda.wait(torch)

    return Peer(run, lambda: {'accuracy': torch_mlp.accuracy(torch, net, *torch_mlp.digits(torch, ds.test, 'image'))})
