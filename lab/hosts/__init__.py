"""The lab's hosts: namespaces, block devices and power, with real programs inside. See hosts.py."""
