"""Level 6, reinforcement learning: environments, returns, rollouts, A2C and PPO (with or without a memory).

`MEMBERS` is this level's part of `levels.catalogue`. Importing the package imports no component.
"""

from levels import Member

_HERE = 'levels.level6_reinforcement'

DONE = ('Actor-Critic', 'PPO')    # topics whose definition of done is met; the rest has not begun

MEMBERS = (
    Member(
        name='discounted_returns',
        kind='op',
        import_path=f'{_HERE}.returns.discounted_returns',
        level=6,
        topic='Policy Gradient',
        oracle='sums over hand-split episodes in NumPy float64',
        paper='Sutton, Barto 2018, Reinforcement Learning, eq. 3.8',
    ),
    Member(
        name='n_step_returns',
        kind='op',
        import_path=f'{_HERE}.returns.n_step_returns',
        level=6,
        topic='Actor-Critic',
        oracle='sums over hand-split episodes in NumPy float64',
        paper='Sutton, Barto 2018, Reinforcement Learning, eq. 7.1',
    ),
    Member(
        name='gae',
        kind='op',
        import_path=f'{_HERE}.returns.gae',
        level=6,
        topic='Actor-Critic',
        oracle='sums over hand-split episodes in NumPy float64',
        paper='Schulman, Moritz, Levine, Jordan, Abbeel 2016, High-dimensional continuous control using GAE, eq. 16',
    ),
    Member(
        name='a2c',
        kind='rl agent',
        import_path=f'{_HERE}.a2c.a2c',
        level=6,
        topic='Actor-Critic',
        oracle='probe environments with known values; the gradient of its loss, written out',
        paper='Mnih et al. 2016, Asynchronous methods for deep reinforcement learning, section 4, run synchronously',
    ),
    Member(
        name='ppo',
        kind='rl agent',
        import_path=f'{_HERE}.ppo.ppo',
        level=6,
        topic='PPO',
        oracle='probe environments with known values; torch.distributions; torch.nn.LSTM and GRU episode by episode',
        paper='Schulman, Wolski, Dhariwal, Radford, Klimov 2017, Proximal policy optimization algorithms',
    ),
)
