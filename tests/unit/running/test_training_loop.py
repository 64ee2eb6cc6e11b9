"""The loop around RLlib, with a stand-in for the algorithm: 100 environment steps and 2 episodes an iteration."""

import json
import os
import signal
from dataclasses import replace

import pytest
from stand_in import EVALUATION, StandIn, spec_of, steps

from synrl_ray.errors import NonFiniteError, UserError, user_error_in
from synrl_ray.experiment import Stopping
from synrl_ray.interrupt import breakable
from synrl_ray.policies.policy import load_network_policy
from synrl_ray.running.seal import seal
from synrl_ray.running.training import Interrupted
from synrl_ray.settings.policies import AnnPolicy


def test_run_writes_policy_checkpoint_metrics_result_and_curve(lab):
    outcome = lab.run(spec_of())
    assert steps(lab) == list(range(100, 1001, 100))
    assert lab.folder.result() == outcome
    assert (outcome.training[0].steps, outcome.training[0].episodes, outcome.figures["return_mean"]) == (1000, 20, 5.0)
    assert lab.folder.checkpoint().position.steps == 1000
    assert load_network_policy(lab.folder.path).config == AnnPolicy(hidden_sizes=(2,))
    assert json.loads((lab.folder.path / "policy.json").read_text())["environment"] == {
        "id": "CartPole-v1",
        "kwargs": {},
        "preprocessing": None,
    }
    names = {path.name for path in lab.folder.path.iterdir()}
    assert names == {
        *("card.md", "config.json", "metrics.jsonl", "tensorboard", "checkpoint", "checkpoint.old"),
        *("policy.safetensors", "policy.json", "policy.seal.json", "result.json", "learning_curve.png"),
    }
    assert lab.algorithms[0].is_stopped


def test_last_iterations_are_in_the_checkpoint_even_without_an_evaluation(lab):
    lab.run(spec_of(stopping=Stopping(env_steps=400)))  # the only evaluation is at 300
    found = lab.folder.checkpoint()
    assert (found.position.steps, (found.state / "steps").read_text()) == (400, "400")


def test_iteration_in_which_no_episode_ends_counts_none(lab):
    class Quiet(StandIn):
        def train(self):
            result = super().train()
            result["env_runners"]["num_episodes"] = float("nan")
            return result

    lab.stand_in = Quiet
    assert lab.run(spec_of()).training[0].episodes == 0


def test_rows_are_strict_json_with_null_for_what_is_not_known(lab):
    lab.run(spec_of())
    row = json.loads((lab.folder.path / "metrics.jsonl").read_text().splitlines()[0])
    assert (row["iteration"], row["episodes"], row["return_mean"], row["policy_loss"]) == (1, 2, 10.0, -0.5)
    assert (row["episode_length_mean"], row["lr"]) == (None, None)


def test_evaluation_comes_whenever_an_interval_is_passed(lab):
    lab.run(spec_of())
    judged = [row["env_steps"] for row in lab.folder.metrics() if "evaluation_return_mean" in row]
    assert judged == [300, 500, 800, 1000]  # the first iterations to reach 250, 500, 750 and 1000
    assert lab.folder.metrics()[2]["evaluation_return_mean"] == 5.0


@pytest.mark.parametrize("first_seed", [1_000_000, 10, 0])
def test_evaluations_during_training_share_no_seed_with_the_final_one(lab, first_seed):
    lab.run(spec_of(evaluation=replace(EVALUATION, episodes=50, interim_episodes=20, first_seed=first_seed)))
    *interim, (last_seed, last_count) = lab.evaluated
    assert (last_seed, last_count) == (first_seed, 50)
    final = set(range(last_seed, last_seed + last_count))
    assert all(final.isdisjoint(range(seed, seed + count)) for seed, count in interim)


def test_run_ends_early_once_an_evaluation_reaches_the_mean_return(lab):
    lab.score = lambda count: 100.0 * count
    lab.run(spec_of(stopping=Stopping(env_steps=1000, mean_return=200.0)))
    assert steps(lab)[-1] == 500  # the second evaluation


