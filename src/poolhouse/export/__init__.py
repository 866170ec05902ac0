"""From a snapshot to what other systems read."""
