"""Drills: a real fault is injected, its alert followed to the delivery and back, and everything put back."""
