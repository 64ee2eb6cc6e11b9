"""Place cells and competing action neurons that learn by reward-modulated STDP."""
