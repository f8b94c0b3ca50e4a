"""How well texts and motions fit, and search in folders of motions."""
