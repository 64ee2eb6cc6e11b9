"""Settings of the gradient algorithms as plain data (no torch import)."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Discriminator

from synrl_ray.settings.checked import settings_class
from synrl_ray.settings.q_learning import EpsilonGreedy
from synrl_ray.settings.rates import RatePenalty
from synrl_ray.settings.types import Count, Fraction, NonNegative, Positive, Precision, Rate, Sizes


@settings_class
class Gradient:
    """What all gradient algorithms share."""

    several_learners: ClassVar[bool] = False
    """Whether its batches can be shared by several learners."""
    asynchronous: ClassVar[bool] = False
    """Whether env runners sample while a learner in a process of its own learns."""
    draws_actions: ClassVar[bool] = False
    """Whether its policies are trained to draw their actions; the others' likeliest actions are all that they mean."""
    lr: Positive = 1e-3
    """Learning rate of Adam at the start."""
    lr_decay: bool = True
    """Anneal the learning rate linearly to zero at the last step."""
    gamma: Fraction = 0.99
    """Discount."""
    grad_clip: Positive
    """Bound on the global norm of the gradient."""


@settings_class
class OnPolicy(Gradient, RatePenalty):
    """What the algorithms share that learn from rollouts."""

    several_learners: ClassVar[bool] = True
    precision: Precision = "float32"
    """Of the matrix products and convolutions of training passes; all else, and acting, is in float32."""


@settings_class
class PolicyGradient(OnPolicy):
    """What the algorithms of an actor and a critic share."""

    draws_actions: ClassVar[bool] = True
    entropy_coeff: NonNegative = 0.0
    """Weight of the entropy bonus in the loss."""
    vf_loss_coeff: NonNegative = 0.5
    """Weight of the value function's loss."""
    grad_clip: Positive = 0.5
    """Bound on the global norm of the gradient."""


@settings_class
class WithRMSprop:
    """The optimiser of A2C's and IMPALA's published settings, or Adam."""

    optimizer: Literal["rmsprop", "adam"] = "rmsprop"
    """Which takes the steps."""
    rmsprop_alpha: Fraction = 0.99
    """Decay of its average; used by ``rmsprop``, as the next one."""
    rmsprop_eps: Positive = 1e-5
    """Epsilon, inside the root as in TensorFlow."""


@settings_class
class PPO(PolicyGradient):
    """Proximal policy optimisation (Schulman et al. 2017, arXiv:1707.06347)."""

    name: Literal["ppo"] = "ppo"
    gae_lambda: Fraction = 0.95
    """Lambda of generalised advantage estimation."""
    train_batch_size: Count = 2048
    """Environment steps for each update, over all env runners."""
    minibatch_size: Count = 128
    """Environment steps of each step of the optimiser."""
    num_epochs: Count = 8
    """Passes over each train batch."""
    clip_param: Positive = 0.2
    """Bound on the ratio of the clipped surrogate (epsilon)."""


@settings_class
class A2C(PolicyGradient, WithRMSprop):
    """Advantage actor-critic, synchronous (Mnih et al. 2016, arXiv:1602.01783): one step on each fragment."""

    name: Literal["a2c"] = "a2c"
    lr: Positive = 7e-4
    """Learning rate at the start."""
    gae_lambda: Fraction = 1.0
    """Lambda of generalised advantage estimation; 1 gives n-step returns."""
    num_steps: Count = 5
    """Environment steps of a fragment, in each environment."""


@settings_class
class IMPALA(PolicyGradient, WithRMSprop):
    """Importance-weighted actor-learner (Espeholt et al. 2018, arXiv:1802.01561): env runners sample while the learner
    learns, and V-trace corrects for the updates in between.

    With ``clip_param`` it is an asynchronous PPO, as those of Luo et al. (2020, arXiv:1912.00167) and Petrenko et al.
    (2020, arXiv:2006.11751): several passes over each batch by the clipped surrogate, on standardised advantages.
    """

    name: Literal["impala"] = "impala"
    asynchronous: ClassVar[bool] = True
    lr: Positive = 7e-4
    """Learning rate at the start."""
    gae_lambda: Fraction = 1.0
    """Lambda of the traces (Espeholt et al. 2018, remark 2); 1 gives n-step returns where weights are the newest."""
    num_steps: Count = 20
    """Environment steps of a fragment, in each environment."""
    envs_per_batch: Count | None = None
    """Environments whose fragments make a batch, all of them by default. Fewer where many env runners sample: so much
    oftener weights are updated while each of them collects a fragment."""
    rho_clip: Positive = 1.0
    """Bound on the ratios that weigh temporal differences and the policy's gradient."""
    c_clip: Positive = 1.0
    """Bound on the ratios that traces decay by."""
    clip_param: Positive | None = None
    """Bound on the ratio of the clipped surrogate; without one it is the plain policy gradient, in one pass."""
    num_epochs: Count = 1
    """Passes over each batch; more than one with ``clip_param``."""
    minibatch_size: Count | None = None
    """Environment steps of each step of the optimiser, the whole batch by default; less with ``clip_param``."""
    max_lag: Count = 16
    """Updates between the weights that acted and those that learn; older fragments are left out, and told of."""


