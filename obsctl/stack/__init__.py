"""From the configuration to a running stack: render, check, observe, plan, apply, verify."""
