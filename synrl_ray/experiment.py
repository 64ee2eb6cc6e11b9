"""What an experiment file imports: the settings of all kinds of experiments. Neither torch nor Ray is imported."""

from __future__ import annotations

from typing import Annotated

from pydantic import Discriminator

from synrl_ray.settings.algorithms import A2C, DQN, IMPALA, PPO, PQN, SAC, Reinforce
from synrl_ray.settings.classification import AccuracyTarget, ClassificationExperiment, Epochs, Mnist, Supervised
from synrl_ray.settings.classifiers import AnnClassifier, SpikingClassifier
from synrl_ray.settings.control import Experiment, Stopping, Target
from synrl_ray.settings.environment import Environment, Evaluation
from synrl_ray.settings.evolution import EvolutionExperiment, EvolutionStopping, OpenAiEs
from synrl_ray.settings.hebbian import AnnHebbian, SpikingHebbian
from synrl_ray.settings.local import LocalExperiment, LocalStopping, PathTarget, RegretTarget, ReturnTarget
from synrl_ray.settings.maml import Maml, MamlRl
from synrl_ray.settings.meta import (
    AnnLearner,
    EnvironmentTasks,
    GridworldTasks,
    MetaEvaluation,
    MetaExperiment,
    MetaRlTraining,
    MetaStopping,
    MetaTarget,
    MetaTraining,
    OmniglotTasks,
    QComparison,
    SinusoidTasks,
    SpikingLearner,
)
from synrl_ray.settings.plasticity import (
    PairSTDP,
    PlasticLayers,
    RewardModulatedSTDP,
    RewardPrediction,
    TeacherSignal,
    ThresholdAdaptation,
    TripletSTDP,
    WeightBounds,
)
from synrl_ray.settings.policies import AnnPolicy, SpikingPolicy
from synrl_ray.settings.policy_kinds import PolicyKind
from synrl_ray.settings.preprocessing import AtariFrames, CarRacingFrames
from synrl_ray.settings.q_learning import QLearning
from synrl_ray.settings.r_stdp import RStdp
from synrl_ray.settings.search import Choice, LogUniform, Uniform
from synrl_ray.settings.stdp_q import StdpQ

__all__ = [
    "A2C",
    "DQN",
    "IMPALA",
    "PPO",
    "PQN",
    "SAC",
    "AccuracyTarget",
    "AnnClassifier",
    "AnnHebbian",
    "AnnLearner",
    "AnnPolicy",
    "AnyExperiment",
    "AtariFrames",
    "CarRacingFrames",
    "Choice",
    "ClassificationExperiment",
    "Environment",
    "EnvironmentTasks",
    "Epochs",
    "Evaluation",
    "EvolutionExperiment",
    "EvolutionStopping",
    "Experiment",
    "GridworldTasks",
    "LocalExperiment",
    "LocalStopping",
    "LogUniform",
    "Maml",
    "MamlRl",
    "MetaEvaluation",
    "MetaExperiment",
    "MetaRlTraining",
    "MetaStopping",
    "MetaTarget",
    "MetaTraining",
    "Mnist",
    "OmniglotTasks",
    "OpenAiEs",
    "PairSTDP",
    "PathTarget",
    "PlasticLayers",
    "PolicyKind",
    "QComparison",
    "QLearning",
    "RStdp",
    "RegretTarget",
    "Reinforce",
    "ReturnTarget",
    "RewardModulatedSTDP",
    "RewardPrediction",
    "SinusoidTasks",
    "SpikingClassifier",
    "SpikingHebbian",
    "SpikingLearner",
    "SpikingPolicy",
    "StdpQ",
    "Stopping",
    "Supervised",
    "Target",
    "TeacherSignal",
    "ThresholdAdaptation",
    "TripletSTDP",
    "Uniform",
    "WeightBounds",
]

AnyExperiment = Annotated[
    Experiment | LocalExperiment | ClassificationExperiment | MetaExperiment | EvolutionExperiment,
    Discriminator("kind"),
]
