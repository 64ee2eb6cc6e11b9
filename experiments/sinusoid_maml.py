"""Sinusoid regression with MAML, the first experiment of its paper."""

from synrl_ray.experiment import (
    AnnLearner,
    LogUniform,
    Maml,
    MetaEvaluation,
    MetaExperiment,
    MetaStopping,
    MetaTarget,
    MetaTraining,
    SinusoidTasks,
    SpikingLearner,
)

experiment = MetaExperiment(
    id="sinusoid-maml",
    summary="Few-shot sinusoid regression with MAML",
    tasks=SinusoidTasks(shots=10),
    spiking=SpikingLearner(hidden_sizes=(40, 40), steps_per_sample=8, population=20),
    ann=AnnLearner(hidden_sizes=(40, 40)),
    algorithm=MetaTraining(maml=Maml(inner_lr=0.01), meta_batch=25),
    stopping=MetaStopping(meta_iterations=20_000),
    evaluation=MetaEvaluation(inner_steps=10, interval=1_000),
    target=MetaTarget(loss=0.15, source="this project's target for 10 samples and 10 inner steps"),
    search_space={"algorithm.meta_lr": LogUniform(3e-4, 3e-3), "algorithm.maml.inner_lr": LogUniform(3e-3, 3e-2)},
)
