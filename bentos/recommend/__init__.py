"""The service of the task `rank` for one person: one module per stage, from the request to the reasons."""
