"""The orchestrator: everything that the Lambda ships."""
