"""From measurements to what is wrong: causes, their evidence, and the two functions that name them."""
