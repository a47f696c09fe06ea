"""obsctl.yaml: its schema, its loading and its secrets. The only package that knows pydantic."""

import os

# No plugin that happens to be installed looks into the configuration; to search for some takes a tenth of loading it.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
