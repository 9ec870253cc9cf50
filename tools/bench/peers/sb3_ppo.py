"""PPO of stable-baselines3 on gymnasium's CartPole-v1, with the same sizes and rates; number of threads by trial."""
from tools.bench.peers import Peer

CHOICES = [{'threads': 1}, {'threads': 2}]


def require():
    import stable_baselines3
    return stable_baselines3


def build(pair, mode, data_dir, *, steps, threads=1):
    require()
    import torch
    torch.set_num_threads(threads)
    run, returned = agent(pair, 0)

    def quality():
        found = [returned()]
        for seed in range(1, pair.seeds):
            again, there = agent(pair, seed)
            again(steps - pair.steps)
            again(pair.steps)
            found.append(there())
        return {'return': found}

    return Peer(run, quality)


def agent(pair, seed: int):
    """(run(n iterations), mean return of the episodes that ended in the last run) of one seed."""
    import torch
    from stable_baselines3 import PPO
    from stable_baselines3.common.env_util import make_vec_env
    from stable_baselines3.common.logger import Logger
    s = pair.sizes
    rows = s['n_envs'] * s['horizon']
    net = {'net_arch': {'pi': [64, 64], 'vf': [64, 64]}, 'activation_fn': torch.nn.Tanh}
    model = PPO('MlpPolicy', make_vec_env('CartPole-v1', s['n_envs'], seed=seed), n_steps=s['horizon'],
                batch_size=rows // s['minibatches'], n_epochs=s['epochs'], learning_rate=s['rate'],
                ent_coef=s['entropy'], clip_range=0.2, clip_range_vf=0.2, gamma=0.99, gae_lambda=0.95, vf_coef=0.5,
                max_grad_norm=0.5, policy_kwargs=net, seed=seed, device='cpu',
                stats_window_size=10**6)
    model.set_logger(Logger(None, []))          # else each call makes a folder
    first = True

    def run(n):
        nonlocal first
        if not first:
            model.ep_info_buffer.clear()
        model.learn(n * rows, reset_num_timesteps=first, log_interval=10**9)
        first = False

    return run, lambda: sum(e['r'] for e in model.ep_info_buffer) / max(1, len(model.ep_info_buffer))
