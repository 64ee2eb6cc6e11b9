"""Folders of results: what is put there, and whether it is what its policies give."""

import csv
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from synrl_ray.cli import main
from synrl_ray.errors import UserError
from synrl_ray.experiment import AnnLearner, MetaEvaluation, MetaStopping
from synrl_ray.kinds.auditing import audit
from synrl_ray.kinds.meta.kind import KIND
from synrl_ray.kinds.publishing import MOST_ROWS, publish
from synrl_ray.registry import get_experiment
from synrl_ray.results import read_result, write_result
from synrl_ray.running.metrics_table import as_csv, rows_of_csv, thinned
from synrl_ray.running.run_folder import RunFolder
from synrl_ray.running.spec import RunSpec
from synrl_ray.running.training import train_run

EXPERIMENT = replace(
    get_experiment("sinusoid-maml"),
    ann=AnnLearner(hidden_sizes=(8,)),
    stopping=MetaStopping(meta_iterations=20),
    evaluation=MetaEvaluation(tasks=20, inner_steps=2, interval=10, interim_tasks=10),
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two finished seeds of a small learner."""
    root = tmp_path_factory.mktemp("runs")
    for seed in (0, 1):
        spec = RunSpec(experiment=EXPERIMENT, policy="ann", seed=seed, num_workers=0)
        train_run(RunFolder.create(root / f"ann-seed{seed}", spec), spec, KIND)
    return [root / f"ann-seed{seed}" for seed in (0, 1)]


@pytest.fixture
def published(runs, tmp_path):
    publish(runs, tmp_path / "results" / "sinusoid-maml" / "ann")
    return tmp_path / "results" / "sinusoid-maml" / "ann"


def test_every_seed_has_what_an_audit_needs(runs, published):
    for seed, run in enumerate(runs):
        place = published / f"seed{seed}"
        names = {"config.json", "metrics.csv", "result.json", "policy.json", "policy.safetensors"}
        assert {path.name for path in place.iterdir()} == names
        assert read_result(place) == RunFolder(run).result()
        assert RunFolder(place).spec() == RunFolder(run).spec()
        with (place / "metrics.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert [int(row["meta_iterations"]) for row in rows] == [
            row["meta_iterations"] for row in RunFolder(run).metrics()
        ]
    assert (published / "policy.safetensors").read_bytes() == (runs[0] / "policy.safetensors").read_bytes()
    assert (published / "learning_curve.png").read_bytes().startswith(b"\x89PNG")
    combined = read_result(published)
    assert combined.seeds == (0, 1)
    assert combined.provenance.command.startswith("synrl train sinusoid-maml --policy ann --seeds 2 --set ")
    assert not any(path.name.startswith(".") for path in published.parent.iterdir())


def test_a_large_policy_is_kept_of_the_first_seed_only(runs, tmp_path, monkeypatch):
    monkeypatch.setattr("synrl_ray.kinds.publishing.MOST_POLICY_BYTES", 10)
    publish(runs, tmp_path / "ann")
    assert (tmp_path / "ann" / "policy.safetensors").exists()
    assert not list((tmp_path / "ann").glob("seed*/policy.*"))
    (found,) = audit(tmp_path / "ann")
    assert (found.policies, found.seeds, found.differences) == (1, 2, ())


@pytest.mark.parametrize("most_bytes", [10, 10**6])
def test_seeds_are_added_to_those_that_were_published(runs, tmp_path, monkeypatch, most_bytes):
    monkeypatch.setattr("synrl_ray.kinds.publishing.MOST_POLICY_BYTES", most_bytes)
    at_once, later = tmp_path / "at_once", tmp_path / "later"
    publish(runs, at_once)
    publish(runs[:1], later)
    publish([later / "seed0", runs[1]], later)
    names = {path.relative_to(at_once) for path in at_once.rglob("*") if path.is_file()}
    assert {path.relative_to(later) for path in later.rglob("*") if path.is_file()} == names
    for name in names:
        if name.suffix != ".png":  # the curve is drawn from what the tables have kept
            assert (later / name).read_bytes() == (at_once / name).read_bytes(), name


def test_a_seed_whose_policy_was_not_kept_is_refused_in_one_line(runs, tmp_path, monkeypatch):
    monkeypatch.setattr("synrl_ray.kinds.publishing.MOST_POLICY_BYTES", 10)
    publish(runs, tmp_path / "ann")
    with pytest.raises(UserError, match=r"seed1 holds no policy — name the run that it was published from"):
        publish([tmp_path / "ann" / "seed1"], tmp_path / "one")
    assert not (tmp_path / "one").exists()


def test_two_runs_of_one_seed_are_refused_and_the_order_of_others_does_not_matter(runs, tmp_path):
    again = shutil.copytree(runs[1], tmp_path / "again")
    with pytest.raises(UserError, match="are both of seed 1 — leave one of them out"):
        publish([*runs, again], tmp_path / "out")
    publish(runs[::-1], tmp_path / "out")
    assert read_result(tmp_path / "out").seeds == (0, 1)
    assert (tmp_path / "out" / "policy.safetensors").read_bytes() == (runs[0] / "policy.safetensors").read_bytes()


def test_nothing_but_what_was_published_is_replaced(runs, published, tmp_path):
    root = shutil.copytree(runs[0].parent, tmp_path / "runs")
    (tmp_path / "empty").mkdir()
    for place, why in (
        (root, "no result was published there"),  # the runs themselves lie in it
        (root / "ann-seed0", "no result was published there"),
        (published.parent, "no result was published there"),  # results of another policy may lie in it
        (tmp_path / "empty", "no result was published there"),
    ):
        before = sorted(path for path in place.rglob("*"))
        with pytest.raises(UserError, match=f"{place.name} is not to be replaced: {why}"):
            publish(runs, place)
        assert sorted(path for path in place.rglob("*")) == before
    shutil.copytree(root / "ann-seed0", published / "ann")
    with pytest.raises(UserError, match="is not to be replaced: ann is in it"):
        publish(runs, published)


def test_what_is_replaced_is_there_until_the_new_one_is(runs, published, monkeypatch):
    before = {path.relative_to(published): path.read_bytes() for path in published.rglob("*") if path.is_file()}
    rename, moved = Path.rename, []

    def failing(self, target):
        moved.append(self)
        if len(moved) == 2:
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(KeyboardInterrupt):
        publish([published / "seed0"], published)
    assert {path.relative_to(published): path.read_bytes() for path in published.rglob("*") if path.is_file()} == before
    assert [path.name for path in published.parent.iterdir()] == [published.name]


def test_what_lay_there_is_replaced_as_a_whole(runs, published):
    (published / "left.txt").write_text("of before")
    publish(runs[:1], published)
    assert not (published / "left.txt").exists()
    assert read_result(published) == read_result(published / "seed0") == RunFolder(runs[0]).result()


def test_runs_of_other_settings_or_without_a_result_are_refused_and_leave_nothing(runs, tmp_path):
    other = RunSpec(experiment=replace(EXPERIMENT, summary="another"), policy="ann", seed=2, num_workers=0)
    begun = RunFolder.create(tmp_path / "begun", other)
    with pytest.raises(UserError, match="has not ended"):
        publish([*runs, begun.path], tmp_path / "out")
    begun.write_result(RunFolder(runs[0]).result())
    with pytest.raises(UserError, match="of another experiment or policy"):
        publish([*runs, begun.path], tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} == {"begun"}


def test_results_that_were_left_alone_agree(published, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", str(published.parents[1]), "--check"])
    assert not ended.value.code
    line = f"{published}: agrees (2 policies judged again, 2 seeds put together again)"
    out, err = capsys.readouterr()
    assert out.splitlines() == [line]
    assert err.splitlines() == [f"judging {published / seed} again" for seed in ("seed0", "seed1")]


def test_seeds_as_they_were_trained_are_checked_once_and_put_together_again(runs, tmp_path):
    root = shutil.copytree(runs[0].parent, tmp_path / "sinusoid-maml")
    together = root / "ann-2seeds"
    together.mkdir()
    combined = KIND.combine([RunFolder(run).result() for run in runs], RunFolder(runs[0]).spec())
    write_result(together, combined)
    (found,) = audit(root)
    assert (found.folder, found.policies, found.seeds, found.differences) == (together, 2, 2, ())
    assert list(audit(together)) == [found]
    write_result(together, replace(combined, figures={"loss": 0.001}))
    (found,) = audit(root)
    assert found.differences[0].startswith("loss is recorded as 0.001, found ")


def test_the_folder_of_all_seeds_may_be_the_one_that_the_command_is_given_in(runs, tmp_path, monkeypatch):
    root = shutil.copytree(runs[0].parent, tmp_path / "sinusoid-maml")
    (root / "ann-2seeds").mkdir()
    combined = KIND.combine([RunFolder(run).result() for run in runs], RunFolder(runs[0]).spec())
    write_result(root / "ann-2seeds", combined)
    monkeypatch.chdir(root / "ann-2seeds")
    (found,) = audit(Path())
    assert (found.policies, found.seeds, found.differences) == (2, 2, ())


@pytest.mark.parametrize(
    "change",
    [
        {"protocol": {"test_tasks": "many"}},
        {"protocol": {"test_tasks": True}},
        {"protocol": {"test_tasks": 20, "first_seed": 1.5}},
        {"training": [], "per_seed": {"loss": []}},
        {"confusion": [[1, 2], [3]]},
    ],
)
def test_a_strange_result_is_damage_in_one_line(runs, tmp_path, change, capsys):
    run = shutil.copytree(runs[0], tmp_path / "run")
    result = json.loads((run / "result.json").read_text())
    (run / "result.json").write_text(json.dumps({**result, **change}))
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", str(run), "--check"])
    assert ended.value.code == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("judging")]
    assert "result.json is damaged" in line


def test_inner_steps_of_results_that_do_not_tell_how_tasks_differ_are_not_drawn(runs, tmp_path):
    run = shutil.copytree(runs[0], tmp_path / "run")
    assert {"learning_curve.png", "inner_steps.png"} == set(KIND.figures([RunFolder(run)]))
    result = json.loads((run / "result.json").read_text())
    del result["adaptation"]["errors"]
    (run / "result.json").write_text(json.dumps(result))
    assert {"learning_curve.png"} == set(KIND.figures([RunFolder(run)]))


def test_what_an_interruption_has_left_undrawn_is_drawn_when_the_run_is_resumed(runs, tmp_path):
    run = shutil.copytree(runs[0], tmp_path / "run")
    names = {path.name for path in run.iterdir()}
    for name in ("card.md", "learning_curve.png"):
        (run / name).unlink()
    for _ in range(2):
        with pytest.raises(SystemExit) as ended:
            main(["train", "--resume", str(run)])
        assert not ended.value.code
        assert {path.name for path in run.iterdir()} == names
        (run / "learning_curve.png").unlink(missing_ok=True)
        names.discard("learning_curve.png")  # with its card a run is whole: what is missing was taken away


def test_more_than_ten_seeds_are_put_together_in_the_order_of_their_numbers(runs, published):
    shutil.move(published / "seed0", published / "seed10")
    shutil.move(published / "seed1", published / "seed2")
    results = [read_result(published / name) for name in ("seed2", "seed10")]
    write_result(published, KIND.combine(results, RunFolder(runs[1]).spec()))
    (found,) = audit(published)
    assert found.differences == ()


def test_a_figure_that_was_changed_is_named_and_the_exit_code_is_1(published, capsys):
    result = read_result(published / "seed1")
    write_result(published / "seed1", replace(result, figures={"loss": 0.001}))
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", str(published), "--check"])
    assert ended.value.code == 1
    out, err = capsys.readouterr()
    first, *lines = out.splitlines()
    assert first.startswith(f"{published}: differs")
    assert lines[0].startswith("  seed1: loss is recorded as 0.001, found ")
    assert any(line.startswith("  loss of the seeds differs: number 1 is recorded as") for line in lines)
    assert err.splitlines()[-1].startswith("synrl: 1 of 1 results are not what their policies give")


def test_a_policy_that_was_exchanged_is_noticed(runs, published):
    shutil.copy(runs[1] / "policy.safetensors", published / "seed0" / "policy.safetensors")
    (found,) = audit(published)
    assert any(line.startswith("seed0: loss is recorded as") for line in found.differences)


def test_of_several_seeds_without_their_own_results_the_first_is_judged(published):
    for seed in (0, 1):
        shutil.rmtree(published / f"seed{seed}")
    (found,) = audit(published)
    assert (found.policies, found.seeds, found.differences) == (1, 0, ())
    result = read_result(published)
    write_result(published, replace(result, per_seed={"loss": (0.5, 1.0)}))
    (found,) = audit(published)
    assert found.differences[0].startswith("loss is recorded as 0.5, found ")


@pytest.mark.parametrize(
    "damaged",
    [
        {"learners": [], "env_steps": [0], "test_tasks": 1},
        {"learners": {"Q-learning": 1}, "env_steps": [0], "test_tasks": 1},
        {"learners": {"Q-learning": {"share_by_task": {"0": [[1], [1, 2]]}}}, "env_steps": [0], "test_tasks": 1},
        {"learners": {}, "env_steps": 0, "test_tasks": 1},
        {"learners": {}},
    ],
)
def test_a_comparison_that_nobody_wrote_is_one_line(published, damaged):
    for seed in (0, 1):
        place = published / f"seed{seed}"
        write_result(place, replace(read_result(place), comparison=damaged))
    with pytest.raises(UserError, match=f"{published} is damaged.*restore the results of its seeds"):
        list(audit(published))


def test_a_folder_without_results_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"there is no result\.json in"):
        list(audit(tmp_path))


@pytest.mark.parametrize("option", [["--episodes", "3"], ["--json"], ["--official-runs"]])
def test_options_that_judge_otherwise_do_not_go_with_a_check(published, option, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", str(published), "--check", *option])
    assert ended.value.code == 2
    assert f"--check does not go with {option[0]}" in capsys.readouterr().err


def test_metrics_are_thinned_to_rows_with_an_evaluation_and_the_last():
    rows = [{"iteration": i} | ({"evaluation_loss": 1.0} if i % 10 == 0 else {}) for i in range(1, 1006)]
    kept = thinned(rows, MOST_ROWS)
    assert len(kept) == MOST_ROWS
    assert [row["iteration"] for row in kept if "evaluation_loss" in row] == list(range(10, 1006, 10))
    assert kept[-1]["iteration"] == 1005
    assert [row["iteration"] for row in thinned(rows, 10)][-1] == 1005
    assert len(thinned(rows, 10)) == 10
    assert thinned(rows[:3], MOST_ROWS) == rows[:3]
    assert thinned([], MOST_ROWS) == []


def test_a_table_of_metrics_has_six_digits_and_empty_cells():
    assert as_csv([{"a": 1, "b": 1 / 3}, {"a": 2, "c": None}]) == "a,b,c\n1,0.333333,\n2,,\n"


def test_a_table_of_metrics_is_read_as_it_was_written():
    rows = [{"env_steps": 1_234_567, "loss": 0.25}, {"env_steps": 1_234_568}]
    assert rows_of_csv(as_csv(rows)) == rows
    assert isinstance(rows_of_csv(as_csv(rows))[0]["env_steps"], int)
    strange = "a,b,c,d,e\nnan,inf,," + "9" * 400 + "," + "9" * 5_000 + "\n"
    assert rows_of_csv(strange) == [{}]


def test_published_files_name_no_folder_of_this_machine(runs, published):
    for path in published.rglob("*.json"):
        text = path.read_text()
        assert str(Path.home()) not in text
        assert str(runs[0].parent) not in text
        json.loads(text)
