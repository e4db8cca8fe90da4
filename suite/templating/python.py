"""A page of orders, by a template that is compiled once."""

from jinja2 import Environment

# By subscript: for `order.id` Jinja2 looks for an attribute of the dict first, and fails, each time.
PAGE = Environment(autoescape=True).from_string("""\
<!doctype html><title>{{ title }}</title><h1>{{ title }}</h1><table>
{%- for order in orders -%}
<tr class="{{ "paid" if order["paid"] else "open" }}"><td>{{ order["id"] }}<td>{{ order["customer"] }}<td><ul>
{%- for line in order["lines"] -%}
<li>{{ line["count"] }} × {{ line["item"] }}: {{ line["count"] * line["cents"] }}</li>
{%- endfor %}</ul></tr>
{%- endfor -%}
</table>""")


def run(orders):
    return PAGE.render(orders)
