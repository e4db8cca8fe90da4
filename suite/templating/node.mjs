// A page of orders, by a template that is compiled once.
import { Eta } from 'eta';

const eta = new Eta({ autoEscape: true, autoTrim: false, useWith: false });
const page = eta.compile(
  '<!doctype html><title><%= it.title %></title><h1><%= it.title %></h1><table>' +
    '<% for (const order of it.orders) { %>' +
    '<tr class="<%= order.paid ? "paid" : "open" %>"><td><%= order.id %><td><%= order.customer %><td><ul>' +
    '<% for (const line of order.lines) { %>' +
    '<li><%= line.count %> × <%= line.item %>: <%= line.count * line.cents %></li>' +
    '<% } %></ul></tr><% } %></table>',
);

export function run(orders) {
  return page.call(eta, orders);
}
