"""What tests of poolhouse, and of programs that use it, stand on: virtual time and fakes."""
