"""From a snapshot to rows, durations and sparklines, for every face: pure."""
