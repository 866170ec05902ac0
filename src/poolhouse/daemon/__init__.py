"""connmond: the aggregator that needs no collectd."""
