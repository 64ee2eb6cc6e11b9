"""CartPole whose motor is wired the other way round again and again: Hebbian rules, by evolution strategies."""

from synrl_ray.experiment import (
    AnnHebbian,
    Choice,
    Environment,
    Evaluation,
    EvolutionExperiment,
    EvolutionStopping,
    LogUniform,
    OpenAiEs,
    ReturnTarget,
    SpikingHebbian,
)

experiment = EvolutionExperiment(
    id="cartpole-hebbian",
    summary="CartPole whose motor is rewired again and again, by evolved Hebbian rules",
    environment=Environment(
        id="synrl_ray/ChangingCartPole-v0",
        kwargs={
            "bodies": [["intact", "inverted"], ["inverted", "intact"]],
            "earliest": 40,
            "latest": 120,
            "sensed": 3,
            "max_episode_steps": 400,
        },
        num_envs=64,
    ),
    ann=AnnHebbian(hidden_sizes=(16,)),
    spiking=SpikingHebbian(hidden_sizes=(16,)),
    algorithm=OpenAiEs(num_pairs=64, num_episodes=2, sigma=0.3, sigma_decay=1.0, lr=0.15, initial_std=0.5),
    stopping=EvolutionStopping(env_steps=6_000_000),
    evaluation=Evaluation(interval_steps=500_000, interim_episodes=40),
    held_out={"bodies": [["weak", "weak inverted"], ["intact", "weak inverted"], ["long inverted", "long"]]},
    target=ReturnTarget(mean_return=360.0, source="90 % of the most that is possible, 400"),
    search_space={"algorithm.lr": LogUniform(0.02, 0.3), "algorithm.sigma": Choice((0.05, 0.1, 0.2))},
)
