"""One module per stage, and the contract they share: tables in, tables out."""
