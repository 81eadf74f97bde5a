"""Other toolkits' state dicts, one file a family: their names and orders to ours."""
