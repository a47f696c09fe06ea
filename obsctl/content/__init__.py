"""Alert rules and dashboards: shipped ones and the user's own."""
