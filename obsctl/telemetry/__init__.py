"""What the stack has recorded, read back for people: traces and log lines."""
