"""make generated."""

from generate.documents import write

if __name__ == "__main__":
    write()
