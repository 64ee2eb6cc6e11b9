"""The page: whole, self-contained, and harmless whatever a run's folder says."""

import json
import re
import sys
from contextlib import suppress
from dataclasses import replace
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from shutil import copytree
from types import SimpleNamespace

import numpy as np
import pytest

import synrl_ray
from synrl_ray import UserError
from synrl_ray.cli import main
from synrl_ray.registry import get_experiment
from synrl_ray.reporting.inside_plots import weights
from synrl_ray.results import Adaptation, Provenance
from synrl_ray.running.kind import Inside

RESULTS = Path(__file__).parents[3] / "experiments" / "results"
HOSTILE = '</script><script>alert(1)</script><img src="http://evil.example/x">\u202e\x1b[2J'
FETCHING = {"src", "href", "srcset", "data", "action", "poster", "background"}


class Page(HTMLParser):
    """Elements with their attributes, the figures, and the visible text."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.scripts, self.text = [], [], ""
        self.in_script = False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag == "script":
            self.in_script = True
            self.scripts.append((dict(attrs).get("type"), ""))

    def handle_endtag(self, tag):
        self.in_script = self.in_script and tag != "script"

    def handle_data(self, data):
        if self.in_script:
            kind, text = self.scripts[-1]
            self.scripts[-1] = (kind, text + data)
        else:
            self.text += data

    def figures(self):
        return [json.loads(text) for kind, text in self.scripts if kind == "application/json"]


def written(*runs, out):
    return Page(synrl_ray.report(*runs, out=out).file.read_text())


def headings(text):
    return re.findall(r"<h2>(.*?)</h2>", text)


@pytest.mark.parametrize(
    ("places", "figures"),
    [
        (
            ["cartpole-ppo/spiking", "cartpole-ppo/ann"],
            [
                *("Learning curve: greedy return", "Learning curve: return", "Score against energy"),
                *("Performance profile", "Probability of improvement", "Spikes: cartpole-ppo spiking"),
                *("Weights: cartpole-ppo spiking", "Weights: cartpole-ppo ann"),
                *("Film: cartpole-ppo spiking", "Film: cartpole-ppo ann"),
            ],
        ),
        (
            ["taxi-q-learning"],
            [
                *("Learning curve: regret", "Learning curve: return", "Performance profile"),
                *("Weights: taxi-q-learning tabular", "Film: taxi-q-learning tabular"),
            ],
        ),
        (
            ["mnist-binary/spiking"],
            [
                *("Learning curve: validation accuracy", "Learning curve: loss", "Performance profile"),
                *("Confusion: mnist-binary spiking", "Weights: mnist-binary spiking"),
            ],
        ),
        (
            ["sinusoid-maml/ann"],
            [
                *("Learning curve: validation loss", "Learning curve: loss", "Adaptation: loss"),
                "Weights: sinusoid-maml ann",
            ],
        ),
    ],
)
def test_each_kind_of_run_has_its_figures(places, figures, tmp_path):
    text = synrl_ray.report(*(RESULTS / place for place in places), out=tmp_path / "r.html").file.read_text()
    assert [name for name in headings(text) if ":" in name or name in figures] == figures
    films = [name for name in figures if name.startswith("Film: ")]
    assert len(Page(text).figures()) == len(figures) - len(films)
    shown = [attributes["src"][:30] for tag, attributes in Page(text).elements if tag == "video"]
    assert shown == ["data:video/mp4;base64,AAAAIGZ0"] * len(films)
    assert "synrl train " in text


def test_what_says_nothing_or_hides_the_rest_is_not_drawn(tmp_path):
    page = written(RESULTS / "navigation-maml", out=tmp_path / "a.html")
    assert "Learning curve: training return" in page.text
    assert "Learning curve: loss" not in page.text
    assert "far away: a click on a name in the legend shows it" in page.text
    traces = [trace for figure in page.figures() for trace in figure["data"]]
    hidden = {trace["name"] for trace in traces if trace.get("visible") == "legendonly"}
    assert hidden == {"navigation-maml ann, untrained", "navigation-maml spiking, untrained"}
    near = written(RESULTS / "sinusoid-maml", out=tmp_path / "b.html")
    assert "Learning curve: loss" in near.text
    assert not [trace for figure in near.figures() for trace in figure["data"] if "visible" in trace]


def test_one_evaluation_of_several_seeds_is_a_point(tmp_path):
    figures = written(RESULTS / "changing-cues", out=tmp_path / "a.html").figures()
    shown = [trace for trace in figures[0]["data"] if trace.get("showlegend", True)]
    assert [(trace["mode"], len(trace["x"])) for trace in shown] == [("markers", 1), ("markers", 1)]


def test_nothing_is_fetched_and_the_browser_is_told_to_fetch_nothing(make_run, tmp_path):
    page = written(make_run("a"), make_run("b", policy="ann"), out=tmp_path / "r.html")
    fetched = [value for _, attributes in page.elements for name, value in attributes.items() if name in FETCHING]
    assert fetched == []
    assert not {"link", "iframe", "object", "embed", "base"} & {tag for tag, _ in page.elements}
    (policy,) = (a["content"] for tag, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none';")
    assert "http" not in policy
    style = (Path(synrl_ray.__file__).parent / "reporting/templates/page.css").read_text()
    assert "url(" not in style
    assert "@import" not in style


def test_what_strangers_write_is_text(make_run, tmp_path):
    experiment = replace(get_experiment("cartpole-ppo"), id=HOSTILE, summary=HOSTILE)
    adaptation = Adaptation(by_step={HOSTILE: (1.0, 2.0)})
    provenance = Provenance(versions={HOSTILE: HOSTILE}, commit=HOSTILE, command=HOSTILE)
    protocol = {HOSTILE: HOSTILE}
    fields = {"adaptation": adaptation, "provenance": provenance, "protocol": protocol}
    page = written(make_run("a", experiment=experiment, **fields), out=tmp_path / "r.html")
    calm = written(make_run("b"), out=tmp_path / "s.html")
    tags = [tag for tag, _ in page.elements]
    assert "img" not in tags
    assert tags.count("script") == calm_scripts(calm) + 1  # the figure of adaptation
    assert "alert(1)" in page.text
    assert not {"\u202e", "\x1b"} & set(page.text)
    names = [trace["name"] for figure in page.figures() for trace in figure["data"]]
    axes = [figure["layout"][axis]["title"]["text"] for figure in page.figures() for axis in ("xaxis", "yaxis")]
    assert names
    assert not any("<" in name for name in names + axes), "Plotly reads tags in names"


def calm_scripts(page):
    return [tag for tag, _ in page.elements].count("script")


def test_huge_values_are_shown(make_run, tmp_path):
    run = make_run("a", figures={"return_iqm": 1e308}, intervals=(), energy={"policy": {"energy_pj": 10**400}})
    (run / "metrics.jsonl").write_text(
        "".join(
            json.dumps({"iteration": i, "env_steps": steps, "return_mean": value}) + "\n"
            for i, (steps, value) in enumerate([(10**400, 1.0), (float("nan"), 1e308), (1, 1e308), (2, -1e308)])
        )
    )
    assert "1.00e+308" in written(run, out=tmp_path / "r.html").text


def test_intervals_stand_at_the_points_that_they_are_of(make_run, tmp_path):
    run = make_run("a", rows=0)
    ends = [(30, 3.0, 2.5, 9.0), (20, float("nan"), 0.0, 1.0), (10, 1.0, 0.8, 1.1), (40, 4.0, None, 5.0)]
    names = ("env_steps", "evaluation_return_mean", "evaluation_return_low", "evaluation_return_high")
    rows = [{"iteration": i, **dict(zip(names, row, strict=True))} for i, row in enumerate(ends, 1)]
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    ((trace,),) = [figure["data"] for figure in written(run, out=tmp_path / "r.html").figures()[:1]]
    assert (trace["x"], trace["y"]) == ([10, 30, 40], [1.0, 3.0, 4.0])
    assert trace["error_y"]["array"] == [pytest.approx(0.1), 6.0, None]
    assert trace["error_y"]["arrayminus"] == [pytest.approx(0.2), 0.5, None]


@pytest.mark.parametrize("energy", [1e-323, 1e-12])
def test_an_energy_of_next_to_nothing_is_not_shown(make_run, tmp_path, energy):
    run = make_run("a", energy={"policy": {"energy_pj": energy}, "matched_ann": {"energy_pj": energy}})
    assert "Score against energy" not in written(run, out=tmp_path / "r.html").text


def test_values_that_hardly_differ_have_a_histogram():
    inside = Inside(parameters=None, weights={"table": np.array([1.0, 1.0000000000000002]), "same": np.full(3, -7.0)})
    (plot,) = weights(SimpleNamespace(label="a"), inside)
    assert [sum(trace["y"]) for trace in plot.data] == [pytest.approx(1.0)] * 2


def test_an_interrupted_run_is_drawn_and_marked(make_run, tmp_path):
    page = written(make_run("a", score=None), out=tmp_path / "r.html")
    assert "interrupted or still training" in page.text
    assert len(page.figures()) == 2


@pytest.mark.parametrize(
    ("place", "value"),
    [(("environment", "id"), "stranger_module:X-v0"), (("policy", "network"), "stranger_module:Net")],
)
def test_what_a_stranger_asks_to_import_is_not_looked_into_but_told(place, value, tmp_path, capsys):
    folder = tmp_path / "seed0"
    copytree(RESULTS / "cartpole-ppo/spiking/seed0", folder)
    description = json.loads((folder / "policy.json").read_text())
    description[place[0]][place[1]] = value
    (folder / "policy.json").write_text(json.dumps(description))
    page = written(folder, out=tmp_path / "r.html")
    assert "asks to import the module 'stranger_module'" in page.text
    assert "add --trust" in page.text
    assert "stranger_module" not in sys.modules
    assert capsys.readouterr().err == ""
    with suppress(UserError):  # there is no such module
        synrl_ray.report(folder, out=tmp_path / "s.html", trust=True)
    assert "imports 'stranger_module'" in capsys.readouterr().err


def test_a_damaged_policy_is_one_line_and_writes_nothing(tmp_path):
    folder = tmp_path / "seed0"
    copytree(RESULTS / "cartpole-ppo/spiking/seed0", folder)
    (folder / "policy.safetensors").write_bytes(b"x")
    for call in (synrl_ray.compare, partial(synrl_ray.report, out=tmp_path / "r.html")):
        with pytest.raises(UserError, match=r"policy.safetensors is damaged"):
            call(folder)
    assert not (tmp_path / "r.html").exists()


def test_profiles_want_three_seeds_of_every_entry(make_run, tmp_path):
    for seed in range(3):
        make_run(f"x/seed{seed}", seed=seed, score=float(seed))
        make_run(f"y/seed{seed}", seed=seed, policy="ann")
    for name, seeds, there in (("r", 3, True), ("s", 2, False)):
        if seeds == 2:
            (tmp_path / "y/seed2/result.json").unlink()
        text = synrl_ray.report(tmp_path / "x", tmp_path / "y", out=tmp_path / f"{name}.html").file.read_text()
        assert ("Probability of improvement" in headings(text), "Agarwal et al. (2021)" in text) == (there, there)


def error_line(capsys, argv):
    with pytest.raises(SystemExit) as caught:
        main(argv)
    out, err = capsys.readouterr()
    assert (caught.value.code, out, err.count("\n")) == (2, "", 1)
    return err


def test_wrong_input_is_one_line_and_writes_nothing(make_run, other_environment, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_run("a")
    make_run("b", experiment=other_environment)
    before = sorted(tmp_path.rglob("*"))
    assert "no run is named" in error_line(capsys, ["report"])
    assert "is not judged as" in error_line(capsys, ["report", "a", "b"])
    assert "end in .html" in error_line(capsys, ["report", "a", "--out", "r.md"])
    assert "end in .md" in error_line(capsys, ["report", "a", "--out", "r.html", "--markdown"])
    monkeypatch.setitem(sys.modules, "plotly.graph_objects", None)
    assert "uv pip install -c requirements.txt -e '.[report]'" in error_line(capsys, ["report", "a"])
    assert sorted(tmp_path.rglob("*")) == before


def test_a_place_that_cannot_be_written_is_one_line(make_run, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"):
        synrl_ray.report(make_run("a"), out=tmp_path / "file" / "r.html")


def test_the_command_says_what_it_has_written(make_run, tmp_path, printed, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = str(make_run("a"))
    assert printed("report", run, "--markdown") == "report.md: cartpole-ppo spiking\n"
    assert (tmp_path / "report.md").read_text() == synrl_ray.compare(run).markdown()
