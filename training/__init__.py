"""How the small models that ship with Winnow were trained."""
