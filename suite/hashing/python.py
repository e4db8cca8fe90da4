"""SHA-256 of many short messages, and one PBKDF2 key."""

from hashlib import pbkdf2_hmac, sha256


def run(case):
    return {
        "digests": [sha256(message.encode()).hexdigest() for message in case["messages"]],
        "key": pbkdf2_hmac("sha256", case["password"].encode(), b"a salt of the suite", case["iterations"], 32).hex(),
    }
