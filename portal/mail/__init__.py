"""Mails: written with what they tell of (`outbox`), sent later (`sender`)."""
