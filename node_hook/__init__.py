"""What runs on a node. Standard library only; publishing borrows the distribution's botocore."""
