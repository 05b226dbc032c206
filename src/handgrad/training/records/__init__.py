"""The folder of a run: what is written there, and how to read it back."""
