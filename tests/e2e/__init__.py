"""All processes as a user runs them: real servers, separate receivers and workers, callers who speak and listen."""
