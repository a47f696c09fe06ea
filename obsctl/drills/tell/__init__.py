"""After a drill: its journal, and the verdict and report that are made from it alone."""
