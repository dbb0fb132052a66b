"""Pure maths of privacy: mechanisms, accountants; no messages, no files."""
