"""What Baton needs in an AWS account besides its Lambda functions."""
