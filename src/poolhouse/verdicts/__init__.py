"""From measurements to verdicts: causes, their evidence, and the two functions that name them."""
