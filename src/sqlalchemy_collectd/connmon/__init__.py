"""The connmon plugin's place."""
