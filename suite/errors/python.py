"""Payments, half of which are refused by an error raised some calls below the handler."""


class Refused(Exception):
    def __init__(self, cents):
        super().__init__(f"cannot pay {cents}")
        self.cents = cents


def pay(cents, depth):
    if depth > 0:
        return pay(cents, depth - 1) + 1
    if cents <= 0:
        raise Refused(cents)
    return cents


def run(payments):
    result = {"paid": 0, "refused": 0, "messages": []}
    for payment in payments:
        try:
            result["paid"] += pay(payment["cents"], payment["depth"])
        except Refused as error:
            result["refused"] += error.cents
            result["messages"].append(str(error))
    return result
