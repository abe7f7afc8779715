"""A whole consortium on one machine, through the client and the server that a deployment runs."""