def test_watcher_is_told_from_start_to_end(lab):
    lab.run(spec_of(stopping=Stopping(env_steps=300)))
    assert [p.phase for p in lab.told] == [
        "starting",
        *["training"] * 2,
        *["evaluating", "training"],
        "evaluating",
        "done",
    ]
    assert [p.steps for p in lab.told] == [0, 100, 200, 300, 300, 300, 300]
    assert {(p.label, p.total, p.unit) for p in lab.told[1:]} == {("ann seed 0", 300, "steps")}
    assert dict(lab.told[-1].figures) == {"return": 30.0, "greedy": 5.0}


def test_episodes_that_are_cut_are_counted_and_told_of_once(lab):
    lab.protocol = {"episodes_cut": 2}
    lab.run(spec_of())
    judged = [row for row in lab.folder.metrics() if "evaluation_return_mean" in row]
    assert [row["evaluation_episodes_cut"] for row in judged] == [2, 2, 2, 2]
    told = [notice for progress in lab.told for notice in progress.notices]
    assert len(told) == 1
    assert told[0].startswith("the environment sets no time limit: episodes are cut after 27,000 steps (set ")


def test_whole_episodes_that_are_cut_in_training_are_told_of_once(lab):
    class Cutting(StandIn):
        def train(self):
            result = super().train()
            result["env_runners"]["num_episodes_cut"] = 2
            return result

    lab.stand_in = Cutting
    lab.run(spec_of())
    told = [notice for progress in lab.told for notice in progress.notices]
    assert len(told) == 1
    assert "cut after 27,000 steps" in told[0]


def test_interrupt_ends_after_the_iteration_with_a_checkpoint_and_resuming_goes_on(lab):
    lab.at[4] = lambda: os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(Interrupted):
        lab.run(spec_of())
    position = lab.folder.checkpoint().position
    assert (position.iteration, position.steps, position.episodes) == (4, 400, 8)
    assert lab.folder.result() is None
    assert lab.algorithms[0].is_stopped
    lab.folder.save_checkpoint(lab.algorithms[0].save_to_path, replace(position, wall_seconds=5000.0))
    outcome = lab.run()
    assert steps(lab) == list(range(100, 1001, 100))
    assert (outcome.training[0].steps, outcome.training[0].episodes) == (1000, 20)
    assert 5000 < outcome.training[0].wall_seconds < 5100


def ctrl_c():
    """Ctrl-C, and work that would go on for ever."""
    os.kill(os.getpid(), signal.SIGINT)
    pytest.fail("went on after Ctrl-C")


def test_ctrl_c_breaks_off_an_evaluation_and_keeps_its_iteration(lab):
    lab.score = lambda count: ctrl_c() if count == 2 else 5.0
    with pytest.raises(Interrupted):
        lab.run(spec_of())
    position = lab.folder.checkpoint().position
    assert (position.iteration, position.steps) == (5, 500)
    assert steps(lab) == [100, 200, 300, 400, 500]
    assert "evaluation_return_mean" not in lab.folder.metrics()[-1]
    lab.score = lambda count: 5.0
    lab.run()
    assert steps(lab) == list(range(100, 1001, 100))


def test_ctrl_c_breaks_off_sampling_that_may_be_broken_off_and_keeps_the_last_whole_iteration(lab):
    def sample():
        with breakable():
            ctrl_c()

    lab.at[5] = sample
    with pytest.raises(Interrupted):
        lab.run(spec_of())
    assert lab.algorithms[0].is_stopped
    assert lab.folder.checkpoint().position.steps == 400, "later than the last evaluation's"
    assert steps(lab) == [100, 200, 300, 400]


def test_ctrl_c_breaks_off_the_last_evaluation_and_resuming_evaluates_again(lab):
    lab.score = lambda count: ctrl_c() if count == 5 else 5.0
    with pytest.raises(Interrupted):
        lab.run(spec_of())
    assert lab.folder.result() is None
    assert lab.folder.checkpoint().position.steps == 1000
    lab.score = lambda count: 7.0
    assert lab.run().figures["return_mean"] == 7.0
    assert steps(lab) == list(range(100, 1001, 100)), "nothing is trained again"


