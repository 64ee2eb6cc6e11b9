"""A stand-in for an algorithm of RLlib's: 100 environment steps and 2 episodes an iteration."""

from dataclasses import replace
from types import SimpleNamespace

import gymnasium as gym

from synrl_ray.experiment import Evaluation, Stopping
from synrl_ray.policies.actor_critic import ActorCritic
from synrl_ray.registry import get_experiment
from synrl_ray.running.spec import RunSpec
from synrl_ray.settings.policies import AnnPolicy

CARTPOLE = get_experiment("cartpole-ppo")
EVALUATION = Evaluation(episodes=3, interval_steps=250, interim_episodes=2)


def spec_of(**changes):
    changes = {"stopping": Stopping(env_steps=1000), "evaluation": EVALUATION, **changes}
    return RunSpec(experiment=replace(CARTPOLE, **changes), policy="ann", seed=0, num_workers=0)


class StandIn:
    """Counts its environment steps; ``at`` maps an iteration to what happens at its end."""

    def __init__(self, logdir, at):
        self.logdir, self.at, self.steps, self.is_stopped = str(logdir), at, 0, False
        self.learner_group = SimpleNamespace(_learner=None, _is_shut_down=False)
        env = gym.make("CartPole-v1")
        network = ActorCritic(env.observation_space, env.action_space, AnnPolicy(hidden_sizes=(2,)))
        self.module = SimpleNamespace(
            network=network, observation_space=env.observation_space, action_space=env.action_space
        )

    def train(self):
        self.steps += 100
        self.at.pop(self.steps // 100, lambda: None)()
        return {
            "num_env_steps_sampled_lifetime": self.steps,
            "env_runners": {
                "num_episodes": 2,
                "episode_return_mean": self.steps / 10,
                "episode_len_mean": float("nan"),
            },
            "learners": {"default_policy": {"policy_loss": -0.5, "vf_loss": 2.0, "entropy": 0.7}},
        }

    def get_module(self):
        return self.module

    def save_to_path(self, path):
        self.at.pop(f"save {self.steps}", lambda: None)()
        path.mkdir()
        (path / "steps").write_text(str(self.steps))

    def restore_from_path(self, path):
        self.steps = int((path / "steps").read_text())

    def stop(self):
        self.is_stopped = True


def steps(lab):
    return [row["env_steps"] for row in lab.folder.metrics()]
