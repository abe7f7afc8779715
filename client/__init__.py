"""What runs at a hospital: one order in, one update out."""
