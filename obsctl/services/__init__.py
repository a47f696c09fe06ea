"""The programs that run on the cluster beside the stack: alert-sink, the warden, log-links."""
