"""What is written from code: lists in the documents, the example of obsctl.yaml, help, and every message in one place.

`make generated` writes all of it; a test holds it equal. `texts()` in `documents` is the whole.
"""
