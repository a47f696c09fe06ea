"""The drill itself: the recipe first, then the fault, what the alerts do, and everything put back."""
