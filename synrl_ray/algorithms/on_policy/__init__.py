"""What algorithms share that learn from rollouts of the policy that they train: PPO, A2C, REINFORCE, IMPALA, PQN."""
