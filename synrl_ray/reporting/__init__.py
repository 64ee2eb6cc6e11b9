"""``synrl report`` and ``synrl compare``: runs side by side, as a page, in a terminal, in Markdown."""