def test_a_second_ctrl_c_ends_the_run_at_once(lab):
    def twice():
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
        pytest.fail("went on after Ctrl-C")

    lab.at[4] = twice
    with pytest.raises(KeyboardInterrupt):
        lab.run(spec_of())
    assert lab.folder.checkpoint().position.steps == 300
    assert lab.algorithms[0].is_stopped


def test_crash_between_checkpoints_is_resumed_from_the_last_one_without_double_rows(lab):
    def crash():
        raise RuntimeError("out of memory")

    lab.at[5] = crash
    with pytest.raises(RuntimeError, match="out of memory"):
        lab.run(spec_of())
    assert lab.algorithms[0].is_stopped
    assert lab.folder.checkpoint().position.steps == 300
    assert steps(lab) == [100, 200, 300, 400]
    lab.run()
    assert steps(lab) == list(range(100, 1001, 100))
    assert [row["iteration"] for row in lab.folder.metrics()] == list(range(1, 11))


def test_resumed_run_remembers_its_last_evaluation(lab):
    lab.score = lambda count: 300.0
    lab.at[4] = lambda: os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(Interrupted):
        lab.run(spec_of())
    lab.told.clear()
    lab.run()
    assert dict(next(p for p in lab.told if p.phase == "training").figures)["greedy"] == 300.0


def test_evaluation_that_came_after_the_checkpoint_does_not_end_the_resumed_run(lab):
    def crash():
        raise OSError("disk full")

    lab.score = lambda count: 300.0 if count == 2 else 100.0
    lab.at["save 500"] = crash  # the row of the second evaluation is written, its checkpoint is not
    with pytest.raises(OSError, match="disk full"):
        lab.run(spec_of(stopping=Stopping(env_steps=1000, mean_return=200.0)))
    assert lab.folder.checkpoint().position.steps == 300
    assert lab.run().training[0].steps == 1000


def test_damaged_checkpoint_is_named_and_the_algorithm_is_stopped(lab):
    lab.at[4] = lambda: os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(Interrupted):
        lab.run(spec_of())
    checkpoint = lab.folder.path / "checkpoint"
    (checkpoint / "algorithm" / "steps").write_text("")
    seal(checkpoint)  # whole, and yet the algorithm cannot read it
    with pytest.raises(UserError) as caught:
        lab.run()
    assert caught.value.message.startswith(f"checkpoint {checkpoint} is damaged (")
    assert lab.algorithms[-1].is_stopped
    assert steps(lab) == [100, 200, 300, 400]


def test_a_damaged_checkpoint_gives_way_to_the_one_before_with_a_word(lab):
    lab.at[4] = lambda: os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(Interrupted):
        lab.run(spec_of())
    checkpoint = lab.folder.path / "checkpoint"
    (checkpoint / "algorithm" / "steps").write_text("")
    lab.run()
    notices = [notice for progress in lab.told for notice in progress.notices]
    assert notices == [f"{checkpoint} is damaged: going on from the one before, at 300"]
    assert steps(lab) == [100 * i for i in range(1, 11)]


def test_error_for_the_user_from_another_process_is_unwrapped_and_keeps_the_checkpoint(lab):
    def fail():
        wrapper = RuntimeError("task failed")
        wrapper.cause = NonFiniteError("batch 'obs'", "module 'm'")
        raise wrapper

    lab.at[5] = fail
    with pytest.raises(NonFiniteError, match="batch 'obs' is not finite"):
        lab.run(spec_of())
    assert lab.folder.checkpoint().position.steps == 300


def test_user_error_is_found_in_chains_and_nowhere_else():
    known = UserError("known")
    for link in ("cause", "__cause__", "__context__"):
        outer = RuntimeError("outer")
        setattr(outer, link, known)
        assert user_error_in(outer) is known
    assert user_error_in(known) is known
    assert user_error_in(RuntimeError("other")) is None
    assert user_error_in(None) is None
    loop = RuntimeError("loop")
    loop.cause = loop
    assert user_error_in(loop) is None
