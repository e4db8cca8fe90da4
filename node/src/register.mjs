// `node --import bireme/register program.js`: a process that no bireme started can import Python, too.

import hooks from './calls/hooks.js';

hooks.install();
