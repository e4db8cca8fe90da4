import contract from './contract.js';

export default function handler(request, response) {
  return contract.handle(request, response);
}
