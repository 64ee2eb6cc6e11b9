"""What can be set, as frozen dataclasses that are checked where they are made: no torch, no Ray."""
