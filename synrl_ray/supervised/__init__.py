"""Image classification with spiking networks: model, Tune trainable, pictures."""
