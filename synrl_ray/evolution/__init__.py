"""Evolution strategies, and the workers that evaluate individuals."""
