"""What each kind of worker does with its records."""
