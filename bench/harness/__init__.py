"""harness - rows, contenders, measuring and reporting of ./run bench."""
