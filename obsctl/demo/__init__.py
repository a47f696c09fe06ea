"""The programs of the demo: two small services and their traffic."""
