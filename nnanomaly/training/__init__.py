"""Training: one loop, and a stage per network that turns a batch of tensors into losses."""
