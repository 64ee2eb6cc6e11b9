"""Env runners: what steps environments and policies together."""
