"""One adapter for each server, behind the protocols that obsctl and the fakes of the tests share."""
