"""Numbers and strangers' names as they are shown."""

from __future__ import annotations

import textwrap
from decimal import Decimal

MISSING = "–"
"""What is not known."""
_LONGEST = 80
_WHOLE_FROM, _POWERS_FROM = 1000, 1e15


def plain(text: object, most: int = _LONGEST) -> str:
    """A name on one line of bounded length, without what moves a cursor or turns the direction of writing.

    Example:
        >>> plain("a\\x1b[2Jb\\nc")
        'a?[2Jb c'
    """
    letters = "".join(letter if letter.isprintable() or letter.isspace() else "?" for letter in str(text)[: 4 * most])
    return textwrap.shorten(letters, most, placeholder="…") or ("…" if letters.strip() else "")


def number(value: float | None) -> str:
    """Four digits, or all of a larger number; a count keeps its own.

    Example:
        >>> [number(value) for value in (None, 101946, 500.0, 0.99953, 20608.4, 1e300)]
        ['–', '101,946', '500', '0.9995', '20,608', '1.00e+300']
    """
    if value is None:
        return MISSING
    if abs(value) >= _POWERS_FROM:
        return f"{Decimal(value):.3g}"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.0f}" if abs(value) >= _WHOLE_FROM else f"{value:.4g}"


def duration(seconds: float) -> str:
    """A time in the unit that suits it.

    Example:
        >>> [duration(seconds) for seconds in (9.24, 171.2, 7384)]
        ['9.2 s', '2 min 51 s', '2 h 3 min']
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{number(minutes // 60)} h {minutes % 60} min"


def in_words(figure: str) -> str:
    """The name of a figure as it is spoken.

    Example:
        >>> [in_words(name) for name in ("return_iqm", "sampled_return_iqm", "path_ratio_iqm")]
        ['greedy return, IQM', 'drawn actions, IQM', 'path ratio IQM']
    """
    return _FIGURES.get(figure) or plain(figure.replace("_", " ").replace("iqm", "IQM"))


_FIGURES = {
    "return_iqm": "greedy return, IQM",
    "sampled_return_iqm": "drawn actions, IQM",
    "sampled_gain_iqm": "drawn less greedy, IQM",
    "zeroed_return_iqm": "without its state, IQM",
    "zeroed_gain_iqm": "without its state less greedy, IQM",
}
