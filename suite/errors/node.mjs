// Payments, half of which are refused by an error thrown some calls below the handler.
class Refused extends Error {
  constructor(cents) {
    super(`cannot pay ${cents}`);
    this.cents = cents;
  }
}

function pay(cents, depth) {
  if (depth > 0) return pay(cents, depth - 1) + 1;
  if (cents <= 0) throw new Refused(cents);
  return cents;
}

export function run(payments) {
  const result = { paid: 0, refused: 0, messages: [] };
  for (const { cents, depth } of payments) {
    try {
      result.paid += pay(cents, depth);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      result.refused += error.cents;
      result.messages.push(error.message);
    }
  }
  return result;
}
