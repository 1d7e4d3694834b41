"""The demo: everything in a lab on this machine, broken on purpose, judged from the outside."""
