import { VERSION, embed, norm, predict, strict, user } from './model.py';
predict('text'); // wrong
predict([1], 'three'); // wrong
const text: Promise<string> = predict([1]); // wrong
predict.with({ kwargs: { topp: 3 } }); // wrong
user({ id: 1 }); // wrong
strict(); // wrong
predict.with({ timeout: 'long' }); // wrong
norm([1, 2]); // wrong
embed(['a', 'b']); // wrong
VERSION.length; // wrong
