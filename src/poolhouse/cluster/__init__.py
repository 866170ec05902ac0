"""The nodes of a service, as one of them sees them: what it sends to the others, and accepts from them."""
