"""What `handgrad predict`, `evaluate`, `report` and `export` do: parse, call, print."""
