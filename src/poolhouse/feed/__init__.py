"""From an aggregator to a console: subscriptions and frames."""
