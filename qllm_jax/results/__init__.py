"""(see the modules)."""
