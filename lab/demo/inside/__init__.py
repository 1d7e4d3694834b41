"""Programs that run inside the demo's hosts, and its sampler. Standard library only."""
