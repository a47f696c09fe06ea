"""Before a drill: what is expected, what the live cluster says of it, how long it should take, is all steady."""
