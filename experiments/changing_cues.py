"""Cues whose right answers change again and again: a layer of reward-modulated STDP beside PPO's gradients.

What counts is the return while it learns: judged afterwards, with weights at rest, it meets the first answers again.
"""

from synrl_ray.experiment import (
    PPO,
    AnnPolicy,
    Environment,
    Evaluation,
    Experiment,
    LogUniform,
    PairSTDP,
    PlasticLayers,
    RewardModulatedSTDP,
    SpikingPolicy,
    Stopping,
    WeightBounds,
)

experiment = Experiment(
    id="changing-cues",
    summary="Cues whose right answers change again and again, plastic layers beside PPO",
    environment=Environment(id="synrl_ray/ChangingCues-v0", num_envs=8),
    spiking=SpikingPolicy(
        hidden_sizes=(64,),
        steps_per_observation=4,
        critic="ann",
        plastic=PlasticLayers(
            layers=(-1,),
            # An answer is rewarded at once: the trace need not last.
            rule=RewardModulatedSTDP(stdp=PairSTDP(a_plus=1.0, a_minus=0.0), tau_e=2.0, lr=1.0),
            bounds=WeightBounds(w_min=-3.0, w_max=3.0),
        ),
    ),
    ann=AnnPolicy(hidden_sizes=(64,)),
    algorithm=PPO(lr=3e-3, lr_decay=False, train_batch_size=256, minibatch_size=128, num_epochs=4),
    stopping=Stopping(env_steps=64_000),  # 20 times other answers, of 8 environments
    evaluation=Evaluation(episodes=100, interval_steps=64_000),
    search_space={"algorithm.lr": LogUniform(1e-3, 3e-2)},
)
