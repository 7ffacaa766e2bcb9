"""Pages: each module has a `blueprint`, and the application takes all of them. Views parse, call a use case, render."""
