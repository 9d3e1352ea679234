"""What can be asked of the console: a module per part, a router each."""
