"""The lab: an embedded AWS and real hosts on one Linux machine. Nothing that is deployed imports it."""
