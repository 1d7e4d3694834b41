"""`python -m cli`: what `./baton` runs once the environment is ready."""

from cli.main import baton

baton(prog_name="baton")
