"""The package from Python: the names, defaults and errors of the command."""

import inspect
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import synrl_ray
from synrl_ray import UserError, cli, compare, evaluate, make_experiment, report, train, tune, tune_cli, watch
from synrl_ray.api.judging import Judged
from synrl_ray.api.training import Trained
from synrl_ray.running.kind import Outcome

RESULTS = Path(__file__).parents[3] / "experiments/results"
OF_THE_COMMAND_ALONE = {"as_json", "check", "markdown"}
OF_PYTHON_ALONE = {"watch", "say"}


@pytest.mark.parametrize(
    ("function", "command"),
    [
        *((train, cli.train), (evaluate, cli.evaluate), (tune, tune_cli.tune)),
        *((compare, cli.compare), (report, cli.report), (watch, cli.watch)),
    ],
)
def test_functions_have_the_options_and_defaults_of_their_commands(function, command):
    def options(of):
        parameters = inspect.signature(of).parameters.values()
        return {p.name: p.default for p in parameters if p.name not in OF_THE_COMMAND_ALONE | OF_PYTHON_ALONE}

    assert options(function) == options(command)


def test_importing_the_package_loads_neither_torch_nor_ray():
    code = "import sys, synrl_ray, synrl_ray.experiment; print([m for m in ('torch', 'ray') if m in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"


def test_every_public_name_is_there():
    for name in synrl_ray.__all__:
        assert getattr(synrl_ray, name) is not None
    with pytest.raises(AttributeError, match="nonsense"):
        _ = synrl_ray.nonsense


def test_an_experiment_is_made_by_name_from_another_and_from_a_file(tmp_path):
    made = make_experiment("cartpole-ppo", {"lr": 3e-4, "spiking.hidden_sizes": (32, 16)})
    assert made.algorithm.lr == 3e-4
    assert made.spiking.hidden_sizes == (32, 16)
    assert make_experiment(made, ["lr=1e-3"]).spiking == made.spiking
    (tmp_path / "best.json").write_text('{"algorithm.lr": 0.5, "gamma": 0.9}')
    both = make_experiment("cartpole-ppo", {"lr": 0.25}, config=tmp_path / "best.json")
    assert (both.algorithm.lr, both.algorithm.gamma) == (0.25, 0.9)
    assert make_experiment("cartpole-ppo", {}) == make_experiment("cartpole-ppo")


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"lr": -1.0}, "lr"),
        ({"lr": "fast"}, "lr"),
        ({"nonsense": 1}, "unknown setting 'nonsense'"),
        (["lr"], "key=value"),
    ],
)
def test_wrong_settings_are_one_line(settings, problem):
    with pytest.raises(UserError, match=problem) as error:
        make_experiment("cartpole-ppo", settings)
    assert "\n" not in str(error.value)


def test_what_the_command_refuses_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for call in (
        lambda: train("nonsense"),
        lambda: train("cartpole-ppo", seed=-1),
        lambda: train("cartpole-ppo", seed=0, seeds=2),
        lambda: train(resume=tmp_path / "nowhere", seed=1),
        lambda: evaluate(tmp_path / "nowhere"),
        lambda: evaluate(RESULTS / "cartpole-ppo" / "spiking", episodes=0),
        lambda: tune("cartpole-ppo", samples=0),
        lambda: compare(),
        lambda: report(tmp_path / "nowhere"),
    ):
        with pytest.raises(UserError):
            call()
    assert list(tmp_path.iterdir()) == []


def test_what_stands_at_the_end_of_a_cell_is_one_line(tmp_path):
    result = evaluate(RESULTS / "cartpole-ppo" / "spiking", episodes=2).result
    assert repr(Judged(result, None)) == "Judged(cartpole-ppo spiking: return_iqm 500)"
    outcome = Outcome(result=result, folder=tmp_path, runs=(tmp_path,), spec=None)
    assert repr(Trained(outcome)) == f"Trained(cartpole-ppo spiking: return_iqm 500, {tmp_path})"


def test_an_evaluation_has_figures_a_table_and_a_picture(tmp_path):
    judged = evaluate(RESULTS / "cartpole-ppo" / "spiking", episodes=3)
    assert judged.result.figures["return_mean"] == 500.0
    rows = {row["figure"]: row for row in judged.table()}
    assert rows["return_mean"]["value"] == 500.0
    assert "over" in rows[judged.result.score] or judged.result.interval(judged.result.score) is None
    judged.plot().savefig(tmp_path / "returns.png")
    assert (tmp_path / "returns.png").stat().st_size > 10_000


def test_a_trained_run_is_judged_on_environments_of_the_seed_that_is_given():
    policy = RESULTS / "cartpole-ppo" / "spiking"
    outcome = SimpleNamespace(runs=(RESULTS / "nowhere", policy))
    judged = Trained(outcome).evaluate(1, episodes=2, seed=7)
    assert judged.result.greedy.seeds == (7, 8)


def test_no_widgets_are_asked_for_where_a_notebook_has_none():
    code = """
import logging, sys, IPython
sys.modules["ipykernel.zmqshell"] = IPython  # by which tqdm knows a notebook
logging.basicConfig(level=logging.INFO)
import synrl_ray.api.training, tqdm.auto
logging.getLogger("ray.widgets.util").info("Missing packages: ['ipywidgets']")
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (said.stdout, said.stderr) == ("", "")
