// Reads a document of orders, adds each one's total, and writes the document again.
export function run(text) {
  const orders = JSON.parse(text);
  for (const order of orders) {
    order.total = order.lines.reduce((sum, line) => sum + line.count * line.cents, 0);
  }
  return JSON.stringify(orders);
}
