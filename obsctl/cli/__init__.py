"""The command line: a file for each group of commands. It parses, calls and shows; click is used here alone."""
