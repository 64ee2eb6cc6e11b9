"""Policies on plain torch: their configuration, their network, acting, saving and loading."""
