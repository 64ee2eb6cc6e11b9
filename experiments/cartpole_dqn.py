"""CartPole-v1 with DQN: a spiking Q-network, four simulation steps from rest for each observation."""

from synrl_ray.experiment import (
    DQN,
    AnnPolicy,
    Environment,
    Evaluation,
    Experiment,
    LogUniform,
    SpikingPolicy,
    Stopping,
    Target,
    Uniform,
)

experiment = Experiment(
    id="cartpole-dqn",
    summary="CartPole-v1 with DQN",
    environment=Environment(id="CartPole-v1", reward_scale=0.1, num_envs=8),
    spiking=SpikingPolicy(hidden_sizes=(64, 64), steps_per_observation=4),
    ann=AnnPolicy(hidden_sizes=(64, 64)),
    algorithm=DQN(lr=1e-3, train_batch_size=128, train_interval=64, num_updates=32, target_update=256, n_step=3),
    stopping=Stopping(env_steps=120_000, mean_return=495.0),  # further updates can undo what has been learned
    evaluation=Evaluation(episodes=100, interval_steps=5_000, interim_episodes=50),
    target=Target(mean_return=475.0, source="Gymnasium's reward threshold of CartPole-v1"),
    search_space={
        "algorithm.lr": LogUniform(3e-4, 3e-3),
        "algorithm.epsilon_end": Uniform(0.01, 0.1),
        "spiking.beta": Uniform(0.5, 0.99),
    },
)
