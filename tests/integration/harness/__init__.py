"""What the integration tests stand on: servers, the program, and a comparator of its own."""
