"""Programs that run inside the lab's hosts, or as bounded children. Standard library only."""
