"""The networks of `torch_nets` with fused SGD, `eager` or `compiled`: memory format and number of threads by trial."""
from tools.bench import vision
from tools.bench.peers import Peer, cuda, torch_mlp

require = torch_mlp.require


def choices(pair, mode):
    forms = cuda.FORMS if cuda.wanted() else [{'threads': 1}, {'threads': 2}]
    # to compile takes a minute: all threads then, which no network here is slower with
    forms = forms[-1:] if mode == 'compiled' else forms
    return [{**form, 'channels_last': last} for form in forms for last in (False, True)]


def network(torch, pair):
    """The peer of the pair's network, with the weights that both sides begin with."""
    from tools.bench.peers import torch_mobile, torch_nets
    net = vision.NETS[pair.sizes['net']]
    options = {**net.peer_options, **(net.small[1] if pair.sizes['side'] == vision.SMALL else {})}
    options = {k: vision.at(v) if isinstance(v, str) else v for k, v in options.items()}
    made = getattr(torch_nets, net.peer, None) or getattr(torch_mobile, net.peer)
    made = made(**options, n=vision.CLASSES)
    made.load_state_dict({name: torch.from_numpy(vision.weight(name, tuple(x.shape))) if x.ndim else x
                          for name, x in made.state_dict().items()})
    return made


def build(pair, mode, data_dir, *, steps, threads=1, channels_last=False, graph=False):
    torch = cuda.prepared(require(), threads)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    train, size, given = pair.sizes['train'], pair.sizes['batch'], vision.images(pair)
    net, = cuda.moved(network(torch, pair).to(memory_format=layout).train(train))
    x = torch.from_numpy(given['image']).permute(0, 3, 1, 2).contiguous(memory_format=layout)
    x, y = cuda.moved(x, torch.from_numpy(given['label']).long())
    batches = [(x[i:i + size], y[i:i + size]) for i in range(0, len(y), size)]
    loss_fn, losses = torch.nn.CrossEntropyLoss(), []
    forward = torch.compile(net) if mode == 'compiled' else net
    if train:
        tx = torch.optim.SGD(net.parameters(), lr=vision.RATE, momentum=vision.MOMENTUM, fused=True)
        last = torch.zeros((), device=x.device)

        def learn(x, y):
            tx.zero_grad(set_to_none=True)
            loss = loss_fn(forward(x), y)
            loss.backward()
            tx.step()
            last.copy_(loss.detach())

        learn = cuda.captured(torch, learn, *batches[0]) if graph else learn
    done = 0

    def run(n):
        nonlocal done
        losses.clear()
        with torch.set_grad_enabled(train):
            for _ in range(n):
                x, y = batches[done % len(batches)]
                if train:
                    learn(x, y)
                    losses.append(last.clone())
                else:
                    losses.append(loss_fn(forward(x), y))
                done += 1
        cuda.wait(torch)

    return Peer(run, lambda: {'loss': float(sum(losses) / len(losses))})
