"""What every request goes through: who asks, whether they may, and what the answer's headers say."""
