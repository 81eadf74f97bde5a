"""`finespot data VERB ...`: read, convert, check, cut and understand data sets."""
