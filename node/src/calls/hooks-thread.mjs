// The hooks of hooks.js in the thread that Node before 22.15 has for them.

export { load, resolve } from './hooks.js';