@settings_class
class Reinforce(PolicyGradient):
    """REINFORCE (Williams 1992, doi:10.1007/BF00992696): whole episodes, one in each environment, reward-to-go."""

    name: Literal["reinforce"] = "reinforce"
    lr: Positive = 3e-3
    """Learning rate of Adam at the start."""
    use_baseline: bool = True
    """Subtract the critic's values from the rewards to go; without it, a truncated episode counts as ended there."""


@settings_class
class PQN(OnPolicy, EpsilonGreedy):
    """Parallelised Q-network (Gallici et al. 2024, arXiv:2407.04811): Q(lambda) on rollouts of many environments, with
    neither replay nor target network. What keeps it stable are normalised layers: the policy's ``norm=layer``.

    There is no critic: the policy has ``share_layers=true``, and its outputs are the action values.
    """

    name: Literal["pqn"] = "pqn"
    q_lambda: Fraction = 0.95
    """Lambda of the returns that values are trained for; 0 takes the next state's highest value alone."""
    num_steps: Count = 64
    """Environment steps of a fragment, in each environment."""
    minibatch_size: Count = 128
    """Environment steps of each step of the optimiser."""
    num_epochs: Count = 4
    """Passes over each batch."""
    epsilon_steps: Count = 10_000
    """Environment steps of the schedule."""
    optimizer: Literal["radam", "adam"] = "radam"
    """Rectified Adam (Liu et al. 2020, arXiv:1908.03265), or Adam."""
    grad_clip: Positive = 10.0
    """Bound on the global norm of the gradient."""


@settings_class
class OffPolicy(Gradient):
    """What the algorithms share that learn from a replay of transitions, for policies without state: it keeps none."""

    train_batch_size: Count = 64
    """Transitions of each update."""
    train_interval: Count = 256
    """Environment steps between two trainings, over all environments."""
    num_updates: Count = 128
    """Updates of each training."""
    replay_capacity: Count = 50_000
    """Transitions in the replay."""
    learning_starts: Count = 1_000
    """Transitions in the replay before updates begin; after a resumption too, since checkpoints do not hold it."""
    tau: Rate = 1.0
    """Share of the network that the target takes over: 1 for hard updates, less for a soft one after every update."""
    n_step: Count = 1
    """Rewards that are summed before a value is taken from the target network."""
    prioritised: bool = False
    """Prefer transitions with large errors (Schaul et al. 2016, arXiv:1511.05952)."""
    priority_alpha: Fraction = 0.6
    """How much priorities count; used where ``prioritised``."""
    priority_beta: Fraction = 0.4
    """How much the loss corrects for them; used where ``prioritised``."""
    grad_clip: Positive = 10.0
    """Bound on the global norm of the gradient."""


@settings_class
class DQN(OffPolicy, EpsilonGreedy):
    """Deep Q-learning (Mnih et al. 2015, doi:10.1038/nature14236) with RLlib's DQN, on a replay of transitions."""

    name: Literal["dqn"] = "dqn"
    epsilon_end: Fraction = 0.05
    """Probability of a random action at the end of the schedule, which is linear, and after it."""
    epsilon_steps: Count = 10_000
    """Environment steps of the schedule."""
    target_update: Count = 256
    """Environment steps between hard updates of the target network; not used where ``tau`` is below 1."""
    double_q: bool = True
    """Let the network choose the next action, and the target value it (van Hasselt et al. 2016, arXiv:1509.06461)."""
    dueling: bool = False
    """Compose the values of the critic and the actor's advantages (Wang et al. 2016, arXiv:1511.06581)."""


@settings_class
class SAC(OffPolicy):
    """Soft actor-critic (Haarnoja et al. 2018, arXiv:1812.05905) with RLlib's SAC, on a replay of transitions.

    The policy is a squashed Gaussian in a bounded Box, its deviation an output of the network. Two critics, which do
    not spike, and the temperature are trained beside it, at the same learning rate.
    """

    name: Literal["sac"] = "sac"
    draws_actions: ClassVar[bool] = True
    lr_decay: bool = False
    """Anneal the learning rate linearly to zero at the last step."""
    train_batch_size: Count = 256
    """Transitions of each update."""
    train_interval: Count = 8
    """Environment steps between two trainings, over all environments."""
    num_updates: Count = 8
    """Updates of each training."""
    tau: Rate = 0.005
    """Share of the critics that their targets take over after every update."""
    critic_sizes: Sizes = (256, 256)
    """Rectified linear units of each of the critics' layers."""
    initial_alpha: Positive = 1.0
    """Temperature at the start: the weight of the entropy, in units of scaled reward."""
    target_entropy: float | None = None
    """Entropy (nats) that the temperature is trained for; by default one for each action dimension, negative."""
    grad_clip: Positive = 10.0
    """Bound on the norm of the gradient, of policy, critics and temperature each."""


ControlAlgorithm = Annotated[PPO | A2C | Reinforce | IMPALA | PQN | DQN | SAC, Discriminator("name")]
"""Settings of a gradient algorithm; ``name`` tells them apart."""
