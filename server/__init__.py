"""What runs at the aggregator: rounds, aggregation, evaluation, the run directory, the report."""
