"""A Q-table that is a spiking layer, learned by TD errors and reward-modulated STDP."""
