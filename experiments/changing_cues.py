"""Cues whose right answers change again and again: a layer of reward-modulated STDP beside PPO's gradients.

It ends where the first answers are right again, after the twentieth change, and is judged on these with its weights at
rest. What it is like on the way is the return while it learns (`benchmarks/changing_cues.py`).
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
    Target,
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
            rule=RewardModulatedSTDP(stdp=PairSTDP(a_plus=1.0, a_minus=0.0), tau_e=2.0, lr=3.0),
            bounds=WeightBounds(w_min=-3.0, w_max=3.0),
        ),
    ),
    ann=AnnPolicy(hidden_sizes=(64,)),
    # What suits PPO best where it is alone: often, in large steps, and never sure.
    algorithm=PPO(lr=1e-2, lr_decay=False, train_batch_size=128, minibatch_size=64, num_epochs=4, entropy_coeff=0.1),
    stopping=Stopping(env_steps=67_072),  # 3,200 of 8 environments with the same answers
    evaluation=Evaluation(episodes=100, interval_steps=67_072),
    target=Target(mean_return=0.9, source="90 % of the optimum, 1, which is exact; chance is 0.25"),
    search_space={"algorithm.lr": LogUniform(1e-3, 3e-2)},
)
