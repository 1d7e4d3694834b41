"""What would stop a cluster's next hand-over, found on a quiet day.

`gather` asks AWS and the nodes, changing nothing; each check is a pure function over what they said.
"""
