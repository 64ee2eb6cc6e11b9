"""Export of a run's folder to NIR, on policies that have not been trained."""

import json

import gymnasium as gym
import nir
import pytest

from synrl_ray.cli import main
from synrl_ray.errors import UserError
from synrl_ray.kinds.control import exporting
from synrl_ray.kinds.evaluating import export_folder
from synrl_ray.policies.actor_critic import ActorCritic
from synrl_ray.policies.policy import Policy
from synrl_ray.settings.policies import AnnPolicy, SpikingPolicy
from synrl_ray.snn import nir as snn_nir

CARTPOLE = {"id": "CartPole-v1", "kwargs": {}}
ZERO = SpikingPolicy(hidden_sizes=(6, 5), reset="zero", input_gain=8.0)


def save(folder, config=ZERO, environment=CARTPOLE, env_id="CartPole-v1"):
    env = gym.make(env_id)
    network = ActorCritic(env.observation_space, env.action_space, config)
    Policy(network, env.observation_space, env.action_space).save(folder, environment=environment)
    return folder


@pytest.fixture
def run(tmp_path):
    return save(tmp_path / "run")


def error_line(run, out, **options):
    """The refusal's line; nothing new may lie beside or under ``out`` then."""
    before = set(out.parent.glob("**/*")) if out.parent.is_dir() else None
    with pytest.raises(UserError) as caught:
        export_folder(run, out, **{"num_observations": 30, **options})
    line = str(caught.value)
    assert "\n" not in line
    if before is not None:
        assert set(out.parent.glob("**/*")) == before
    return line


def test_exported_actor_agrees_on_every_spike(run, tmp_path):
    out = tmp_path / "new" / "actor.nir"
    outcome = export_folder(run, out, num_observations=200)
    assert outcome == {"file": str(out), "agreement": 1.0, "observations": 200}
    assert [path.name for path in out.parent.iterdir()] == ["actor.nir"]


def test_exported_file_holds_the_layers_of_the_actor(run, tmp_path):
    export_folder(run, tmp_path / "actor.nir", num_observations=10)
    graph = nir.read(str(tmp_path / "actor.nir"))
    kinds = [type(node).__name__ for node in graph.nodes.values()]
    assert sorted(kinds) == sorted(["Input", "Affine", "LIF", "Affine", "LIF", "Affine", "LI", "Output"])
    shapes = {node.weight.shape for node in graph.nodes.values() if isinstance(node, nir.Affine)}
    assert shapes == {(6, 4), (5, 6), (2, 5)}  # four observations, two actions


def test_exporting_again_replaces_the_file(run, tmp_path):
    (tmp_path / "actor.nir").write_text("old")
    export_folder(run, tmp_path / "actor.nir", num_observations=10)
    assert len(nir.read(str(tmp_path / "actor.nir")).nodes) == 8


@pytest.mark.parametrize("config", [{"share_layers": True}, {"learn_beta": True, "learn_threshold": True}], ids=str)
def test_other_settings_of_the_policy_are_exported_too(tmp_path, config):
    run = save(tmp_path / "run", SpikingPolicy(hidden_sizes=(6,), reset="zero", input_gain=8.0, **config))
    assert export_folder(run, tmp_path / "actor.nir", num_observations=50)["agreement"] == 1.0


def test_continuous_actions_are_exported_too(tmp_path):
    environment = {"id": "Pendulum-v1", "kwargs": {}}
    run = save(tmp_path / "run", environment=environment, env_id="Pendulum-v1")
    outcome = export_folder(run, tmp_path / "actor.nir", num_observations=50)
    assert (outcome["agreement"], outcome["observations"]) == (1.0, 50)


@pytest.mark.parametrize("reset", ["subtract", "none"])
def test_reset_that_nir_does_not_know_is_refused_with_the_reason(tmp_path, reset):
    run = save(tmp_path / "run", SpikingPolicy(hidden_sizes=(6,), reset=reset))
    line = error_line(run, tmp_path / "actor.nir")
    assert line.startswith(f"{run} cannot be exported — NIR has no reset by '{reset}'")
    assert "reset" in line.rpartition("Train with ")[2]


def test_refused_export_leaves_no_new_folder(tmp_path):
    run = save(tmp_path / "run", SpikingPolicy(hidden_sizes=(6,), reset="subtract"))
    error_line(run, tmp_path / "new" / "actor.nir")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("setting", ["beta", "readout_beta"])
def test_neurons_that_do_not_leak_are_refused_with_the_reason(tmp_path, setting):
    run = save(tmp_path / "run", SpikingPolicy(hidden_sizes=(6,), reset="zero", **{setting: 1.0}))
    assert "does not leak" in error_line(run, tmp_path / "actor.nir")


def test_disagreement_is_refused_and_the_earlier_file_stays(run, tmp_path, monkeypatch):
    monkeypatch.setattr(snn_nir, "spike_agreement", lambda *arguments: 0.9999)
    (tmp_path / "actor.nir").write_text("earlier")
    assert "0.9999 of the spikes agree" in error_line(run, tmp_path / "actor.nir")
    assert (tmp_path / "actor.nir").read_text() == "earlier"


