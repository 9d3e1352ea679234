"""The platform's own library: the nouns, the memory and the proof. It imports no other room."""

__version__ = "0.1.0"
