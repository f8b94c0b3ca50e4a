"""One file per task: how a clip becomes an example and how an answer is scored."""
