"""Files to batches and back."""
