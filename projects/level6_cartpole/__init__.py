"""CartPole balancing with PPO."""
