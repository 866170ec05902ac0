"""One module for each family of decoders: `seeds`, whole inputs, and `check`, which nothing may make raise."""
