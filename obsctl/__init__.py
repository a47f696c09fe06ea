"""obsctl: an observability stack on Nomad and Consul whose alerts are proven by drill."""

__version__ = "0.1.0"
