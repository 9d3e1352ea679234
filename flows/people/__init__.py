"""What is held about one person: found in every place, handed out (`export`), taken away (`forget`)."""
