"""The site builds without a warning, and each of its links leads somewhere."""

from __future__ import annotations

import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

REPOSITORY = Path(__file__).parents[2]


class _Page(HTMLParser):
    """What a page links to, and what can be linked to in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        of = dict(attrs)
        if of.get("id"):
            self.anchors.add(str(of["id"]))
        link = of.get("src") or (of.get("href") if tag in ("a", "link", "img") else None)
        if link:
            self.links.append(link)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("documentation") / "site"
    done = subprocess.run(
        [sys.executable, "docs/build_site.py", "--out", out], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def test_every_link_leads_to_a_page_and_a_place_in_it(site: Path) -> None:
    pages = {file: _Page(file.read_text(encoding="utf-8")) for file in site.rglob("*.html") if file.name != "404.html"}
    assert len(pages) > 20
    broken = []
    for file, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (file.parent / unquote(parts.path)).resolve() if parts.path else file
            target = target / "index.html" if target.is_dir() else target
            if not target.is_file() or (
                parts.fragment and target in pages and unquote(parts.fragment) not in pages[target].anchors
            ):
                broken.append(f"{file.relative_to(site)}: {link}")
    assert broken == []


def test_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    for file in site.rglob("*.html"):
        for link in _Page(file.read_text(encoding="utf-8")).links:
            assert not link.startswith("//"), f"{file.name}: {link}"


def test_the_command_and_the_api_are_there(site: Path) -> None:
    assert "synrl watch" in (site / "reference" / "command.html").read_text()
    runs = (site / "reference" / "runs.html").read_text()
    assert 'id="synrl_ray.api.training.train"' in runs
    networks = (site / "reference" / "spiking-networks.html").read_text()
    assert "<math" in networks
    assert ":class:" not in networks


def test_notebooks_are_pages_with_their_figures_and_equations(site: Path) -> None:
    text = (site / "notebooks" / "06-reinforce.html").read_text()
    assert text.count("06-reinforce_files/") >= 3
    assert "<math" in text
    assert "$$" not in text
    assert "\\nabla" not in text
