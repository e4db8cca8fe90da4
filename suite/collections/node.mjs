// Sorts records by city and falling score, groups them, and finds the distinct scores.
export function run(records) {
  const sorted = records.toSorted((a, b) => (a.city < b.city ? -1 : a.city > b.city ? 1 : b.score - a.score));
  const groups = new Map();
  for (const { id, city, score } of sorted) {
    const group = groups.get(city);
    if (group === undefined) groups.set(city, { sum: score, ids: [id] });
    else {
      group.sum += score;
      group.ids.push(id);
    }
  }
  const scores = [...new Set(records.map((record) => record.score))].sort((a, b) => a - b);
  return { groups: Object.fromEntries(groups), scores };
}
