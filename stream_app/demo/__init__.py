"""Two months of real flights, replayed in event time through a real broker, watched and checked."""
