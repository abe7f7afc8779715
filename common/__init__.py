"""What every part of Fedward stands on: faces, models, training, privacy, messages, results."""