@pytest.mark.parametrize(
    ("settings", "remedy"),
    [
        ({"carry_state": True}, "spiking.carry_state=false"),
        ({"carry_state": True, "frame_stack": 2}, "spiking.carry_state=false spiking.frame_stack=1"),
        ({"encoder": "delta"}, "spiking.encoder=current"),
    ],
)
def test_carried_state_is_refused_with_the_remedy(tmp_path, settings, remedy):
    run = save(tmp_path / "run", SpikingPolicy(hidden_sizes=(6,), reset="zero", **settings))
    line = error_line(run, tmp_path / "actor.nir")
    assert "carries state across environment steps" in line
    assert line.endswith(f" — train with --set {remedy}")


@pytest.mark.parametrize("encoder", ["population", "latency"])
def test_an_encoder_is_refused_with_the_remedy(tmp_path, encoder):
    run = save(tmp_path / "run", SpikingPolicy(hidden_sizes=(6,), reset="zero", encoder=encoder))
    line = error_line(run, tmp_path / "actor.nir")
    assert line.endswith(f"(encoder={encoder}) — train with --set spiking.encoder=current")


def test_policy_that_does_not_spike_is_refused(tmp_path):
    run = save(tmp_path / "run", AnnPolicy(hidden_sizes=(6,)))
    expected = f"the policy in {run} does not spike — export a run of --policy spiking"
    assert error_line(run, tmp_path / "actor.nir") == expected


@pytest.mark.parametrize("name", ["actor", "actor.h5", "actor.nir.gz"])
def test_wrong_suffix_is_refused_before_anything_else(tmp_path, name):
    line = error_line(tmp_path / "nowhere", tmp_path / name)
    assert line == f"{tmp_path / name} is no NIR file — let its name end in .nir"


def test_folder_that_is_a_file_is_named(run, tmp_path):
    (tmp_path / "taken").write_text("a file")
    assert error_line(run, tmp_path / "taken" / "actor.nir").startswith(f"{tmp_path / 'taken' / 'actor.nir'} cannot be")


def test_folder_in_place_of_the_file_is_named(run, tmp_path):
    (tmp_path / "actor.nir").mkdir()
    assert error_line(run, tmp_path / "actor.nir").startswith(f"{tmp_path / 'actor.nir'} cannot be written (")


def test_file_that_cannot_be_written_is_named_with_the_reason(run, tmp_path, monkeypatch):
    def refuse(*arguments):  # as HDF5 does it: a text, and no error number
        raise OSError("Unable to synchronously create file (unable to open file: errno = 13)")

    monkeypatch.setattr(snn_nir.nir, "write", refuse)
    line = error_line(run, tmp_path / "actor.nir")
    assert line.startswith(f"{tmp_path / 'actor.nir'} cannot be written (")
    assert "None" not in line


def test_classifier_is_refused_as_what_it_is(run, tmp_path):
    (run / "policy.json").write_text(json.dumps({"format": "classifier-1", "classifier": {}, "classes": [0, 1]}))
    line = error_line(run, tmp_path / "actor.nir")
    assert "classifier" in line
    assert "damaged" not in line


@pytest.mark.parametrize("environment", [None, {}, "CartPole-v1"])
def test_description_without_an_environment_is_named(tmp_path, environment):
    run = save(tmp_path / "run", environment=environment)
    assert "policy.json" in error_line(run, tmp_path / "actor.nir")


def test_environment_of_other_spaces_is_named(tmp_path):
    run = save(tmp_path / "run", environment={"id": "Acrobot-v1", "kwargs": {}})
    assert "Acrobot-v1" in error_line(run, tmp_path / "actor.nir")


def test_folder_without_a_policy_is_named(tmp_path):
    assert error_line(tmp_path / "nowhere", tmp_path / "a.nir").startswith(f"{tmp_path / 'nowhere'} holds no policy")


def test_observations_are_those_of_as_many_episodes_as_it_takes(run, tmp_path, monkeypatch):
    asked = []
    real = exporting.evaluate_policy

    def evaluate(policy, make, *, episodes, seed, **options):
        asked.append((seed, episodes))
        return real(policy, make, episodes=episodes, seed=seed, **options)

    monkeypatch.setattr(exporting, "evaluate_policy", evaluate)
    assert export_folder(run, tmp_path / "a.nir", num_observations=300)["observations"] == 300
    seeds = [seed + i for seed, episodes in asked for i in range(episodes)]
    assert len(asked) > 1
    assert seeds == list(range(len(seeds)))  # no episode twice


def test_command_prints_agreement_and_file(run, tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("SYNRL_RUN_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        main(["export", "run", "--out", "actor.nir", "--json"])
    out, err = capsys.readouterr()
    assert (end.value.code or 0, err) == (0, "")
    assert json.loads(out) == {"file": "actor.nir", "agreement": 1.0, "observations": 1000}


def test_a_meta_learner_is_not_exported(run, tmp_path):
    (run / "policy.json").write_text(json.dumps({"format": "meta-1"}))
    assert "holds a meta-learner" in error_line(run, tmp_path / "out.nir")
