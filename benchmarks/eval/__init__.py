"""The evaluator against the official tools: equal numbers, speed and memory."""
