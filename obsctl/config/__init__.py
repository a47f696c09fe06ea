"""obsctl.yaml: its schema, its loading and its secrets. The only package that knows pydantic."""

import os

# Installed plugins of pydantic must not see the configuration, and the search for them takes a tenth of loading.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
