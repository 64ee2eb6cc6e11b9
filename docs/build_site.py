"""Build the documentation as a site: these pages, README, notebooks with their outputs, the command, the API.

Run: python docs/build_site.py [--out build/site]     (`make docs`)

Pages link to files of the repository, and are read there too; what they link to is brought along.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from latex2mathml.converter import convert

DOCS = Path(__file__).parent
REPOSITORY = DOCS.parent
_OF_REPOSITORY = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")
_LINK = re.compile(r"(\]\()(?!\w+:|#)([^)#\s]+)")
_FENCED = re.compile(r"(^```.*?^```$)", re.DOTALL | re.MULTILINE)
_CODE = re.compile(r"(^```.*?^```$|^    [^\n]*$)", re.DOTALL | re.MULTILINE)
"""And what nbconvert indents: the output of a cell."""
_EQUATION = re.compile(r"\$\$(.+?)\$\$", re.DOTALL)
_INLINE_EQUATION = re.compile(r"\$([^$\n]+)\$")
_CONFIG = "mkdocs.yml"
API = {
    "Runs": ("api.training", "api.judging", "api.watching", "api.comparing", "api.searching", "api.specs"),
    "Settings": (
        *("settings.control", "settings.environment", "settings.preprocessing", "settings.policies"),
        *("settings.algorithms", "settings.local", "settings.q_learning", "settings.stdp_q", "settings.r_stdp"),
        *("settings.plasticity", "settings.classification", "settings.classifiers", "settings.meta", "settings.maml"),
        "settings.search",
    ),
    "Policies": ("policies.loading", "policies.policy", "policies.actor_critic", "policies.own_network", "rl_modules"),
    "Spiking networks": (
        *("snn.neurons", "snn.synaptic", "snn.adaptive", "snn.recurrent", "snn.networks", "snn.convolution"),
        *("snn.scan", "snn.surrogate", "snn.spike_lists", "snn.encoders", "snn.readouts", "snn.energy"),
    ),
    "Plasticity": (
        *("plasticity", "plasticity.stdp", "plasticity.traces", "plasticity.reward_modulated", "plasticity.modulation"),
        *("plasticity.bounds", "plasticity.teacher", "plasticity.homeostasis", "callbacks"),
    ),
    "Environments": (
        *("envs.make", "envs.shower", "envs.maze", "envs.gridworld_env", "envs.spike_trials", "envs.temporal_order"),
        *("envs.time_to_first_spike", "envs.tabular", "envs.tabular_values"),
    ),
    "Meta-learning": ("meta.tasks", "meta.maml", "meta.maml_rl", "meta.sinusoids", "meta.gridworlds", "meta.files"),
    "Judging": ("evaluation.episodes", "evaluation.statistics", "evaluation.video", "results.schema"),
}
"""Page → modules of the package."""


def build(out: Path) -> None:
    """Write the site to ``out``, which is emptied; whatever a page refers to must be there.

    Raises:
        SystemExit: if a page is missing from the navigation, or something that is linked to is not there.
    """
    stage = out.parent / f".{out.name}-pages"
    shutil.rmtree(stage, ignore_errors=True)
    pages = stage / "docs"
    pages.mkdir(parents=True)
    for file in (*DOCS.glob("*.md"), *DOCS.glob("notebooks/*.md"), *(REPOSITORY / name for name in _OF_REPOSITORY)):
        page = pages / _page_of(file)
        page.parent.mkdir(exist_ok=True)
        page.write_text(_with_links(file.read_text(encoding="utf-8"), file, page, pages), encoding="utf-8")
    notebooks = sorted(DOCS.glob("notebooks/*.ipynb"))
    command = [sys.executable, "-m", "nbconvert", "--to", "markdown", "--output-dir", pages / "notebooks"]
    subprocess.run([*command, *notebooks], check=True, capture_output=True)
    for file in notebooks:
        page = pages / _page_of(file)
        text = _with_links(page.read_text(encoding="utf-8"), file, page, pages)
        page.write_text(_with_equations(text), encoding="utf-8")
    reference = pages / "reference"
    reference.mkdir()
    (reference / "command.md").write_text(_command(), encoding="utf-8")
    for title, modules in API.items():
        text = "\n".join([f"# {title}", *(f"\n::: synrl_ray.{module}" for module in modules)])
        (reference / f"{_slug(title)}.md").write_text(text, encoding="utf-8")
    (stage / _CONFIG).write_text(_config(notebooks), encoding="utf-8")
    subprocess.run([sys.executable, "-m", "zensical", "build", "--strict"], check=True, cwd=stage)
    shutil.rmtree(out, ignore_errors=True)
    (stage / "site").rename(out)
    shutil.rmtree(stage)


def _page_of(file: Path) -> str:
    """Where a file of the repository is in the site: pages of Markdown, notebooks, and copies of all else."""
    place = file.relative_to(DOCS if DOCS in file.parents else REPOSITORY)
    if file.suffix == ".ipynb":
        return str(place.with_suffix(".md"))
    if file.suffix == ".md":
        return str(place.with_name("index.md" if file.name == "README.md" else file.name.lower()))
    return str(Path("files") / file.relative_to(REPOSITORY))


def _with_links(text: str, file: Path, page: Path, pages: Path) -> str:
    """The text of a file whose links lead to pages, and to copies of the pictures and files of the repository."""

    def moved(match: re.Match[str]) -> str:
        if (page.parent / match[2]).is_file() and file.suffix == ".ipynb":  # a figure that came out of it
            return match[0]
        target = (file.parent / match[2]).resolve()
        if not target.is_file():
            raise SystemExit(f"{file.relative_to(REPOSITORY)} links to {match[2]}, which is not there")
        there = pages / _page_of(target)
        if target.suffix not in (".md", ".ipynb"):
            there.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(target, there)
        return match[1] + os.path.relpath(there, page.parent)

    return _outside(_FENCED, text, lambda part: _LINK.sub(moved, part))


def _with_equations(text: str) -> str:
    """What stands between dollars as MathML, which browsers draw without a script."""

    def drawn(part: str) -> str:
        part = _EQUATION.sub(lambda match: f"<p>{_mathml(match[1], 'block')}</p>", part)
        # Within a span, since Markdown would take a line that begins with <math> for a paragraph of its own.
        return _INLINE_EQUATION.sub(lambda match: f"<span>{_mathml(match[1], 'inline')}</span>", part)

    return _outside(_CODE, text, drawn)


def _mathml(latex: str, display: str) -> str:
    drawn: str = convert(" ".join(latex.split()), display=display)
    if "\\" in drawn:
        raise SystemExit(f"latex2mathml does not know all of {latex}")
    return drawn


def _outside(kept: re.Pattern[str], text: str, change: Callable[[str], str]) -> str:
    return "".join(part if kept.fullmatch(part) else change(part) for part in kept.split(text))


def _command() -> str:
    from synrl_ray.cli import app

    return str(app.generate_docs(output_format="markdown"))


def _slug(title: str) -> str:
    return title.lower().replace(" ", "-")


def _config(notebooks: list[Path]) -> str:
    """The site's settings, with the pages that are made here in its navigation."""
    lists = {
        "NOTEBOOKS": (f"notebooks/{file.stem}.md" for file in notebooks),
        "API": (f"{title}: reference/{_slug(title)}.md" for title in API),
    }
    lines: list[str] = []
    for line in (DOCS / _CONFIG).read_text(encoding="utf-8").replace("$REPOSITORY", str(REPOSITORY)).splitlines():
        indent, _, name = line.partition("- $")
        lines += [f"{indent}- {each}" for each in lists[name]] if name else [line]
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=REPOSITORY / "build" / "site")
    build(parser.parse_args(argv).out.absolute())


if __name__ == "__main__":
    main()
