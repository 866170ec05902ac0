"""The nodes of a service, as one of them sees them: what it tells the others, and takes from them."""
