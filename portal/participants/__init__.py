"""People in a course: the join code, consent, and the end of it. Each change counts up the course's people."""
