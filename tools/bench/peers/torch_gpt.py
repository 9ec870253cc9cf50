"""The same GPT in torch: fused projections, torch's own attention kernel, fused AdamW, one embedding for both ends.

`compiled` tries torch.compile as well, which needs a C++ compiler; where there is none that trial is left out.
"""
import math
import shutil

import numpy as np

from common import datasets, texts
from tools.bench.peers import Peer, cuda, torch_mlp

require = torch_mlp.require


def choices(pair, mode):
    forms = [{'threads': 1}, {'threads': 2}]
    if cuda.wanted():
        forms = cuda.FORMS
    return [*forms, *([{**forms[-1], 'compiled': True}] if shutil.which('g++') else [])]


def network(torch, c, vocab: int):
    """GPT-2 without biases, as the project's config `shakespeare` has it."""
    nn, F = torch.nn, torch.nn.functional

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm_1, self.norm_2 = (nn.LayerNorm(c.width, bias=False) for _ in range(2))
            self.qkv, self.out = nn.Linear(c.width, 3 * c.width, bias=False), nn.Linear(c.width, c.width, bias=False)
            self.up = nn.Linear(c.width, 4 * c.width, bias=False)
            self.down = nn.Linear(4 * c.width, c.width, bias=False)

        def forward(self, x):
            b, t, w = x.shape
            q, k, v = (a.view(b, t, c.heads, -1).transpose(1, 2) for a in self.qkv(self.norm_1(x)).split(w, 2))
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.out(y.transpose(1, 2).reshape(b, t, w))
            return x + self.down(F.gelu(self.up(self.norm_2(x)), approximate='tanh'))

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.wte, self.wpe = nn.Embedding(vocab, c.width), nn.Embedding(c.context, c.width)
            self.blocks = nn.ModuleList(Block() for _ in range(c.layers))
            self.norm_f = nn.LayerNorm(c.width, bias=False)

        def forward(self, tokens, targets):
            x = self.wte(tokens) + self.wpe.weight[None]
            for block in self.blocks:
                x = block(x)
            logits = F.linear(self.norm_f(x), self.wte.weight)
            return F.cross_entropy(logits.view(-1, vocab), targets.reshape(-1))

    net = Net()
    for name, p in net.named_parameters():
        if p.ndim == 2:
            last = name.endswith(('out.weight', 'down.weight'))
            nn.init.normal_(p, std=0.02 / math.sqrt(2 * c.layers) if last else 0.02)
    return net


def rate(c, step: int) -> float:
    """Warm-up and cosine, as `projects.level5_mini_gpt.model.optimizer` has them."""
    if step < c.warmup:
        return c.rate * step / c.warmup
    share = min(1.0, (step - c.warmup) / (c.steps - c.warmup))
    return c.rate * ((1 - c.final) * 0.5 * (1 + math.cos(math.pi * share)) + c.final)


def build(pair, mode, data_dir, *, steps, threads=2, compiled=False, graph=False):
    torch = cuda.prepared(require(), threads)
    from projects.level5_mini_gpt import config
    c = config.get_config('shakespeare')
    text = np.frombuffer(texts.as_str(datasets.load('king_james').train['text']).encode('utf-32-le'), np.uint32)
    known, codes = np.unique(text, return_inverse=True)
    tokens, net = cuda.moved(torch.from_numpy(codes.astype(np.int64)), network(torch, c, len(known)))
    matrices = [p for p in net.parameters() if p.ndim >= 2]
    others = [p for p in net.parameters() if p.ndim < 2]
    groups = [{'params': matrices, 'weight_decay': c.weight_decay}, {'params': others, 'weight_decay': 0}]
    tx = torch.optim.AdamW(groups, lr=c.rate, betas=(0.9, c.beta2), fused=True, capturable=graph)
    rates, = cuda.moved(torch.zeros(())) if graph else (None,)      # a graph reads it where it lies
    for group in tx.param_groups if graph else ():
        group['lr'] = rates
    model = torch.compile(net) if compiled else net
    parameters, offsets = list(net.parameters()), torch.arange(c.context + 1, device=tokens.device)
    count, seen, last = 0, [], tokens.new_zeros((), dtype=torch.float32)

    def learn(window):
        tx.zero_grad(set_to_none=True)
        loss = model(window[:, :-1], window[:, 1:])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, c.clip, foreach=True)
        tx.step()
        last.copy_(loss.detach())

    def window():
        return tokens[torch.randint(len(tokens) - c.context, (c.batch_size, 1), device=tokens.device) + offsets]

    one = cuda.captured(torch, learn, window()) if graph else learn

    def run(n):
        nonlocal count
        seen.clear()
        for _ in range(n):
            if graph:
                rates.fill_(rate(c, count))
            else:
                for group in tx.param_groups:
                    group['lr'] = rate(c, count)
            one(window())
            seen.append(last.clone())
            count += 1
        cuda.wait(torch)

    return Peer(run, lambda: {'loss': float(torch.stack(seen).mean())})
