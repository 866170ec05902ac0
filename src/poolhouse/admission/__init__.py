"""Which datagrams a listener accepts, by their signature and their encryption."""
