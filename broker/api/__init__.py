"""One module per API key: versions served, behaviour, handler."""
