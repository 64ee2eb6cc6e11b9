"""CartPole-v1 with PPO: a spiking policy, four simulation steps from rest for each observation."""

from synrl_ray.experiment import (
    PPO,
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
    id="cartpole-ppo",
    summary="CartPole-v1 with PPO",
    environment=Environment(id="CartPole-v1", num_envs=8),
    spiking=SpikingPolicy(hidden_sizes=(64, 64), steps_per_observation=4),
    ann=AnnPolicy(hidden_sizes=(64, 64)),
    algorithm=PPO(lr=1e-3, train_batch_size=2048, minibatch_size=128, num_epochs=8),
    stopping=Stopping(env_steps=100_000),
    evaluation=Evaluation(episodes=100, interval_steps=10_000, interim_episodes=20),
    target=Target(mean_return=475.0, source="Gymnasium's reward threshold of CartPole-v1"),
    search_space={
        "algorithm.lr": LogUniform(3e-4, 3e-3),
        "spiking.beta": Uniform(0.5, 0.99),
        "algorithm.entropy_coeff": Uniform(0.0, 0.02),
    },
)
