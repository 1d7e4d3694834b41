"""What runs on a node. Standard library only; the distribution's botocore finds the credentials."""
