"""Forms with a file of `size` bytes and a field."""

import random
import string

BOUNDARY = "----suite-7MA4YWxkTrZu0gW"


def cases(size, seed):
    draw = random.Random(seed)
    for number in range(3):
        content = "".join(draw.choices(string.ascii_letters + " \r\n-", k=size))
        yield {
            "method": "POST",
            "target": "/upload",
            "headers": {"content-type": f"multipart/form-data; boundary={BOUNDARY}"},
            "body": (
                f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="title"\r\n\r\nreport {number}\r\n'
                f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="report{number}.txt"\r\n'
                f"Content-Type: text/plain\r\n\r\n{content}\r\n--{BOUNDARY}--\r\n"
            ),
        }
