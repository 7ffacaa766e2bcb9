"""Operations: what is asked for, who may do it, what is told meanwhile, and what follows from it."""
