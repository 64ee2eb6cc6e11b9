"""Hyperparameter searches: many short trainings of one experiment under Ray Tune, and the settings that did best."""
