"""obsctl.yaml: its schema, its loading and its secrets. The only package that knows pydantic."""
