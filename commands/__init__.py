"""The commands: parse, call mld, print. Also installed as 'mld train|test|demo|app|prepare'."""
