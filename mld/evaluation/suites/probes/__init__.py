"""Does a motion do what the words say? Plain prompts, and facts that are measured on what is made of them."""
