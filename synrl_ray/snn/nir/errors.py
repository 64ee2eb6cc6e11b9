"""What is wrong with a network or graph that is to cross the border to NIR."""


class NIRError(ValueError):
    """A network that NIR cannot express, or a graph that is not known here."""
