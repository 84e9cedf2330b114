"""API keys: read from the environment when a call is made, and kept out of every text."""

import os

KEY_VARIABLES = {
    "gemini": ("GOOGLE_API_KEY", "GEMINI_API_KEY"),
    "openai": ("OPENAI_API_KEY",),
}


def find_key(provider: str) -> str | None:
    """The provider's key, the first of its variables that is set; never logged."""
    for variable in KEY_VARIABLES[provider]:
        value = os.environ.get(variable, "").strip()
        if value:
            return value
    return None


def scrub(text: str) -> str:
    """The text with the value of every known key variable replaced by the variable's name."""
    found = [
        (os.environ.get(variable, "").strip(), variable)
        for variables in KEY_VARIABLES.values()
        for variable in variables
    ]
    for value, variable in sorted(found, key=lambda item: -len(item[0])):  # one may begin another
        if len(value) >= 4:
            text = text.replace(value, f"<{variable}>")
    return text
