"""The world in which the core is proven: small, hashable, and explored from outside."""
