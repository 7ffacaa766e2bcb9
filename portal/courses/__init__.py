"""What is done with courses: a use case is a function of (session, clock, actor, …) for pages, API and commands."""
