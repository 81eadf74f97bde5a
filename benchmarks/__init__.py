"""Scripts that measure FineSpot, alone and in turns with other toolkits. Run them from the repository root with -m."""
